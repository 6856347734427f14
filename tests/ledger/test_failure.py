"""A failed append may have happened or not: memory follows the journal, and nothing is decided while it is down."""

import asyncio

import pytest

from sidecar.budget.commands import OpenSession, TouchItem
from sidecar.budget.errors import NotFound
from sidecar.journal import JournalError
from sidecar.journal.memory import MemoryJournal
from sidecar.ledger import Ask, Reply
from tests.ledger.parts import (
    FaultyJournal,
    Listener,
    asks,
    opened,
    put,
    request,
    state_in_journal,
    state_in_memory,
    until,
    working_memory,
)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_after_a_failed_append_memory_equals_the_journal(start, when):
    journal = FaultyJournal()
    ledger = await start(journal)
    await opened(ledger, "a", "b")
    await ledger.handle("a", request(1))
    journal.append_fails = when
    answers = await ledger.handle_all([*asks("a", request(10), put("i")), *asks("b", request(10))])
    assert [str(answer) for answer in answers] == ["disk on fire"] * 3
    assert all(isinstance(answer, JournalError) for answer in answers)
    for session in ("a", "b"):
        assert await state_in_memory(ledger, session) == await state_in_journal(journal, session)
    assert await working_memory(ledger, "a") == (1 if when == "before" else 21)

    journal.append_fails = None
    await until(lambda: ledger.journal_up)
    await ledger.handle("a", request(100))
    assert await working_memory(ledger, "a") == (101 if when == "before" else 121)
    assert await state_in_memory(ledger, "a") == await state_in_journal(journal, "a")


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_request_tried_again_after_a_failed_append_counts_once(start, when):
    journal = FaultyJournal()
    ledger = await start(journal)
    await opened(ledger, "s")
    journal.append_fails = when
    with pytest.raises(JournalError):
        await ledger.handle("s", request(10, request_id="r"))
    journal.append_fails = None
    await until(lambda: ledger.journal_up)
    assert (await ledger.handle("s", request(10, request_id="r"))).body["granted"] == 10
    assert await working_memory(ledger) == 10


async def test_while_the_journal_is_down_commands_are_refused_before_they_are_decided_and_reads_go_on(start):
    journal = FaultyJournal()
    ledger = await start(journal)
    await opened(ledger, "s")
    await ledger.handle("s", request(5))
    journal.append_fails, journal.check_fails = "before", True
    with pytest.raises(JournalError):
        await ledger.handle("s", request(10))
    assert not ledger.journal_up
    appends = journal.appends
    for _ in range(3):
        with pytest.raises(JournalError, match="takes no writes: disk on fire"):
            await ledger.handle("s", request(10))
    assert journal.appends == appends
    assert await working_memory(ledger) == 5
    assert [each["session"] for each in await ledger.sessions()] == ["s"]
    await ledger.settled()
    assert [session.id for session in ledger.active()] == ["s"]


async def test_the_ledger_goes_on_by_itself_when_the_journal_takes_writes_again(start):
    journal = FaultyJournal()
    ledger = await start(journal)
    await opened(ledger, "s")
    journal.append_fails, journal.check_fails = "before", True
    with pytest.raises(JournalError):
        await ledger.handle("s", request(10))
    journal.append_fails, journal.check_fails = None, False
    await until(lambda: ledger.journal_up)
    await ledger.handle("s", request(10))
    assert await working_memory(ledger) == 10


async def test_a_session_that_cannot_be_read_again_is_not_served_from_doubtful_memory(start):
    journal = FaultyJournal()
    ledger = await start(journal)
    await opened(ledger, "s")
    journal.append_fails, journal.check_fails, journal.read_fails = "after", True, True
    with pytest.raises(JournalError):
        await ledger.handle("s", request(10))
    with pytest.raises(JournalError):
        await ledger.view("s")
    journal.append_fails, journal.check_fails, journal.read_fails = None, False, False
    await until(lambda: ledger.journal_up)
    assert await working_memory(ledger) == 10
    await ledger.settled()
    assert [session.id for session in ledger.active()] == ["s"]


async def test_a_session_that_is_damaged_does_not_keep_the_journal_down_for_the_others(start):
    """It is read when it is asked for, and then its error is its caller's alone."""
    journal = FaultyJournal()
    ledger = await start(journal)
    await opened(ledger, "bad", "good")
    journal.append_fails, journal.check_fails = "before", True
    journal.damaged.add("bad")
    await ledger.handle_all([*asks("bad", request(1)), *asks("good", request(1))])
    journal.append_fails, journal.check_fails = None, False
    await until(lambda: ledger.journal_up)
    await ledger.handle("good", request(10))
    assert await working_memory(ledger, "good") == 10
    with pytest.raises(JournalError, match="damaged"):
        await ledger.handle("bad", request(10))
    assert ledger.journal_up
    journal.damaged.clear()
    await ledger.handle("bad", request(10))
    assert await working_memory(ledger, "bad") == 10


