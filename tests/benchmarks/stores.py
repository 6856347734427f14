"""What durability costs, and what two replicas on one PostgreSQL do against one: each a process of its own."""

import asyncio
import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from sidecar.budget.commands import OpenSession, RequestAllocation
from sidecar.journal import Journal, JournalError
from sidecar.journal.postgres import PostgresJournal
from sidecar.journal.sqlite import SqliteJournal
from sidecar.ledger import Ledger
from tests.benchmarks.figures import Figure, pairs
from tests.postgres import Server

NAME = "stores: what durability costs, and what replicas do"
WRITERS = 16


def measure(effort: float) -> Iterator[Figure]:
    """Ratios of commands a second."""
    seconds = max(0.5, 3 * effort)
    for name, writers in (("one writer", 1), (f"{WRITERS} writers", WRITERS)):
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:  # on a disk, wherever temporary files are
            files = (Path(folder) / f"{n}.db" for n in range(100))

            def speed(durability: Any, files: Iterator[Path] = files, writers: int = writers) -> float:
                journal = SqliteJournal(next(files), durability=durability)
                return asyncio.run(written(journal, "s", seconds / 3, writers=writers))["rate"]

            ratio, normal, full = pairs(lambda: speed("normal"), lambda: speed("full"), 3)
            yield Figure(name=f"SQLite, {name}: normal, commands/s", value=sorted(normal)[1])
            yield Figure(name=f"SQLite, {name}: full, commands/s", value=sorted(full)[1])
            yield Figure(name=f"SQLite, {name}: normal of full", value=ratio, unit="times")
    if shutil.which("initdb"):
        yield from _replicas(seconds)


def _replicas(seconds: float) -> Iterator[Figure]:
    with tempfile.TemporaryDirectory(prefix="token-budget-postgres-", ignore_cleanup_errors=True) as name:
        shutil.chown(name, "postgres", "postgres")
        server = Server(Path(name))
        server.start("-c fsync=on")
        try:
            server.sql("CREATE DATABASE budget")
            for sessions, names in (("different sessions", ("one", "two")), ("one hot session", ("hot", "hot"))):
                server.empty()
                (alone,) = processes(server.url, names[:1], seconds)
                both = processes(server.url, names, seconds)
                together = sum(each["rate"] for each in both)
                yield Figure(name=f"PostgreSQL, {sessions}: one replica, commands/s", value=alone["rate"])
                yield Figure(name=f"PostgreSQL, {sessions}: two replicas, commands/s", value=together)
                yield Figure(name=f"PostgreSQL, {sessions}: two of one", value=together / alone["rate"], unit="times")
                tries = sum(each["turns"] for each in both)
                conflicts = sum(each["conflicts"] for each in both) / max(1, tries)
                yield Figure(name=f"PostgreSQL, {sessions}: conflicts", value=100 * conflicts, unit="% of turns")
        finally:
            server.stop()


def processes(url: str, sessions: tuple[str, ...], seconds: float) -> list[dict[str, float]]:
    """A process for each session name, all at once; what they measured."""
    start = str(time.time() + 3)
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.stores", url, f"replica-{n}", session, str(seconds), start],
            stdout=subprocess.PIPE,
            text=True,
        )
        for n, session in enumerate(sessions)
    ]
    return [json.loads(process.communicate()[0]) for process in running]


async def written(
    journal: Journal, session: str, seconds: float, *, writers: int, start: float = 0
) -> dict[str, float]:
    """Commands a second of a ledger whose callers write without pause, and how often another was first."""
    appends = 0

    def appended(_seconds: float, _entries: int, _ok: bool) -> None:
        nonlocal appends
        appends += 1

    ledger = Ledger(journal, on_append=appended)
    await ledger.start()
    with contextlib.suppress(JournalError):
        await ledger.handle(session, OpenSession(total_tokens=10**9))
    await asyncio.sleep(max(0.0, start - time.time()))
    begun, worked, done = perf_counter(), process_time(), 0

    async def write(writer: int) -> None:
        nonlocal done
        number = 0
        while perf_counter() - begun < seconds:
            number += 1
            id = f"{journal.writer}-{writer}-{number}"
            try:
                await ledger.handle(session, RequestAllocation(component="agent_context", tokens=1, request_id=id))
                done += 1
            except JournalError:
                pass  # contended for too long; a host would ask again

    await asyncio.gather(*(write(n) for n in range(writers)))
    took, work = perf_counter() - begun, process_time() - worked
    result = {"rate": done / took, "work": work / max(1, done), "turns": appends, "conflicts": ledger.conflicts}
    await ledger.stop()
    return result


if __name__ == "__main__":
    _, url, writer, session, length, start = sys.argv
    journal = PostgresJournal(url, writer=writer)
    print(json.dumps(asyncio.run(written(journal, session, float(length), writers=WRITERS, start=float(start)))))
