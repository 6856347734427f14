"""A clock that is set while the sidecar runs neither ends sessions nor has them forgotten."""

import pytest

from sidecar.budget.commands import CloseSession
from sidecar.journal.memory import MemoryJournal
from sidecar.ledger import Keep, Limits
from sidecar.ledger.ages import TOLERANCE, Ages, unset
from tests.ledger.parts import Clock, opened, request

DAY, YEAR = 86_400.0, 365 * 86_400.0


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def steady():
    """A clock that nobody sets."""
    clock = Clock()
    clock.now = 1_000.0
    return clock


def pass_time(seconds, *clocks):
    for clock in clocks:
        clock.now += seconds


def test_a_leap_is_told_once_and_a_correction_is_none(clock, steady):
    ages = Ages(clock, steady)
    pass_time(50, clock, steady)
    assert ages.leapt() == 0
    clock.now += TOLERANCE
    assert ages.leapt() == 0
    clock.now += YEAR
    assert ages.leapt() == YEAR
    assert ages.leapt() == 0
    clock.now -= YEAR
    assert ages.leapt() == 0


def test_what_is_forgotten_is_old_by_both_clocks(clock, steady):
    ages, begun = Ages(clock, steady), clock.now
    pass_time(DAY, clock, steady)
    assert ages.now() == begun + DAY
    clock.now += YEAR
    assert ages.now() == begun + DAY
    clock.now -= 2 * YEAR
    assert ages.now() == begun + DAY - YEAR


def test_the_steady_clock_goes_forward():
    assert unset() <= unset()


async def test_sessions_are_neither_idle_nor_closed_by_a_leap_and_are_later_by_time_that_passes(start, clock, steady):
    ledger = await start(MemoryJournal(), clock=clock, steady=steady, limits=Limits(idle_after=900, close_after=DAY))
    await opened(ledger, "s")
    await ledger.expire()
    clock.now += 10 * YEAR
    await ledger.expire()
    await ledger.expire()
    assert [session.id for session in ledger.active()] == ["s"]
    await ledger.handle("s", request(5))
    pass_time(901, clock, steady)
    await ledger.expire()
    assert list(ledger.active()) == []
    pass_time(DAY, clock, steady)
    await ledger.expire()
    assert (await ledger.view("s")).session.closed


async def test_nothing_is_forgotten_by_a_leap_and_everything_in_its_time(start, clock, steady):
    ledger = await start(
        MemoryJournal(), clock=clock, steady=steady, keep=Keep(closed=30 * DAY, entries=DAY, archive=DAY)
    )
    await opened(ledger, "s")
    await ledger.handle("s", request(5))
    await ledger.handle("s", CloseSession())
    clock.now += 10 * YEAR
    await ledger.forget()
    assert (await ledger.view("s")).session.closed
    clock.now -= 10 * YEAR
    pass_time(31 * DAY, clock, steady)
    await ledger.forget()
    with pytest.raises(Exception, match="s"):
        await ledger.view("s")
