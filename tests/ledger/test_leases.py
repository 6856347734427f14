"""A grant with a lease lapses unless an item claims it (SPEC 3.2): by session time, in silence, across a restart."""

import pytest

from sidecar.budget.commands import TouchItem
from sidecar.budget.errors import NotFound
from sidecar.journal.memory import MemoryJournal
from tests.ledger.parts import (
    Clock,
    FaultyJournal,
    Listener,
    opened,
    put,
    request,
    state_in_journal,
    state_in_memory,
    until,
    working_memory,
)


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def lapsed(ledger) -> list[str]:
    return [each.entry.request_id for each in await ledger.entries("s") if each.entry.type == "lease_lapsed"]


async def test_by_session_time_with_the_next_command_after_it(start, clock):
    ledger = await start(MemoryJournal(), clock=clock)
    await opened(ledger, "s")
    await ledger.handle("s", request(100, request_id="r", lease_seconds=60, time=clock.now))
    await ledger.handle("s", request(1, time=clock.now + 59))
    assert await working_memory(ledger) == 101
    await ledger.handle("s", request(1, time=clock.now + 60))
    assert await working_memory(ledger) == 2
    assert await lapsed(ledger) == ["r"]


async def test_a_hosts_clock_that_stands_still_keeps_its_leases_whatever_the_servers_says(start, clock):
    ledger = await start(MemoryJournal(), clock=clock)
    await opened(ledger, "s")
    await ledger.handle("s", request(100, request_id="r", lease_seconds=60, time=clock.now))
    clock.now += 3_600
    assert await working_memory(ledger) == 100


async def test_in_a_silent_session_by_the_servers_time_as_soon_as_somebody_looks(start, clock):
    journal = MemoryJournal()
    listener = Listener()
    ledger = await start(journal, clock=clock, sinks=[listener])
    await opened(ledger, "s")
    await ledger.handle("s", request(100, request_id="r", lease_seconds=60))
    clock.now += 59
    assert await working_memory(ledger) == 100
    clock.now += 1
    assert await working_memory(ledger) == 0
    assert await lapsed(ledger) == ["r"]
    assert await state_in_memory(ledger, "s") == await state_in_journal(journal, "s")
    assert listener.records[-1].command.type == "lapse_leases"


async def test_to_look_at_a_silent_session_does_not_keep_it_from_going_idle(start, clock):
    listener = Listener()
    ledger = await start(MemoryJournal(), clock=clock, sinks=[listener])
    await opened(ledger, "s")
    await ledger.handle("s", request(100, request_id="r", lease_seconds=60))
    clock.now += 800
    assert await working_memory(ledger) == 0
    clock.now += 101
    await ledger.expire()
    assert listener.retired == ["s"]


async def test_across_a_restart(start, clock):
    journal = MemoryJournal()
    ledger = await start(journal, clock=clock)
    await opened(ledger, "s")
    await ledger.handle("s", request(100, request_id="r", lease_seconds=60))
    await ledger.handle("s", request(30, request_id="claimed", lease_seconds=60))
    await ledger.handle("s", put("i", tokens=30, claims="claimed"))
    await ledger.stop()
    clock.now += 3_600
    again = await start(journal, clock=clock)
    assert await working_memory(again) == 30
    assert await lapsed(again) == ["r"]


async def test_where_the_journal_is_down_a_look_shows_what_is_durable(start, clock):
    journal = FaultyJournal()
    ledger = await start(journal, clock=clock)
    await opened(ledger, "s")
    await ledger.handle("s", request(100, request_id="r", lease_seconds=60))
    clock.now += 61
    journal.append_fails, journal.check_fails = "before", True
    assert await working_memory(ledger) == 100
    journal.append_fails, journal.check_fails = None, False
    await until(lambda: ledger.journal_up)
    with pytest.raises(NotFound):
        await ledger.handle("s", TouchItem(item="nothing"))
    assert await working_memory(ledger) == 0
