"""Commands in, durable entries out: order, group commit, errors of one caller, reads between turns."""

import asyncio

import pytest
from typing_extensions import override

from sidecar.budget.commands import (
    CloseSession,
    EraseArchive,
    OpenSession,
    RemoveItem,
    RestoreItem,
    SyncWindow,
    TouchItem,
    WindowItem,
)
from sidecar.budget.decide import decide
from sidecar.budget.errors import BudgetError, Conflict, NotFound
from sidecar.journal import JournalError
from sidecar.journal.memory import MemoryJournal
from sidecar.journal.sqlite import SqliteJournal
from sidecar.ledger import Ask, Ledger, Limits, Origin, Overloaded, Reply, deciding
from tests.ledger.parts import (
    Clock,
    FaultyJournal,
    GatedJournal,
    Listener,
    asks,
    opened,
    put,
    request,
    state_in_journal,
    state_in_memory,
    working_memory,
)


async def test_a_command_is_answered_and_its_entries_are_in_the_journal(start):
    ledger = await start(MemoryJournal())
    reply = await ledger.handle("s", OpenSession(agent="coder"))
    assert reply.created
    assert reply.body["agent"] == "coder"
    reply = await ledger.handle("s", request(1_000))
    assert (reply.body["granted"], reply.body["outcome"]) == (1_000, "full")
    assert [stored.entry.type for stored in await ledger.entries("s")] == ["opened", "allocated"]


async def test_commands_that_wait_together_are_committed_together(start):
    journal = GatedJournal()
    ledger = await start(journal, limits=Limits(turn_seconds=60))
    await opened(ledger, "a", "b")
    journal.frames.clear()
    await asyncio.gather(*(ledger.handle("ab"[n % 2], request()) for n in range(100)))
    assert [len(frames) for frames in journal.frames] == [2]  # one commit, a frame for each session
    assert await working_memory(ledger, "a") == 50


async def test_commands_that_come_during_an_append_share_the_next_one(start):
    journal = GatedJournal()
    ledger = await start(journal, limits=Limits(turn_seconds=60))
    await opened(ledger, "s")
    journal.frames.clear()
    journal.gate.clear()
    journal.arrived.clear()
    first = asyncio.create_task(ledger.handle("s", request()))
    await journal.arrived.wait()
    later = [asyncio.create_task(ledger.handle("s", request())) for _ in range(20)]
    await asyncio.sleep(0)
    journal.gate.set()
    await asyncio.gather(first, *later)
    assert [len(frame.entries) for (frame,) in journal.frames] == [1, 20]


async def test_commands_of_a_session_are_decided_in_the_order_in_which_they_came(start):
    ledger = await start(MemoryJournal())
    await opened(ledger, "s")
    await asyncio.gather(*(ledger.handle("s", put(f"i{n}")) for n in range(600)))
    entries = await ledger.entries("s", limit=1_000)
    assert [stored.entry.item.id for stored in entries[1:]] == [f"i{n}" for n in range(600)]
    assert [stored.version for stored in entries] == list(range(1, 602))


async def test_a_batch_is_answered_in_its_order_and_a_bad_command_does_not_block_the_good_ones(start):
    ledger = await start(MemoryJournal())
    answers = await ledger.handle_all(
        asks("s", OpenSession(), put("i"), TouchItem(item="nobody"), RemoveItem(item="i"), request(7))
    )
    assert isinstance(answers[2], NotFound)
    assert [isinstance(answer, Reply) for answer in answers] == [True, True, False, True, True]
    assert await working_memory(ledger) == 7
    assert await ledger.handle_all([]) == []


async def test_an_unknown_session_is_not_found_unless_it_may_be_opened(start):
    ledger = await start(MemoryJournal())
    with pytest.raises(NotFound):
        await ledger.handle("s", request())
    assert (await ledger.handle("s", request(), auto_open=True)).created
    assert [stored.entry.type for stored in await ledger.entries("s")] == ["opened", "allocated"]


