"""One session as its telemetry shows it: which calls were seen, which is the last, and the commands that follow.

A window is a memory, not the truth: the ledger has that. What it forgets, at a restart or because there are too many,
it takes up again from the session itself; and each command carries an id, so that a call is counted once all the same.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from sidecar.budget.commands import (
    ChangeSession,
    CloseSession,
    Command,
    CompactionSpec,
    OpenSession,
    ReportUsage,
)
from sidecar.budget.policy import PRESETS, Component
from sidecar.budget.session import Session
from sidecar.receivers.otlp.attribution import Composition, whole
from sidecar.receivers.otlp.calibration import Calibration
from sidecar.receivers.otlp.context_windows import context_window
from sidecar.receivers.otlp.mapping import EMITTERS
from sidecar.receivers.otlp.observations import AnyObservation, Arrival, Call, Compaction, End, Start

CALLS = 256  # remembered per window, and as many arrivals
AUTHORITY = 900.0  # seconds after which another signal may speak for a window
TOGETHER = 1.0  # seconds by which clocks of two observers of one call may differ
SAME_COMPACTION = 120.0  # seconds within which two signals tell of one compaction
CODING_PRESET = "coding-agent"


@dataclass(slots=True, kw_only=True)
class Seen:
    """A call that was seen. `command` is what it came to, until the ledger has it."""

    id: str
    start: float
    end: float
    measured: bool  # its content was captured
    input: int | None
    command: Command | None = None

    @property
    def billed(self) -> bool:
        """Whether its usage was told."""
        return self.input is not None


@dataclass(slots=True, kw_only=True)
class Window:
    """What is remembered of one session between payloads. `last_at`: when its last call ended."""

    composition: Composition
    last_at: float = 0.0
    last: Seen | None = None
    stayed: bool = False
    authority: tuple[str, str] | None = None
    told_total: bool = False
    compacting: int | None = None  # a compaction was reported without what it left; the level before it
    compacted_at: float = 0.0
    calls: OrderedDict[str, list[Seen]] = field(default_factory=OrderedDict)
    arrivals: OrderedDict[str, None] = field(default_factory=OrderedDict)

    @classmethod
    def of(cls, session: Session | None, *, coding: bool) -> "Window":
        """A window that nothing is remembered of, as the ledger has its session."""
        if session is None or session.closed:
            return cls(composition=Composition(coding=coding), last_at=session.clock if session is not None else 0.0)
        parts = {name: float(held.used) for name, held in session.components.items() if held.used}
        return cls(
            composition=Composition(coding=coding, parts=parts, total=session.used, source=session.source),
            last_at=session.clock if session.calls else 0.0,
        )


@dataclass(slots=True, kw_only=True)
class Known:
    """What is known of a session while a payload is read: as the ledger has it, and as the payload has changed it."""

    open: bool = False
    managed: bool = False
    model: str | None = None
    total_tokens: int = 0
    reserve_tokens: int = 0

    @classmethod
    def of(cls, session: Session | None) -> "Known":
        """As the ledger has it."""
        if session is None or session.closed:
            return cls()
        return cls(
            open=True,
            managed=session.mode == "managed",
            model=session.model,
            total_tokens=session.total_tokens,
            reserve_tokens=session.reserve_tokens,
        )

    def opened(self, command: OpenSession) -> None:
        """As this command leaves it."""
        self.open, self.model, self.total_tokens = True, command.model, command.total_tokens or 0


@dataclass(slots=True)
class Step:
    """A command, and the call whose command it is: that call is remembered as done once the ledger has it."""

    command: Command
    call: Seen | None = None


def observe(
    window: Window, observation: AnyObservation, known: Known, calibration: Calibration, *, now: float
) -> Iterator[Step]:
    """The commands that follow from an observation. `now`: the server's time, which telemetry is never ahead of."""
    at = min(observation.at, now) if observation.at else now
    managed = known.managed
    match observation:
        case Call():
            yield from _call(window, observation, known, calibration, at=at)
        case Arrival() if not managed:
            yield from _arrival(window, observation, calibration, at=at, opened=known.open)
        case Compaction() if known.open and not managed:
            yield from _compaction(window, observation, at=at)
        case Start() if known.open and not managed:
            yield from _frame(window, observation, known, at=at)
        case End() if known.open:
            known.open = False
            yield Step(CloseSession(time=at))
        case _:
            return


def _frame(window: Window, start: Start, known: Known, *, at: float) -> Iterator[Step]:
    total = start.total_tokens
    if total is None:
        return
    window.told_total = True
    if total != known.total_tokens and total > known.reserve_tokens:
        known.total_tokens = total
        yield Step(ChangeSession(total_tokens=total, time=at))