async def test_an_error_that_nobody_thought_of_does_not_end_the_attempts_to_heal(start):
    journal = FaultyJournal()
    ledger = await start(journal)
    await opened(ledger, "s")
    journal.append_fails, journal.check_fails = "before", True
    with pytest.raises(JournalError):
        await ledger.handle("s", request(1))
    journal.error = ZeroDivisionError("a fault of the program")
    await until(lambda: journal.checks > 1)
    journal.append_fails, journal.check_fails = None, False
    await until(lambda: ledger.journal_up)
    await ledger.handle("s", request(1))


async def test_what_waited_when_the_journal_went_down_is_refused(start):
    journal = FaultyJournal()
    ledger = await start(journal)
    await opened(ledger, "s")
    journal.append_fails, journal.check_fails = "before", True
    answers = await asyncio.gather(*(ledger.handle("s", request(1)) for _ in range(600)), return_exceptions=True)
    assert {type(answer) for answer in answers} == {JournalError}


async def test_nothing_of_a_failed_turn_is_published(start):
    journal = FaultyJournal()
    listener = Listener()
    ledger = await start(journal, sinks=[listener])
    await opened(ledger, "s")
    journal.append_fails = "after"
    with pytest.raises(JournalError):
        await ledger.handle("s", request(10))
    assert [record.command.type for record in listener.records] == ["open_session"]


async def test_a_session_whose_opening_failed_does_not_exist(start):
    journal = FaultyJournal()
    ledger = await start(journal)
    journal.append_fails = "before"
    with pytest.raises(JournalError):
        await ledger.handle("s", OpenSession())
    with pytest.raises(NotFound):
        await ledger.view("s")


async def test_an_error_that_rests_on_what_was_not_stored_is_not_told(start):
    """The second command is wrong only if the first one happened, and it did not."""
    journal = FaultyJournal()
    ledger = await start(journal)
    await opened(ledger, "s")
    journal.append_fails = "before"
    answers = await ledger.handle_all(asks("s", request(10, request_id="r"), request(11, request_id="r")))
    assert [type(answer) for answer in answers] == [JournalError, JournalError]


async def test_others_are_answered_though_a_session_of_the_turn_failed(start):
    """A command that has nothing to store does not depend on the append."""
    journal = FaultyJournal()
    ledger = await start(journal)
    await opened(ledger, "a", "b")
    journal.append_fails = "before"
    answers = await ledger.handle_all([*asks("a", OpenSession(), TouchItem(item="no")), *asks("b", request())])
    assert [type(answer) for answer in answers] == [Reply, NotFound, JournalError]


# --- several ledgers on one journal, as replicas share a database


async def test_a_loser_is_rebuilt_and_decided_again(start):
    journal = MemoryJournal()
    one, two = await start(journal), await start(journal)
    await opened(one, "s")
    await opened(two, "s")
    for n in range(10):
        assert (await (one, two)[n % 2].handle("s", request(10))).body["available_tokens"] == 60_000 - 10 * (n + 1)
    assert await state_in_memory(two, "s") == await state_in_journal(journal, "s")


async def test_no_update_is_lost_between_two_writers_of_one_session(start):
    journal = MemoryJournal()
    one, two = await start(journal), await start(journal)
    await opened(one, "s")
    await asyncio.gather(*(ledger.handle("s", request(1)) for _ in range(100) for ledger in (one, two)))
    await one.handle("s", request(1))
    assert await working_memory(one) == 201
    versions = [stored.version async for stored in journal.read("s")]
    assert versions == list(range(1, 203))


async def test_a_conflict_of_one_session_does_not_abort_the_others_of_the_turn(start):
    journal = MemoryJournal()
    one, two = await start(journal), await start(journal)
    await opened(one, "a", "b")
    await two.handle("a", request(1))
    listener = Listener()
    one._writer._sinks = (listener,)
    answers = await one.handle_all(
        [
            Ask(session="a", command=request(10)),
            Ask(session="b", command=request(20)),
            Ask(session="a", command=request(30)),
        ]
    )
    assert [answer.body["granted"] for answer in answers] == [10, 20, 30]
    assert [answer.body["available_tokens"] for answer in answers] == [59_989, 59_980, 59_959]
    assert len(listener.records) == 3
    assert [stored.version for stored in listener.entries("a")] == [3, 4]
