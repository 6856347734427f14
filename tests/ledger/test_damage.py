"""A session whose rows are damaged is left out, told of, and can be taken out; all others are served."""

import logging
import re
import sqlite3
from pathlib import Path

import pytest

import sidecar.journal
from sidecar.budget.commands import CloseSession
from sidecar.budget.errors import NotFound
from sidecar.journal import Damaged
from sidecar.journal.sqlite import SqliteJournal
from sidecar.ledger import Keep
from tests.ledger.parts import Clock, asks, opened, request, working_memory

DAY = 86_400.0
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
}


def spoil(path, statement):
    with sqlite3.connect(path) as file:
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