def _model(window: Window, call: Call, known: Known, *, at: float) -> Iterator[Step]:
    """The conversation goes on with another model, and so in a window of another size, where that is known."""
    model = _name(call.model)
    if model is None or model == known.model:
        return
    total = context_window(model) if known.model is not None and not window.told_total else None
    if total is not None and total > known.reserve_tokens:
        known.total_tokens = total
    known.model = model
    yield Step(ChangeSession(model=model, total_tokens=total, time=at))


def open_command(observation: AnyObservation, *, parent: str | None, now: float, set_total: int | None) -> OpenSession:
    """The command that opens the session of an observation. `set_total`: the window's size if the operator set one."""
    emitter = EMITTERS[observation.emitter]
    model = observation.model if isinstance(observation, Call | Start) else None
    total = observation.total_tokens if isinstance(observation, Start) else None
    return OpenSession(
        agent=_name(observation.agent or emitter.agent or observation.service),
        parent=_name(parent),
        mode="observed",
        model=_name(model),
        total_tokens=total or set_total or context_window(model),
        preset=CODING_PRESET if emitter.coding and CODING_PRESET in PRESETS else None,
        time=min(observation.at, now) if observation.at else now,
    )


def opens(observation: AnyObservation) -> bool:
    """Whether an observation is reason enough to open a session: a level, or a window's frame."""
    return isinstance(observation, Start) or (isinstance(observation, Call) and _shows_level(observation))


def _shows_level(call: Call) -> bool:
    if call.side:
        return False
    # Without usage there is only what was captured; and a call that failed was not taken by the model.
    return call.input is not None or (call.content is not None and not call.failed)


def _call(window: Window, call: Call, known: Known, calibration: Calibration, *, at: float) -> Iterator[Step]:
    managed = known.managed
    if not _shows_level(call):
        return
    same = _same(window, call)
    if same is not None and (same.billed or call.input is None):
        yield from _again(window, same, call, calibration, managed=managed)
        return
    signal = (call.emitter, call.signal)
    if window.authority not in (None, signal) and abs(call.at - window.last_at) < AUTHORITY:
        return  # another signal speaks for this window
    seen = _remember(window, call)
    if call.at < window.last_at:
        return  # late: the window has moved on
    window.authority, window.last_at, window.last, window.stayed = signal, call.at, seen, False
    if not managed:
        yield from _model(window, call, known, at=at)
    before = window.compacting
    if call.compacted and before is None:
        before = window.composition.total
    components = window.composition.call(call, calibration)
    total = window.composition.total
    if before is not None and total < before and not managed:
        told = CompactionSpec(tokens_before=before, tokens_after=total)
        yield Step(ReportUsage(compaction=told, id=_id(f"{seen.id}/compaction"), time=at))
        window.compacted_at = at
    window.compacting = None
    if managed and call.input is None:
        return  # the host counts better than an estimate
    seen.command = ReportUsage(
        id=seen.id,
        time=at,
        total=total,
        components=None if managed else components,
        source=window.composition.source if call.input is not None else "estimated",
    )
    yield Step(seen.command, seen)


def _again(
    window: Window, seen: Seen, call: Call, calibration: Calibration, *, managed: bool
) -> Iterator[Step]:
    """A call that was seen before: sent again by an exporter that had no answer, or told by a second observer."""
    if seen is not window.last or managed:
        return
    if seen.command is not None:
        yield Step(seen.command, seen)
    elif call.content is not None and not seen.measured and call.input == window.composition.total:
        # The other observer knows what was in it.
        seen.measured = True
        components = window.composition.call(call, calibration)
        yield Step(
            ReportUsage(
                id=_id(f"{seen.id}/content"),
                time=call.at,
                components=components,
                total=window.composition.total,
                source=window.composition.source,
            )
        )


def _arrival(window: Window, arrival: Arrival, calibration: Calibration, *, at: float, opened: bool) -> Iterator[Step]:
    if window.authority not in (None, (arrival.emitter, arrival.signal)):
        return
    if arrival.call is not None:
        if arrival.call in window.arrivals:
            return
        window.arrivals[arrival.call] = None
        if len(window.arrivals) > CALLS:
            window.arrivals.popitem(last=False)
    if arrival.at < window.last_at:
        return  # the last call had it already
    composition = window.composition
    composition.arrive(arrival)
    if arrival.written or window.stayed or window.last is None or not opened:
        return
    # The conversation went on, so the last call's output stays in it.
    stays = composition.stayed(calibration)
    window.stayed = True
    more = round(sum(stays.values()))
    if more:
        parts = dict(composition.parts)
        for name, tokens in stays.items():
            parts[name] = parts.get(name, 0.0) + tokens
        components: dict[Component, int] = whole(parts, round(sum(composition.parts.values())) + more)
        yield Step(
            ReportUsage(
                id=_id(f"{window.last.id}/stayed"), time=at, components=components, source=composition.source
            )
        )


