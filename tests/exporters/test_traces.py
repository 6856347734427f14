"""Spans of what the ledger decided (SPEC 7): which there are, below what, what they say, and which are kept."""

from itertools import pairwise
from typing import Final

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

from sidecar.budget.commands import (
    AdjustShares,
    CleanUp,
    CloseSession,
    ComponentHistory,
    ExpireSession,
    ItemSpec,
    OpenSession,
    PlanTasks,
    PutItem,
    ReportUsage,
    RequestAllocation,
    TaskSpec,
)
from sidecar.budget.policy import Component
from sidecar.exporters.traces.sampling import REMARKABLE, KeepRemarkable
from sidecar.exporters.traces.spans import Spans
from sidecar.journal.memory import MemoryJournal
from sidecar.ledger import Ledger, Origin
from sidecar.ledger.trace_context import TraceContext
from tests.exporters.scraping import NOW, Clock

HOUR = 3600.0
SAMPLED = TraceContext(0xA11CE, 0xB0B, 1, "vendor=1,other=2")
UNSAMPLED = TraceContext(0xA11CE, 0xB0B, 0)
WORKING: Final = "working_memory"


class House:
    """A ledger whose spans are kept in memory, by the real SDK."""

    def __init__(self, root):
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider(sampler=KeepRemarkable(root), shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.clock = Clock()
        self.spans = Spans(provider.get_tracer("test"), clock=self.clock)
        self.shown = []
        self.ledger = Ledger(MemoryJournal(), sinks=(self,), clock=self.clock)

    def publish(self, record):
        self.shown.append(self.spans.make(record))

    def retire(self, session):
        pass

    async def do(self, command, context=SAMPLED, session="s"):
        """Carry out a command, and take the spans that it made, by name."""
        self.exporter.clear()
        await self.ledger.handle(session, command, origin=Origin(receiver="api", context=context), auto_open=True)
        found = {span.name: span for span in self.exporter.get_finished_spans()}
        assert len(found) == len(self.exporter.get_finished_spans()), "two of a name"
        return found


@pytest.fixture
async def build():
    houses = []

    async def make(root=ALWAYS_ON):
        house = House(root)
        await house.ledger.start()
        houses.append(house)
        return house

    yield make
    for house in houses:
        await house.ledger.stop()


@pytest.fixture
async def house(build):
    return await build()


def request(tokens, **fields):
    return RequestAllocation(component=WORKING, tokens=tokens, **fields)


def said(span, *names):
    return tuple(span.attributes.get(f"token_budget.{name}") for name in names)


async def fill(house, *, debug, tasks=0):
    """Put what a cleanup removes: debug items of three hours ago, 5,000 tokens each, and completed tasks of 1,000."""
    for number in range(debug):
        item = ItemSpec(id=f"d{number}", kind="debug", tokens=5_000, created_at=NOW - 3 * HOUR)
        await house.do(PutItem(item=item), context=None)
    for number in range(tasks):
        item = ItemSpec(id=f"t{number}", kind="task", tokens=1_000, completed=True)
        await house.do(PutItem(item=item), context=None)


# Allocations


async def test_an_allocation_is_a_span_below_its_callers(house):
    (span,) = (await house.do(request(100))).values()
    assert span.name == "token_budget.allocate"
    assert (span.context.trace_id, span.parent.span_id) == (SAMPLED.trace_id, SAMPLED.span_id)
    assert span.parent.is_remote
    assert span.context.trace_state.to_header() == SAMPLED.state
    assert dict(span.attributes) == {
        "gen_ai.conversation.id": "s",
        "gen_ai.agent.name": "unknown",
        "token_budget.mode": "managed",
        "token_budget.component": WORKING,
        "token_budget.requested_tokens": 100,
        "token_budget.granted_tokens": 100,
        "token_budget.available_tokens": 59_900,
        "token_budget.outcome": "full",
    }
    assert span.end_time == int(NOW * 1e9)
    assert 0 < span.end_time - span.start_time < 1e9


async def test_a_repeated_request_makes_no_second_span(house):
    assert await house.do(request(100, request_id="r"))
    assert not await house.do(request(100, request_id="r"))


async def test_a_fact_that_changes_nothing_remarkable_makes_no_span(house):
    assert not await house.do(OpenSession())
    assert not await house.do(PutItem(item=ItemSpec(id="f", kind="file", tokens=5_000)))
    assert house.shown == [None, None]


async def test_an_allocation_after_cleanup_has_the_cleanup_below_it_and_its_steps_below_that(house):
    await fill(house, debug=8, tasks=3)
    spans = await house.do(request(20_000))
    steps = ("remove_debug", "archive_tasks")
    assert set(spans) == {
        "token_budget.allocate",
        "token_budget.cleanup",
        *(f"token_budget.cleanup.{each}" for each in steps),
    }
    allocate, cleanup = spans["token_budget.allocate"], spans["token_budget.cleanup"]
    assert said(allocate, "outcome", "exhausted", "remarkable") == ("after_cleanup", True, True)
    assert cleanup.parent.span_id == allocate.context.span_id
    assert said(cleanup, "component", "trigger", "result") == (WORKING, "allocation", "freed")
    assert said(cleanup, "actions_taken", "items", "tokens_freed") == (steps, 11, 43_000)
    done = [spans[f"token_budget.cleanup.{step}"] for step in steps]
    assert [step.parent.span_id for step in done] == [cleanup.context.span_id] * 2
    assert said(done[0], "step", "items", "tokens_freed") == ("remove_debug", 8, 40_000)
    assert said(done[1], "step", "items", "tokens_freed") == ("archive_tasks", 3, 3_000)
    outside = [allocate, cleanup, *done]
    assert {span.context.trace_id for span in outside} == {SAMPLED.trace_id}
    for inner in (cleanup, *done):
        assert allocate.start_time <= inner.start_time <= inner.end_time <= allocate.end_time
    for before, after in pairwise(done):
        assert before.end_time <= after.start_time
    assert all(step.end_time > step.start_time for step in done), "each as long as it took"


# Which are kept


async def test_an_unremarkable_allocation_follows_its_callers_sampling(house):
    assert await house.do(request(1), SAMPLED)
    assert not await house.do(request(1), UNSAMPLED)
    assert house.shown[-1] is None


async def test_where_nobody_calls_the_operators_sampler_decides(build):
    on, off = await build(ALWAYS_ON), await build(ALWAYS_OFF)
    (span,) = (await on.do(request(1), None)).values()
    assert span.parent is None
    assert not await off.do(request(1), None)
    assert await off.do(request(1), SAMPLED)


@pytest.mark.parametrize("context", [UNSAMPLED, None])
@pytest.mark.parametrize(
    ("asked", "outcome"), [({}, "partial"), ({"all_or_nothing": True}, "denied"), ({"min_tokens": 69_999}, "denied")]
)
async def test_partial_and_denied_grants_and_their_cleanups_are_always_kept(build, context, asked, outcome):
    house = await build(ALWAYS_OFF)
    spans = await house.do(request(70_000, **asked), context)
    assert set(spans) == {"token_budget.allocate", "token_budget.cleanup"}
    assert said(spans["token_budget.allocate"], "outcome", "remarkable") == (outcome, True)
    assert said(spans["token_budget.cleanup"], "result") == ("noop",)
    trace = 0xA11CE if context is not None else spans["token_budget.cleanup"].context.trace_id
    assert spans["token_budget.allocate"].context.trace_id == trace


async def test_a_grant_that_crosses_the_target_is_kept_with_its_cleanup(build):
    house = await build(ALWAYS_OFF)
    spans = await house.do(request(55_000), UNSAMPLED)
    assert said(spans["token_budget.allocate"], "outcome", "exhausted", "remarkable") == ("full", None, True)
    assert said(spans["token_budget.cleanup"], "trigger") == ("target",)
    assert spans["token_budget.cleanup"].parent.span_id == spans["token_budget.allocate"].context.span_id


async def test_a_fact_that_exhausts_a_managed_session_shows_its_cleanup_below_the_caller(build):
    house = await build(ALWAYS_OFF)
    spans = await house.do(PutItem(item=ItemSpec(id="f", kind="file", tokens=70_000)), UNSAMPLED)
    assert set(spans) == {"token_budget.cleanup"}
    assert spans["token_budget.cleanup"].parent.span_id == UNSAMPLED.span_id


async def test_a_fact_that_exhausts_an_observed_session_shows_as_an_exhaustion(build):
    house = await build(ALWAYS_OFF)
    await house.do(OpenSession(mode="observed"))
    spans = await house.do(ReportUsage(components={WORKING: 61_000}, source="estimated"), UNSAMPLED)
    (span,) = spans.values()
    assert span.name == "token_budget.exhaustion"
    assert said(span, "component", "excess_tokens", "mode", "remarkable") == (WORKING, 1_000, "observed", True)
    assert span.parent.span_id == UNSAMPLED.span_id


# The other decisions


async def test_a_cleanup_on_request_is_a_span_of_its_own_and_advice_says_so(house):
    await fill(house, debug=1)
    spans = await house.do(CleanUp(component=WORKING))
    assert set(spans) == {"token_budget.cleanup", "token_budget.cleanup.remove_debug"}
    assert spans["token_budget.cleanup"].parent.span_id == SAMPLED.span_id
    assert said(spans["token_budget.cleanup"], "trigger", "advice") == ("manual", None)
    await house.do(OpenSession(mode="observed"), session="seen")
    spans = await house.do(CleanUp(component=WORKING), session="seen")
    assert said(spans["token_budget.cleanup"], "advice", "result") == (True, "noop")


async def test_a_prediction_is_a_span_with_what_it_caused_below_it(house):
    await fill(house, debug=9)
    tasks = [TaskSpec(id="t", files=["a"] * 10, agents=["b"], estimated_minutes=60)]
    spans = await house.do(PlanTasks(tasks=tasks, preempt=True, adjust=True))
    assert set(spans) >= {"token_budget.predict", "token_budget.cleanup", "token_budget.adjust"}
    predict = spans["token_budget.predict"]
    assert predict.parent.span_id == SAMPLED.span_id
    assert said(predict, "tasks", f"predicted_tokens.{WORKING}", f"shortfall_tokens.{WORKING}") == (1, 60_000, 45_000)
    assert said(spans["token_budget.cleanup"], "trigger") == ("prediction",)
    assert said(spans["token_budget.adjust"], "trigger") == ("prediction",)
    for name in ("token_budget.cleanup", "token_budget.adjust"):
        assert spans[name].parent.span_id == predict.context.span_id


async def test_an_adjustment_is_a_span_with_the_shares_that_changed(house):
    history: dict[Component, ComponentHistory] = {
        "agent_context": ComponentHistory(exhaustion_count=5, avg_utilization=0.98),
        "interaction_buffer": ComponentHistory(exhaustion_count=0, avg_utilization=0.45),
    }
    (span,) = (await house.do(AdjustShares(history=history))).values()
    assert span.name == "token_budget.adjust"
    assert {
        name.removeprefix("token_budget."): value for name, value in span.attributes.items() if "share" in name
    } == {
        "share_before.agent_context": 0.15,
        "share_after.agent_context": pytest.approx(0.2),
        "share_before.interaction_buffer": 0.25,
        "share_after.interaction_buffer": pytest.approx(0.2),
    }
    assert not await house.do(AdjustShares(history=history, dry_run=True)), "a dry run decides nothing"


@pytest.mark.parametrize(("command", "by"), [(CloseSession(), "host"), (ExpireSession(), "idle")])
async def test_a_closed_session_is_a_span_as_long_as_it_was_with_its_summary(build, command, by):
    house = await build(ALWAYS_OFF)
    await house.do(OpenSession(agent="coder", parent="p", model="m", total_tokens=100_000))
    await house.do(request(35_000), None)
    await house.do(ReportUsage(total=20_000, source="exact"), None)
    house.clock.now += 25 * HOUR
    (span,) = (await house.do(command, UNSAMPLED)).values()
    assert span.name == "token_budget.session"
    assert (span.start_time, span.end_time) == (int(NOW * 1e9), int((NOW + 25 * HOUR) * 1e9))
    assert span.parent.span_id == UNSAMPLED.span_id
    assert said(span, "closed_by", "parent", "epoch", "preset") == (by, "p", 1, "standard")
    assert said(span, "exhaustions", f"exhaustions.{WORKING}", "exhaustions.system_context") == (1, 1, 0)
    assert said(span, "total_tokens", "peak_tokens", "peak_utilization_ratio") == (100_000, 30_000, 0.3)
    assert said(span, "cleanups", "calls", f"used_tokens.{WORKING}", "pending_tokens") == (0, 1, 30_000, 0)
    assert span.attributes["gen_ai.agent.name"] == "coder"
    assert not await house.do(CloseSession()) if by == "host" else True, "closing again is not another end"


async def test_all_spans_say_whose_they_are(house):
    await house.do(OpenSession(agent="coder"), session="mine")
    await house.do(
        PutItem(item=ItemSpec(id="d", kind="debug", tokens=50_000, created_at=NOW - 3 * HOUR)), session="mine"
    )
    spans = await house.do(request(50_000), session="mine")
    assert len(spans) == 3
    for span in spans.values():
        assert span.attributes["gen_ai.conversation.id"] == "mine"
        assert span.attributes["gen_ai.agent.name"] == "coder"


async def test_the_first_span_that_is_kept_is_what_an_exemplar_shows(build):
    house = await build(ALWAYS_OFF)
    spans = await house.do(request(70_000), UNSAMPLED)
    assert house.shown[-1] == spans["token_budget.allocate"].context
    spans = await house.do(CleanUp(component=WORKING), None)
    assert house.shown[-1] == spans["token_budget.cleanup"].context


async def test_a_context_that_is_no_trace_context_is_no_parent(house):
    (span,) = (await house.do(request(1), "00-trace")).values()
    assert span.parent is None


def test_the_mark_of_what_is_kept_is_an_attribute_that_collectors_can_sample_by():
    assert REMARKABLE == "token_budget.remarkable"
