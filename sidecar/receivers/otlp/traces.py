"""What spans of a trace tell about each other: whose conversation it is, and which model calls are one and the same.

A span may name its conversation itself, or a span around it does, which then arrives later; a call may have been seen
by two instrumentations, one inside the other. So a trace's spans are remembered for a while, and what does not know its
conversation yet waits. When nothing names one, the trace is the conversation, under its own id.

All of it is bounded, by count and by time. Traces are kept in two generations: the younger one becomes the older one
when it is full or its time is over, and what is still in use by then moves along. Of what is left behind only the
conversation's name is kept, for a call that comes after an hour.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from sidecar.receivers.otlp.observations import AnyObservation, Call
from sidecar.receivers.otlp.wire import Record

DEEPEST = 64  # spans between a call and the one that encloses it


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much is remembered. `wait` is seconds that something waits for its conversation.

    `keep`: seconds that a trace is remembered at least after its last span, and at most twice as long.
    """

    wait: float = 30.0
    keep: float = 300.0
    traces: int = 4_096
    spans: int = 1_024  # of one trace
    all_spans: int = 65_536
    names: int = 4_096  # of traces that are not remembered any more
    calls: int = 64  # of one trace, the newest
    waiting: int = 4_096


@dataclass(slots=True)
class Trace:
    """One trace, as far as it is known. `sessions` and `agents` by the span that named one."""

    parents: dict[str, str] = field(default_factory=dict)
    sessions: dict[str, str] = field(default_factory=dict)
    agents: dict[str, str] = field(default_factory=dict)
    session: str | None = None  # the first that was named; its own id where none was in time
    calls: list[str] = field(default_factory=list)  # spans whose usage counts
    rooted: bool = False  # its root has arrived: nothing more is to come


@dataclass(slots=True)
class Placed:
    """An observation and its conversation. `parent` is the one that encloses it, if another one does.

    `waited`: since when (epoch seconds) it waited for its conversation; its exporter has had its answer long ago.
    """

    observation: AnyObservation
    session: str
    parent: str | None = None
    waited: float | None = None