def _compaction(window: Window, told: Compaction, *, at: float) -> Iterator[Step]:
    if at - window.compacted_at < SAME_COMPACTION:
        return
    window.compacted_at = at
    level = window.composition.total
    before, after = told.tokens_before, told.tokens_after
    if told.partial:
        freed = max(0, (before or 0) - (after or 0))
        before, after = level, max(0, level - freed)
        if not freed:
            return
    if before is None:
        before = level
    if told.at < window.last_at:
        if after is not None and level > after + (before - after) // 2:
            # Late, and the last call has not shown it either: it is told, and changes no level.
            spec = CompactionSpec(tokens_before=before, tokens_after=after)
            yield Step(ReportUsage(compaction=spec, id=_id(f"compaction/{told.at}"), time=at))
        return
    if after is None:
        window.compacting = before
        return
    components = window.composition.compact(after)
    window.stayed = True
    yield Step(
        ReportUsage(
            compaction=CompactionSpec(tokens_before=before, tokens_after=after),
            total=after,
            components=components,
            source=window.composition.source,
            id=_id(f"compaction/{told.at}"),
            time=at,
        )
    )


# --- which calls are the same -----------------------------------------------------------------------------------------


def _same(window: Window, call: Call) -> Seen | None:
    """A call seen before that is this one: the same span, or the same answer at the same time.

    The time matters because a stand-in for a model answers every call under the same id.
    """
    for seen in window.calls.get(_span_key(call), ()):
        if call.signal == "traces" or _meets(seen, call):
            return seen
    if call.response is None:
        return None
    return next((seen for seen in window.calls.get(f"response {call.response}", ()) if _meets(seen, call)), None)


def _meets(seen: Seen, call: Call) -> bool:
    """Whether the two are of the same time. Calls that follow each other at once only touch."""
    shared = min(seen.end, call.at) - max(seen.start, call.start)
    shorter = min(seen.end - seen.start, call.at - call.start)
    if shorter > 0:
        return shared >= shorter / 2
    # An event is a moment, told by another clock or a little later: then the counts have to agree as well.
    return shared >= -TOGETHER and (seen.input == call.input or not seen.billed or call.input is None)


def _remember(window: Window, call: Call) -> Seen:
    span = _span_key(call)
    id = span if call.input is not None else f"{span} estimated"
    if call.response is not None:
        key = f"response {call.response}"
        # The counts tell a stand-in's calls apart even when nothing is remembered; the span does while it is.
        id = f"{key} {call.input} {call.output}"
        if any(seen.id == _id(id) for seen in window.calls.get(key, ())):
            id = f"{id} {span}"
    seen = Seen(
        id=_id(id),
        start=call.start,
        end=call.at,
        measured=call.content is not None,
        input=call.input,
    )
    for key in {span, f"response {call.response}" if call.response is not None else span}:
        window.calls.setdefault(key, []).append(seen)
        window.calls.move_to_end(key)
    while len(window.calls) > CALLS:
        window.calls.popitem(last=False)
    return seen


def _span_key(call: Call) -> str:
    # A coding agent's events are written in a span that many calls share.
    if call.span and (call.signal == "traces" or not EMITTERS[call.emitter].coding):
        return f"span {call.trace} {call.span}"
    return f"event {call.at} {call.response or ''} {call.input} {call.output}"


def _id(text: str) -> str:
    """A command's id: readable where it fits."""
    return text if len(text) <= 200 and text.isprintable() else hashlib.sha256(text.encode()).hexdigest()  # noqa: PLR2004


def _name(text: str | None) -> str | None:
    """A name as the budget takes it: no control characters, at most 256."""
    if text is None:
        return None
    clean = "".join(char for char in text if char.isprintable())
    return clean[:256] or None


def session_name(text: str) -> str:
    """A session's id as the API takes it; one that is too long is cut, and told apart by its digest."""
    clean = "".join(char for char in text if char.isprintable())
    if clean == text and 0 < len(text) <= 256:  # noqa: PLR2004 - as `Name`
        return text
    return f"{clean[:200]}-{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:16]}"
