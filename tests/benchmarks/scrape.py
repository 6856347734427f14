"""A scrape with up to ten thousand active sessions, against prometheus_client rendering the same series."""

import asyncio
from collections.abc import Iterable, Iterator
from time import thread_time

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from sidecar.budget.commands import ItemSpec, OpenSession, PutItem
from sidecar.budget.decide import decide
from sidecar.budget.session import Session
from sidecar.exporters.prometheus import Exporter
from sidecar.ledger import Origin, Record
from tests.benchmarks.figures import Figure, quantile
from tests.benchmarks.sessions import DEFAULTS, NOW, run

NAME = "scrape"


def measure(effort: float) -> Iterator[Figure]:
    """What a scrape takes once the sessions are known, and how long it holds the event loop at a time."""
    rounds = max(5, int(20 * effort))
    for count in (1, 100, 1_000, 10_000):
        taken, held, ours, theirs = asyncio.run(scraped(count, rounds))
        yield Figure(name=f"{count:,} sessions: first scrape", value=taken * 1e3, unit="ms")
        yield Figure(name=f"{count:,} sessions: longest hold of the loop", value=held * 1e3, unit="ms", at_most=10)
        yield Figure(name=f"{count:,} sessions: of prometheus_client", value=ours / theirs, at_most=1.5)


async def scraped(count: int, rounds: int) -> tuple[float, float, float, float]:
    """Seconds: of the first scrape, of the longest hold of the loop, of a later scrape, of prometheus_client's."""
    exporter = Exporter(agent="bench")
    sessions = [_session(number) for number in range(count)]
    for session in sessions:
        exporter.publish(_record(session))
    holds: list[float] = []
    watching = asyncio.create_task(_watch(holds))
    await asyncio.sleep(0)
    begun = thread_time()
    text, _ = await exporter.render()
    first = thread_time() - begun
    await asyncio.sleep(0)
    again = []
    for _ in range(rounds):
        begun = thread_time()
        text, _ = await exporter.render()
        again.append(thread_time() - begun)
        await asyncio.sleep(0)  # what was not interrupted shows as one piece
    watching.cancel()
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Same(list(text_string_to_metric_families(text.decode()))))
    theirs = []
    for _ in range(rounds):
        begun = thread_time()
        generate_latest(registry)
        theirs.append(thread_time() - begun)
    return first, max(holds), quantile(again, 0.5), quantile(theirs, 0.5)


class _Same:
    """The same series again."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


async def _watch(holds: list[float]) -> None:
    """This thread's work between two turns of the loop."""
    last = thread_time()
    while True:
        await asyncio.sleep(0)
        now = thread_time()
        holds.append(now - last)
        last = now


def _session(number: int) -> Session:
    opened = OpenSession(agent="bench", total_tokens=200_000)
    session = decide(None, opened, id=f"session-{number}", now=NOW, defaults=DEFAULTS).session
    for item in range(5):
        spec = ItemSpec(id=f"item-{item}", kind="interaction", tokens=1_000 + number % 1_000)
        run(session, PutItem(item=spec), NOW + item)
    return session


def _record(session: Session) -> Record:
    return Record(
        session=session,
        command=OpenSession(),
        entries=(),
        reply=None,
        runs=(),
        decision_seconds=0.0,
        origin=Origin(receiver="api"),
    )
