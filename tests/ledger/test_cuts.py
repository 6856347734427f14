"""The connection to a shared store is cut at every message in turn: nothing is lost and nothing counts twice."""

import pytest

from sidecar.budget.commands import Command, ItemSpec, PutItem, RemoveItem
from sidecar.journal import JournalError
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
