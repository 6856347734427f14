"""Where a window is going: its expected utilization some model calls ahead, and the time until it is full (SPEC 3.8).

Growth that is steady goes on along its straight line. Growth that is not, as that of real agents, follows the robust
pace of the calls (budget/pace.py). Either is what the window will hold if nothing is cleaned up. After a fall there is
no forecast until the window grows again.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from sidecar.budget.pace import REACHES, Pace, Reach
from sidecar.budget.policy import Component
from sidecar.budget.prediction import straight_line
from sidecar.budget.replies import Forecast, Range

Sample: TypeAlias = tuple[float, int, int]  # session time in seconds, used tokens, model calls so far
Level: TypeAlias = tuple[int, int, Pace]  # used tokens, tokens of the budget, growth

_STEADY = 0.25  # growth that strays no further from its mean than by this part of it is a line
_LINE_FROM = 3  # growths that make a line to go by for more than the time to exhaustion
# Along a line each call adds the same, but for what it may stray.
STRAIGHT = tuple(Reach(reach.calls, low=1 - _STEADY, expected=1.0, high=1 + _STEADY) for reach in REACHES)


def forecast(
    *, samples: Sequence[Sample], available: int, window: Level, components: Mapping[Component, Level]
) -> Forecast:
    """What a report tells of the future.

    Args:
        samples: the latest points of the whole window since its last fall, oldest first.
        available: what is left of the window, in tokens.
        window: the whole window.
        components: each of its parts.

    Returns:
        `eta_seconds` and `eta_calls`, as `straight_line` does; and where model calls are known, how many tokens one
        adds and what they make of the window at each horizon.
    """
    found = time_left(samples=samples, available=available, pace=window[2])
    told = rates(samples, [pace for _, _, pace in (window, *components.values())])
    if told is None:
        return found
    grows, reaches = told
    found["tokens_per_call"] = grows[0]
    found["expected"] = [
        {
            "calls": reach.calls,
            **_range(window, grows[0], reach),
            "components": {
                name: _range(level, rate, reach)
                for (name, level), rate in zip(components.items(), grows[1:], strict=True)
            },
        }
        for reach in reaches
    ]
    return found


def rates(samples: Sequence[Sample], paces: Sequence[Pace]) -> tuple[list[float], Sequence[Reach]] | None:
    """How many tokens a model call adds to each level, and what is made of that; None where nobody knows.

    `paces`: the whole window's first.
    """
    growths = _growths(samples)
    if not growths:
        return None
    if len(growths) >= _LINE_FROM and _steady(growths):
        means = [pace.mean for pace in paces]
        means[0] = sum(growths) / len(growths)
        return means, STRAIGHT
    return [pace.rate for pace in paces], REACHES


def time_left(*, samples: Sequence[Sample], available: int, pace: Pace) -> Forecast:
    """`eta_seconds` and `eta_calls` alone."""
    growths = _growths(samples)
    if len(growths) > 1 and available > 0 and not _steady(growths):
        return _at_pace(samples, available, pace.rate)
    return straight_line(samples, available)


def _range(level: Level, rate: float, reach: Reach) -> Range:
    used, budget, _ = level
    return {
        "utilization_ratio": at(used, budget, rate, reach, reach.expected),
        "low": at(used, budget, rate, reach, reach.low),
        "high": at(used, budget, rate, reach, reach.high),
    }


def at(used: int, budget: int, rate: float, reach: Reach, part: float) -> float:
    """The utilization when a part of what the rate makes of so many calls was added."""
    return (used + rate * reach.calls * part) / budget if budget else 0.0


def _at_pace(samples: Sequence[Sample], available: int, rate: float) -> Forecast:
    if rate <= 0:
        return {}
    calls = available / rate
    found: Forecast = {"eta_calls": calls}
    (begun, _, first), (now, _, last) = samples[0], samples[-1]
    if now > begun:
        found["eta_seconds"] = calls * (now - begun) / (last - first)
    return found


def _growths(samples: Sequence[Sample]) -> list[int]:
    """What each model call added, since the last fall; what came before the first of these calls is not known.

    The first call adds to the level that the last fall left. Where the first sample is only the oldest that is
    remembered, nobody knows whether a call found it.
    """
    cut = isinstance(samples, deque) and len(samples) == samples.maxlen
    seen = samples[0][2] if cut else None
    before: int | None = None
    growths = []
    for _, used, call in samples:
        if call != seen and call:
            if before is not None:
                growths.append(used - before)
            seen, before = call, used
    return growths


def _steady(growths: Sequence[int]) -> bool:
    mean = sum(growths) / len(growths)
    return mean > 0 and max(max(growths) - mean, mean - min(growths)) <= _STEADY * mean
