"""The embedded journal on real files: what is acknowledged survives, and what is wrong with a file is said."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.journal import JournalError, sqlite_log
from sidecar.journal.sqlite import SqliteJournal
from sidecar.journal.sqlite_file import APPLICATION_ID
from tests.journal.contract import JournalContract
from tests.journal.shapes import frame, noted, put, removed


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


class TestSqliteJournal(JournalContract):
    @pytest.fixture(params=["normal", "full"])
    async def journal(self, path, request):
        journal = SqliteJournal(path, durability=request.param)
        await journal.open()
        yield journal
        await journal.close()


async def everything(path: Path) -> list[int]:
    journal = SqliteJournal(path)
    await journal.open()
    try:
        return [stored.version async for stored in journal.read("s")]
    finally:
        await journal.close()


async def test_what_was_stored_is_there_after_closing_and_opening(path):
    journal = SqliteJournal(path)
    await journal.open()
    held = put("i", content=1)
    await journal.append([frame(1, held, removed("i", content=1), contents={1: "text"})])
    await journal.close()
    await journal.open()
    assert [stored.version async for stored in journal.read()] == [1, 2]
    record = await journal.archive_record("s", "i")
    assert record is not None
    assert record.content == "text"
    assert await journal.append([frame(3, *noted(1))]) == ["stored"]
    await journal.close()


async def test_what_somebody_else_has_written_is_a_conflict_whatever_was_remembered(path):
    """Where a session stands is not asked again with each frame; the table has the last word."""
    journal = SqliteJournal(path)
    await journal.open()
    await journal.append([frame(1, *noted(1))])
    with sqlite3.connect(path) as other:
        other.execute("INSERT INTO frames SELECT 99, session, 2, 3, written_at, entries, closes FROM frames")
    other.close()
    late = frame(2, put("i", content=2), removed("i", content=2), contents={2: "text"})
    assert await journal.append([frame(1, *noted(1), session="t"), late]) == ["stored", "conflict"]
    assert await journal.archive_record("s", "i") is None
    assert await journal.append([frame(5, *noted(1))]) == ["stored"]
    await journal.close()


async def test_of_an_append_that_failed_nothing_is_remembered(path):
    journal = SqliteJournal(path)
    await journal.open()
    await journal.append([frame(1, *noted(1))])
    with pytest.raises(UnicodeEncodeError):
        await journal.append([frame(2, *noted(1)), frame(3, put("i", content=3), contents={3: "\ud800"})])
    assert await journal.append([frame(3, *noted(1))]) == ["conflict"]
    assert await journal.append([frame(2, *noted(1))]) == ["stored"]
    await journal.close()


CHILD = """
import asyncio, sys
from sidecar.journal.sqlite import SqliteJournal
from tests.journal.shapes import frame, put, removed

