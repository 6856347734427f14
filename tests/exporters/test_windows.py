"""Gauges equal what the active sessions hold, however they came there."""

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from sidecar.budget.commands import (
    Acknowledge,
    AdjustShares,
    ChangeSession,
    CleanUp,
    CloseSession,
    Command,
    ItemSpec,
    OpenSession,
    PutItem,
    RemoveItem,
    ReportUsage,
    RequestAllocation,
)
from sidecar.budget.decide import Defaults, decide
from sidecar.budget.errors import BudgetError
from sidecar.budget.items import KINDS
from sidecar.budget.policy import COMPONENTS, STATUSES
from sidecar.budget.session import Session
from sidecar.exporters.windows import Windows
from tests.exporters.scraping import NOW, Clock, House

HOUR = 3600.0


def item(id, kind="file", tokens=1_000, **fields):
    return ItemSpec(id=id, kind=kind, tokens=tokens, **fields)


async def test_the_window_and_its_components_are_shown(house: House):
    await house.open(total_tokens=100_000, reserve_tokens=20_000)
    await house.do(PutItem(item=item("a", "skill", 4_000)))
    await house.do(ReportUsage(total=10_000))
    scrape = await house.scrape()
    assert scrape.value("token_budget_window_total_tokens") == 80_000
    assert scrape.value("token_budget_window_used_tokens") == 10_000
    assert scrape.value("token_budget_window_unattributed_tokens") == 6_000
    assert scrape.value("token_budget_window_utilization_ratio") == 0.125
    assert scrape.value("token_budget_component_allocated_tokens", component="knowledge_base") == 16_000
    assert scrape.value("token_budget_component_used_tokens", component="knowledge_base") == 4_000
    assert scrape.value("token_budget_component_utilization_ratio", component="knowledge_base") == 0.25
    assert scrape.value("token_budget_component_sessions", component="knowledge_base", status="low") == 1


async def test_utilization_is_of_all_windows_and_its_maximum_of_the_worst(house: House):
    await house.do(PutItem(item=item("a", tokens=150_000)), "full")
    await house.do(PutItem(item=item("a", tokens=10_000)), "empty")
    scrape = await house.scrape()
    assert scrape.value("token_budget_window_utilization_ratio") == 0.4
    assert scrape.value("token_budget_window_utilization_max_ratio") == 0.75
    assert scrape.value("token_budget_component_utilization_max_ratio", component="working_memory") == 2.5
    await house.do(RemoveItem(item="a"), "full")
    scrape = await house.scrape()
    assert scrape.value("token_budget_window_utilization_max_ratio") == 0.05, "the worst fell: the next one is shown"
    await house.do(CloseSession(), "empty")
    assert (await house.scrape()).value("token_budget_window_utilization_max_ratio") == 0


async def test_agents_are_told_apart_up_to_the_bound(build):
    house = await build(max_agents=2)
    for number, agent in enumerate(("unknown", "a", "b", "c")):
        await house.open(f"s{number}", agent=agent, total_tokens=1_000 + number)
    scrape = await house.scrape()
    totals = {
        dict(labels)["agent"]: value for labels, value in scrape.series("token_budget_window_total_tokens").items()
    }
    assert totals == {"unknown": 1_000, "a": 1_001, "other": 2_005}
    assert scrape.value("token_budget_dropped_total", what="agent_label", reason="max_agents") == 2


async def test_zeros_give_way_to_the_first_agent_where_the_operator_named_none(build):
    house = await build()
    await house.open(agent="a")
    scrape = await house.scrape()
    assert {dict(labels).get("agent") for _, labels in scrape.samples} == {None, "a"}
    await house.open("nameless")
    scrape = await house.scrape()
    assert scrape.value("token_budget_component_used_tokens", agent="unknown", component="working_memory") == 0
    assert scrape.value("token_budget_allocations_total", component="working_memory", outcome="full") == 0


async def test_zeros_of_the_agent_that_the_operator_named_stay(build):
    house = await build(agent="mine")
    await house.open(agent="a")
    scrape = await house.scrape()
    assert scrape.value("token_budget_component_used_tokens", agent="mine", component="working_memory") == 0


