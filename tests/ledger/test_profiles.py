"""An agent's profile (SPEC 3.4, 3.8): learned with what teaches it, kept over crashes, shared by replicas."""

import asyncio

import pytest

from sidecar.budget.commands import (
    CloseSession,
    Command,
    CompleteTask,
    OpenSession,
    PlanTasks,
    RequestAllocation,
    TaskSpec,
)
from sidecar.budget.decide import Defaults
from sidecar.budget.policy import Component
from sidecar.budget.presets import STANDARD
from sidecar.budget.profile import Profile
from sidecar.journal import JournalError
from sidecar.journal.memory import MemoryJournal
from sidecar.journal.postgres import PostgresJournal
from sidecar.journal.sqlite import SqliteJournal
from tests.ledger.parts import FaultyJournal, asks

NOW = 1_700_000_000.0
SHORT = RequestAllocation(component="agent_context", tokens=50_000, all_or_nothing=True)  # an exhaustion
RAISED = pytest.approx(0.20 * 0.9 / 0.95)


async def live(ledger, session, agent="coder", *, short=5):
    """A session whose agent context is short; its shares."""
    opened = await ledger.handle(session, OpenSession(agent=agent, time=NOW))
    await ledger.handle(session, RequestAllocation(component="agent_context", tokens=29_000))
    for _ in range(short):
        await ledger.handle(session, SHORT)
    await ledger.handle(session, CloseSession(time=NOW + 60))
    return opened.body["shares"]


async def finish(ledger, session, *actual, agent="coder"):
    """A session that finishes simple tasks which take so much working memory; what it predicts for the next one."""
    await ledger.handle(session, OpenSession(agent=agent))
    for number, tokens in enumerate(actual):
        await ledger.handle(session, PlanTasks(tasks=[TaskSpec(id=f"t{number}")]))
        await ledger.handle(session, CompleteTask(task=f"t{number}", actual={"working_memory": tokens}))
    return (await ledger.handle(session, PlanTasks(tasks=[TaskSpec(id="next")]))).body


async def test_the_next_session_starts_from_what_the_last_one_came_to(start):
    """3.4: at close the result becomes the agent's profile; every change is an entry with its reasons."""
    ledger = await start(MemoryJournal())
    assert await live(ledger, "one") == STANDARD.shares
    shares = await live(ledger, "two", short=0)
    assert shares["agent_context"] == RAISED
    assert (await ledger.handle("other", OpenSession(agent="other"))).body["shares"] == STANDARD.shares
    given = {**STANDARD.shares, "working_memory": 0.25, "agent_context": 0.20}
    explicit = await ledger.handle("explicit", OpenSession(agent="coder", shares=given))
    assert explicit.body["shares"] == given
    kinds = [stored.entry.type for stored in await ledger.entries("one", limit=1000)]
    assert kinds[-3:] == ["shares_adjusted", "learned", "closed"]
    adjusted = (await ledger.entries("one", limit=1000))[-3].entry
    assert (adjusted.trigger, adjusted.before) == ("close", STANDARD.shares)
    assert "5 exhaustions" in adjusted.reasons["agent_context"][0]


async def test_a_closed_sessions_own_report_stays_as_its_window_was(start):
    ledger = await start(MemoryJournal())
    await live(ledger, "one")
    assert (await ledger.view("one")).session.shares == STANDARD.shares


async def test_learning_can_be_turned_off(start):
    """3.4: default on."""
    ledger = await start(MemoryJournal(), defaults=Defaults(learn=False))
    await live(ledger, "one")
    assert await live(ledger, "two") == STANDARD.shares
    body = await finish(ledger, "three", 100, 100, 100, 100, 100)
    assert body["predicted"] == body["prior"]
    assert await ledger.profiles() == {}


async def test_predictions_follow_completed_tasks_also_of_other_sessions(start):
    """3.8: completed tasks calibrate the prior per agent and component; equal until something was learned."""
    ledger = await start(MemoryJournal())
    first = await finish(ledger, "one")
    assert first["predicted"] == first["prior"]
    await finish(ledger, "two", 2_000, 2_000, 2_000, 2_000)
    learned = await finish(ledger, "three")
    assert learned["prior"]["working_memory"] == 10_000
    assert learned["predicted"]["working_memory"] == 2_000
    assert learned["shortfall"]["working_memory"] == 0
    other = await finish(ledger, "four", agent="other")
    assert other["predicted"] == other["prior"]