async def test_a_repeated_event_is_a_duplicate_also_within_one_turn(start):
    ledger = await start(MemoryJournal())
    await opened(ledger, "s")
    first, again = await ledger.handle_all(asks("s", put("i", tokens=5), put("i", tokens=5)))
    assert not first.duplicate
    twice = [Ask(session="s", command=request(9, id="event-1")) for _ in range(2)]
    first, again = await ledger.handle_all(twice)
    assert (first.duplicate, again.duplicate) == (False, True)
    assert await working_memory(ledger) == 14


async def test_a_caller_that_goes_away_takes_nothing_back(start):
    journal = GatedJournal()
    ledger = await start(journal)
    await opened(ledger, "s")
    journal.gate.clear()
    journal.arrived.clear()
    caller = asyncio.create_task(ledger.handle("s", request(5)))
    await journal.arrived.wait()
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    journal.gate.set()
    assert await working_memory(ledger) == 5
    assert (await ledger.handle("s", request(5))).body["granted"] == 5


async def test_the_times_of_a_turn_are_the_servers(start):
    ledger = await start(MemoryJournal(), clock=Clock(5_000.0))
    await opened(ledger, "s")
    (stored,) = await ledger.entries("s")
    assert (stored.written_at, stored.entry.time) == (5_000.0, 5_000.0)


# --- errors


async def test_a_command_that_fails_half_way_leaves_the_session_as_its_neighbours_have_made_it(start, monkeypatch):
    """What a fault has already applied is undone by reading the journal, with what the turn has still to store."""
    journal = MemoryJournal()
    ledger = await start(journal)
    await opened(ledger, "s")
    await ledger.handle("s", request(1))

    def failing(session, command, **circumstances):
        decision = decide(session, command, **circumstances)
        if command.id == "bad":
            raise RuntimeError("a fault of the program")
        return decision

    monkeypatch.setattr(deciding, "decide", failing)
    answers = await ledger.handle_all(
        [Ask(session="s", command=command) for command in (request(10), request(100, id="bad"), request(1_000))]
    )
    assert [type(answer) for answer in answers] == [Reply, RuntimeError, Reply]
    assert await working_memory(ledger) == 1_011
    assert await state_in_memory(ledger, "s") == await state_in_journal(journal, "s")


async def test_a_fault_of_the_journal_itself_reaches_the_callers_and_the_next_turn_goes_on(start):
    journal = FaultyJournal()
    ledger = await start(journal)
    await opened(ledger, "s")
    journal.append_fails, journal.error = "before", TypeError("a fault of the program")
    with pytest.raises(TypeError, match="a fault of the program"):
        await ledger.handle("s", request(5))
    journal.append_fails = None
    assert ledger.journal_up
    await ledger.handle("s", request(7))
    assert await working_memory(ledger) == 7


async def test_a_sink_that_raises_disturbs_nobody(start):
    class Broken(Listener):
        @override
        def publish(self, record):
            raise ValueError("cannot show that")

    listener = Listener()
    ledger = await start(MemoryJournal(), sinks=[Broken(), listener])
    await opened(ledger, "s")
    assert len(listener.records) == 1


# --- sinks


async def test_sinks_are_told_after_the_entries_are_durable_and_before_the_caller_is(start):
    journal = GatedJournal()
    listener = Listener()
    ledger = await start(journal, sinks=[listener])
    journal.gate.clear()
    opening = asyncio.create_task(ledger.handle("s", OpenSession()))
    await journal.arrived.wait()
    assert listener.records == []
    journal.gate.set()
    await opening
    assert [record.command.type for record in listener.records] == ["open_session"]


