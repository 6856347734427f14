"""What is coming: the needs of planned tasks, shares that would cover them, and the time until the window is full.

Needs start from the complexity prior of SPEC 3.8; what an agent's completed tasks taught comes in as `calibrate`. The
short horizon is a straight line through the session's own growth.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import isfinite
from types import MappingProxyType
from typing import TypeAlias

from sidecar.budget.allocation import split_beside
from sidecar.budget.commands import TaskSpec
from sidecar.budget.policy import COMPONENTS, Component, Policy, PredictPolicy
from sidecar.budget.profile import Profile
from sidecar.budget.ratio import exact, portion
from sidecar.budget.replies import Complexity, Forecast, TaskPrediction

Needs: TypeAlias = dict[Component, int]

_NOTHING: Mapping[Component, int] = MappingProxyType({})
_START_COUNTS = 2.5  # tasks that what was known before counts for: it gives way to the third that says otherwise
_MOST = 100.0  # times the prior: more is no task of that kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The needs of tasks, in tokens: each task's own, and their sums over all five components (0 where none)."""

    tasks: list[TaskPrediction]
    prior: Needs
    predicted: Needs


def score_of(task: TaskSpec, policy: PredictPolicy) -> float:
    """How much there is to a task: its files, agents and minutes, weighted."""
    return (
        policy.per_file * len(task.files)
        + policy.per_agent * len(task.agents)
        + policy.per_minute * task.estimated_minutes
    )


def complexity_of(score: float, policy: PredictPolicy) -> Complexity:
    """The row of the prior's table."""
    if score < policy.moderate_from:
        return "simple"
    return "moderate" if score < policy.complex_from else "complex"


def prior_of(complexity: Complexity, policy: PredictPolicy) -> Needs:
    """What a task of this complexity needs, as far as nothing was learned."""
    row = policy.needs[complexity]
    return {name: row.get(name, 0) for name in COMPONENTS}


def as_it_is(complexity: Complexity, prior: Needs) -> Needs:  # noqa: ARG001 - the signature of every calibration
    """The calibration that has learned nothing."""
    return dict(prior)


def calibrated(profile: Profile, complexity: Complexity, prior: Needs) -> Needs:
    """The prior, times what the agent's completed tasks have taught; rounded up.

    The factor of a component comes from all of the agent's remembered tasks; those of the same complexity then move it
    further. Either time what was known before counts as a few tasks of its own (`nearest`), so that with little data
    the prior stands.
    """
    if not profile.tasks and not profile.calibration:
        return prior
    needs = dict(prior)
    for name, tokens in prior.items():
        if not tokens:
            continue
        observed = [(each.complexity, each.prior.get(name, 0), each.actual.get(name, 0)) for each in profile.tasks]
        start = profile.calibration.get(name, 1.0)
        shared = nearest([(was, took) for _, was, took in observed], start=start)
        own = nearest([(was, took) for of, was, took in observed if of == complexity], start=shared)
        needs[name] = portion(round(own, 6))(tokens)
    return needs


def factors(profile: Profile) -> dict[Component, float]:
    """What each component's prior is multiplied by, whatever the complexity; the unknown left out."""
    found: dict[Component, float] = {}
    for name in COMPONENTS:
        observed = [(each.prior.get(name, 0), each.actual.get(name, 0)) for each in profile.tasks]
        if name in profile.calibration or any(prior for prior, _ in observed):
            found[name] = round(nearest(observed, start=profile.calibration.get(name, 1.0)), 6)
    return found


def nearest(observed: Sequence[tuple[int, int]], *, start: float) -> float:
    """What the prior has to be multiplied by to come nearest to what tasks took.

    Args:
        observed: pairs of prior and actual tokens; those without a prior say nothing.
        start: the factor as far as nothing was observed; it counts as `_START_COUNTS` tasks of mean size.

    Returns:
        The factor of least absolute error, between 0 and `_MOST`. That is a median of the ratios, weighted by the
        prior: odd tasks do not move it, however odd.
    """
    ratios = [(min(actual / prior, _MOST), float(prior)) for prior, actual in observed if prior > 0]
    if not ratios:
        return start
    ratios.append((start, _START_COUNTS * sum(size for _, size in ratios) / len(ratios)))
    ratios.sort()
    half, passed = sum(size for _, size in ratios) / 2, 0.0
    for ratio, size in ratios:
        passed += size
        if passed >= half:
            return ratio
    return ratios[-1][0]


def predict_needs(
    tasks: Sequence[TaskSpec], policy: Policy, *, calibrate: Callable[[Complexity, Needs], Needs] = as_it_is
) -> Prediction:
    """Predict what tasks will need together.

    Args:
        tasks: in any order; their needs add up.
        policy: the weights and the table of the prior.
        calibrate: makes a task's needs from its complexity and prior, by what was learned from completed ones.
    """
    predictions: list[TaskPrediction] = []
    for task in tasks:
        score = score_of(task, policy.predict)
        complexity = complexity_of(score, policy.predict)
        prior = prior_of(complexity, policy.predict)
        predictions.append(
            {
                "id": task.id,
                "score": score,
                "complexity": complexity,
                "prior": prior,
                "predicted": calibrate(complexity, prior),
            }
        )
    return Prediction(
        tasks=predictions,
        prior=_sum(each["prior"] for each in predictions),
        predicted=_sum(each["predicted"] for each in predictions),
    )


