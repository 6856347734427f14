"""How cost grows: with items, sessions, callers at a time, and replicas. Four lines, which are drawn (growth.svg)."""

import asyncio
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from time import process_time

from sidecar.budget.commands import OpenSession, RequestAllocation
from sidecar.exporters.prometheus import Exporter
from sidecar.journal.sqlite import SqliteJournal
from sidecar.ledger import Ledger, Limits
from tests.benchmarks import decisions, stores
from tests.benchmarks.curves import Curve, draw
from tests.benchmarks.figures import Figure, quantile
from tests.benchmarks.scrape import scraped
from tests.benchmarks.sessions import session_of, times
from tests.postgres import Server

NAME = "how cost grows"
PICTURE = Path(__file__).with_name("growth.svg")
CALLERS = (1, 4, 16, 64, 256)
REPLICAS = (1, 2, 3, 4)


def measure(effort: float) -> Iterator[Figure]:
    """Each point, and the picture of them. Processor time, but for the scrape of a crowded machine as well."""
    curves = [_items(effort), _sessions(effort), _callers(effort)]
    if shutil.which("initdb"):
        curves.append(_replicas(effort))
    PICTURE.write_text(draw(curves))
    for curve in curves:
        for name, points in curve.lines.items():
            for size, value in points.items():
                yield Figure(name=f"{name}, {size:,} {curve.along}", value=value, unit=curve.unit)


def _items(effort: float) -> Curve:
    """A decision in a session of so many items."""
    count = max(200, int(1000 * effort))
    lines: dict[str, dict[int, float]] = {"request": {}, "put": {}}
    for name, points in lines.items():
        for items in (10, 100, 1_000, 10_000, 100_000):
            taken = times(partial(decisions.prepared, session_of(items), decisions.COMMANDS[name], 0), count)
            points[items] = quantile(taken, 0.5) * 1e6
    return Curve(title="A decision", along="items", unit="us", lines=lines)


def _sessions(effort: float) -> Curve:
    """A scrape with so many active sessions, none of which changed, and its longest hold of the event loop."""
    rounds = max(3, int(10 * effort))
    whole, held = {}, {}
    for count in (1, 10, 100, 1_000, 10_000):
        _, longest, again, _ = asyncio.run(scraped(count, rounds))
        whole[count], held[count] = again * 1e3, longest * 1e3
    return Curve(title="A scrape", along="sessions", unit="ms", lines={"again": whole, "longest hold": held})


def _callers(effort: float) -> Curve:
    """An allocation, durable and counted, where so many callers ask all the time; and how many share a commit."""
    work, shared = {}, {}
    for callers in CALLERS:
        with tempfile.TemporaryDirectory() as folder:
            work[callers], shared[callers] = asyncio.run(_asking(Path(folder), callers, max(500, int(5000 * effort))))
    return Curve(
        title="An allocation", along="callers", unit="us", lines={"processor time": work, "commands a commit": shared}
    )


async def _asking(folder: Path, callers: int, count: int) -> tuple[float, float]:
    exporter, appends = Exporter(agent="bench"), 0

    def appended(seconds: float, entries: int, ok: bool) -> None:
        nonlocal appends
        appends += 1
        exporter.on_append(seconds, entries, ok)

    # Nobody is refused here, however slow the machine: what is asked is what it costs.
    limits = Limits(waiting_seconds=60)
    ledger = Ledger(SqliteJournal(folder / "journal.db"), sinks=(exporter,), limits=limits, on_append=appended)
    await ledger.start()
    for session in range(4):
        await ledger.handle(f"s{session}", OpenSession(agent="bench", total_tokens=10**12))

    async def ask(caller: int) -> None:
        for number in range(caller, count, callers):
            command = RequestAllocation(component="working_memory", tokens=1, request_id=f"r{number}")
            await ledger.handle(f"s{number % 4}", command)

    before, begun = appends, process_time()
    await asyncio.gather(*(ask(caller) for caller in range(callers)))
    took, commits = process_time() - begun, appends - before
    await ledger.stop()
    return took / count * 1e6, count / commits


def _replicas(effort: float) -> Curve:
    """An allocation where so many replicas share one PostgreSQL, each with a session of its own."""
    points: dict[int, float] = {}
    with tempfile.TemporaryDirectory(prefix="token-budget-postgres-", ignore_cleanup_errors=True) as name:
        shutil.chown(name, "postgres", "postgres")
        server = Server(Path(name))
        server.start("-c fsync=on")
        try:
            server.sql("CREATE DATABASE budget")
            for count in REPLICAS:
                server.empty()
                names = tuple(f"replica-{number}" for number in range(count))
                found = stores.processes(server.url, names, max(1.0, 3 * effort))
                points[count] = sum(each["work"] for each in found) / count * 1e6
        finally:
            server.stop()
    lines: Mapping[str, Mapping[int, float]] = {"processor time": points}
    return Curve(title="An allocation on PostgreSQL", along="replicas", unit="us", lines=lines)
