"""A store that others write to as well: what a replica shows and decides while it believes the store to be away."""

import asyncio

import pytest

from sidecar.budget.commands import OpenSession
from sidecar.journal import JournalError, StoreAway
from sidecar.ledger import moved
from tests.ledger.parts import FaultyJournal, asks, opened, request, state_in_journal, until, working_memory


@pytest.fixture
async def replicas(start):
    """Two replicas, the first with session `s` in memory; and its journal, which can fail."""
    journal = FaultyJournal()
    other = journal.replica("two")
    one, two = await start(journal), await start(other)
    await opened(one, "s")
    await one.handle("s", request(1))
    return one, two, journal


async def failed(ledger, journal):
    """The last write failed, and the next attempt to heal is still to come."""
    journal.append_fails, journal.check_fails = "before", True
    with pytest.raises(JournalError):
        await ledger.handle("elsewhere", OpenSession())
    journal.append_fails = None
    assert not ledger.journal_up


async def test_a_read_shows_what_others_have_written_though_the_last_write_here_failed(replicas):
    """The store may be back, and others may write to it, before the next attempt to heal."""
    one, two, journal = replicas
    await failed(one, journal)
    await two.handle("s", request(10))
    assert await working_memory(one, "s") == 11


async def test_where_the_store_does_not_answer_reads_go_on_from_memory_and_do_not_wait_for_it(replicas, monkeypatch):
    one, two, journal = replicas
    await failed(one, journal)
    await two.handle("s", request(10))
    monkeypatch.setattr(moved, "_LOOK_SECONDS", 0.01)
    journal.heads_hang = True
    async with asyncio.timeout(1):
        assert await working_memory(one, "s") == 1


async def test_what_a_failover_has_lost_is_not_shown_any_more(replicas):
    """The store is the truth also where it knows less than memory: a standby took over that lacked the last writes."""
    one, _, journal = replicas
    await one.handle("s", request(10))
    journal.lose_last("s")
    assert await working_memory(one, "s") == 1
    await one.handle("s", request(100))
    assert await working_memory(one, "s") == 101


async def test_a_command_that_lost_to_another_writer_is_not_decided_in_memory_when_the_store_goes_away(replicas):
    """The append met a conflict, and then the store went away: what is to be decided again is refused instead."""
    one, two, journal = replicas
    await opened(one, "calm")
    await two.handle("s", request(10))
    journal.heads_fail = journal.check_fails = True
    answers = await one.handle_all([*asks("calm", OpenSession()), *asks("s", request(100))])
    assert [type(answer) for answer in answers] == [JournalError, JournalError]
    journal.heads_fail = journal.check_fails = False
    await until(lambda: one.journal_up)
    assert await working_memory(one, "s") == 11
    assert (await state_in_journal(journal, "s"))["version"] == 3


async def test_a_store_that_fails_twice_in_one_turn_is_healed_once(replicas):
    """Both the append and the look at what was unchanged fail: one attempt to heal at a time, and it ends."""
    one, _, journal = replicas
    await opened(one, "calm")
    journal.append_fails, journal.heads_fail, journal.check_fails = "before", True, True
    before = len(asyncio.all_tasks())
    answers = await one.handle_all([*asks("calm", OpenSession()), *asks("s", request(100))])
    assert [type(answer) for answer in answers] == [JournalError, JournalError]
    assert len(asyncio.all_tasks()) == before + 1
    journal.append_fails, journal.heads_fail, journal.check_fails = None, False, False
    await until(lambda: one.journal_up)
    assert await working_memory(one, "s") == 1


async def test_a_store_that_is_away_is_waited_for_once_and_not_by_each_command(replicas):
    """What cannot be read for want of a store tells that there is none: what else the turn was to decide is refused."""
    one, two, journal = replicas
    await opened(two, *(f"far{n}" for n in range(5)))
    journal.error, journal.read_fails, journal.check_fails, journal.reads = StoreAway("no answer"), True, True, 0
    answers = await one.handle_all([ask for n in range(5) for ask in asks(f"far{n}", request(1))])
    assert [type(answer) for answer in answers] == [StoreAway] * 5
    assert journal.reads == 1
    assert not one.journal_up
    journal.read_fails = journal.check_fails = False
    await until(lambda: one.journal_up)
    await one.handle("far0", request(1))
    assert await working_memory(two, "far0") == 1
