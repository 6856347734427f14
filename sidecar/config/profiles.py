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
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sidecar.budget.allocation import check_shares
from sidecar.budget.errors import Invalid
from sidecar.budget.policy import COMPONENTS
from sidecar.budget.profile import Profile

_PARTS = ("shares", "calibration")
_MOST = 100  # times the prior: more is a mistake


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
    if not isinstance(parts, dict) or any(part not in _PARTS for part in parts):
        raise ValueError(f"must have only [{agent}.shares] and [{agent}.calibration] for the agent {agent!r}")
    for part, numbers in parts.items():
        wrong = not isinstance(numbers, dict) or [name for name in numbers if name not in COMPONENTS]
        if wrong:
            raise ValueError(f"must name only components in [{agent}.{part}]: {', '.join(COMPONENTS)}")
        for name, number in numbers.items():
            if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number <= _MOST:
                raise ValueError(f"must have a number from 0 to {_MOST} as {agent}.{part}.{name}")
    shares = parts.get("shares")
    try:
        checked = None if shares is None else check_shares(shares)
    except Invalid as error:
        raise ValueError(f"must have right shares for {agent!r}: {error.detail}") from None
    return Profile(shares=checked, calibration=dict(parts.get("calibration", {})))