async def main():
    journal = SqliteJournal(sys.argv[1], durability=sys.argv[2])
    await journal.open()
    version = 1 + len([each async for each in journal.read("s")])
    while True:
        id = f"i{version}"
        entries = put(id, content=version), removed(id, content=version)
        await journal.append([frame(version, *entries, contents={version: id * 100})])
        version += 2
        print(version - 1, flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("durability", ["normal", "full"])
@pytest.mark.parametrize("acknowledged", [1, 7, 60])
async def test_a_killed_process_loses_nothing_that_was_acknowledged(path, checkout, durability, acknowledged):
    last = 0
    for _ in range(3):
        child = subprocess.Popen(  # noqa: ASYNC220 - nothing else runs on this loop
            [sys.executable, "-c", CHILD, str(path), durability], stdout=subprocess.PIPE, text=True, cwd=checkout
        )
        assert child.stdout is not None
        for _ in range(acknowledged):
            last = int(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        last = max([last, *(int(line) for line in child.stdout if line.endswith("\n"))])
        child.stdout.close()
        assert child.wait() == -signal.SIGKILL

    journal = SqliteJournal(path)
    await journal.open()
    versions = [stored.version async for stored in journal.read("s")]
    assert versions == list(range(1, len(versions) + 1))
    assert last <= len(versions) <= last + 2  # at most the commit whose answer was cut off
    # Item and removal are one transaction: each removed item is in the archive, with its content.
    records = await journal.archived("s", component=None, query=None, after=None, limit=10_000)
    assert {record.id for record in records} == {f"i{version}" for version in versions[::2]}
    for record in records:
        whole = await journal.archive_record("s", record.id)
        assert whole is not None
        assert whole.content == record.id * 100
    await journal.close()


# --- who may open a file, and which


async def test_a_second_process_is_refused(path):
    first, second = SqliteJournal(path), SqliteJournal(path)
    await first.open()
    with pytest.raises(JournalError, match=r"journal\.db is in use by another process"):
        await second.open()
    await first.close()
    await second.open()
    await second.close()


async def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(JournalError, match=r"the folder .*/nowhere does not exist"):
        await SqliteJournal(tmp_path / "nowhere" / "journal.db").open()


async def test_a_folder_in_place_of_the_file_is_an_error(tmp_path):
    with pytest.raises(JournalError, match="cannot be opened"):
        await SqliteJournal(tmp_path).open()


@pytest.mark.parametrize("size", [30, 5_000])
async def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(path, size):
    path.write_bytes(b"not a database. " * size)
    with pytest.raises(JournalError, match="file is not a database"):
        await SqliteJournal(path).open()
    assert path.read_bytes() == b"not a database. " * size


async def test_another_programs_database_is_refused(path):
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE customers (id)")
    other.close()
    with pytest.raises(JournalError, match="another program's database"):
        await SqliteJournal(path).open()


async def test_a_new_file_and_its_log_are_for_their_owner_alone(path):
    journal = SqliteJournal(path)
    before = os.umask(0)
    try:
        await journal.open()
    finally:
        os.umask(before)
    try:
        modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.glob(f"{path.name}*")}
        assert f"{path.name}-wal" in modes
        assert set(modes.values()) == {0o600}
    finally:
        await journal.close()


async def test_a_file_of_a_newer_version_is_refused(path):
    journal = SqliteJournal(path)
    await journal.open()
    await journal.close()
    with sqlite3.connect(path) as file:
        assert file.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        file.execute("PRAGMA user_version = 99")
    file.close()
    with pytest.raises(JournalError, match=r"a newer version .* \(schema 99, known up to 3\)"):
        await journal.open()


async def test_a_refused_file_is_not_kept_locked(path):
    path.write_bytes(b"not a database. " * 30)
    journal = SqliteJournal(path)
    with pytest.raises(JournalError):
        await journal.open()
    path.unlink()
    other = SqliteJournal(path)
    await other.open()
    await other.close()


async def test_a_second_process_is_refused_whatever_name_it_has_for_the_file(path, tmp_path):
    first, second = SqliteJournal(path), SqliteJournal(tmp_path / "link")
    await first.open()
    second.path.symlink_to(path)
    with pytest.raises(JournalError, match="link is in use by another process"):
        await second.open()
    await first.close()


READ_ONLY = """
import asyncio, os, sys
from sidecar.journal import JournalError
from sidecar.journal.sqlite import SqliteJournal
if os.getuid() == 0:
    os.setuid(65534)
try:
    asyncio.run(SqliteJournal(sys.argv[1]).open())
except JournalError as error:
    print(error)
"""


async def test_a_read_only_file_is_an_error_that_says_so(path, checkout):
    await everything(path)
    for file in path.parent.iterdir():
        file.chmod(0o444)
    for folder in (path.parent, *path.parent.parents[:3]):
        if folder.stat().st_uid == os.getuid() and str(folder) != "/":
            folder.chmod(0o755)
    child = subprocess.run(  # noqa: ASYNC221 - nothing else runs on this loop
        [sys.executable, "-c", READ_ONLY, str(path)], capture_output=True, text=True, cwd=checkout, check=True
    )
    assert f"journal {path} cannot be opened: " in child.stdout
    assert "ermission denied" in child.stdout or "readonly" in child.stdout


async def test_a_journal_that_is_not_open_says_so(path):
    journal = SqliteJournal(path)
    with pytest.raises(JournalError, match="is not open"):
        await journal.append([frame(1, *noted(1))])
    with pytest.raises(JournalError, match="is not open"):
        await journal.sessions(after=None, limit=1)


async def test_a_damaged_frame_is_named_where_it_is_read(path):
    journal = SqliteJournal(path)
    await journal.open()
    await journal.append([frame(1, *noted(2)), frame(3, *noted(1))])
    await journal.close()
    with sqlite3.connect(path) as file:
        file.execute("UPDATE frames SET entries = 'damaged' WHERE first = 3")
    file.close()
    with pytest.raises(JournalError, match="session 's' at version 3: a frame cannot be read"):
        await everything(path)


# --- trouble while it runs


@pytest.mark.parametrize("durability", ["normal", "full"])
async def test_a_full_disk_stores_nothing_of_the_append_and_heals(path, durability):
    journal = SqliteJournal(path, durability=durability)
    await journal.open()
    await journal.append([frame(1, *noted(1))])
    assert journal._access.is_open
    (pages,) = journal._access.file.writer.execute("PRAGMA page_count").fetchone()
    journal._access.file.writer.execute(f"PRAGMA max_page_count = {pages}")  # SQLite's own SQLITE_FULL

    large = frame(2, put("i", content=2), removed("i", content=2), contents={2: "x" * 100_000})
    with pytest.raises(JournalError, match="database or disk is full"):
        await journal.append([frame(1, *noted(1), session="other"), large])
    assert [(stored.session, stored.version) async for stored in journal.read()] == [("s", 1)]

    await journal.check()
    assert await journal.append([large]) == ["stored"]
    assert [stored.version async for stored in journal.read("s")] == [1, 2, 3]
    await journal.close()


async def test_a_check_fails_while_the_file_takes_no_writes_and_heals_when_it_does(path):
    journal = SqliteJournal(path)
    await journal.open()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(JournalError, match="database is locked"):
        await journal.check()
    with pytest.raises(JournalError, match="database is locked"):
        await journal.append([frame(1, *noted(1))])
    other.execute("ROLLBACK")
    other.close()
    await journal.check()
    assert await journal.append([frame(1, *noted(1))]) == ["stored"]
    await journal.close()


async def test_a_file_that_was_removed_takes_no_writes_and_no_new_one_is_begun_until_it_is_back(path, tmp_path):
    journal = SqliteJournal(path)
    await journal.open()
    assert await journal.append([frame(1, *noted(1))]) == ["stored"]
    path.rename(tmp_path / "away")
    with pytest.raises(JournalError, match="the file was removed, or another one put in its place"):
        await journal.append([frame(2, *noted(1))])
    with pytest.raises(JournalError, match="put it back, or restart to begin a new one"):
        await journal.check()
    assert not path.exists()
    (tmp_path / "away").rename(path)
    await journal.check()
    assert await journal.append([frame(2, *noted(1))]) == ["stored"]
    assert [stored.version async for stored in journal.read("s")] == [1, 2]
    await journal.close()


async def test_another_file_in_its_place_is_taken_and_told_of(path, tmp_path):
    """Memory has sessions of the former one."""
    journal, other = SqliteJournal(path), SqliteJournal(tmp_path / "backup")
    for each in (other, journal):
        await each.open()
        await each.append([frame(1, *noted(1))])
    await other.close()
    await journal.append([frame(2, *noted(1))])
    assert not await journal.check()
    other.path.rename(path)
    with pytest.raises(JournalError, match="another one put in its place"):
        await journal.append([frame(3, *noted(1))])
    assert await journal.check()
    assert not await journal.check()
    assert [stored.version async for stored in journal.read("s")] == [1]
    await journal.close()


async def test_a_file_that_was_damaged_and_is_taken_away_is_not_begun_anew_before_its_backup_is_there(path, tmp_path):
    """Else the backup would be written over a file that is in use."""
    journal = SqliteJournal(path)
    await journal.open()
    await journal.append([frame(1, *noted(1))])
    await journal.close()
    whole = path.read_bytes()
    path.write_bytes(b"damaged" * 10_000)
    for _ in range(2):
        with pytest.raises(JournalError, match="cannot be opened"):
            await journal.check()
        path.unlink(missing_ok=True)
        with pytest.raises(JournalError, match="put it back, or restart to begin a new one"):
            await journal.check()
        assert not path.exists()
        path.write_bytes(b"damaged again" * 10_000)
    path.write_bytes(whole)
    await journal.check()
    assert [stored.version async for stored in journal.read("s")] == [1]
    await journal.close()


@pytest.mark.parametrize("durability", ["normal", "full"])
async def test_a_log_that_was_removed_takes_no_commit_and_those_in_it_are_saved(path, durability):
    """Somebody tidied up: what is written to the log now would end with the process."""
    journal = SqliteJournal(path, durability=durability)
    await journal.open()
    await journal.append([frame(1, *noted(3))])
    path.with_name("journal.db-wal").unlink()
    with pytest.raises(JournalError, match=r"journal\.db-wal was removed"):
        await journal.append([frame(4, *noted(1))])
    await journal.check()
    assert await journal.append([frame(4, *noted(1))]) == ["stored"]
    await journal.close()
    assert await everything(path) == [1, 2, 3, 4]


@pytest.mark.parametrize("durability", ["normal", "full"])
async def test_the_write_ahead_log_stays_bounded_under_steady_writes(path, durability, monkeypatch):
    monkeypatch.setattr(sqlite_log, "_STEP_PAGES", 50)
    monkeypatch.setattr(sqlite_log, "_LOG_PAGES", 200)
    journal = SqliteJournal(path, durability=durability)
    await journal.open()
    log = path.with_name("journal.db-wal")
    longest = 0
    written = 0
    for first in range(1, 2_001):
        text = "x" * 8_000
        await journal.append([frame(first, put(f"i{first}", content=first), contents={first: text})])
        written += len(text)
        longest = max(longest, log.stat().st_size)
        await asyncio.sleep(0)
    assert longest < written / 2
    assert longest < 1_500 * 4_096
    await journal.close()
    assert not log.exists()


async def test_a_process_that_is_killed_again_and_again_does_not_let_the_log_grow(path, checkout):
    log = path.with_name("journal.db-wal")
    sizes = []
    for _ in range(5):
        child = subprocess.Popen(  # noqa: ASYNC220 - nothing else runs on this loop
            [sys.executable, "-c", CHILD, str(path), "normal"], stdout=subprocess.PIPE, text=True, cwd=checkout
        )
        assert child.stdout is not None
        for _ in range(40):
            child.stdout.readline()
        child.send_signal(signal.SIGKILL)
        child.stdout.close()
        child.wait()
        sizes.append(log.stat().st_size)
    journal = SqliteJournal(path)
    await journal.open()
    assert log.stat().st_size == 0
    assert len([each async for each in journal.read("s")]) >= 5 * 40 * 2
    await journal.close()
    assert sizes[-1] < 3 * sizes[0]


async def test_reads_go_on_while_a_commit_waits_for_its_flush(path):
    journal = SqliteJournal(path, durability="full")
    await journal.open()
    await journal.append([frame(1, *noted(1))])
    appending = asyncio.create_task(journal.append([frame(2, *noted(1))]))
    assert [stored.version async for stored in journal.read("s", limit=1)] == [1]
    assert await appending == ["stored"]
    await journal.close()
