"""How a window is divided: shares into whole tokens, and shares adapted to how they were used (SPEC 3.1 and 3.4)."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from sidecar.budget.commands import ComponentHistory
from sidecar.budget.errors import Invalid
from sidecar.budget.policy import COMPONENTS, AdaptPolicy, Component, Policy
from sidecar.budget.ratio import exact

DIGITS = 12  # of a share that is told: what floats leave behind is further down
TOLERANCE = Fraction(1, 1_000_000)  # by which the sum of given shares may miss 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjustment:
    """Adapted shares of all components, and for each that changed or was held why, in sentences."""

    after: dict[Component, float]
    reasons: dict[Component, list[str]]


def split(total: int, shares: Mapping[Component, float]) -> dict[Component, int]:
    """Divide `total` tokens by shares, exactly: the largest remainders get what is left, ties in the table's order.

    A share is what it was written as (0.29 of 200,000 is 58,000). Shares that do not sum to exactly 1 are relative.
    """
    return dict(zip(COMPONENTS, _split(total, tuple([shares[name] for name in COMPONENTS])), strict=True))


@lru_cache(maxsize=256)  # most sessions of an agent begin alike, and fractions take longer than all else in that
def _split(total: int, shares: tuple[float, ...]) -> tuple[int, ...]:
    parts = [exact(share) for share in shares]
    whole = sum(parts)
    quotas = [total * part / whole for part in parts]
    tokens = [int(quota) for quota in quotas]
    by_remainder = sorted(range(len(shares)), key=lambda place: tokens[place] - quotas[place])
    for place in by_remainder[: total - sum(tokens)]:
        tokens[place] += 1
    return tuple(tokens)


def shown(shares: Mapping[Component, float]) -> dict[Component, float]:
    """Shares as they are told: without what floats leave behind, and so that what is written down sums to 1."""
    return {name: parts / 10**DIGITS for name, parts in split(10**DIGITS, shares).items()}


def split_beside(total: int, shares: Mapping[Component, float], taken: Mapping[Component, int]) -> dict[Component, int]:
    """As `split`, but the components in `taken` get just these tokens; the others share what is left by their shares.

    They sum to `total` all the same: what is taken beyond it is not there to give, in the table's order.
    """
    left, given = total, dict[Component, int]()
    for name in COMPONENTS:
        if name in taken:
            given[name] = min(taken[name], left)
            left -= given[name]
    if len(taken) == len(COMPONENTS):
        return {**given, COMPONENTS[0]: given[COMPONENTS[0]] + left}  # there are no others
    others = {name: 0.0 if name in taken else shares[name] for name in COMPONENTS}
    if not any(others.values()):  # nobody else has a share: all alike
        others = {name: float(name not in taken) for name in COMPONENTS}
    return {**split(left, others), **given}


def check_shares(shares: Mapping[Component, float]) -> dict[Component, float]:
    """The shares in the table's order.

    Raises:
        Invalid: a component is missing or unknown, a share is not a ratio, or they do not sum to 1 (within 1e-6).
    """
    for name, share in shares.items():
        if name not in COMPONENTS:
            raise Invalid(
                f"{name!r} is no component; the components are {', '.join(COMPONENTS)}", path=f"shares.{name}"
            )
        if not 0 <= share <= 1:
            raise Invalid(f"a share is between 0 and 1, not {share}", path=f"shares.{name}")
    missing = [name for name in COMPONENTS if name not in shares]
    if missing:
        raise Invalid(f"all five components need a share; missing: {', '.join(missing)}", path="shares")
    whole = sum((exact(share) for share in shares.values()), Fraction())
    if abs(whole - 1) > TOLERANCE:
        raise Invalid(f"the shares must sum to 1, not {float(whole):g}", path="shares")
    return {name: float(shares[name]) for name in COMPONENTS}


def adjust_shares(
    shares: Mapping[Component, float],
    history: Mapping[Component, ComponentHistory],
    policy: Policy,
    *,
    critical: Collection[Component] = (),
) -> Adjustment:
    """Adapt shares to the history since the last adjustment (SPEC 3.4).

    Args:
        shares: the present ones, of all components.
        history: what happened; a component without history is only scaled along with the others.
        policy: the rules, and which components are fixed.
        critical: components that are critical now: they are not lowered.
    """
    rules = policy.adapt
    floor, cap = exact(rules.floor), exact(rules.cap)
    present = {name: exact(shares[name]) for name in COMPONENTS}
    adjustable = [name for name in COMPONENTS if not policy.components[name].fixed]
    room = 1 - sum((present[name] for name in COMPONENTS if name not in adjustable), Fraction())
    wanted: dict[Component, Fraction] = {}
    lower: dict[Component, Fraction] = {}
    reasons: dict[Component, list[str]] = {}
    for name in adjustable:
        held = name in critical
        wanted[name], reasons[name] = _wanted(present[name], history.get(name), rules, critical=held)
        lower[name] = max(floor, min(present[name], cap)) if held else floor
    filled, scale = _fill(room, wanted, lower, floor=floor, cap=cap)
    for name in adjustable:
        scaled = scale * wanted[name]
        if filled[name] < scaled:
            reasons[name].append(f"held at the cap {rules.cap:.2f}")
        elif filled[name] > scaled and lower[name] > floor:
            reasons[name].append("critical now: not lowered")
        elif filled[name] > scaled:
            reasons[name].append(f"held at the floor {rules.floor:.2f}")
        elif scale != 1:
            reasons[name].append(f"all scaled to {float(room):.2f}, beside what is fixed")
    after = {name: float(filled.get(name, present[name])) for name in COMPONENTS}
    return Adjustment(after=after, reasons={name: why for name, why in reasons.items() if why})


def _wanted(
    share: Fraction, history: ComponentHistory | None, rules: AdaptPolicy, *, critical: bool
) -> tuple[Fraction, list[str]]:
    """What a component's own history asks for, before scaling, and why."""
    why: list[str] = []
    if history is None:
        return share, why
    if history.exhaustion_count > rules.exhaustions_over:
        raised = max(share, min(share + exact(rules.raise_by), exact(rules.cap)))
        cause = f"{history.exhaustion_count} exhaustions, more than {rules.exhaustions_over}"
        why.append(f"{cause}: {float(raised - share):+.2f}")
        share = raised
    if history.avg_utilization < rules.idle_below:
        cause = f"average utilization {history.avg_utilization:.2f} below {rules.idle_below:.2f}"
        if critical:
            why.append(f"{cause}, but critical now: not lowered")
        else:
            lowered = max(share - exact(rules.lower_by), exact(rules.floor))
            why.append(f"{cause}: {float(lowered - share):+.2f}")
            share = lowered
    return share, why


