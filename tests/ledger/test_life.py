"""Restart, idle sessions, closed sessions (SPEC 3.9)."""

import asyncio

import pytest

from sidecar.budget.commands import ChangeSession, CloseSession, OpenSession, RemoveItem, RestoreItem, TouchItem
from sidecar.budget.errors import Conflict
from sidecar.journal import Damaged, JournalError
from sidecar.journal.memory import MemoryJournal
from sidecar.journal.sqlite import SqliteJournal
from sidecar.ledger import Ledger, Limits, Origin
from tests.journal.shapes import frame, noted
from tests.ledger.parts import (
    Clock,
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


async def test_what_a_restart_rebuilds_equals_what_was_in_memory(start, tmp_path):
    journal = SqliteJournal(tmp_path / "journal.db")
    ledger = await start(journal)
    for session in ("a", "b", "c"):
        await ledger.handle_all(
            asks(
                session,
                OpenSession(agent="coder", total_tokens=100_000),
                *(put(f"i{n}", tokens=n * 100, content="text") for n in range(60)),
                request(5_000, request_id="r", id="event"),
                TouchItem(item="i3"),
                ChangeSession(model="m"),
                RemoveItem(item="i4"),
                RestoreItem(item="i4"),
            )
        )
    await ledger.handle("b", CloseSession())
    await ledger.handle("b", OpenSession(agent="again"))
    await ledger.handle("c", CloseSession())
    before = [await state_in_memory(ledger, session) for session in ("a", "b", "c")]
    await ledger.stop()

    ledger = await start(journal)
    assert [await state_in_memory(ledger, session) for session in ("a", "b", "c")] == before
    assert (await ledger.handle("a", request(5_000, id="event"))).duplicate
    await ledger.settled()
    assert sorted(session.id for session in ledger.active()) == ["a", "b"]


async def test_a_closed_session_opened_again_is_restored_though_it_was_forgotten_meanwhile(start):
    journal = MemoryJournal()
    ledger = await start(journal)
    for session in ("a", "b", "c"):
        await ledger.handle_all(asks(session, OpenSession(), request(7), CloseSession()))
    await opened(ledger, "a")
    await ledger.handle("a", request(3))
    again = await start(journal, limits=Limits(closed_in_memory=0))
    assert await state_in_memory(again, "a") == await state_in_memory(ledger, "a")
    assert (await again.view("a")).session.epoch == 2
    assert [session.id for session in again.active()] == ["a"]


async def test_a_session_that_makes_no_sense_is_left_out_and_the_place_is_named_to_who_asks(start):
    journal = MemoryJournal()
    await journal.append([frame(1, *noted(1))])
    ledger = await start(journal)
    with pytest.raises(Damaged, match="session 's' cannot be rebuilt: at version 1"):
        await ledger.view("s")


async def test_a_start_that_failed_may_be_tried_again(start):
    journal = FaultyJournal()
    first = await start(journal)
    await opened(first, "s")
    ledger = Ledger(journal)
    journal.read_fails = True
    with pytest.raises(JournalError):
        await ledger.start()
    journal.read_fails = False
    await ledger.start()
    await ledger.handle("s", request(5))
    assert await working_memory(ledger) == 5
    await ledger.stop()


# --- closed sessions


async def test_closed_sessions_beyond_the_bound_are_read_from_the_journal(start):
    journal = MemoryJournal()
    ledger = await start(journal, limits=Limits(closed_in_memory=2))
    for n in range(6):
        await ledger.handle_all(asks(f"s{n}", OpenSession(), request(n + 1), CloseSession()))
    for n in range(6):
        assert await state_in_memory(ledger, f"s{n}") == await state_in_journal(journal, f"s{n}")
        again = await ledger.handle(f"s{n}", CloseSession())
        assert again.body["state"] == "closed"
        with pytest.raises(Conflict, match="closed"):
            await ledger.handle(f"s{n}", request())


async def test_closed_sessions_are_bounded_by_what_they_hold_too_and_a_large_one_is_read_from_the_journal(start):
    """A thousand small ones may stay in memory; a thousand of ten thousand items would be gigabytes."""
    journal = MemoryJournal()
    ledger = await start(journal, limits=Limits(closed_parts_in_memory=40))
    for n in range(6):
        await ledger.handle_all(asks(f"s{n}", OpenSession(), *(put(f"i{i}") for i in range(15)), CloseSession()))
    await ledger.handle_all(asks("large", OpenSession(), *(put(f"i{i}") for i in range(41)), CloseSession()))
    residents = ledger._residents
    assert len(residents.all()) == 0, "it alone is too large, and pushed the others out"
    for id in ("s4", "s5", "s0"):
        assert (await ledger.view(id)).session.closed
        assert await state_in_memory(ledger, id) == await state_in_journal(journal, id)
    assert len(residents.all()) <= 2
    assert residents._all_parts == sum(residents._parts.values()) <= 40


async def test_a_closed_session_opened_again_is_a_new_epoch_of_it(start):
    ledger = await start(MemoryJournal(), limits=Limits(closed_in_memory=0))
    await ledger.handle_all(asks("s", OpenSession(), request(7), CloseSession()))
    assert (await ledger.handle("s", OpenSession())).created
    view = await ledger.view("s")
    assert (view.session.epoch, view.session.used, view.session.closed) == (2, 0, False)


# --- idle sessions


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def test_a_session_is_idle_after_fifteen_minutes_without_a_command(start, clock):
    listener = Listener()
    ledger = await start(MemoryJournal(), clock=clock, sinks=[listener])
    await opened(ledger, "s")
    clock.now += 899
    await ledger.expire()
    assert listener.retired == []
    clock.now += 2
    await ledger.expire()
    assert listener.retired == ["s"]
    await ledger.expire()
    assert listener.retired == ["s"]  # told once
    assert (await ledger.view("s")).idle
    assert [each["state"] for each in await ledger.sessions()] == ["idle"]
    assert list(ledger.active()) == []


async def test_an_idle_session_is_active_again_with_its_next_command(start, clock):
    listener = Listener()
    ledger = await start(MemoryJournal(), clock=clock, sinks=[listener])
    await opened(ledger, "s")
    clock.now += 1_000
    await ledger.expire()
    await ledger.handle("s", request(5))
    assert not (await ledger.view("s")).idle
    assert [session.id for session in ledger.active()] == ["s"]
    clock.now += 1_000
    await ledger.expire()
    assert listener.retired == ["s", "s"]


async def test_only_sessions_that_are_silent_become_idle(start, clock):
    listener = Listener()
    ledger = await start(MemoryJournal(), clock=clock, sinks=[listener])
    await opened(ledger, "a", "b", "c")
    clock.now += 600
    await ledger.handle("b", request())
    clock.now += 600
    await ledger.expire()
    assert listener.retired == ["a", "c"]


async def test_a_session_is_closed_after_a_day_without_a_command(start, clock):
    listener = Listener()
    ledger = await start(MemoryJournal(), clock=clock, sinks=[listener])
    await opened(ledger, "a", "b")
    clock.now += 86_300
    await ledger.handle("b", request())
    await ledger.expire()
    clock.now += 200
    await ledger.expire()
    last = (await ledger.entries("a"))[-1].entry
    assert (last.type, last.by) == ("closed", "idle")
    assert (await ledger.view("a")).session.closed
    assert not (await ledger.view("b")).session.closed
    record = listener.records[-1]
    assert (record.command.type, record.origin) == ("expire_session", Origin(receiver="idle"))


async def test_many_silent_sessions_are_closed_at_once(start, clock):
    ledger = await start(MemoryJournal(), clock=clock, limits=Limits(turn_commands=10))
    await opened(ledger, *(f"s{n}" for n in range(35)))
    clock.now += 90_000
    await ledger.expire()
    assert {each["state"] for each in await ledger.sessions(limit=100)} == {"closed"}


async def test_a_session_that_is_spoken_to_while_its_closing_waits_stays_open(start, clock):
    ledger = await start(MemoryJournal(), clock=clock)
    await opened(ledger, "s")
    clock.now += 90_000
    speaking = asyncio.create_task(ledger.handle("s", request(5)))
    await asyncio.sleep(0)  # the command waits before the closing does
    await ledger.expire()
    await speaking
    assert not (await ledger.view("s")).session.closed


async def test_after_a_restart_silence_counts_from_the_last_command(start, clock):
    journal = MemoryJournal()
    ledger = await start(journal, clock=clock)
    await opened(ledger, "old", "new")
    clock.now += 800
    await ledger.handle("new", request())
    clock.now += 200
    listener = Listener()
    again = await start(journal, clock=clock, sinks=[listener])
    await again.expire()
    assert listener.retired == ["old"]


async def test_idle_sessions_are_looked_for_by_themselves(start, clock):
    listener = Listener()
    ledger = await start(MemoryJournal(), clock=clock, sinks=[listener], limits=Limits(sweep_every=0.01))
    await opened(ledger, "s")
    clock.now += 1_000
    await until(lambda: bool(listener.retired))


async def test_while_the_journal_is_down_silent_sessions_wait_for_their_closing(start, clock):
    journal = FaultyJournal()
    ledger = await start(journal, clock=clock)
    await opened(ledger, "s")
    journal.append_fails, journal.check_fails = "before", True
    with pytest.raises(JournalError):
        await ledger.handle("s", request())
    clock.now += 90_000
    with pytest.raises(JournalError):
        await ledger.expire()
    journal.append_fails, journal.check_fails = None, False
    await until(lambda: ledger.journal_up)
    await ledger.expire()
    assert (await ledger.view("s")).session.closed


async def test_a_clock_that_is_set_back_keeps_no_session_from_going_idle(start):
    """A machine that starts with a wrong clock: a session from its future would hide all that came after it."""
    clock = Clock()
    ledger = await start(MemoryJournal(), clock=clock, limits=Limits(idle_after=900, close_after=5_000))
    await opened(ledger, "early")
    clock.now -= 1_000_000
    await opened(ledger, "late")
    await ledger.handle("late", request(5))
    for idle in (set(), {"early", "late"}):
        await ledger.expire()
        assert {id for id in ("early", "late") if (await ledger.view(id)).idle} == idle
        clock.now += 1_000
    clock.now += 5_000
    await ledger.expire()
    assert [(await ledger.view(id)).session.closed for id in ("early", "late")] == [True, True]
