"""Forecasts held against what came: the errors that `predictor="forecast"` exports, and those of the whole window.

What each model call of a session found is remembered, and looked at again when the calls that it lets expect have come,
in one turn of the ledger or in many. Where something was cleaned up or compacted meanwhile, nothing is said: a forecast
is what the window holds if nothing is. What is remembered is bounded: a few numbers for each call of the longest
horizon, for each active session.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

import msgspec

from sidecar.budget.called import Called
from sidecar.budget.pace import REACHES
from sidecar.budget.policy import COMPONENTS, Component
from sidecar.budget.session import Session

# As in `Called`: None is the whole window.
LEVELS: tuple[Component | None, ...] = (None, *COMPONENTS)
_HORIZONS = [reach.calls for reach in REACHES]
_LONGEST = max(_HORIZONS)


class Miss(msgspec.Struct, gc=False):
    """How far off a forecast was. `component`: None is the whole window; `error`: in parts of its budget, absolute.

    Three or more are made at each model call, so they are made in C.
    """

    component: Component | None
    calls: int
    error: float


@dataclass(slots=True)
class _Past:
    """What a session's latest calls found, by their numbers: no more of them than the longest horizon has."""

    epoch: int
    calls: dict[int, Called] = field(default_factory=dict)

    def add(self, called: Called) -> None:
        self.calls[called.call] = called
        if len(self.calls) > _LONGEST:
            del self.calls[next(iter(self.calls))]


class Forecasts:
    """Remembers what calls found until the time of their forecasts has come. `judged`: the levels that are."""

    def __init__(self, judged: Collection[Component | None] = LEVELS) -> None:
        self._judged = [(place, level) for place, level in enumerate(LEVELS) if level in judged]
        self._past: dict[str, _Past] = {}

    def look(self, session: Session, called: Called | None) -> Iterable[Miss]:
        """A command of the session was decided: forecasts whose time has come, if a model call is what it told of.

        `session` is as the whole turn left it, which may have been closed by a later command than this one.
        """
        if called is None:
            if session.closed:
                self._past.pop(session.id, None)
            return ()
        past = self._past.get(session.id)
        if past is None or past.epoch != called.epoch:
            past = self._past[session.id] = _Past(called.epoch)
        missed = self._missed(past, called)
        past.add(called)
        return missed

    def drop(self, session: Session) -> None:
        """The session rests, or somebody else serves it."""
        self._past.pop(session.id, None)

    def _missed(self, past: _Past, called: Called) -> list[Miss]:
        missed: list[Miss] = []
        number, earlier = called.call, past.calls.get
        for place, level in self._judged:
            falls, found = called.falls[place], called.utilization(place)
            for ahead, calls in enumerate(_HORIZONS):
                then = earlier(number - calls)
                if then is not None and then.reaches and then.falls[place] == falls:
                    missed.append(Miss(level, calls, abs(then.expected(place, then.reaches[ahead]) - found)))
        return missed