async def test_sinks_see_each_entry_once_at_its_version_with_its_command_and_origin(start):
    listener = Listener()
    ledger = await start(MemoryJournal(), sinks=[listener])
    await opened(ledger, "s")
    await ledger.handle("s", request(5), origin=Origin(receiver="api", context="00-trace"))
    await ledger.handle_all(asks("s", put("i"), TouchItem(item="i"), RemoveItem(item="i")))
    assert listener.entries("s") == await ledger.entries("s")
    record = listener.records[1]
    assert record.origin == Origin(receiver="api", context="00-trace")
    assert record.reply["granted"] == 5
    assert record.session.id == "s"
    assert 0 < record.decision_seconds < 1


async def test_sinks_are_told_of_a_command_that_made_no_entry_but_not_of_one_that_was_wrong(start):
    listener = Listener()
    ledger = await start(MemoryJournal(), sinks=[listener])
    await opened(ledger, "s")
    await opened(ledger, "s")
    with pytest.raises(NotFound):
        await ledger.handle("s", TouchItem(item="nobody"))
    assert [(record.command.type, len(record.entries)) for record in listener.records] == [
        ("open_session", 1),
        ("open_session", 0),
    ]


async def test_appends_are_measured(start):
    seen = []
    journal = FaultyJournal()
    ledger = await start(journal, on_append=lambda *told: seen.append(told))
    await opened(ledger, "s")
    await ledger.handle_all(asks("s", request(), request()))
    journal.append_fails = "before"
    with pytest.raises(JournalError):
        await ledger.handle("s", request())
    assert [(entries, ok) for _, entries, ok in seen] == [(1, True), (2, True), (1, False)]
    assert all(seconds >= 0 for seconds, _, _ in seen)


# --- reads


async def test_a_read_waits_for_the_turn_and_sees_what_is_durable(start):
    journal = GatedJournal()
    ledger = await start(journal)
    await opened(ledger, "s")
    journal.gate.clear()
    journal.arrived.clear()
    asking = asyncio.create_task(ledger.handle("s", request(5)))
    await journal.arrived.wait()
    reading = asyncio.create_task(working_memory(ledger))
    settling = asyncio.create_task(ledger.settled())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not reading.done()
    assert not settling.done()
    journal.gate.set()
    assert await reading == 5
    await asyncio.gather(asking, settling)


async def test_reads_get_their_moment_under_steady_writes(start, tmp_path):
    ledger = await start(SqliteJournal(tmp_path / "journal.db"))
    await opened(ledger, "s")
    writing = True

    async def write():
        while writing:
            await ledger.handle("s", request(1))

    writers = [asyncio.create_task(write()) for _ in range(8)]
    try:
        levels = [await working_memory(ledger) for _ in range(20)]
        assert levels == sorted(levels)
    finally:
        writing = False
        await asyncio.gather(*writers)


async def test_reads_of_a_session_that_does_not_exist_are_not_found(start):
    ledger = await start(MemoryJournal())
    for read in (
        ledger.view("nobody"),
        ledger.entries("nobody"),
        ledger.archive("nobody"),
        ledger.archive_record("nobody", "i"),
    ):
        with pytest.raises(NotFound, match="session 'nobody' does not exist"):
            await read


async def test_pages_beyond_the_end_are_empty(start):
    ledger = await start(MemoryJournal())
    await opened(ledger, "s")
    assert await ledger.entries("s", after=9) == []
    assert await ledger.archive("s") == []
    with pytest.raises(NotFound, match="item 'i' is not in this session's archive"):
        await ledger.archive_record("s", "i")


async def test_sessions_are_listed_in_order_of_id_open_or_closed(start):
    ledger = await start(MemoryJournal(), limits=Limits(closed_in_memory=1))
    await opened(ledger, "c", "a", "d", "b")
    for session in ("a", "d", "c"):
        await ledger.handle(session, CloseSession())
    listed = await ledger.sessions()
    assert [(each["session"], each["state"]) for each in listed] == [
        ("a", "closed"),
        ("b", "active"),
        ("c", "closed"),
        ("d", "closed"),
    ]
    assert [each["session"] for each in await ledger.sessions(after="b", limit=1)] == ["c"]