async def test_an_idle_session_is_only_counted_as_idle_until_it_is_heard_of(house: House):
    await house.do(PutItem(item=item("a", tokens=5_000)))
    house.clock.now += 1_000
    await house.ledger.expire()
    scrape = await house.scrape()
    assert scrape.value("token_budget_sessions", mode="managed", state="idle") == 1
    assert scrape.value("token_budget_sessions", mode="managed", state="active") == 0
    for name in ("window_total_tokens", "window_used_tokens", "window_utilization_max_ratio", "component_used_tokens"):
        assert set(scrape.series(f"token_budget_{name}").values()) == {0}, name
    await house.do(PutItem(item=item("b", tokens=1_000)))
    scrape = await house.scrape()
    assert scrape.value("token_budget_sessions", mode="managed", state="idle") == 0
    assert scrape.value("token_budget_window_used_tokens") == 6_000


async def test_a_closed_session_leaves_every_gauge_and_may_come_back(house: House):
    await house.do(PutItem(item=item("a", tokens=5_000)))
    await house.do(CloseSession())
    scrape = await house.scrape()
    for name, kind in scrape.types.items():
        if kind == "gauge" and name.startswith(
            ("token_budget_window", "token_budget_component", "token_budget_sessions")
        ):
            assert set(scrape.series(name).values()) == {0}, name
    await house.open()
    assert (await house.scrape()).value("token_budget_sessions", mode="managed", state="active") == 1


async def test_an_idle_session_that_is_closed_is_counted_no_more(house: House):
    await house.open()
    for wait in (1_000, 100_000):
        house.clock.now += wait
        await house.ledger.expire()
    assert (await house.scrape()).value("token_budget_sessions", mode="managed", state="idle") == 0


async def test_a_session_that_ignores_its_directives_is_shown_as_drifted(house: House):
    await house.do(PutItem(item=item("a", "debug", created_at=NOW - 3 * HOUR)))
    await house.do(CleanUp(component="working_memory"))
    for _ in range(10):
        await house.do(RequestAllocation(component="working_memory", tokens=1))
    scrape = await house.scrape()
    assert scrape.value("token_budget_sessions", mode="managed", state="drifted") == 1
    assert scrape.value("token_budget_sessions", mode="managed", state="active") == 0
    await house.do(Acknowledge(through=1))
    assert (await house.scrape()).value("token_budget_sessions", mode="managed", state="active") == 1


async def test_time_in_a_status_is_kept_between_scrapes(house: House):
    await house.open("quiet")
    house.monotonic.now += 10
    await house.do(PutItem(item=item("a", tokens=185_000)))
    house.monotonic.now += 3
    await house.do(RemoveItem(item="a"))
    house.monotonic.now += 5
    scrape = await house.scrape()
    seconds = {status: scrape.value("token_budget_window_status_seconds_total", status=status) for status in STATUSES}
    assert seconds == {"low": 10 + 3 + 2 * 5, "moderate": 0, "high": 0, "critical": 3}
    entered = {status: scrape.value("token_budget_window_status_entered_total", status=status) for status in STATUSES}
    assert entered == {"low": 1, "moderate": 0, "high": 0, "critical": 1}, "a new window begins as low"
    assert scrape.value("token_budget_window_sessions", status="low") == 2


async def test_a_restored_session_enters_no_status(build):
    first = await build()
    await first.do(PutItem(item=item("a", tokens=185_000)))
    await first.ledger.stop()
    second = await build(journal=first.ledger._journal, detail=True)
    second.exporter.adopt(second.ledger.active())
    scrape = await second.scrape()
    assert scrape.value("token_budget_window_sessions", status="critical") == 1
    assert scrape.value("token_budget_window_status_entered_total", status="critical") == 0


