"""Window sync of two thousand items of which ten changed, against comparing two dictionaries (SPEC 3.7)."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from sidecar.budget.commands import SyncWindow, WindowItem
from sidecar.budget.session import Session
from tests.benchmarks.figures import Figure, quantile
from tests.benchmarks.sessions import NOW, run, session_of, times

NAME = "window sync of 2,000 items, 10 changed"
ITEMS, CHANGED = 2_000, 10


def measure(effort: float) -> Iterator[Figure]:
    """With sizes alone, and with the kind of every item said again."""
    rounds = max(20, int(200 * effort))
    for says, more in (("sizes", {}), ("sizes and kinds", {"kind": "tool_result"})):
        session, sizes = session_of(ITEMS), {f"item-{number}": 100 for number in range(ITEMS)}
        taken = times(partial(_syncing, session, sizes, more), rounds)
        bare = times(partial(_comparing, sizes), rounds)
        ratio = quantile(taken, 0.5) / quantile(bare, 0.5)
        yield Figure(name=f"{says}: p50", value=quantile(taken, 0.5) * 1e3, unit="ms", at_most=5)
        yield Figure(name=f"{says}: of comparing two dictionaries", value=ratio, at_most=5)


def _changed(sizes: dict[str, int], number: int) -> None:
    for offset in range(CHANGED):
        sizes[f"item-{(number * CHANGED + offset) % ITEMS}"] += 1


def _syncing(session: Session, sizes: dict[str, int], more: dict[str, Any], number: int) -> Callable[[], Any]:
    _changed(sizes, number)
    command = SyncWindow(items=[WindowItem(id=name, tokens=tokens, **more) for name, tokens in sizes.items()])
    return partial(run, session, command, NOW + number)


def _comparing(sizes: dict[str, int], number: int) -> Callable[[], Any]:
    before = dict(sizes)
    _changed(sizes, number)

    def compare() -> tuple[list[str], list[str]]:
        changed = [name for name, tokens in sizes.items() if before.get(name) != tokens]
        return changed, [name for name in before if name not in sizes]

    return compare
