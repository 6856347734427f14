"""Calls that were seen, so that each counts once: sent again by an exporter, or told by two observers."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import TypeAlias

from sidecar.receivers.otlp.mapping import EMITTERS
from sidecar.receivers.otlp.naming import id_of
from sidecar.receivers.otlp.observations import Call

CALLS = 128  # remembered per window, under up to two names each
TOGETHER = 1.0  # seconds by which clocks of two observers of one call may differ


@dataclass(slots=True, kw_only=True)
class Seen:
    """A call that was seen. `measured`: its content was captured; `input` None: its usage was not told."""

    id: str
    start: float
    end: float
    measured: bool
    input: int | None

    @property
    def billed(self) -> bool:
        """Whether its usage was told."""
        return self.input is not None


# Under the call's span and under the answer's id; a stand-in gives many calls one id.
Calls: TypeAlias = OrderedDict[str, list[Seen]]


def same_call(calls: Calls, call: Call) -> Seen | None:
    """A call seen before that is this one: the same span, or the same answer at the same time.

    The time matters because a stand-in for a model answers every call under the same id.
    """
    for seen in calls.get(_span_key(call), ()):
        if call.signal == "traces" or _meets(seen, call):
            return seen
    if call.response is None:
        return None
    return next((seen for seen in calls.get(f"response {call.response}", ()) if _meets(seen, call)), None)


def _meets(seen: Seen, call: Call) -> bool:
    """Whether the two are of the same time. Calls that follow each other at once only touch."""
    shared = min(seen.end, call.at) - max(seen.start, call.start)
    shorter = min(seen.end - seen.start, call.at - call.start)
    if shorter > 0:
        return shared >= shorter / 2
    # An event is a moment, told by another clock or a little later: then the counts have to agree as well.
    return shared >= -TOGETHER and (seen.input == call.input or not seen.billed or call.input is None)


def remember(calls: Calls, call: Call) -> Seen:
    """A call that was not seen before is seen now; its id is the command's, by which the ledger knows it again."""
    span = _span_key(call)
    id = span if call.input is not None else f"{span} estimated"
    if call.response is not None:
        key = f"response {call.response}"
        # The counts tell a stand-in's calls apart even when nothing is remembered; the span does while it is.
        id = f"{key} {call.input} {call.output}"
        if any(seen.id == id_of(id) for seen in calls.get(key, ())):
            id = f"{id} {span}"
    seen = Seen(
        id=id_of(id),
        start=call.start,
        end=call.at,
        measured=call.content is not None,
        input=call.input,
    )
    for key in {span, f"response {call.response}" if call.response is not None else span}:
        calls.setdefault(key, []).append(seen)
        calls.move_to_end(key)
    while len(calls) > CALLS:
        calls.popitem(last=False)
    return seen


def _span_key(call: Call) -> str:
    # A coding agent's events are written in a span that many calls share.
    if call.span and (call.signal == "traces" or not EMITTERS[call.emitter].coding):
        return f"span {call.trace} {call.span}"
    return f"event {call.at} {call.response or ''} {call.input} {call.output}"
