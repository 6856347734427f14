"""Bounded history: snapshots make a restart short, retention makes the journal small, and both change nothing else."""

import logging
from dataclasses import replace
from typing import Any

import pytest
from typing_extensions import override

from sidecar.budget.commands import CloseSession, OpenSession, RemoveItem
from sidecar.journal import JournalError
from sidecar.journal.freezing import freeze, thaw
from sidecar.journal.memory import MemoryJournal
from sidecar.journal.sqlite import SqliteJournal
from sidecar.ledger import Keep, Limits
from tests.ledger.parts import Clock, Listener, asks, opened, put, request, state_in_memory, until, working_memory

DAY = 86_400.0


class Reading(MemoryJournal):
    """Counts the entries that are read."""

    def __init__(self) -> None:
        super().__init__()
        self.entries_read = 0

    @override
    async def read(self, session: Any = None, *, after: int = 0, limit: int | None = None) -> Any:
        async for stored in super().read(session, after=after, limit=limit):
            self.entries_read += 1
            yield stored


class Keeping(MemoryJournal):
    """Tells how many snapshots were stored in one go, each time. `fails`: it stores none."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[int] = []
        self.fails = self.refused = False

    @override
    async def keep_snapshots(self, snapshots: Any) -> None:
        if self.fails:
            self.refused = True
            raise JournalError("disk on fire")
        self.kept.append(len(snapshots))
        await super().keep_snapshots(snapshots)


class Dropped:
    """Counts what is dropped."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str, str], int] = {}

    def __call__(self, what: str, reason: str, number: int) -> None:
        self.counts[what, reason] = self.counts.get((what, reason), 0) + number


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def dropped():
    return Dropped()


# --- snapshots


async def test_a_restart_reads_what_came_after_the_last_snapshot_and_rebuilds_the_same(start):
    journal = Reading()
    ledger = await start(journal, limits=Limits(snapshot_every=50))
    await opened(ledger, "s")
    for n in range(130):
        await ledger.handle("s", request(n + 1, request_id=f"r{n}", id=f"e{n}"))
        await ledger._snapshots.take()
    before = await state_in_memory(ledger, "s")
    journal.entries_read = 0
    again = await start(journal)
    assert await state_in_memory(again, "s") == before
    assert journal.entries_read == 131 % 50
    assert (await again.handle("s", request(5, id="e3"))).duplicate


async def test_snapshots_are_taken_beside_the_commands_without_being_asked_for(start):
    journal = MemoryJournal()
    ledger = await start(journal, limits=Limits(snapshot_every=10))
    await opened(ledger, "s")
    for n in range(12):
        await ledger.handle("s", request(request_id=f"r{n}"))
    while not await journal.snapshots(["s"]):
        await ledger.settled()
        await ledger.handle("s", request())
    assert thaw((await journal.snapshots(["s"]))["s"]).version >= 10


async def test_commands_are_answered_while_large_snapshots_are_taken(start):
    journal = Keeping()
    ledger = await start(journal, limits=Limits(snapshot_every=500))
    await opened(ledger, "a", "b")
    both = [each for n in range(600) for id in ("a", "b") for each in asks(id, request(request_id=f"r{n}"))]
    await ledger.handle_all(both)
    answered = 0
    while len(await journal.snapshots(["a", "b"])) < 2:
        await ledger.handle("other", OpenSession())
        answered += 1
    assert answered > 2
    assert journal.kept == [1, 1]  # so large that each is stored by itself


async def test_a_snapshot_that_could_not_be_stored_is_due_again_with_the_next_entry(start):
    journal = Keeping()
    ledger = await start(journal, limits=Limits(snapshot_every=10))
    await opened(ledger, "s")
    journal.fails = True
    for n in range(10):
        await ledger.handle("s", request(request_id=f"r{n}"))
    await until(lambda: journal.refused)
    journal.fails = False
    await ledger.handle("s", request())
    await ledger._snapshots.take()
    assert thaw((await journal.snapshots(["s"]))["s"]).version == 12


