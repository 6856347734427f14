"""Decisions in-process, without journal: the same with ten items and with a hundred thousand (SPEC 3.2)."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from sidecar.budget.commands import Command, ItemSpec, PutItem, ReleaseTokens, RequestAllocation, TouchItem
from sidecar.budget.session import Session
from tests.benchmarks.figures import Figure, quantile
from tests.benchmarks.sessions import NOW, run, session_of, times

NAME = "decision in-process, without cleanup"
ROUNDS = 5


def measure(effort: float) -> Iterator[Figure]:
    """Median and 99th percentile of three commands, in sessions of growing size.

    The 99th percentile is that of the quietest of five rounds: whoever takes the core away leaves its caches cold, and
    that shows in processor time too.
    """
    count = max(400, int(2000 * effort))
    medians: dict[str, list[float]] = {}
    for items in (10, 1_000, 10_000, 100_000):
        session = session_of(items)
        for name, command in COMMANDS.items():
            rounds = [times(partial(prepared, session, command, first * count), count) for first in range(ROUNDS)]
            medians.setdefault(name, []).append(quantile([each for one in rounds for each in one], 0.5))
            worst = min(quantile(one, 0.99) for one in rounds)
            yield Figure(name=f"{name}, {items:,} items: p50", value=medians[name][-1] * 1e6, unit="us")
            yield Figure(name=f"{name}, {items:,} items: p99", value=worst * 1e6, unit="us", at_most=50)
    for name, each in medians.items():
        yield Figure(name=f"{name}: largest session to smallest, p50", value=each[-1] / each[0], at_most=1.5)


def prepared(session: Session, command: Callable[[int], Command], first: int, number: int) -> Callable[[], Any]:
    """One command, ready to be decided; what the last request took is given back first."""
    number += first
    free = session.components["knowledge_base"].unheld
    if free:
        run(session, ReleaseTokens(component="knowledge_base", tokens=free), NOW + number)
    return partial(run, session, command(number), NOW + number)


def request(number: int) -> Command:
    """A request that fits."""
    return RequestAllocation(component="knowledge_base", tokens=100, request_id=f"request-{number}")


def put(number: int) -> Command:
    """An item that is held already, with another size."""
    return PutItem(item=ItemSpec(id="item-3", kind="tool_result", tokens=100 + number % 2))


def touch(_: int) -> Command:
    """An item used."""
    return TouchItem(item="item-5")


COMMANDS: dict[str, Callable[[int], Command]] = {"request": request, "put": put, "touch": touch}
