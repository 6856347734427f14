"""Policies of a test's own: a preset, and what is different."""

from dataclasses import replace
from hashlib import blake2b
from typing import Any

from sidecar.budget.policy import STANDARD, Policy, add_preset


def variant(base: Policy = STANDARD, *, cleanup: dict[str, Any] | None = None, **changes: Any) -> str:
    """Add the policy that differs from `base` by these fields, and return its name: the same for the same policy."""
    if cleanup:
        changes["cleanup"] = replace(base.cleanup, **cleanup)
    policy = replace(base, **changes)
    name = f"test-{blake2b(repr(policy).encode(), digest_size=6).hexdigest()}"
    add_preset(replace(policy, name=name))
    return name