async def test_of_closed_sessions_no_version_of_a_snapshot_is_remembered(start):
    journal = Keeping()
    ledger = await start(journal, limits=Limits(snapshot_every=10))
    for session in ("a", "b"):
        await opened(ledger, session)
        await ledger.handle(session, CloseSession())
    await ledger._snapshots.take()
    assert sorted(await journal.snapshots(["a", "b"])) == ["a", "b"]
    assert ledger._snapshots._versions == {}


async def test_a_session_that_rests_or_is_closed_gets_its_snapshot_sooner(start, clock):
    journal = MemoryJournal()
    ledger = await start(journal, clock=clock, limits=Limits(snapshot_every=100))
    await opened(ledger, "idle", "closed", "tiny")
    for n in range(20):
        for session in ("idle", "closed"):
            await ledger.handle(session, request(request_id=f"r{n}"))
    await ledger.handle("closed", CloseSession())
    await ledger.handle("tiny", CloseSession())
    clock.now += 1_000
    await ledger.expire()
    await ledger._snapshots.take()
    assert set(await journal.snapshots(["idle", "closed", "tiny"])) == {"idle", "closed"}


async def test_a_snapshot_of_another_release_is_ignored_where_the_entries_are_there(start):
    journal = MemoryJournal()
    ledger = await start(journal)
    await opened(ledger, "s")
    for n in range(9):
        await ledger.handle("s", request(5, request_id=f"r{n}"))
    wrong = freeze((await ledger.view("s")).session, written_at=0.0)
    await journal.keep_snapshots([replace(wrong, stamp="old", state=b"no session at all")])
    again = await start(journal)
    assert await state_in_memory(again, "s") == await state_in_memory(ledger, "s")
    # One that is damaged is no better, whatever its stamp.
    await journal.keep_snapshots([replace(wrong, state=b"no session at all")])
    again = await start(journal)
    assert await state_in_memory(again, "s") == await state_in_memory(ledger, "s")


async def test_where_the_entries_are_forgotten_a_snapshot_of_another_release_is_read(start, clock):
    journal = MemoryJournal()
    ledger = await start(journal, clock=clock)
    await opened(ledger, "s")
    for n in range(9):
        await ledger.handle("s", request(5, request_id=f"r{n}"))
    old = freeze((await ledger.view("s")).session, written_at=0.0)
    await journal.keep_snapshots([replace(old, stamp="old")])
    await ledger.handle("s", request(5))
    before = await state_in_memory(ledger, "s")
    assert await journal.forget_entries("s", before=clock.now + 1) == 10
    again = await start(journal, clock=clock)
    assert await state_in_memory(again, "s") == before
    assert (await again.entries("s"))[0].version == 11
    cold = await start(journal, clock=clock, limits=Limits(closed_in_memory=0))
    assert await working_memory(cold) == 50


# --- retention


async def test_closed_sessions_are_forgotten_after_their_time_and_counted(start, clock, dropped):
    journal = MemoryJournal()
    ledger = await start(journal, clock=clock, keep=Keep(closed=30 * DAY), on_dropped=dropped)
    for session in ("old", "new", "open"):
        await ledger.handle_all(asks(session, OpenSession(), put("i", content="x"), RemoveItem(item="i")))
    await ledger.handle("old", CloseSession())
    clock.now += 29 * DAY
    await ledger.handle("new", CloseSession())
    await ledger.forget()
    assert dropped.counts == {}
    clock.now += 2 * DAY
    await ledger.forget()
    assert [each["session"] for each in await ledger.sessions()] == ["new", "open"]
    assert dropped.counts == {("session", "age"): 1}
    # The id is free again.
    assert (await ledger.handle("old", OpenSession())).created
    assert (await ledger.view("old")).session.epoch == 1
    assert list(await ledger.archive("old")) == []


