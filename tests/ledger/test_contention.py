"""Two ledgers that write to one session at the same time: nothing is lost, both get forward."""

import asyncio

import pytest

from sidecar.budget.commands import OpenSession
from sidecar.journal import JournalError
from tests.ledger.parts import FaultyJournal, opened, request, state_in_journal, state_in_memory, working_memory


@pytest.fixture
async def contested(start):
    """A session for which one ledger has just met a conflict; its journal can fail."""
    journal = FaultyJournal()
    other = journal.replica("two")
    one, two = await start(journal), await start(other)
    await opened(one, "s")
    await two.handle("s", request(1))
    await one.handle("s", request(1))
    assert one.conflicts == 1
    return one, two, journal


async def test_both_write_without_pause_and_each_grant_is_there_once(contested):
    one, two, journal = contested

    async def write(ledger, name):
        for n in range(40):
            reply = await ledger.handle("s", request(3, request_id=f"{name}{n}"))
            assert reply.body["granted"] == 3

    await asyncio.gather(
        *(write(ledger, f"{number}-{k}-") for number, ledger in enumerate((one, two)) for k in range(3))
    )
    assert await working_memory(one, "s") == await working_memory(two, "s") == 2 + 2 * 3 * 40 * 3
    assert one.conflicts + two.conflicts > 1
    for ledger in (one, two):
        assert await state_in_memory(ledger, "s") == await state_in_journal(journal, "s")


async def test_a_conflict_after_the_first_costs_reading_what_is_new_and_leaves_memory_as_it_was(contested):
    one, two, journal = contested
    for n in range(10):
        await two.handle("s", request(1))
        await one.handle("s", request(1))
        assert await working_memory(one, "s") == 2 + 2 * (n + 1)
    assert one.conflicts == 1  # since then it has looked first
    assert await state_in_memory(one, "s") == await state_in_journal(journal, "s")


async def test_where_what_is_new_cannot_be_read_the_command_waits_and_nothing_breaks(contested):
    one, _, journal = contested
    journal.read_fails = True
    with pytest.raises(JournalError):
        await one.handle("s", request(5))
    journal.read_fails = False
    await one.handle("s", request(5))
    assert await working_memory(one, "s") == 7


async def test_others_sessions_are_not_touched_by_it(contested):
    one, _, _ = contested
    await one.handle("calm", OpenSession())
    await one.handle("calm", request(5))
    assert await working_memory(one, "calm") == 5