async def test_active_sessions_are_the_open_ones(start):
    ledger = await start(MemoryJournal())
    await opened(ledger, "a", "b")
    await ledger.handle("a", CloseSession())
    await ledger.settled()
    assert [session.id for session in ledger.active()] == ["b"]


# --- the archive


async def test_an_item_removed_and_restored_in_one_batch_is_back_with_its_content(start):
    ledger = await start(MemoryJournal())
    answers = await ledger.handle_all(
        asks(
            "s",
            OpenSession(),
            put("i", tokens=70, content="the text"),
            RemoveItem(item="i"),
            RestoreItem(item="i"),
            request(1),
        )
    )
    assert not any(isinstance(answer, Exception) for answer in answers)
    assert answers[3].body["item"]["content"] == "the text"
    assert await working_memory(ledger) == 71
    await ledger.handle("s", RemoveItem(item="i"))
    assert (await ledger.archive_record("s", "i")).content == "the text"


async def test_what_is_not_in_the_archive_cannot_be_restored_or_erased(start):
    ledger = await start(MemoryJournal())
    await opened(ledger, "s")
    for command in (RestoreItem(item="i"), EraseArchive(item="i")):
        with pytest.raises(NotFound, match="item"):
            await ledger.handle("s", command)


async def test_an_erased_item_is_gone_from_the_archive(start):
    ledger = await start(MemoryJournal())
    await ledger.handle_all(
        asks("s", OpenSession(), put("i", content="secret"), RemoveItem(item="i"), EraseArchive(item="i"))
    )
    assert await ledger.archive("s") == []
    with pytest.raises(NotFound):
        await ledger.handle("s", RestoreItem(item="i"))


async def test_what_a_window_sync_misses_is_in_the_archive(start):
    ledger = await start(MemoryJournal())
    await ledger.handle_all(asks("s", OpenSession(), put("i", tokens=70), put("j")))
    await ledger.handle("s", SyncWindow(items=[WindowItem(id="j", tokens=10)]))
    assert [(record.id, record.tokens_before) for record in await ledger.archive("s")] == [("i", 70)]


# --- limits


async def test_a_turn_takes_a_bounded_number_of_commands(start):
    journal = GatedJournal()
    ledger = await start(journal, limits=Limits(turn_commands=10, turn_seconds=60))
    await opened(ledger, "s")
    journal.frames.clear()
    await ledger.handle_all(asks("s", *(request() for _ in range(25))))
    assert [len(frame.entries) for (frame,) in journal.frames] == [10, 10, 5]


async def test_a_turn_that_takes_long_stores_what_it_has(start):
    journal = GatedJournal()
    ledger = await start(journal, limits=Limits(turn_seconds=0.0))
    await opened(ledger, "s")
    journal.frames.clear()
    await ledger.handle_all(asks("s", *(request() for _ in range(3))))
    assert [len(frame.entries) for (frame,) in journal.frames] == [1, 1, 1]


async def test_commands_beyond_the_limit_of_those_that_wait_are_refused_with_a_time_to_try_again(start):
    journal = GatedJournal()
    ledger = await start(journal, limits=Limits(waiting_commands=5))
    await opened(ledger, "s")
    journal.gate.clear()
    journal.arrived.clear()
    first = asyncio.create_task(ledger.handle("s", request()))
    await journal.arrived.wait()
    waiting = [asyncio.create_task(ledger.handle("s", request())) for _ in range(5)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded) as refusal:
        await ledger.handle("s", request())
    assert refusal.value.retry_after > 0
    journal.gate.set()
    await asyncio.gather(first, *waiting)
    assert await working_memory(ledger) == 6


