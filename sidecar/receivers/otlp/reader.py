"""From records to the ledger: places each observation in its session, and hands on the commands that follow.

What it remembers is bounded. Where the ledger did not take a command, the session is taken up anew from the ledger when
its exporter sends the payload again, so that nothing of it is lost or counted twice.
"""

import contextlib
import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sidecar.budget.commands import Command
from sidecar.budget.errors import BudgetError, Conflict, NotFound
from sidecar.budget.session import Session
from sidecar.journal import Damaged, JournalError
from sidecar.ledger import Ask, Ledger, Origin, Overloaded
from sidecar.ledger.trace_context import from_ids
from sidecar.receivers.otlp.calibration import Calibration
from sidecar.receivers.otlp.emitters import observe as read_record
from sidecar.receivers.otlp.emitters.genai import agent_run
from sidecar.receivers.otlp.mapping import EMITTERS, Meaning, text
from sidecar.receivers.otlp.naming import session_name
from sidecar.receivers.otlp.observations import AnyObservation, Call, End
from sidecar.receivers.otlp.opening import Known, open_command, opens
from sidecar.receivers.otlp.traces import Bounds, Placed, Traces
from sidecar.receivers.otlp.windows import Window, observe, shows
from sidecar.receivers.otlp.wire import Record

SLICE = 256  # observations carried out together; between two slices others get the event loop
# Sessions remembered, and for how many seconds of silence; what is forgotten is taken up again from the ledger.
WINDOWS = 2_000
SILENT = 3_600.0


@dataclass(slots=True)
class Refused:
    """How many commands of a payload were refused for good, and why the first of them."""

    count: int = 0
    detail: str = ""


