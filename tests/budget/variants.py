"""Policies of a test's own: a preset, and what is different."""

import os
from dataclasses import replace
from hashlib import blake2b
from typing import Any

from sidecar.budget.policy import Policy
from sidecar.budget.presets import STANDARD, add_preset

VARIANTS: dict[str, Policy] = {}  # by name; those that a module names are presets while its tests run


def variant(base: Policy = STANDARD, *, cleanup: dict[str, Any] | None = None, **changes: Any) -> str:
    """Name the policy that differs from `base` by these fields, the same policy the same; within a test it is added."""
    if cleanup:
        changes["cleanup"] = replace(base.cleanup, **cleanup)
    policy = replace(base, **changes)
    name = f"test-{blake2b(repr(policy).encode(), digest_size=6).hexdigest()}"
    VARIANTS[name] = replace(policy, name=name)
    if "PYTEST_CURRENT_TEST" in os.environ:
        add_preset(VARIANTS[name])
    return name
