"""The policies that are compared: presets, variants of `standard`, and what files say."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from sidecar.budget.policy import PRESETS, STANDARD, ElasticPolicy, Policy, add_preset
from sidecar.lab.backtest.files import PolicyError, read_policy

QUARTER = 900.0  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """A policy under test. `carries`: an agent's next session starts from the shares that its last one has learned.

    `adjust_interval`: seconds of session time between adjustments; None: only at a session's end.
    """

    name: str
    policy: Policy
    carries: bool = False
    adjust_interval: float | None = None


# Beside the presets: `standard`, whose shares adapt to each agent; and with nothing but elastic borrowing.
VARIANTS: Mapping[str, Arm] = MappingProxyType(
    {
        "adapted": Arm(name="adapted", policy=STANDARD, carries=True, adjust_interval=QUARTER),
        "elastic": Arm(name="elastic", policy=replace(STANDARD, name="elastic", elastic=ElasticPolicy(on=True))),
    }
)


def names() -> list[str]:
    """Everything that can be compared by name, in the order in which it is shown."""
    first = list(PRESETS)[:1]
    return [*first, *VARIANTS, *(name for name in PRESETS if name not in first and name not in VARIANTS)]


def arms(presets: Iterable[str], files: Iterable[Path]) -> list[Arm]:
    """The policies by name, then those of files, which this process's engine knows from now on.

    Raises:
        PolicyError: a name or a file is wrong, or two policies have the same name.
    """
    known = names()
    compared: list[Arm] = []
    for name in presets:
        if name not in known:
            raise PolicyError(f"--preset {name}: expected one of {', '.join(known)}")
        compared.append(VARIANTS.get(name) or Arm(name=name, policy=PRESETS[name]))
    for path in files:
        policy = read_policy(path)
        if policy.name in known:
            raise PolicyError(f"{path}: name: {policy.name!r} is the name of a preset; give it one of its own")
        compared.append(Arm(name=policy.name, policy=policy))
    doubled = next(
        (arm.name for at, arm in enumerate(compared) if arm.name in {each.name for each in compared[:at]}), None
    )
    if doubled is not None:
        raise PolicyError(f"{doubled}: is compared twice; each policy needs a name of its own")
    for arm in compared:
        if arm.policy.name not in PRESETS:
            add_preset(arm.policy)
    return compared
