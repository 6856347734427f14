"""How long a restart takes to rebuild open sessions of 10,000 entries each, with snapshots and without."""

import asyncio
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import perf_counter, process_time

from sidecar.budget.commands import Command, ItemSpec, PutItem, RemoveItem, RequestAllocation, TouchItem
from sidecar.budget.decide import Defaults, decide
from sidecar.budget.entries import AnyEntry
from sidecar.budget.evolve import replay
from sidecar.journal import Frame
from sidecar.journal.freezing import freeze
from sidecar.journal.sqlite import SqliteJournal
from sidecar.ledger import Ledger
from tests.benchmarks.figures import Figure

NAME = "restore: a restart with so many entries in the journal"
NOW = 1_800_000_000.0
SIZES = (10_000, 100_000, 1_000_000)
LONG = 10_000  # entries of a session
COVERED = LONG - 500  # by its snapshot: one is taken every 1,000 entries, so 500 follow it on average
TOGETHER = 4  # entries of a frame


def measure(effort: float) -> Iterator[Figure]:
    """The table: entries by with and without."""
    story = entries_of_a_session()
    for size in SIZES:
        if size > 100_000 and effort < 1:
            continue
        for snapshots in (False, True):
            seconds, worked = asyncio.run(restored(story, size // LONG, snapshots=snapshots))
            name = f"{size:,} entries in {size // LONG} sessions, {'with' if snapshots else 'without'} snapshots"
            yield Figure(name=name, value=seconds, unit="s", at_most=10.0 if snapshots else None)
            yield Figure(name="  of which the processor worked", value=worked, unit="s")


def entries_of_a_session() -> Sequence[AnyEntry]:
    """What an agent's hours are like: items come, are used and go, and tokens are asked for."""
    entries: list[AnyEntry] = []
    session = None
    for number in range(LONG):
        item = f"item-{number // 4}"
        commands: list[Command] = [
            PutItem(item=ItemSpec(id=item, kind="tool_result", tokens=100)),
            TouchItem(item=item),
            RequestAllocation(component="agent_context", tokens=1, request_id=f"r{number}"),
            RemoveItem(item=f"item-{max(0, number // 4 - 100)}") if number > 400 else TouchItem(item=item),
        ]
        command = commands[number % 4]
        decision = decide(
            session, command, id="s", now=NOW + number, defaults=Defaults(total_tokens=10**9), auto_open=True
        )
        session = decision.session
        entries.extend(decision.entries)
        if len(entries) >= LONG:
            break
    return entries[:LONG]


async def restored(story: Sequence[AnyEntry], sessions: int, *, snapshots: bool) -> tuple[float, float]:
    """Seconds that a ledger takes to start, and those of the processor's time."""
    with tempfile.TemporaryDirectory() as folder:
        journal = SqliteJournal(Path(folder) / "journal.db")
        await journal.open()
        for first in range(0, LONG, TOGETHER):
            part = story[first : first + TOGETHER]
            await journal.append(
                [Frame(session=f"s{n}", first=first + 1, written_at=NOW, entries=part) for n in range(sessions)]
            )
        if snapshots:
            for n in range(sessions):
                session = replay(f"s{n}", story[:COVERED])
                assert session is not None
                await journal.keep_snapshots([freeze(session, written_at=NOW)])
        await journal.close()
        ledger = Ledger(journal, clock=lambda: NOW)
        begun, worked = perf_counter(), process_time()
        await ledger.start()
        seconds = perf_counter() - begun, process_time() - worked
        assert len(ledger.active()) == sessions
        assert all(session.version == LONG for session in ledger.active())
        await ledger.stop()
        return seconds
