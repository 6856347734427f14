"""Long walks with a journal that fails at random, and a real disk that is full: the account always balances."""

import asyncio
import random
import shutil

import pytest

from sidecar.budget.commands import CloseSession, OpenSession, RemoveItem
from sidecar.budget.errors import BudgetError, NotFound
from sidecar.journal import JournalError
from sidecar.journal.sqlite import SqliteJournal
from sidecar.ledger import Ledger
from tests.ledger.parts import (
    FaultyJournal,
    opened,
    put,
    request,
    state_in_journal,
    state_in_memory,
    until,
    working_memory,
)

SESSIONS = ("a", "b", "c")


async def insist(ledger: Ledger, session: str, tokens: int, request_id: str) -> int:
    """Ask until there is an answer, as a client does; the tokens granted."""
    while True:
        try:
            return int((await ledger.handle(session, request(tokens, request_id=request_id))).body["granted"])
        except JournalError:
            await until(lambda: ledger.journal_up)


@pytest.mark.parametrize("seed", range(8))
async def test_a_client_that_insists_counts_what_the_ledger_counts(start, seed):
    """No grant is lost and none counts twice, whatever appends fail before or after they have stored."""
    chance = random.Random(seed)
    journal = FaultyJournal()
    ledger = await start(journal)
    await opened(ledger, *SESSIONS)
    granted = dict.fromkeys(SESSIONS, 0)

    async def client(name: str) -> None:
        for n in range(15):
            session = chance.choice(SESSIONS)
            journal.append_fails = chance.choice((None, None, "before", "after"))
            tokens = await insist(ledger, session, chance.randint(1, 50), f"{name}-{n}")
            granted[session] += tokens

    async def mend() -> None:
        while True:
            await asyncio.sleep(0.005)
            journal.append_fails = None

    mending = asyncio.create_task(mend())
    await asyncio.gather(*(client(name) for name in "xyz"))
    mending.cancel()
    await until(lambda: ledger.journal_up)
    for session in SESSIONS:
        assert await working_memory(ledger, session) == granted[session]
        assert await state_in_memory(ledger, session) == await state_in_journal(journal, session)


@pytest.mark.parametrize("seed", range(8))
async def test_memory_equals_the_journal_at_every_step(start, seed):
    chance = random.Random(seed)
    journal = FaultyJournal()
    ledger = await start(journal)
    await opened(ledger, *SESSIONS)
    for _ in range(60):
        session = chance.choice(SESSIONS)
        item = f"i{chance.randrange(4)}"
        command = chance.choice(
            (put(item, tokens=chance.randrange(30_000)), RemoveItem(item=item), request(9_000), CloseSession())
        )
        journal.append_fails = chance.choice((None, None, None, "before", "after"))
        try:
            await ledger.handle(session, command, auto_open=True)
        except BudgetError:
            if (await ledger.view(session)).session.closed:
                journal.append_fails = None
                await ledger.handle(session, OpenSession())
        except JournalError:
            journal.append_fails = None
            await until(lambda: ledger.journal_up)
        for each in await ledger.sessions():
            id = each["session"]
            assert await state_in_memory(ledger, id) == await state_in_journal(journal, id)


async def test_a_full_disk_refuses_writes_leaves_reads_and_heals_by_itself(start, tmp_path):
    journal = SqliteJournal(tmp_path / "journal.db")
    ledger = await start(journal)
    await opened(ledger, "s")
    await ledger.handle("s", request(5))
    assert journal._access.is_open
    (pages,) = journal._access.file.writer.execute("PRAGMA page_count").fetchone()
    journal._access.file.writer.execute(
        f"PRAGMA max_page_count = {pages}"
    )  # SQLite's own SQLITE_FULL, until it is reopened
    with pytest.raises(JournalError, match="database or disk is full"):
        await ledger.handle("s", put("i", content="x" * 100_000))
    assert not ledger.journal_up
    assert await working_memory(ledger) == 5
    await until(lambda: ledger.journal_up)
    await ledger.handle("s", put("i", content="x" * 100_000))
    assert await working_memory(ledger) == 15


async def test_where_another_file_takes_the_journals_place_no_session_of_the_former_is_shown(start, tmp_path):
    """Somebody restores a backup under a running sidecar: it is the truth, also of sessions nobody writes to."""
    path = tmp_path / "journal.db"
    backup = SqliteJournal(tmp_path / "backup")
    early = Ledger(backup)
    await early.start()
    await opened(early, "s", "t")
    await early.handle("t", request(3))
    await early.stop()
    shutil.copy(backup.path, path)
    ledger = await start(SqliteJournal(path))
    await ledger.handle("t", request(50))
    await opened(ledger, "u")
    backup.path.rename(path)
    with pytest.raises(JournalError, match="another one put in its place"):
        await ledger.handle("s", request(5))
    await until(lambda: ledger.journal_up)
    assert await working_memory(ledger, "t") == 3
    with pytest.raises(NotFound):
        await ledger.view("u")
    await ledger.handle("t", request(5))
    assert await working_memory(ledger, "t") == 8