async def test_reclaimable_is_what_a_cleanup_would_free_and_absent_where_unknown(house: House):
    await house.do(PutItem(item=item("a", "debug", 3_000, created_at=NOW - 3 * HOUR)))
    assert (await house.scrape()).value(
        "token_budget_component_reclaimable_tokens", component="working_memory"
    ) == 3_000
    await house.do(CleanUp(component="working_memory"))
    assert (await house.scrape()).value("token_budget_component_reclaimable_tokens", component="working_memory") == 0
    await house.do(CloseSession())
    await house.open("watched", mode="observed")
    await house.do(ReportUsage(components={"working_memory": 5_000}), "watched")
    scrape = await house.scrape()
    assert scrape.value("token_budget_component_reclaimable_tokens", component="working_memory") is None
    assert scrape.value("token_budget_component_reclaimable_tokens", component="knowledge_base") == 0


async def test_time_to_exhaustion_is_that_of_the_soonest_session_and_absent_if_unknown(house: House):
    await house.open("slow")
    await house.open("fast")
    assert (await house.scrape()).value("token_budget_exhaustion_eta_seconds") is None
    for second in range(4):
        house.clock.now += 1
        await house.do(PutItem(item=item(f"i{second}", tokens=1_000)), "slow")
        await house.do(PutItem(item=item(f"i{second}", tokens=10_000)), "fast")
    assert (await house.scrape()).value("token_budget_exhaustion_eta_seconds") == pytest.approx(16.0)
    await house.do(CloseSession(), "fast")
    assert (await house.scrape()).value("token_budget_exhaustion_eta_seconds") == pytest.approx(196.0)


async def test_another_replicas_session_is_forgotten(house: House):
    await house.do(PutItem(item=item("a", tokens=5_000)))
    house.exporter.forget((await house.ledger.view("s")).session)
    scrape = await house.scrape()
    assert scrape.value("token_budget_window_used_tokens") == 0
    assert scrape.value("token_budget_sessions", mode="managed", state="active") == 0


AGENTS = ("a", "b")
names = st.sampled_from(["s1", "s2", "s3"])
components = st.sampled_from(COMPONENTS)
tokens = st.integers(1, 90_000)


