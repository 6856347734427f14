"""One session as its telemetry shows it: which calls were seen, which is the last, and the commands that follow.

A window is a memory, not the truth: the ledger has that. What it forgets, at a restart or because there are too many,
it takes up again from the session itself; and each command carries an id, so that a call is counted once all the same.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from sidecar.budget.commands import (
    ChangeSession,
    CloseSession,
    Command,
    CompactionSpec,
    ReportUsage,
)
from sidecar.budget.session import Session
from sidecar.receivers.otlp.attribution import Composition, whole
from sidecar.receivers.otlp.calibration import Calibration
from sidecar.receivers.otlp.context_windows import context_window
from sidecar.receivers.otlp.naming import clean_name, id_of
from sidecar.receivers.otlp.observations import AnyObservation, Arrival, Call, Compaction, End, Start
from sidecar.receivers.otlp.opening import Known, shows_level
from sidecar.receivers.otlp.seen import Calls, Seen, remember, same_call

ARRIVALS = 256  # remembered per window
AUTHORITY = 900.0  # seconds after which another signal may speak for a window
SAME_COMPACTION = 120.0  # seconds within which two signals tell of one compaction


@dataclass(slots=True, kw_only=True)
class Window:
    """What is remembered of one session between payloads.

    `last_at`: when its last call ended; `stayed`: that call's output is known to stay. `authority`: the emitter and the
    signal that speak for it. `told_total`: its size is known, not guessed from its model.
    `interim`: the level that a command has just told in between two calls; who takes the command takes that too.
    `used`: when something was last told of it, by the server's clock.
    """

    composition: Composition
    used: float = 0.0
    last_at: float = 0.0
    last: Seen | None = None
    stayed: bool = False
    interim: int | None = None
    authority: tuple[str, str] | None = None
    told_total: bool = False
    compacting: int | None = None  # a compaction was reported without what it left; the level before it
    compacted_at: float = 0.0
    calls: Calls = field(default_factory=OrderedDict)
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


def shows(command: Command, level: int) -> bool:
    """Whether a command tells of a call whose level is no lower: what was told in between, it tells as well."""
    return (
        isinstance(command, ReportUsage)
        and command.total is not None
        and command.total >= level
        and command.compaction is None
    )


def observe(
    window: Window, observation: AnyObservation, known: Known, calibration: Calibration, *, now: float
) -> Iterator[Command]:
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
            yield CloseSession(time=at)
        case _:
            return


def _frame(window: Window, start: Start, known: Known, *, at: float) -> Iterator[Command]:
    total = start.total_tokens
    if total is None:
        return
    window.told_total = True
    if total != known.total_tokens and total > known.reserve_tokens:
        known.total_tokens = total
        yield ChangeSession(total_tokens=total, time=at)


def _model(window: Window, call: Call, known: Known, *, at: float) -> Iterator[Command]:
    """The conversation goes on with another model, and so in a window of another size, where that is known."""
    model = clean_name(call.model)
    if model is None or model == known.model:
        return
    total = context_window(model) if known.model is not None and not window.told_total else None
    if total is not None and total > known.reserve_tokens:
        known.total_tokens = total
    known.model = model
    yield ChangeSession(model=model, total_tokens=total, time=at)


def _call(window: Window, call: Call, known: Known, calibration: Calibration, *, at: float) -> Iterator[Command]:
    managed = known.managed
    if not shows_level(call):
        return
    signal = (call.emitter, call.signal)
    same = same_call(window.calls, call)
    if same is not None and (same.billed or call.input is None):
        if call.content is not None and not same.measured:
            window.authority = signal  # from now on the one who knows what is in a call speaks for the window
        return
    if window.authority not in (None, signal) and abs(call.at - window.last_at) < AUTHORITY:
        return  # another signal speaks for this window
    seen = remember(window.calls, call)
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
        yield ReportUsage(compaction=told, id=id_of(f"{seen.id}/compaction"), time=at)
        window.compacted_at = at
    window.compacting = None
    if managed and call.input is None:
        return  # the host counts better than an estimate
    yield ReportUsage(
        id=seen.id,
        time=at,
        total=total,
        components=None if managed else components,
        source=window.composition.source if call.input is not None else "estimated",
    )


def _arrival(
    window: Window, arrival: Arrival, calibration: Calibration, *, at: float, opened: bool
) -> Iterator[Command]:
    if window.authority not in (None, (arrival.emitter, arrival.signal)):
        return
    if arrival.call is not None:
        if arrival.call in window.arrivals:
            return
        window.arrivals[arrival.call] = None
        if len(window.arrivals) > ARRIVALS:
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
        window.interim = composition.total + more
        parts = dict(composition.parts)
        for name, tokens in stays.items():
            parts[name] = parts.get(name, 0.0) + tokens
        components = whole(parts, round(sum(composition.parts.values())) + more)
        yield ReportUsage(
            id=id_of(f"{window.last.id}/stayed"), time=at, components=components, source=composition.source
        )


def _compaction(window: Window, told: Compaction, *, at: float) -> Iterator[Command]:
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
            yield ReportUsage(compaction=spec, id=id_of(f"compaction/{told.at}"), time=at)
        return
    if after is None:
        window.compacting = before
        return
    components = window.composition.compact(after)
    window.stayed = True
    yield ReportUsage(
        compaction=CompactionSpec(tokens_before=before, tokens_after=after),
        total=after,
        components=components,
        source=window.composition.source,
        id=id_of(f"compaction/{told.at}"),
        time=at,
    )
