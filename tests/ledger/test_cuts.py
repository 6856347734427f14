"""The connection to a shared store is cut at every message in turn, or held: nothing is lost, nothing counts twice."""

import asyncio

import pytest

from sidecar.budget.commands import Command, ItemSpec, PutItem, RemoveItem
from sidecar.journal import JournalError
from sidecar.journal import postgres as postgres_journal
from sidecar.journal.postgres import PostgresJournal
from sidecar.ledger import Ledger
from tests.cable import Cable
from tests.ledger.parts import opened, request, state_in_journal, state_in_memory, until


@pytest.fixture
async def cable(postgres):
    cable = Cable(postgres)
    await cable.lay()
    yield cable
    await cable.remove()


@pytest.fixture
async def seen(postgres):
    """The same database, past the cable."""
    journal = PostgresJournal(postgres, writer="other")
    await journal.open()
    yield journal
    await journal.close()


def commands(run: int) -> list[Command]:
    """A request alone; an item with content; its removal: an entry and its archive in one transaction."""
    item = ItemSpec(id=f"i{run}", kind="doc", tokens=5, content="text")
    return [
        request(1, request_id=f"r{run}"),
        PutItem(item=item, id=f"p{run}"),
        RemoveItem(item=f"i{run}", id=f"x{run}"),
    ]


async def insist(ledger: Ledger, command: Command) -> None:
    """Send it until it is acknowledged, as a client does."""
    while True:
        try:
            await ledger.handle("s", command)
        except JournalError:
            await until(lambda: ledger.journal_up)
        else:
            return


@pytest.mark.parametrize("when", ["before", "after"])
async def test_wherever_the_connection_is_cut_what_is_acknowledged_counts_once(cable, seen, start, when):
    ledger = await start(PostgresJournal(cable.url, writer="one"))
    await opened(ledger, "s")
    run = cut = 0
    while cable.cuts == cut:  # until no message is left at which to cut
        cut += 1
        run += 1
        cable.cut_at(run - 1, when)
        for command in commands(run):
            await insist(ledger, command)
        cable.let_go()
        assert await state_in_memory(ledger, "s") == await state_in_journal(seen, "s")
        session = (await ledger.view("s")).session
        assert (session.components["working_memory"].used, session.used) == (run, run)
        record = await seen.archive_record("s", f"i{run}")
        assert record is not None
        assert record.content == "text", "item and removal are one transaction"
    print(run, "messages")
    assert run > 12  # BEGIN, COMMIT and what is between them are among the messages


@pytest.mark.parametrize("command", commands(0)[:2], ids=["one statement", "a transaction"])
async def test_while_the_store_says_nothing_writes_are_refused_in_time_and_reads_go_on(
    cable, seen, start, monkeypatch, command
):
    """Nothing breaks and nothing answers, as when the server's machine is lost: whoever waits for it waits in vain."""
    monkeypatch.setattr(postgres_journal, "PROMPTLY", 0.3)
    ledger = await start(PostgresJournal(cable.url, writer="one"))
    await opened(ledger, "s", "calm")
    cable.hold()
    async with asyncio.timeout(3):
        with pytest.raises(JournalError, match=r"cannot store: no answer within 0\.3 s"):
            await ledger.handle("s", command)
        assert not ledger.journal_up
        assert (await ledger.view("calm")).session.version == 1
    cable.let_go()
    await insist(ledger, command)
    assert await state_in_memory(ledger, "s") == await state_in_journal(seen, "s")
    assert (await ledger.view("s")).session.version == 2, "what was done in the end is done once"


async def test_stopping_does_not_wait_for_a_store_that_says_nothing(cable, seen, start):
    ledger = await start(PostgresJournal(cable.url, writer="one"))
    await opened(ledger, "s")
    cable.hold()
    writing = asyncio.ensure_future(ledger.handle("s", PutItem(item=ItemSpec(id="i", kind="doc", tokens=1))))
    await until(lambda: cable.held > 0)
    async with asyncio.timeout(1.5):
        await ledger.stop(patience=0.1)
    with pytest.raises(JournalError, match="the sidecar is stopping"):
        await writing


async def test_a_pooler_in_between_finds_nothing_in_the_greeting_that_it_would_refuse(cable):
    """PgBouncer takes a client's name and encoding, and no settings of its session."""
    journal = PostgresJournal(cable.url, writer="one", durability="full")
    await journal.open()
    await journal.close()
    words = cable.greeting[4:].split(b"\x00")
    assert set(filter(None, words[::2])) == {b"user", b"database", b"application_name", b"client_encoding"}