class Traces:
    """The traces seen lately."""

    def __init__(self, bounds: Bounds | None = None) -> None:
        self._bounds = bounds or Bounds()
        self._younger: dict[str, Trace] = {}
        self._older: dict[str, Trace] = {}
        self._spans = 0  # of the younger ones, those that were forgotten since included
        self._began: float | None = None  # when the younger ones did
        self._names: dict[str, str] = {}
        self._waiting: deque[tuple[float, AnyObservation]] = deque()

    @property
    def waiting(self) -> int:
        """How many observations wait for their conversation."""
        return len(self._waiting)

    def note(self, record: Record, session: str | None, agent: str | None = None) -> None:
        """A span was seen; the conversation that it names, and the agent that it is the run of, if it does."""
        if not record.trace:
            return
        trace = self._trace(record.trace)
        if record.signal == "traces":
            trace.parents[record.span] = record.parent
            trace.rooted = trace.rooted or not record.parent
            self._spans += 1
            if self._spans > self._bounds.all_spans // 2:
                self._turn_over(record.trace)
            if len(trace.parents) > self._bounds.spans:
                forgotten = next(iter(trace.parents))
                del trace.parents[forgotten]
                trace.sessions.pop(forgotten, None)
                trace.agents.pop(forgotten, None)
            if agent is not None:
                trace.agents[record.span] = agent
        if session is not None:
            trace.sessions[record.span] = session
            trace.session = trace.session or session
            if len(trace.sessions) > self._bounds.spans:
                del trace.sessions[next(iter(trace.sessions))]

    def place(self, observations: Iterable[AnyObservation], *, now: float) -> list[Placed]:
        """Those whose conversation is known, in order of time; the others wait. Includes those that have waited."""
        waiting = len(self._waiting)
        candidates = [*self._waiting, *((now, each) for each in observations)]
        self._waiting.clear()
        placed = []
        overdue = len(candidates) - self._bounds.waiting
        for index, (since, each) in enumerate(candidates):
            found = self._place(each, patient=index >= overdue and now - since < self._bounds.wait)
            if found is None:
                self._waiting.append((since, each))
            else:
                placed.append(replace(found, waited=since) if index < waiting else found)
        # A call comes before what was written at the same moment, and an inner one before the one around it.
        placed.sort(key=_order)
        self._age(now)
        return placed

    def put_back(self, placed: Iterable[Placed]) -> None:
        """They could not be counted: what had waited waits on; the others are sent again by their exporter."""
        self._waiting.extendleft(
            (each.waited, each.observation) for each in reversed(list(placed)) if each.waited is not None
        )

    def next_due(self) -> float | None:
        """When the first that waits is no longer to wait."""
        return self._waiting[0][0] + self._bounds.wait if self._waiting else None

    def is_repeated(self, call: Call) -> bool:
        """Whether a call that counts is inside this one or around it: they are then the same call."""
        trace = self._known(call.trace)
        if trace is None or not call.span or call.signal != "traces":
            return False
        around = set(self._around(trace, call.span))
        for other in trace.calls:
            if other != call.span and (other in around or call.span in self._around(trace, other)):
                return True
        return False

    def count(self, call: Call) -> None:
        """This call's usage counts."""
        if call.trace and call.span and call.signal == "traces":
            calls = self._trace(call.trace).calls
            if call.span not in calls:
                calls.append(call.span)
                if len(calls) > self._bounds.calls:
                    del calls[0]

    def _place(self, observation: AnyObservation, *, patient: bool) -> Placed | None:
        trace = self._known(observation.trace) if observation.trace else None
        if trace is not None and observation.agent is None and observation.part is None:
            runs = (trace.agents[each] for each in self._around(trace, observation.span) if each in trace.agents)
            agent = next(runs, None) if trace.agents else None
            if agent is not None:
                observation = replace(observation, agent=agent)
        if observation.session is not None:
            parent = None if trace is None else self._named_around(trace, observation.span)
            return Placed(observation, observation.session, parent if parent != observation.session else None)
        if trace is None:
            named = self._names.get(observation.trace)
            others = (named, observation.trace, observation.process, observation.service)
            return Placed(observation, next((each for each in others if each), "unknown"))
        session = self._named_around(trace, observation.span) or trace.session
        if session is None and patient and not trace.rooted:
            return None
        if session is None:
            session = trace.session = observation.trace
        return Placed(observation, session)

    def _named_around(self, trace: Trace, span: str) -> str | None:
        if not trace.parents.get(span):
            return None  # mostly nothing is known around a span that has just come
        return next((trace.sessions[each] for each in self._around(trace, span) if each in trace.sessions), None)

    @staticmethod
    def _around(trace: Trace, span: str) -> Iterable[str]:
        """The spans that enclose a span, the nearest first."""
        for _ in range(DEEPEST):
            span = trace.parents.get(span, "")
            if not span:
                return
            yield span

    def _known(self, id: str) -> Trace | None:
        return self._younger.get(id) or self._older.get(id)

    def _trace(self, id: str) -> Trace:
        """The trace, which is in use now."""
        trace = self._younger.get(id)
        if trace is None:
            trace = self._older.pop(id, None)
            if trace is None:
                trace = Trace(session=self._names.pop(id, None))
            if len(self._younger) >= self._bounds.traces // 2:
                self._turn_over()
            self._younger[id] = trace
            self._spans += len(trace.parents)
        return trace

    def _turn_over(self, used: str | None = None) -> None:
        """Forget the older ones; the younger ones are the older ones from now on, but for the one that is in use."""
        for id, trace in self._older.items():
            if trace.session is not None and trace.session != id:
                self._names[id] = trace.session
        while len(self._names) > self._bounds.names:
            del self._names[next(iter(self._names))]
        self._older, self._younger, self._spans = self._younger, {}, 0
        if used is not None:
            self._trace(used)

    def _age(self, now: float) -> None:
        """Forget the traces whose time is over; where the clock was set back, it begins anew."""
        if self._began is None or now < self._began:
            self._began = now
        elif now - self._began >= self._bounds.keep:
            self._turn_over()
            self._began = now


def _order(placed: Placed) -> tuple[float, bool, float]:
    observation = placed.observation
    if isinstance(observation, Call):
        return observation.at, False, -observation.start
    return observation.at, True, -observation.at