class AnyLife(RuleBasedStateMachine):
    """Whatever sessions live through, the sums equal a count from scratch (SPEC section 6, gauges)."""

    @initialize()
    def begin(self) -> None:
        self.monotonic = Clock(0.0)
        self.windows = Windows(self.monotonic)
        self.sessions: dict[str, Session] = {}
        self.idle: set[str] = set()
        self.now = NOW
        self.in_status = dict.fromkeys(STATUSES, 0.0)

    def do(self, name: str, command: Command) -> None:
        before = self.sessions.get(name)
        try:
            decision = decide(before, command, id=name, now=self.now, defaults=Defaults(agent="a"), auto_open=True)
        except BudgetError:
            return
        self.sessions[name] = decision.session
        self.idle.discard(name)
        self.windows.update(decision.session, decision.session.agent, opened=decision.created)

    @rule(
        name=names,
        agent=st.sampled_from(AGENTS),
        total=st.integers(1_000, 300_000),
        mode=st.sampled_from(["managed", "observed"]),
    )
    def open(self, name, agent, total, mode):
        self.do(name, OpenSession(agent=agent, total_tokens=total, mode=mode))

    @rule(name=names, id=st.sampled_from("abc"), kind=st.sampled_from(KINDS), size=tokens, age=st.floats(0, 5 * HOUR))
    def put(self, name, id, kind, size, age):
        self.do(name, PutItem(item=item(id, kind, size, created_at=self.now - age, last_accessed_at=self.now - age)))

    @rule(name=names, id=st.sampled_from("abc"))
    def remove(self, name, id):
        self.do(name, RemoveItem(item=id))

    @rule(name=names, component=components, size=tokens)
    def request(self, name, component, size):
        self.do(name, RequestAllocation(component=component, tokens=size))

    @rule(name=names, component=components, size=tokens, total=st.none() | tokens)
    def report(self, name, component, size, total):
        self.do(name, ReportUsage(components={component: size}, total=total))

    @rule(name=names, component=components)
    def clean_up(self, name, component):
        self.do(name, CleanUp(component=component))

    @rule(name=names, through=st.integers(0, 10))
    def acknowledge(self, name, through):
        self.do(name, Acknowledge(through=through))

    @rule(name=names)
    def adjust(self, name):
        self.do(name, AdjustShares())

    @rule(name=names, total=st.integers(1_000, 300_000))
    def resize(self, name, total):
        self.do(name, ChangeSession(total_tokens=total))

    @rule(name=names)
    def close(self, name):
        self.do(name, CloseSession())

    @rule(name=names)
    def go_idle(self, name):
        session = self.sessions.get(name)
        if session is not None and not session.closed:
            self.idle.add(name)
            self.windows.retire(session, session.agent)

    @rule(seconds=st.integers(1, 3_600))
    def wait(self, seconds):
        for session in self.active():
            self.in_status[session.status] += seconds
        self.now += seconds
        self.monotonic.now += seconds

    @rule()
    def look_closer(self):
        for session in self.windows.take_changed().values():
            for _ in self.windows.look_closer(session):
                pass
        for agent in AGENTS:
            etas = [eta for session in self.active(agent) if (eta := session.forecast().get("eta_seconds")) is not None]
            assert self.windows.agent(agent).soonest.worst() == (min(etas) if etas else None)
            for component, sums in zip(COMPONENTS, self.windows.agent(agent).components, strict=True):
                free = [free for session in self.active(agent) if (free := session.reclaimable(component)) is not None]
                assert (sums.reclaimable, sums.known) == (sum(free), len(free))

    def active(self, agent: str | None = None) -> list[Session]:
        return [
            session
            for name, session in self.sessions.items()
            if not session.closed and name not in self.idle and agent in {None, session.agent}
        ]

    @invariant()
    def sums_equal_a_count_from_scratch(self):
        for agent in AGENTS:
            sums, active = self.windows.agent(agent), self.active(agent)
            assert sums.active == len(active)
            assert sums.total == sum(each.total for each in active)
            assert sums.used == sum(each.used for each in active)
            assert sums.unattributed == sum(each.unattributed for each in active)
            assert sums.pending == sum(each.pending for each in active)
            assert sums.directives == sum(len(each.directives) for each in active)
            assert sums.fullest.worst() == max((each.utilization for each in active), default=None)
            assert sums.statuses == {status: sum(each.status == status for each in active) for status in STATUSES}
            idle = [session for name, session in self.sessions.items() if name in self.idle and session.agent == agent]
            assert sums.sessions.get(("managed", "idle"), 0) == sum(each.mode == "managed" for each in idle)
            assert sum(sums.sessions.values()) == len(active) + len(idle)
            for component, part in zip(COMPONENTS, sums.components, strict=True):
                held = [each.components[component] for each in active]
                assert part.used == sum(each.used for each in held)
                assert part.allocated == sum(each.allocated for each in held)
                assert part.fullest.worst() == max((each.utilization for each in held), default=None)
                assert part.sessions == {status: sum(each.status == status for each in held) for status in STATUSES}

    @invariant()
    def time_in_a_status_equals_the_time_that_passed_in_it(self):
        seconds = dict.fromkeys(STATUSES, 0.0)
        for agent in AGENTS:
            self.windows.agent(agent).pass_time(self.monotonic())
            for status in STATUSES:
                seconds[status] += self.windows.agent(agent).seconds[status]
        assert seconds == self.in_status


AnyLife.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
TestAnyLife = AnyLife.TestCase


def test_a_session_that_is_being_decided_on_is_looked_at_later():
    windows = Windows(Clock(0.0))
    session = decide(None, OpenSession(), id="s", now=NOW, defaults=Defaults()).session
    windows.update(session, "a")
    decide(session, PutItem(item=item("x", "debug", created_at=NOW - 3 * HOUR)), id="s", now=NOW, defaults=Defaults())
    for _ in windows.look_closer(windows.take_changed()["s"]):
        pytest.fail("what is not durable was read")
    assert "s" in windows.take_changed(), "and it was forgotten"
