"""While the journal is down an observed session may go on in memory, if the operator says so: counted, and healed."""

import pytest

from sidecar.budget.commands import ChangeSession, CloseSession, OpenSession, ReportUsage
from sidecar.journal import JournalError
from sidecar.ledger import Limits
from tests.ledger.parts import FaultyJournal, Listener, request, state_in_journal, state_in_memory, until


@pytest.fixture
def lost():
    counts: list[tuple[str, str, int]] = []
    return counts


@pytest.fixture
async def house(start, lost):
    """A ledger whose journal has just broken, with an observed and a managed session."""
    journal, listener = FaultyJournal(), Listener()
    ledger = await start(
        journal,
        limits=Limits(observe_without_journal=True, snapshot_every=2),
        sinks=[listener],
        on_dropped=lambda *each: lost.append(each),
    )
    await ledger.handle("observed", OpenSession(mode="observed"))
    await ledger.handle("managed", OpenSession())
    journal.append_fails, journal.check_fails = "before", True
    with pytest.raises(JournalError):
        await ledger.handle("managed", request())
    return ledger, journal, listener


async def test_an_observed_session_goes_on_in_memory_and_what_is_lost_is_counted(house, lost):
    ledger, _, listener = house
    for total in (1_000, 2_000):
        await ledger.handle("observed", ReportUsage(total=total))
    assert (await ledger.view("observed")).session.used == 2_000
    assert listener.records[-1].session.id == "observed"
    assert lost == [("entry", "journal_down", 1)] * 2
    assert not ledger.journal_up


async def test_a_managed_session_does_not(house):
    ledger, _, _ = house
    with pytest.raises(JournalError, match="takes no writes"):
        await ledger.handle("managed", request())


@pytest.mark.parametrize("command", [CloseSession(), ChangeSession(total_tokens=5)])
async def test_what_must_last_is_refused_in_an_observed_session_too(house, command):
    ledger, _, _ = house
    with pytest.raises(JournalError, match="takes no writes"):
        await ledger.handle("observed", command)


async def test_with_the_journal_back_it_stands_where_the_journal_says_and_goes_on_from_there(house):
    ledger, journal, _ = house
    for n in range(5):
        await ledger.handle("observed", ReportUsage(total=n))
    journal.append_fails, journal.check_fails = None, False
    await until(lambda: ledger.journal_up)
    assert await state_in_memory(ledger, "observed") == await state_in_journal(journal, "observed")
    assert await journal.snapshots(["observed"]) == {}
    await ledger.handle("observed", ReportUsage(total=3_000))
    assert (await ledger.view("observed")).session.used == 3_000
    assert await state_in_memory(ledger, "observed") == await state_in_journal(journal, "observed")


async def test_unless_the_operator_says_so_observed_sessions_wait_as_all_do(start):
    journal = FaultyJournal()
    ledger = await start(journal)
    await ledger.handle("observed", OpenSession(mode="observed"))
    journal.append_fails, journal.check_fails = "before", True
    for _ in range(2):
        with pytest.raises(JournalError):
            await ledger.handle("observed", ReportUsage(total=1_000))