async def test_sessions_beyond_the_limit_are_not_opened_until_another_closes(start):
    ledger = await start(MemoryJournal(), limits=Limits(open_sessions=2))
    answers = await ledger.handle_all([Ask(session=id, command=OpenSession()) for id in "abc"])
    assert [type(answer) for answer in answers] == [Reply, Reply, Overloaded]
    with pytest.raises(Overloaded):
        await ledger.handle("c", request(), auto_open=True)
    await ledger.handle("a", request(), auto_open=True)  # open already
    await ledger.handle("a", CloseSession())
    await opened(ledger, "c")


# --- start and stop


async def test_stopping_finishes_what_waits_and_takes_no_more(start):
    journal = GatedJournal()
    ledger = Ledger(journal)
    await ledger.start()
    await opened(ledger, "s")
    journal.gate.clear()
    journal.arrived.clear()
    first = asyncio.create_task(ledger.handle("s", request(1)))
    await journal.arrived.wait()
    second = asyncio.create_task(ledger.handle("s", request(2)))
    await asyncio.sleep(0)
    stopping = asyncio.create_task(ledger.stop())
    await asyncio.sleep(0)
    with pytest.raises(JournalError, match="stopping"):
        await ledger.handle("s", request(4))
    journal.gate.set()
    await stopping
    assert [(await each).body["granted"] for each in (first, second)] == [1, 2]


async def test_stopping_does_not_wait_for_ever():
    journal = GatedJournal()
    ledger = Ledger(journal)
    await ledger.start()
    journal.gate.clear()
    stuck = [asyncio.create_task(ledger.handle("s", OpenSession())) for _ in range(2)]
    await journal.arrived.wait()
    await ledger.stop(patience=0.01)
    for each in stuck:
        with pytest.raises(JournalError, match="stopping"):
            await each


async def test_a_ledger_that_has_not_started_takes_nothing():
    ledger = Ledger(MemoryJournal())
    assert not ledger.journal_up
    with pytest.raises(JournalError):
        await ledger.handle("s", OpenSession())


async def test_a_journal_that_cannot_be_opened_stops_the_start(tmp_path):
    ledger = Ledger(SqliteJournal(tmp_path / "nowhere" / "journal.db"))
    with pytest.raises(JournalError, match="does not exist"):
        await ledger.start()


async def test_errors_of_commands_are_of_the_budget(start):
    ledger = await start(MemoryJournal())
    await opened(ledger, "s")
    await ledger.handle("s", CloseSession())
    with pytest.raises(Conflict) as error:
        await ledger.handle("s", request())
    assert isinstance(error.value, BudgetError)


class LookedUp(FaultyJournal):
    """Remembers what it was asked about."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[set[str]] = []

    @override
    async def heads(self, sessions):
        self.asked.append(set(sessions))
        return await super().heads(sessions)


async def test_sessions_that_are_new_together_are_looked_up_together_and_none_of_them_is_read(start):
    journal = LookedUp()
    ledger = await start(journal, limits=Limits(turn_seconds=60))
    await opened(ledger, "known")
    journal.asked.clear()
    journal.reads = 0
    names = [f"new-{number}" for number in range(20)]
    replies = await ledger.handle_all([Ask(name, put("i"), auto_open=True) for name in [*names, "known", *names]])
    assert not [reply for reply in replies if isinstance(reply, Exception)]
    assert journal.asked == [set(names)]
    assert journal.reads == 0
    for name in names:
        assert await state_in_memory(ledger, name) == await state_in_journal(journal, name)


async def test_a_session_that_has_left_memory_is_read_also_where_others_are_new(start):
    ledger = await start(FaultyJournal(), limits=Limits(closed_in_memory=0))
    await opened(ledger, "old")
    await ledger.handle("old", CloseSession())
    closed, new = await ledger.handle_all([Ask(name, put("i"), auto_open=True) for name in ("old", "new")])
    assert isinstance(closed, Conflict)
    assert isinstance(new, Reply)
    assert new.created
