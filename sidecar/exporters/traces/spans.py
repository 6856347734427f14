"""From a record to spans: what one command did, below its caller's span (SPEC section 7).

A record becomes known when its entries are durable, so its spans end now and begin as long ago as the decision took.
A command that is itself a decision has a span, and what it caused is below it; what a fact caused is directly below
the caller. A span of a step is as long as the step; of a session, as long as the session, by its own clock.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    TraceFlags,
    Tracer,
    TraceState,
    set_span_in_context,
)

from sidecar.budget.cleanup import CleanupRun
from sidecar.budget.entries import Allocated, AnyEntry, Closed, Exhausted, SharesAdjusted, TasksPlanned
from sidecar.budget.held import ratio
from sidecar.budget.session import Session
from sidecar.exporters.traces.sampling import REMARKABLE
from sidecar.ledger import Record
from sidecar.ledger.trace_context import TraceContext

_NANO: Final = 1_000_000_000
_TOLD: Final = frozenset({Allocated, Closed, Exhausted, SharesAdjusted, TasksPlanned})
_NOWHERE: Final = Context()  # not the context that happens to be current
Attributes = dict[str, Any]


class Spans:
    """Makes spans with `tracer`; `clock` is the time, in seconds since the epoch."""

    def __init__(self, tracer: Tracer, *, clock: Callable[[], float]) -> None:
        self._tracer = tracer
        self._clock = clock

    def make(self, record: Record) -> SpanContext | None:
        """Make the spans of a record: the context of the first that is kept, None where none is."""
        entries = [stored.entry for stored in record.entries if type(stored.entry) in _TOLD]
        if not record.runs and all(_dropped(entry, record) for entry in entries):
            return None
        return _Telling(self._tracer, record, int(self._clock() * _NANO)).tell(entries)


class _Telling:
    """The spans of one record, made one by one."""

    def __init__(self, tracer: Tracer, record: Record, now: int) -> None:
        self._tracer = tracer
        self._record = record
        self._now = now
        self._above = caller(record)
        self._first: SpanContext | None = None
        session = record.session
        self._who = {
            "gen_ai.conversation.id": session.id,
            "gen_ai.agent.name": session.agent,
            "token_budget.mode": session.mode,
        }

    def tell(self, entries: list[AnyEntry]) -> SpanContext | None:
        record = self._record
        cleaning = sum(run.duration for run in record.runs)
        begun = self._now - int((record.decision_seconds + cleaning) * _NANO)
        main = next((entry for entry in entries if isinstance(entry, Allocated | TasksPlanned)), None)
        if isinstance(main, Allocated):
            exhausted = any(isinstance(entry, Exhausted) for entry in entries)
            self._above = self._span("token_budget.allocate", begun, _allocation(main, exhausted, record))
        elif isinstance(main, TasksPlanned):
            self._above = self._span("token_budget.predict", begun, _prediction(main, record))
        at = self._now - int(cleaning * _NANO)
        for run in record.runs:
            self._cleanup(run, at)
            at += int(run.duration * _NANO)
        cleaned = {run.component for run in record.runs}
        for entry in entries:
            match entry:
                case Exhausted() if entry.by == "fact" and entry.component not in cleaned:
                    self._span("token_budget.exhaustion", self._now, _exhaustion(entry))
                case SharesAdjusted():
                    on_request = entry.trigger == "request"
                    self._span("token_budget.adjust", begun if on_request else self._now, _adjustment(entry))
                case Closed():
                    session = record.session
                    start, end = int(session.opened.time * _NANO), int(entry.time * _NANO)
                    self._span("token_budget.session", start, _session(session, entry), end=max(start, end))
                case _:
                    pass
        return self._first

    def _cleanup(self, run: CleanupRun, begun: int) -> None:
        above = self._above
        end = begun + int(run.duration * _NANO)
        self._above = self._span("token_budget.cleanup", begun, _cleanup(run), end=end)
        for step in run.steps:
            end = begun + int(step.seconds * _NANO)
            attributes = {
                "token_budget.component": run.component,
                "token_budget.step": step.step,
                "token_budget.items": step.items,
                "token_budget.tokens_freed": step.tokens_freed,
            }
            self._span(f"token_budget.cleanup.{step.step}", begun, attributes, end=end)
            begun = end
        self._above = above

    def _span(self, name: str, start: int, attributes: Attributes, *, end: int | None = None) -> Context:
        """A whole span below what is above it now; the context to put others below it."""
        span: Span = self._tracer.start_span(
            name, context=self._above, attributes={**self._who, **attributes}, start_time=start
        )
        span.end(self._now if end is None else end)
        if self._first is None and span.get_span_context().trace_flags.sampled:
            self._first = span.get_span_context()
        return set_span_in_context(span, _NOWHERE)


def _dropped(entry: AnyEntry, record: Record) -> bool:
    """Whether it is an unremarkable allocation whose caller is not sampled.

    The sampler would say so too, but only after a span's work: this is the most frequent case, and must cost nothing.
    """
    if not isinstance(entry, Allocated) or entry.outcome != "full" or record.origin is None:
        return False
    context = record.origin.context
    return isinstance(context, TraceContext) and not context.sampled


def caller(record: Record) -> Context:
    """The caller's span as the parent of others; none where nobody told one."""
    context = None if record.origin is None else record.origin.context
    if not isinstance(context, TraceContext):
        return _NOWHERE
    parent = SpanContext(
        context.trace_id,
        context.span_id,
        is_remote=True,
        trace_flags=TraceFlags(context.flags),
        trace_state=TraceState.from_header([context.state]) if context.state else None,
    )
    return set_span_in_context(NonRecordingSpan(parent), _NOWHERE)


