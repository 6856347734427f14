"""A cleanup of ten thousand items: decided, and applied to the session with all its directives (SPEC 3.5)."""

from collections.abc import Callable, Iterator
from functools import partial
from operator import attrgetter
from typing import Any

from sidecar.budget.commands import CleanUp
from sidecar.budget.session import Session
from tests.benchmarks.figures import Figure, quantile
from tests.benchmarks.sessions import HOUR, NOW, copies, run, session_of, times

NAME = "cleanup of 10,000 items"
ITEMS = 10_000


def measure(effort: float) -> Iterator[Figure]:
    """Nothing, few and all of them acted on."""
    rounds = max(5, int(25 * effort))
    by_age = attrgetter("last_accessed_at")
    cases = {
        # Put over the last 55 minutes, 66 minutes, or all of it hours ago; acted on is what was not used for an hour.
        "nothing found": (session_of(ITEMS, tokens=12_000, spread=0.9 * HOUR), NOW, 2.0),
        "a tenth acted on": (session_of(ITEMS, tokens=12_000, spread=1.11 * HOUR), NOW, 25.0),
        "all acted on": (session_of(ITEMS, tokens=12_000), NOW + 2 * HOUR, 25.0),
    }
    for name, (session, now, aim) in cases.items():
        ready = copies(session, rounds)
        taken = times(partial(_cleaning, ready, now), rounds)
        items = list(session.components["working_memory"].items.values())
        sorting = times(lambda _, items=items: partial(sorted, items, key=by_age), rounds)  # type: ignore[misc]
        yield Figure(name=f"{name}: p50", value=quantile(taken, 0.5) * 1e3, unit="ms")
        yield Figure(name=f"{name}: p99", value=quantile(taken, 0.99) * 1e3, unit="ms", at_most=aim)
        yield Figure(name=f"{name}: of sorting the ages", value=quantile(taken, 0.5) / quantile(sorting, 0.5))


def _cleaning(ready: Iterator[Session], now: float, _: int) -> Callable[[], Any]:
    return partial(run, next(ready), CleanUp(component="working_memory"), now)