def suggest_shares(
    *,
    total: int,
    allocated: Mapping[Component, int],
    used: Mapping[Component, int],
    needs: Mapping[Component, int],
    policy: Policy,
    shares: Mapping[Component, float],
    taken: Mapping[Component, int] = _NOTHING,
) -> dict[Component, float] | None:
    """The smallest change of shares after which every need fits, or None if nothing is short or nothing can be done.

    Exactly what is missing moves, from what others neither use nor need, each giving the same part of that. Nobody is
    left below the floor; fixed components neither give nor take. All sizes are tokens, `allocated` the split of `total`
    by `shares`, beside what measured components have `taken` whatever their share.
    """
    adjustable = [name for name in COMPONENTS if not policy.components[name].fixed]
    wanted = {name: used[name] + needs.get(name, 0) for name in adjustable}
    lacks = {
        name: wanted[name] - allocated[name]
        for name in adjustable
        if needs.get(name, 0) and wanted[name] > allocated[name]
    }
    room = 1 - sum((exact(shares[name]) for name in taken), Fraction())
    # What a share of 1 comes to, for those that divide what is left beside the measured ones.
    whole = (total - sum(allocated[name] for name in taken)) / room if room > 0 else Fraction(total)
    spare = {
        name: _above_floor(total, whole, allocated[name], shares[name], wanted[name], policy.adapt.floor)
        for name in adjustable
        if name not in lacks
    }
    missing, there = sum(lacks.values()), sum(spare.values())
    if not missing or missing > there:
        return None
    moved = {name: lacks.get(name, 0) for name in COMPONENTS}
    for name, tokens in _portions(missing, spare).items():
        moved[name] = -tokens
    after = {name: allocated[name] + moved[name] for name in COMPONENTS}
    # Moving whole tokens keeps the digits of a share as they were; where the rounding of the split would tip over,
    # the tokens themselves are the shares.
    if whole > 0:
        suggested = {name: float(exact(shares[name]) + moved[name] / whole) for name in COMPONENTS}
        if min(suggested.values()) >= 0 and split_beside(total, suggested, taken) == after:
            return suggested
    return {name: tokens / total for name, tokens in after.items()}


def straight_line(samples: Sequence[tuple[float, int, int]], available: int) -> Forecast:
    """Time until the window is full, if it goes on growing as it did since its last fall.

    Args:
        samples: session time in seconds, used tokens of the whole window, model calls so far; oldest first.
        available: what is left of the window, in tokens.

    Returns:
        `eta_seconds` and `eta_calls`, each left out if the window does not grow or nothing is known; 0 if it is full.
    """
    if available <= 0:
        return {"eta_seconds": 0.0, "eta_calls": 0.0}
    forecast: Forecast = {}
    seconds = _until([(time, used) for time, used, _ in samples], available)
    calls = _until([(float(call), used) for _, used, call in samples], available)
    if seconds is not None:
        forecast["eta_seconds"] = seconds
    if calls is not None:
        forecast["eta_calls"] = calls
    return forecast


def _until(points: Sequence[tuple[float, int]], available: int) -> float | None:
    """How far the line of least squares goes on until it has risen by `available`; None if it does not rise."""
    if not points:
        return None
    # Counted from the first point: the square of an epoch time would leave few digits for the differences.
    origin, base = points[0]
    count = len(points)
    xs = [x - origin for x, _ in points]
    ys = [y - base for _, y in points]
    mean_x, mean_y = sum(xs) / count, sum(ys) / count
    # A product overflows to infinity, where a power would raise; a host may well send times of that kind.
    spread = sum((x - mean_x) * (x - mean_x) for x in xs)
    rise = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True))
    if spread <= 0 or rise <= 0:
        return None
    distance = available * spread / rise
    return distance if isfinite(distance) else None


def _sum(needs: Iterable[Needs]) -> Needs:
    """Needs added up, over all five components."""
    total: Needs = dict.fromkeys(COMPONENTS, 0)
    for each in needs:
        for name, tokens in each.items():
            total[name] += tokens
    return total


def _above_floor(total: int, whole: Fraction, allocated: int, share: float, wanted: int, floor: float) -> int:
    """The whole tokens that a component can give without falling below what it wants, or below the floor.

    The floor holds for its tokens and for its share, `whole` times which it has: the split may have rounded either way
    between them.
    """
    by_tokens = allocated - max(wanted, portion(floor)(total))
    by_share = int((exact(share) - exact(floor)) * whole)
    return max(0, min(by_tokens, by_share))


def _portions(amount: int, spare: Mapping[Component, int]) -> Needs:
    """`amount` taken from `spare` in proportion, in whole tokens that sum to it; none gives more than it has."""
    whole = sum(spare.values())
    portions = {name: amount * tokens // whole for name, tokens in spare.items()}
    by_remainder = sorted(spare, key=lambda name: -(amount * spare[name] % whole))
    for name in by_remainder[: amount - sum(portions.values())]:
        portions[name] += 1
    return portions