_Shares = Mapping[Component, Fraction]


def _fill(
    room: Fraction, wanted: _Shares, lower: _Shares, *, floor: Fraction, cap: Fraction
) -> tuple[dict[Component, Fraction], Fraction]:
    """Scale what is wanted to exactly `room` within its bounds; where they contradict, the weakest rule yields.

    The order is that of SPEC 3.4: the sum first, then floors, then caps, then `lower` (critical ones not lowered). A
    rule that yields still holds as nearly as the stronger ones allow.
    """
    floors = dict.fromkeys(wanted, floor)
    caps = dict.fromkeys(wanted, cap)
    if room < sum(floors.values()):
        return _pour(room, floors, dict.fromkeys(wanted, Fraction(0)), floors)
    if room > sum(caps.values()):
        return _pour(room, wanted, caps, dict.fromkeys(wanted, room))
    if room < sum(lower.values()):
        return _pour(room, lower, floors, lower)
    return _pour(room, wanted, lower, caps)


def _pour(
    room: Fraction, weights: _Shares, lower: _Shares, upper: _Shares
) -> tuple[dict[Component, Fraction], Fraction]:
    """The one scale at which the weights, each clipped to its bounds, sum to `room`; the clipped weights and the scale.

    Clipping, redistributing what was cut off, and repeating ends here too; but the sum grows with the scale and is
    straight between the points where a weight meets a bound, so the answer is found exactly by walking these points.
    Needs sum(lower) <= room <= sum(upper).
    """
    reach = sum(upper[name] if weight else lower[name] for name, weight in weights.items())
    if room > reach:  # those of weight are full, and what is left goes to those of none, alike
        lower = {name: upper[name] if weight else lower[name] for name, weight in weights.items()}
        weights = {name: weight or Fraction(1) for name, weight in weights.items()}

    def clipped(scale: Fraction) -> dict[Component, Fraction]:
        return {name: min(max(scale * weight, lower[name]), upper[name]) for name, weight in weights.items()}

    one = Fraction(1)
    if sum(clipped(one).values()) == room:
        return clipped(one), one
    bounds = {bound[name] / weight for name, weight in weights.items() if weight for bound in (lower, upper)}
    scale, below = Fraction(0), sum(clipped(Fraction(0)).values())
    for point in sorted(bounds):
        there = sum(clipped(point).values())
        if there >= room:
            if there > below:
                scale += (point - scale) * (room - below) / (there - below)
            break
        scale, below = point, there
    return clipped(scale), scale