async def test_each_sweep_that_forgot_something_says_so_in_one_line_of_the_log(start, clock, caplog):
    ledger = await start(MemoryJournal(), clock=clock, keep=Keep(closed=2 * DAY, archive=DAY))
    kept = [
        OpenSession(),
        *(put(f"i{n}", content="x") for n in range(3)),
        *(RemoveItem(item=f"i{n}") for n in range(3)),
    ]
    await ledger.handle_all(asks("open", *kept))
    for session in ("a", "b"):
        await ledger.handle_all(asks(session, OpenSession(), CloseSession()))
    said = []
    with caplog.at_level(logging.INFO, "sidecar.ledger.retention"):
        for days in (0, 3, 0):
            clock.now += days * DAY
            await ledger.forget()
            said.append([record.getMessage() for record in caplog.records])
            caplog.clear()
    assert said == [[], ["forgotten: 2 sessions by age, 3 archive records by age"], []]


async def test_a_closed_session_that_is_opened_again_while_it_would_be_forgotten_is_kept(start, clock, dropped):
    journal = MemoryJournal()
    ledger = await start(journal, clock=clock, keep=Keep(closed=DAY), on_dropped=dropped)
    await ledger.handle_all(asks("s", OpenSession(), request(7), CloseSession()))
    clock.now += 2 * DAY
    await ledger.handle("s", OpenSession())
    await ledger.forget()
    assert (await ledger.view("s")).session.epoch == 2
    assert dropped.counts == {}


async def test_entries_that_a_snapshot_stands_for_are_forgotten_after_their_time(start, clock, dropped):
    journal = MemoryJournal()
    ledger = await start(
        journal, clock=clock, keep=Keep(entries=DAY), on_dropped=dropped, limits=Limits(snapshot_every=10)
    )
    await opened(ledger, "s")
    for n in range(9):
        await ledger.handle("s", request(request_id=f"r{n}"))
    await ledger._snapshots.take()
    clock.now += 2 * DAY
    await ledger.handle("s", request())
    before = await state_in_memory(ledger, "s")
    await ledger.forget()
    assert dropped.counts == {("entry", "age"): 10}
    assert [stored.version for stored in await ledger.entries("s")] == [11]
    assert await state_in_memory(await start(journal, clock=clock), "s") == before


async def test_archived_items_are_forgotten_after_their_time(start, clock, dropped):
    ledger = await start(MemoryJournal(), clock=clock, keep=Keep(archive=DAY), on_dropped=dropped)
    await ledger.handle_all(asks("s", OpenSession(), put("old", content="x"), RemoveItem(item="old")))
    clock.now += DAY - 1
    await ledger.handle_all(asks("s", put("new", content="x"), RemoveItem(item="new")))
    clock.now += 2
    await ledger.forget()
    assert [record.id for record in await ledger.archive("s")] == ["new"]
    assert dropped.counts == {("archive_record", "age"): 1}


async def test_a_journal_that_is_too_large_forgets_the_oldest_closed_sessions_first(start, clock, dropped, tmp_path):
    journal = SqliteJournal(tmp_path / "journal.db")
    ledger = await start(journal, clock=clock, keep=Keep(size=400_000), on_dropped=dropped)
    for n in range(10):
        clock.now += 10
        held = put("i", content=str(n) * 50_000)
        await ledger.handle_all(asks(f"s{n}", OpenSession(), held, RemoveItem(item="i"), CloseSession()))
    await ledger.forget()
    left = [each["session"] for each in await ledger.sessions()]
    assert left == [f"s{n}" for n in range(10)][-len(left) :]
    assert 3 <= len(left) <= 7
    assert await journal.size() <= 400_000
    assert dropped.counts == {("session", "size"): 10 - len(left)}


async def test_where_only_open_sessions_are_left_archives_go_and_then_entries(start, clock, dropped, tmp_path):
    journal = SqliteJournal(tmp_path / "journal.db")
    ledger = await start(
        journal, clock=clock, keep=Keep(size=200_000), on_dropped=dropped, limits=Limits(snapshot_every=50)
    )
    await opened(ledger, "s")
    await ledger.handle_all(asks("s", put("i", content="x" * 300_000), RemoveItem(item="i")))
    clock.now += 1
    await ledger.forget()
    assert dropped.counts == {("archive_record", "size"): 1}
    for n in range(3_000):
        await ledger.handle("s", request(request_id=f"r{n}" * 10))
    await ledger._snapshots.take()
    clock.now += 1
    await ledger.forget()
    assert dropped.counts["entry", "size"] > 1_000
    assert await working_memory(ledger) == 3_000