def _allocation(entry: Allocated, exhausted: bool, record: Record) -> Attributes:
    attributes: Attributes = {
        "token_budget.component": entry.component,
        "token_budget.requested_tokens": entry.requested,
        "token_budget.granted_tokens": entry.granted,
        "token_budget.available_tokens": entry.available_tokens,
        "token_budget.outcome": entry.outcome,
    }
    if exhausted:
        attributes["token_budget.exhausted"] = True
    if exhausted or entry.outcome != "full" or record.runs:
        attributes[REMARKABLE] = True
    return attributes


def _cleanup(run: CleanupRun) -> Attributes:
    attributes: Attributes = {
        REMARKABLE: True,
        "token_budget.component": run.component,
        "token_budget.trigger": run.trigger,
        "token_budget.result": run.result,
        "token_budget.tokens_freed": run.tokens_freed,
        "token_budget.items": len(run.actions),
        "token_budget.actions_taken": [step.step for step in run.steps],
    }
    if run.advice:
        attributes["token_budget.advice"] = True
    return attributes


def _exhaustion(entry: Exhausted) -> Attributes:
    return {REMARKABLE: True, "token_budget.component": entry.component, "token_budget.excess_tokens": entry.tokens}


def _prediction(entry: TasksPlanned, record: Record) -> Attributes:
    reply: Mapping[str, Any] = record.reply if isinstance(record.reply, dict) else {}
    attributes: Attributes = {"token_budget.tasks": len(entry.tasks)}
    for what in ("predicted", "shortfall"):
        for component, tokens in reply.get(what, {}).items():
            if tokens:
                attributes[f"token_budget.{what}_tokens.{component}"] = tokens
    if record.runs:
        attributes[REMARKABLE] = True
    return attributes


def _adjustment(entry: SharesAdjusted) -> Attributes:
    attributes: Attributes = {"token_budget.trigger": entry.trigger}
    for component, share in entry.after.items():
        before = entry.before[component]
        if share != before:
            attributes[f"token_budget.share_before.{component}"] = before
            attributes[f"token_budget.share_after.{component}"] = share
    return attributes


def _session(session: Session, entry: Closed) -> Attributes:
    attributes: Attributes = {
        REMARKABLE: True,
        "token_budget.closed_by": entry.by,
        "token_budget.preset": session.opened.preset,
        "token_budget.epoch": session.epoch,
        "token_budget.calls": session.calls,
        "token_budget.exhaustions": session.exhaustions,
        "token_budget.cleanups": session.cleanups,
        "token_budget.total_tokens": session.total,
        "token_budget.used_tokens": session.used,
        "token_budget.peak_tokens": session.peak,
        "token_budget.peak_utilization_ratio": ratio(session.peak, session.total),
        "token_budget.unattributed_tokens": session.unattributed,
        "token_budget.pending_tokens": session.pending,
    }
    for component, held in session.components.items():
        attributes[f"token_budget.used_tokens.{component}"] = held.used
        attributes[f"token_budget.exhaustions.{component}"] = held.exhaustions
    if session.parent is not None:
        attributes["token_budget.parent"] = session.parent
    if session.model is not None:
        attributes["gen_ai.request.model"] = session.model
    return attributes
