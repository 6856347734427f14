"""A session whose rows are damaged is left out, told of, and can be taken out; all others are served."""

import logging
import re
import sqlite3
from pathlib import Path

import pytest

import sidecar.journal
from sidecar.budget.commands import CloseSession, ItemSpec, PutItem, RemoveItem
from sidecar.budget.errors import NotFound
from sidecar.journal import Damaged
from sidecar.journal.freezing import freeze
from sidecar.journal.sqlite import SqliteJournal
from sidecar.ledger import Keep
from tests.ledger.parts import Clock, asks, opened, request, working_memory

DAY = 86_400.0
# The same table without its rules.
LOOSE = """
    ALTER TABLE frames RENAME TO strict;
    CREATE TABLE frames AS SELECT * FROM strict;
    DROP TABLE strict;
    CREATE UNIQUE INDEX frames_place ON frames (session, first);
"""
DAMAGES = {
    "no JSON": "UPDATE frames SET entries = 'damaged' WHERE session = 'bad' AND first = 1",
    "an unknown entry": """UPDATE frames SET entries = '[{"type": "told"}]' WHERE session = 'bad' AND first = 1""",
    "no entry in its only frame": """
        DELETE FROM frames WHERE session = 'bad' AND first > 1;
        UPDATE frames SET entries = '[]' WHERE session = 'bad'
    """,
    "no first frame": "DELETE FROM frames WHERE session = 'bad' AND first = 1",
    "a frame that cannot come next": "UPDATE frames SET first = first + 1 WHERE session = 'bad' AND first > 1",
    "an entry that does not fit": """
        UPDATE frames SET entries = '[{"type": "item_completed", "item": "x"}]' WHERE session = 'bad' AND first = 2
    """,
    "a number for entries": "UPDATE frames SET entries = 7 WHERE session = 'bad' AND first = 1",
    "a text that is none for entries": (
        "UPDATE frames SET entries = CAST(x'ff' AS TEXT) WHERE session = 'bad' AND first = 1"
    ),
    "a word for a time": "UPDATE frames SET written_at = 'today' WHERE session = 'bad' AND first = 1",
    "a word for the newest time": "UPDATE frames SET written_at = 'today' WHERE session = 'bad' AND first = 2",
    "a word for a version": "UPDATE frames SET first = 'two' WHERE session = 'bad' AND first = 2",
    "a fraction for a version": "UPDATE frames SET first = 1.5 WHERE session = 'bad' AND first = 1",
    "bytes for a version": "UPDATE frames SET first = x'02' WHERE session = 'bad' AND first = 2",
    "a word for a count": "UPDATE frames SET count = 'one' WHERE session = 'bad' AND first = 2",
    "another count": "UPDATE frames SET count = 7 WHERE session = 'bad' AND first = 2",
    "the largest count": "UPDATE frames SET count = 9223372036854775807 WHERE session = 'bad' AND first = 2",
    "a word for whether it closes": """
        UPDATE frames SET written_at = 'today' WHERE session = 'bad' AND first = 2;
        UPDATE frames SET closes = 'yes' WHERE session = 'bad' AND first = 2
    """,
    "nothing for a time": "UPDATE frames SET written_at = NULL WHERE session = 'bad' AND first = 2",
    "nothing for entries": "UPDATE frames SET entries = NULL WHERE session = 'bad' AND first = 2",
    "nothing for a count": "UPDATE frames SET count = NULL WHERE session = 'bad' AND first = 2",
}
SNAPSHOTS = {
    "a word for its version": "UPDATE snapshots SET version = 'two' WHERE session = 'bad'",
    "a word for its time": "UPDATE snapshots SET written_at = 'today' WHERE session = 'bad'",
    "a number for its state": "UPDATE snapshots SET state = 7 WHERE session = 'bad'",
    "bytes for its stamp": "UPDATE snapshots SET stamp = x'00' WHERE session = 'bad'",
}


def spoil(path, statement):
    with sqlite3.connect(path) as file:
        if "= NULL" in statement:
            file.executescript(LOOSE)
        *before, last = statement.split(";")
        for each in before:
            file.execute(each)
        assert file.execute(last).rowcount == 1
    file.close()


@pytest.fixture
async def path(start, tmp_path):
    """A journal of three sessions, which nobody has open."""
    path = tmp_path / "journal.db"
    ledger = await start(SqliteJournal(path), clock=Clock())
    await opened(ledger, "a", "bad", "c")
    for session in ("a", "bad", "c"):
        await ledger.handle(session, request(10))
    await ledger.stop()
    return path


@pytest.mark.parametrize("damage", DAMAGES)
async def test_the_ledger_starts_with_all_other_sessions(damage, start, path, caplog):
    """It is logged once, and counted; whoever asks for it is told of it by name."""
    spoil(path, DAMAGES[damage])
    lost = []
    with caplog.at_level(logging.ERROR):
        ledger = await start(SqliteJournal(path), clock=Clock(), on_dropped=lambda *what: lost.append(what))
    assert sorted(session.id for session in ledger.active()) == ["a", "c"]
    assert lost == [("session", "damaged", 1)]
    (logged,) = [record.getMessage() for record in caplog.records]
    assert logged.startswith("session 'bad' is left out until it can be read: ")
    for ask in (ledger.view("bad"), ledger.handle("bad", request(1)), ledger.handle("bad", request(1))):
        with pytest.raises(Damaged, match="session 'bad'"):
            await ask
    assert ledger.journal_up
    assert [each["session"] for each in await ledger.sessions()] == ["a", "c"]
    assert [each["session"] for each in await ledger.sessions(limit=2)] == ["a", "c"]
    bad, good = await ledger.handle_all([*asks("bad", request(1)), *asks("a", request(5))])
    assert isinstance(bad, Damaged)
    assert not isinstance(good, Exception)
    assert await working_memory(ledger, "a") == 15
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == caplog.records[:1]