async def test_what_is_learned_counts_within_the_same_batch(start):
    ledger = await start(MemoryJournal())
    commands: list[Command] = [OpenSession(agent="coder")]
    for number in range(4):
        task = TaskSpec(id=f"t{number}")
        commands += [PlanTasks(tasks=[task]), CompleteTask(task=task.id, actual={"working_memory": 0})]
    replies = await ledger.handle_all(asks("one", *commands, PlanTasks(tasks=[TaskSpec(id="next")])))
    assert replies[-1].body["predicted"]["working_memory"] == 0


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_a_restart_remembers(start, tmp_path, kind, postgres):
    def journal():
        if kind == "sqlite":
            return SqliteJournal(tmp_path / "journal.db")
        return PostgresJournal(postgres, writer="one")

    ledger = await start(journal())
    await live(ledger, "one")
    before = await finish(ledger, "two", 500, 500, 500, 500)
    known = await ledger.profiles()
    await ledger.stop()
    ledger = await start(journal())
    assert await ledger.profiles() == known
    assert (await finish(ledger, "three"))["predicted"] == before["predicted"]
    assert (await live(ledger, "four"))["agent_context"] == RAISED


async def test_replicas_share_what_they_learn_and_lose_none_of_it(start, postgres):
    """Two replicas that teach the same agent at the same time are both heard, and each hears the other."""
    one, two = [await start(PostgresJournal(postgres, writer=name)) for name in ("one", "two")]
    await asyncio.gather(
        *(finish(ledger, f"{n}-{w}", *[n] * 3) for n in range(1, 5) for w, ledger in enumerate((one, two)))
    )
    for ledger in (one, two):
        known = (await ledger.profiles())["coder"]
        assert sorted(done.actual["working_memory"] for done in known.tasks) == sorted([1, 2, 3, 4] * 6)
    await live(one, "a")
    assert (await live(two, "b", short=0))["agent_context"] == RAISED


async def test_sessions_that_ran_beside_each_other_each_move_the_profile(start):
    """What a session changed is added to what others changed since it began: no update is lost."""
    ledger = await start(MemoryJournal())
    await live(ledger, "zero", short=0)
    await live(ledger, "first")
    short: dict[str, Component] = {"a": "agent_context", "b": "knowledge_base"}
    for name, component in short.items():
        await ledger.handle(name, OpenSession(agent="coder", time=NOW))
        for _ in range(5):
            await ledger.handle(name, RequestAllocation(component=component, tokens=45_000, all_or_nothing=True))
        held = (await ledger.view(name)).session.components[component]
        await ledger.handle(name, RequestAllocation(component=component, tokens=held.available))
    before = (await ledger.profiles())["coder"].shares
    await ledger.handle("a", CloseSession(time=NOW + 60))
    between = (await ledger.profiles())["coder"].shares
    await ledger.handle("b", CloseSession(time=NOW + 60))
    after = (await ledger.profiles())["coder"].shares
    assert between["agent_context"] > before["agent_context"]
    assert after["knowledge_base"] > between["knowledge_base"]
    assert after["agent_context"] > before["agent_context"]
    assert sum(after.values()) == pytest.approx(1)


@pytest.mark.parametrize("fails", ["before", "after"])
async def test_a_lesson_is_learned_exactly_if_its_entry_is_stored(start, fails):
    """Close and profile are one durable step: after a failed append the profile is what the entries say."""
    journal = FaultyJournal()
    ledger = await start(journal)
    await ledger.handle("one", OpenSession(agent="coder"))
    await ledger.handle("one", PlanTasks(tasks=[TaskSpec(id="t")]))
    journal.append_fails = fails
    with pytest.raises(JournalError):
        await ledger.handle("one", CompleteTask(task="t", actual={}))
    journal.append_fails = None
    stored = [entry.entry.type async for entry in journal.read("one")].count("task_completed")
    assert stored == (1 if fails == "after" else 0)
    known = await ledger.profiles()
    assert len(known["coder"].tasks if known else ()) == stored


async def test_what_the_operator_gave_stands_until_something_was_learned(start):
    given = {**STANDARD.shares, "working_memory": 0.40, "interaction_buffer": 0.15}
    profiles = {"coder": Profile(shares=given, calibration={"working_memory": 2.0})}
    ledger = await start(MemoryJournal(), defaults=Defaults(profiles=profiles))
    assert await live(ledger, "one") == given
    assert (await live(ledger, "two", short=0))["agent_context"] > 0.15
    assert (await finish(ledger, "three"))["predicted"]["working_memory"] == 20_000
    await ledger.keep_profile("coder", None)
    assert await live(ledger, "four") == given, "forgotten is what was learned"
