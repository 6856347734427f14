"""A policy from a TOML file: a preset, and what is different in it.

    base = "coding-agent"
    overall_target.high = 0.80
    cleanup.evict_count = 10
    components.working_memory.share = 0.60
    components.knowledge_base.share = 0.16
    adapt.interval = "off"

The keys are the fields of `Policy` and of the dataclasses inside it, whatever they are; "off" is None.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import msgspec

from sidecar.budget.allocation import check_shares
from sidecar.budget.errors import Invalid
from sidecar.budget.policy import Policy
from sidecar.budget.presets import PRESETS

BASE = "base"
OFF = "off"


class PolicyError(Exception):
    """A policy cannot be compared: the text names the file or flag, the field, and the rule."""


def read_policy(path: Path) -> Policy:
    """The policy that a file describes; without a `name` it has the file's.

    Raises:
        PolicyError: the file cannot be read, or a key or value in it is wrong.
    """
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PolicyError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PolicyError(f"{path}: is not TOML: {error}") from error
    base = told.pop(BASE, "standard")
    if base not in PRESETS:
        raise PolicyError(f"{path}: {BASE}: expected one of {', '.join(PRESETS)}, not {base!r}")
    told.setdefault("name", path.stem)
    try:
        policy = msgspec.convert(_merged(PRESETS[base], told, ""), Policy)
        check_shares(policy.shares)
    except (_Wrong, Invalid) as error:
        raise PolicyError(f"{path}: {error}") from error
    except msgspec.ValidationError as error:
        # It tells the field and the rule already: "Expected `int`, got `str` - at `$.cleanup.evict_count`".
        raise PolicyError(f"{path}: {str(error).replace('$.', '')}") from error
    return policy


class _Wrong(Exception):
    """A key that is not there."""


def _merged(base: Any, told: Any, path: str) -> Any:
    """What a file tells, over its base; all of it plain data, as `msgspec.convert` reads it."""
    if told == OFF:
        return None
    known = _parts(base)
    if known is None or told is None:
        return base if told is None and known is None else told
    if not isinstance(told, Mapping):
        raise _Wrong(f"{path}: expected a table of {', '.join(known)}")
    for key in told:
        if key not in known:
            place = f"{path}.{key}" if path else key
            first = f", {BASE}" if not path else ""
            raise _Wrong(f"{place}: there is no such setting; expected one of {', '.join(known)}{first}")
    return {
        key: _merged(value, told[key], f"{path}.{key}" if path else key) if key in told else _plain(value)
        for key, value in known.items()
    }


def _parts(value: Any) -> dict[str, Any] | None:
    """The named parts of a dataclass or a mapping; None of anything else."""
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value) if field.init}
    if isinstance(value, Mapping):
        return dict(value)
    return None


def _plain(value: Any) -> Any:
    known = _parts(value)
    return value if known is None else {key: _plain(each) for key, each in known.items()}