@pytest.mark.parametrize("damage", SNAPSHOTS)
async def test_a_snapshot_of_wrong_types_is_done_without(damage, start, path):
    journal = SqliteJournal(path)
    ledger = await start(journal, clock=Clock())
    session = (await ledger.view("bad")).session
    await journal.keep_snapshots([freeze(session, written_at=session.clock)])
    await ledger.stop()
    spoil(path, SNAPSHOTS[damage])
    ledger = await start(SqliteJournal(path), clock=Clock())
    assert await working_memory(ledger, "bad") == 10


async def test_what_has_bytes_for_a_name_is_nobodys_and_holds_nothing_up(start, path):
    spoil(path, "UPDATE frames SET session = x'ff00' WHERE session = 'bad' AND first = 1")
    spoil(path, "UPDATE frames SET session = x'ff00' WHERE session = 'bad' AND first = 2")
    ledger = await start(SqliteJournal(path), clock=Clock(), keep=Keep(closed=DAY))
    assert sorted(session.id for session in ledger.active()) == ["a", "c"]
    assert [each["session"] for each in await ledger.sessions()] == ["a", "c"]
    await ledger.forget()


async def test_an_archive_of_wrong_types_is_told_to_who_asks_for_it(start, path):
    ledger = await start(SqliteJournal(path), clock=Clock())
    for session in ("a", "bad"):
        await ledger.handle(session, PutItem(item=ItemSpec(id="x", kind="file", tokens=5)))
        await ledger.handle(session, RemoveItem(item="x"))
    await ledger.stop()
    spoil(path, "UPDATE archive SET archived_at = 'today' WHERE session = 'bad'")
    ledger = await start(SqliteJournal(path), clock=Clock())
    for ask in (ledger.archive("bad"), ledger.archive_record("bad", "x")):
        with pytest.raises(Damaged, match="record of 'x' cannot be read"):
            await ask
    assert [record.id for record in await ledger.archive("a")] == ["x"]
    assert await working_memory(ledger, "bad") == 10


@pytest.mark.parametrize("damage", ["a word for the newest time", "a word for a version", "a word for a count"])
async def test_it_is_never_forgotten_whatever_was_written_into_it(damage, start, path):
    clock = Clock()
    ledger = await start(SqliteJournal(path), clock=clock)
    await ledger.stop()
    spoil(path, DAMAGES[damage])
    spoil(path, "UPDATE frames SET closes = 1 WHERE id = (SELECT max(id) FROM frames WHERE session = 'bad')")
    clock.now += 40 * DAY
    ledger = await start(SqliteJournal(path), clock=clock, keep=Keep(closed=DAY, entries=DAY, archive=DAY, size=1))
    await ledger.forget()
    with pytest.raises(Damaged):
        await ledger.view("bad")


async def test_it_is_left_out_again_with_each_restart_and_nothing_of_it_is_lost(start, path):
    spoil(path, DAMAGES["no JSON"])
    for _ in range(2):
        ledger = await start(SqliteJournal(path), clock=Clock())
        await ledger.handle("c", request(1))
        await ledger.stop()
    spoil(
        path,
        "UPDATE frames SET entries = (SELECT entries FROM frames WHERE session = 'c' AND first = 1)"
        " WHERE session = 'bad' AND first = 1",
    )  # as a backup would have it
    ledger = await start(SqliteJournal(path), clock=Clock())
    assert await working_memory(ledger, "bad") == 10
    assert await working_memory(ledger, "c") == 12


async def test_what_is_forgotten_by_age_is_not_held_up_by_it(start, path):
    """An open one, and a closed one, which retention would have to read."""
    clock = Clock()
    ledger = await start(SqliteJournal(path), clock=clock)
    for session in ("a", "bad"):
        await ledger.handle(session, CloseSession())
    await ledger.stop()
    spoil(path, DAMAGES["no JSON"])
    spoil(path, "UPDATE frames SET entries = 'damaged' WHERE session = 'c' AND first = 1")
    clock.now += 40 * DAY
    ledger = await start(SqliteJournal(path), clock=clock, keep=Keep(closed=30 * DAY))
    await ledger.forget()
    with pytest.raises(NotFound):
        await ledger.view("a")
    for session in ("bad", "c"):
        with pytest.raises(Damaged):
            await ledger.view(session)


async def test_it_is_taken_out_as_the_readme_says(start, path):
    spoil(path, DAMAGES["no JSON"])
    readme = Path(sidecar.journal.__file__).with_name("README.md").read_text(encoding="utf-8")
    statements = re.findall(r"^(DELETE FROM .*;)$", readme, re.MULTILINE)
    with sqlite3.connect(path) as file:
        tables = {name for (name,) in file.execute("SELECT name FROM sqlite_schema WHERE sql LIKE '%session %'")}
        for statement in statements:
            file.execute(statement.replace("'the session'", "'bad'"))
    file.close()
    assert {statement.split()[2] for statement in statements} == tables
    ledger = await start(SqliteJournal(path), clock=Clock())
    await opened(ledger, "bad")
    assert await working_memory(ledger, "bad") == 0
    assert await working_memory(ledger, "a") == 10