class Reader:
    """Takes records in, in any order, and keeps the sessions that they show.

    `set_total`: the window's size, where the operator set one.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        auto_open: bool,
        clock: Callable[[], float],
        set_total: int | None = None,
        bounds: Bounds | None = None,
    ) -> None:
        self._ledger = ledger
        self._auto_open = auto_open
        self._clock = clock
        self._set_total = set_total
        self._traces = Traces(bounds)
        self._calibration = Calibration()
        self._windows: OrderedDict[str, Window] = OrderedDict()
        self._agents: OrderedDict[str, str] = OrderedDict()  # a conversation's own agent, where telemetry names one

    def next_due(self) -> float | None:
        """When something that waits for its conversation is to be counted all the same (epoch seconds)."""
        return self._traces.next_due()

    def note(self, record: Record) -> AnyObservation | None:
        """Remember how a record is connected; and what it says of a window."""
        observation = read_record(record)
        if record.told or observation is not None:
            told = observation.session if observation is not None else text(record.told, Meaning.SESSION)
            self._traces.note(record, told, agent_run(record))
        else:
            self._traces.note(record, None)
        return observation

    async def take(self, observations: Iterable[AnyObservation], *, patient: bool = True) -> Refused:
        """Carry out what observations say; without patience, also what still waits for its conversation.

        Raises `JournalError` or `Overloaded`: they are then to be sent again.
        """
        placed = self._traces.place(observations, now=self._clock() if patient else math.inf)
        refused = Refused()
        for start in range(0, len(placed), SLICE):
            try:
                again = await self._carry_out(placed[start : start + SLICE], refused)
                if again:
                    # A session was closed or changed under our hands: look at it anew, once.
                    await self._carry_out(again, refused, last=True)
            except (JournalError, Overloaded):
                self._traces.put_back(placed[start:])
                raise
        return refused

    async def _carry_out(self, placed: Sequence[Placed], refused: Refused, *, last: bool = False) -> list[Placed]:
        sessions: dict[str, Session | None] = {}
        await self._look(sessions, (session_name(each.session) for each in placed))
        routed = [self._route(each, sessions) for each in placed]
        await self._look(sessions, (each.session for each in routed))
        asks = self._asks(routed, sessions)
        # Between a window's new state and the ledger's queue nothing is awaited: commands keep their order.
        try:
            answers = await self._ledger.handle_all(asks)
        except (JournalError, Overloaded):
            self._forget(ask.session for ask in asks)
            raise
        again: set[str] = set()
        untaken: Exception | None = None
        for ask, answer in zip(asks, answers, strict=True):
            if isinstance(answer, Conflict) and not last:
                again.add(ask.session)
            elif isinstance(answer, BudgetError | Damaged):
                refused.count += 1
                refused.detail = refused.detail or str(answer)
            elif isinstance(answer, Exception):
                untaken = untaken or answer
            else:
                continue
            self._forget([ask.session])
        if untaken is not None:
            raise untaken
        return [each for each, where in zip(placed, routed, strict=True) if where.session in again]

    async def _look(self, sessions: dict[str, Session | None], ids: Iterable[str]) -> None:
        """Look up the sessions that are not looked up yet; None where there is none."""
        new: dict[str, Session | None] = {id: None for id in ids if id not in sessions}
        sessions |= new
        # Mostly all of them are there, or none: a trace that names no conversation is one of its own.
        for id in await self._ledger.existing(new) if new else ():
            with contextlib.suppress(NotFound, Damaged):  # what is said of a damaged one is refused by itself
                sessions[id] = (await self._ledger.view(id)).session

    def _route(self, placed: Placed, sessions: dict[str, Session | None]) -> Placed:
        """The session of an observation: its conversation's, or that of a sub-agent within it."""
        observation, part = placed.observation, placed.observation.part
        session = session_name(placed.session)
        parent = session_name(placed.parent) if placed.parent is not None else None
        if part is None and not EMITTERS[observation.emitter].coding and observation.agent is not None:
            main = self._agents.get(session)
            if main is None:
                known = sessions.get(session)
                # An agent that telemetry did not name was called by its service's name.
                main = known.agent if known is not None and known.agent != observation.service else observation.agent
                self._agents[session] = main
                if len(self._agents) > WINDOWS:
                    self._agents.popitem(last=False)
            if observation.agent != main:
                part = observation.agent
        if part is None:
            same = session == placed.session and parent == placed.parent
            return placed if same else Placed(observation, session, parent)
        return Placed(observation, session_name(f"{session}.{part}"), session)

    def _forget(self, sessions: Iterable[str]) -> None:
        """What these windows have come to is not what the ledger has: they are taken up from there again."""
        for id in sessions:
            self._windows.pop(id, None)

    def _forget_silent(self, now: float) -> None:
        while self._windows:
            id, window = next(iter(self._windows.items()))
            if window.used > now - SILENT:
                return
            del self._windows[id]

    def _asks(self, routed: Sequence[Placed], sessions: dict[str, Session | None]) -> list[Ask]:
        now = self._clock()
        self._forget_silent(now)
        known = {id: Known.of(session) for id, session in sessions.items()}
        asks: list[Ask | None] = []
        # That a call's output stays need not be told where the next call, which shows it, has come with it.
        interim: dict[str, tuple[int, int]] = {}
        for each in routed:
            id, observation = each.session, each.observation
            if isinstance(observation, Call) and self._traces.is_repeated(observation):
                continue
            window = self._window(id, sessions[id], observation)
            window.used = now
            state = known[id]
            if not state.open and opens(observation):
                session = sessions[id]
                if not self._auto_open or (session is not None and observation.at <= session.clock):
                    continue  # late news of a session that is over
                opening = open_command(observation, parent=each.parent, now=now, set_total=self._set_total)
                asks.append(_ask(id, opening, observation))
                state.opened(opening)
            for command in observe(window, observation, state, self._calibration, now=now):
                place, level = interim.pop(id, (None, 0))
                if place is not None and shows(command, level):
                    asks[place] = None
                if window.interim is not None:
                    interim[id], window.interim = (len(asks), window.interim), None
                asks.append(_ask(id, command, observation))
            if isinstance(observation, Call) and observation.input is not None and not observation.side:
                self._traces.count(observation)
            if isinstance(observation, End):
                sessions[id] = None  # what comes next begins anew
                self._forget([id])
        return [ask for ask in asks if ask is not None]

    def _window(self, id: str, session: Session | None, observation: AnyObservation) -> Window:
        window = self._windows.get(id)
        if window is None or (session is not None and session.closed):
            coding = EMITTERS[observation.emitter].coding
            window = self._windows[id] = Window.of(session, coding=coding)
            window.told_total = self._set_total is not None
            if len(self._windows) > WINDOWS:
                self._windows.popitem(last=False)
        else:
            self._windows.move_to_end(id)
        return window


def _ask(session: str, command: Command, because: AnyObservation) -> Ask:
    origin = Origin(receiver="otlp", context=from_ids(because.trace, because.span))
    return Ask(session=session, command=command, origin=origin, answered=False)