async def test_retention_runs_by_itself(start, clock, dropped):
    ledger = await start(MemoryJournal(), clock=clock, keep=Keep(closed=DAY, every=0.01), on_dropped=dropped)
    await ledger.handle_all(asks("s", OpenSession(), CloseSession()))
    clock.now += 2 * DAY
    await until(lambda: dropped.counts == {("session", "age"): 1})


# --- contents


async def test_content_that_is_too_long_is_not_kept_but_its_item_is(start, dropped):
    ledger = await start(MemoryJournal(), limits=Limits(content_bytes=1_000), on_dropped=dropped)
    long, wide, fits = put("long", content="x" * 1_001), put("wide", content="ä" * 501), put("fits", content="ä" * 500)
    items = [RemoveItem(item=id) for id in ("long", "wide", "fits")]
    await ledger.handle_all(asks("s", OpenSession(), long, wide, fits))
    await ledger.handle_all(asks("s", *items))
    contents = {id: (await ledger.archive_record("s", id)).content for id in ("long", "wide", "fits")}
    assert contents == {"long": None, "wide": None, "fits": "ä" * 500}
    assert dropped.counts == {("content", "size"): 2}


# --- a store that others write to


@pytest.fixture
async def replicas(start, clock):
    one = MemoryJournal(writer="one")
    doors = one, one.replica("two")
    listeners = Listener(), Listener()
    moved: list[str] = []
    return (
        [
            await start(door, clock=clock, sinks=[listener], on_moved=lambda session: moved.append(session.id))
            for door, listener in zip(doors, listeners, strict=True)
        ],
        moved,
        doors,
    )


async def test_what_moved_elsewhere_is_dropped_and_told(replicas):
    (one, two), moved, _ = replicas
    await opened(one, "s", "mine")
    await two.handle("s", request(5))
    await one.expire()
    assert moved == ["s"]
    assert [session.id for session in one.active()] == ["mine"]
    assert await working_memory(one) == 5


async def test_a_refusal_is_decided_on_what_others_have_written(replicas):
    """Stale memory would answer 404 here, or repeat a grant: an answer without an entry is checked too."""
    (one, two), _, _ = replicas
    await opened(one, "s")
    await two.handle("s", put("i"))
    assert (await one.handle("s", RemoveItem(item="i"))).body is not None
    first = await one.handle("s", request(9, request_id="r"))
    assert (await two.handle("s", request(9, request_id="r"))).body == first.body
    assert await working_memory(two) == 9


async def test_after_a_restart_each_replica_has_the_sessions_that_it_served_last(replicas, start, clock):
    (one, two), _, doors = replicas
    await opened(one, "a", "b", "c")
    await two.handle("b", request())
    again = await start(doors[0], clock=clock)
    other = await start(doors[1], clock=clock)
    assert sorted(session.id for session in again.active()) == ["a", "c"]
    assert [session.id for session in other.active()] == ["b"]


async def test_a_session_whose_replica_is_gone_for_good_is_closed_by_another(replicas, start, clock):
    (one, two), _, _ = replicas
    await opened(one, "s")
    await one.stop()
    clock.now += DAY + 10
    await two.forget()
    await two.expire()
    await two.expire()
    assert (await two.view("s")).session.closed


async def test_a_session_that_another_replica_keeps_busy_is_not_closed_for_silence(replicas, clock):
    (one, two), _, _ = replicas
    await opened(one, "s")
    for _ in range(30):
        clock.now += 3_000
        await two.handle("s", request())
        await one.expire()
        await two.expire()
    assert not (await two.view("s")).session.closed
