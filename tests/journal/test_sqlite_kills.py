"""`kill -9` in the middle of something: while the file is brought up to date, while its log moves."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.journal.sqlite import SqliteJournal
from sidecar.journal.sqlite_file import SCHEMA_VERSION

# Opens copies of a journal, each in a process of its own that kills itself before the nth statement of the migrations,
# and tells what it then finds when it opens the copy again.
MIGRATING = """
import asyncio, json, os, shutil, signal, sqlite3, sys
from sidecar.journal.sqlite import SqliteJournal

old, path = sys.argv[1:]
connect = sqlite3.connect
statements = 0

class Mortal(sqlite3.Connection):
    def executescript(self, script):
        global statements
        text = ""
        for piece in script.split(";"):
            text += piece + ";"
            if sqlite3.complete_statement(text):
                if statements == last:
                    os.kill(os.getpid(), signal.SIGKILL)
                statements += 1
                self.execute(text)
                text = ""

async def opened():
    journal = SqliteJournal(path)
    await journal.open()
    entries = [(stored.session, stored.version) async for stored in journal.read()]
    version, = journal._access.file.writer.execute("PRAGMA user_version").fetchone()
    records = [
        record.id for session in sorted({session for session, _ in entries})
        for record in await journal.archived(session, component=None, query=None, after=None, limit=1000)
    ]
    await journal.close()
    return [version, entries, records]

for last in range(1000):
    for ending in ("", "-wal", "-shm", ".lock"):
        if os.path.exists(path + ending):
            os.unlink(path + ending)
    if old:
        shutil.copy(old, path)
    if not (child := os.fork()):
        sqlite3.connect = lambda *args, **more: connect(*args, factory=Mortal, **more)
        asyncio.run(opened())
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(json.dumps([os.WIFSIGNALED(status), *asyncio.run(opened())]), flush=True)
    if not os.WIFSIGNALED(status):
        break
"""


@pytest.mark.parametrize("old", ["v1.journal", ""], ids=["an older one", "a new one"])
def test_a_process_killed_before_any_statement_of_a_migration_leaves_a_journal_that_opens_whole(
    old, tmp_path, checkout
):
    if old:
        old = shutil.copy(Path(__file__).with_name("golden") / old, tmp_path / "old")
    done = subprocess.run(
        [sys.executable, "-c", MIGRATING, str(old), str(tmp_path / "journal.db")],
        capture_output=True,
        text=True,
        cwd=checkout,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [killed for killed, *_ in found] == [True] * (len(found) - 1) + [False]
    assert len(found) > 10  # the statements of each step, with BEGIN and COMMIT
    *_, (_, *whole) = found
    assert [what for _, *what in found] == [whole] * len(found)
    assert whole[0] == SCHEMA_VERSION
    assert bool(whole[1]) == bool(whole[2]) == bool(old)


# Its log is moved again and again, and finished before every few commits.
MOVING = """
import asyncio, sys
from sidecar.journal import sqlite_log
from sidecar.journal.sqlite import SqliteJournal
from tests.journal.shapes import frame, put

sqlite_log._STEP_PAGES, sqlite_log._LOG_PAGES, sqlite_log._NEARLY = 4, 12, 1

async def main():
    journal = SqliteJournal(sys.argv[1], durability=sys.argv[2])
    await journal.open()
    version = 1 + len([each async for each in journal.read("s")])
    while True:
        await journal.append([frame(version, put(f"i{version}", content=version), contents={version: "x" * 9000})])
        print(version, flush=True)
        version += 1

asyncio.run(main())
"""


@pytest.mark.parametrize("durability", ["normal", "full"])
async def test_a_process_killed_while_its_log_moves_loses_nothing_that_was_acknowledged(tmp_path, checkout, durability):
    path = tmp_path / "journal.db"
    last = 0
    for commits in (7, 60):
        child = subprocess.Popen(  # noqa: ASYNC220 - nothing else runs on this loop
            [sys.executable, "-c", MOVING, str(path), durability], stdout=subprocess.PIPE, text=True, cwd=checkout
        )
        assert child.stdout is not None
        for _ in range(commits):
            last = int(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        last = max([last, *(int(line) for line in child.stdout if line.endswith("\n"))])
        child.stdout.close()
        assert child.wait() == -signal.SIGKILL
    journal = SqliteJournal(path)
    await journal.open()
    versions = [stored.version async for stored in journal.read("s")]
    assert versions == list(range(1, len(versions) + 1))
    assert last <= len(versions) <= last + 1
    (check,) = journal._access.file.writer.execute("PRAGMA integrity_check").fetchone()
    assert check == "ok"
    await journal.close()
