"""The policies that are compared: presets, variants of `standard`, and what files say."""

import argparse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from sidecar.budget.policy import ElasticPolicy, Policy
from sidecar.budget.presets import PRESETS, STANDARD
from sidecar.lab.backtest.files import PolicyError, read_policy

QUARTER = 900.0  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """A policy under test. `carries`: an agent's next session starts from what its former ones have taught.

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


# Everything that can be compared by name, in the order in which it is shown; policies of files do not join it.
NAMES = ("standard", *VARIANTS, *(name for name in PRESETS if name != "standard"))


def add_policies(parser: argparse.ArgumentParser, *, default: str) -> None:
    """Declare the flags by which policies are chosen. `default` says which, where none of them is given."""
    parser.add_argument(
        "--preset",
        action="append",
        default=[],
        metavar="NAME",
        help=f"a policy to judge, repeatable: {', '.join(NAMES)} (default: {default})",
    )
    parser.add_argument(
        "--policy",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="one of your own, repeatable: a TOML file that names its base and what differs",
    )


def arms(presets: Iterable[str], files: Iterable[Path]) -> list[Arm]:
    """The policies by name, then those of files.

    Raises:
        PolicyError: a name or a file is wrong, or two policies have the same name.
    """
    compared: list[Arm] = []
    for name in presets:
        if name not in NAMES:
            raise PolicyError(f"--preset {name}: expected one of {', '.join(NAMES)}")
        compared.append(VARIANTS.get(name) or Arm(name=name, policy=PRESETS[name]))
    for path in files:
        policy = read_policy(path)
        if policy.name in NAMES:
            raise PolicyError(f"{path}: name: {policy.name!r} is the name of a preset; give it one of its own")
        compared.append(Arm(name=policy.name, policy=policy))
    doubled = next(
        (arm.name for at, arm in enumerate(compared) if arm.name in {each.name for each in compared[:at]}), None
    )
    if doubled is not None:
        raise PolicyError(f"{doubled}: is compared twice; each policy needs a name of its own")
    return compared
