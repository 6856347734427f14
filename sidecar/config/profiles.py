"""Agents' profiles from a file: what their sessions start from, and what their tasks really need (SPEC 3.4, 3.8).

A pod's disk dies with the pod, so what was learned of an agent can be given to it as a TOML file, in a ConfigMap:

    [coder.shares]                  # all five components; they sum to 1
    system_context = 0.10
    working_memory = 0.45
    knowledge_base = 0.10
    agent_context = 0.15
    interaction_buffer = 0.20

    [coder.calibration]             # what the agent's tasks need, as a multiple of the prior; 1 where left out
    working_memory = 1.3

    [coder.provider_ratios]         # provider tokens for each token that the host counts, by model
    "claude-sonnet-4-5" = 1.12

    [coder]
    tokens_per_call = 850           # what a model call adds to the agent's windows

`curl -H "Accept: application/toml" .../v1/profiles` writes this file from what a sidecar has learned.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sidecar.budget.allocation import check_shares
from sidecar.budget.errors import Invalid
from sidecar.budget.policy import COMPONENTS
from sidecar.budget.profile import Profile

_PARTS = ("shares", "calibration", "provider_ratios")
_MOST = 100  # times the prior, or provider tokens for one: more is a mistake
_GROWTH = "tokens_per_call"
_MOST_GROWTH = 1e9


class Profiles(dict[str, Profile]):
    """Profiles by agent, and the `path` that they were read from."""

    def __init__(self, path: str, profiles: Mapping[str, Profile]) -> None:
        super().__init__(profiles)
        self.path = path

    @property
    def text(self) -> str:
        """As it is written."""
        return self.path


def profiles(value: Any) -> Profiles:
    """The profiles in a TOML file; `ValueError` says which rule it breaks, and where."""
    path = Path(str(value)).expanduser()
    try:
        agents = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ValueError(f"must be a file that can be read ({error.strerror or error})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"must be TOML ({error})") from None
    return Profiles(str(path), {agent: _profile(agent, parts) for agent, parts in agents.items()})


def _profile(agent: str, parts: Any) -> Profile:
    if not isinstance(parts, dict) or any(part not in (*_PARTS, _GROWTH) for part in parts):
        known = ", ".join(f"[{agent}.{part}]" for part in _PARTS)
        raise ValueError(f"must have only {known} and {_GROWTH} for the agent {agent!r}")
    growth = parts.get(_GROWTH)
    if growth is not None and not _is_number(growth, _MOST_GROWTH):
        raise ValueError(f"must have a number from 0 to {_MOST_GROWTH:g} as {agent}.{_GROWTH}")
    tables: dict[str, Any] = {part: parts.get(part, {}) for part in _PARTS}
    for part, numbers in tables.items():
        by_component = part != "provider_ratios"
        if not isinstance(numbers, dict) or (by_component and any(name not in COMPONENTS for name in numbers)):
            raise ValueError(f"must name only components in [{agent}.{part}]: {', '.join(COMPONENTS)}")
        for name, number in numbers.items():
            if not _is_number(number, _MOST) or not (by_component or number):
                raise ValueError(f"must have a number from 0 to {_MOST} as {agent}.{part}.{name}")
    try:
        checked = check_shares(tables["shares"]) if "shares" in parts else None
    except Invalid as error:
        raise ValueError(f"must have right shares for {agent!r}: {error.detail}") from None
    return Profile(
        shares=checked,
        calibration=tables["calibration"],
        provider_ratios={model: (float(ratio),) for model, ratio in tables["provider_ratios"].items()},
        growth=() if growth is None else (float(growth),),
    )


def _is_number(value: Any, most: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most
