"""Forecasts held against what came: the errors that `predictor="forecast"` exports, and those of the whole window.

What is expected at each model call of a session, some calls ahead, is remembered and looked at again when those calls
have come, in one turn of the ledger or in many. Where something was cleaned up or compacted meanwhile, nothing is said:
a forecast is what the window holds if nothing is. What is remembered is bounded: a few numbers for each call of the
longest horizon, for each active session.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from sidecar.budget.called import Called
from sidecar.budget.pace import REACHES
from sidecar.budget.policy import COMPONENTS, Component
from sidecar.budget.session import Session


class Miss(NamedTuple):
    """How far off a forecast was. `component`: None is the whole window; `error`: in parts of its budget, absolute."""

    component: Component | None
    calls: int
    error: float


class _Expected(NamedTuple):
    """What was expected of a session for the model call `due`, in parts of the budgets; window first, by component."""

    due: int
    calls: int
    falls: tuple[int, ...]
    utilizations: tuple[float, ...]


@dataclass(slots=True)
class _Waiting:
    """What waits for a session's next calls, by horizon, the sooner first."""

    epoch: int
    expected: dict[int, deque[_Expected]] = field(
        default_factory=lambda: {reach.calls: deque(maxlen=reach.calls) for reach in REACHES}
    )


class Forecasts:
    """Remembers forecasts by session until their time has come."""

    def __init__(self) -> None:
        self._waiting: dict[str, _Waiting] = {}

    def look(self, session: Session, called: Called | None) -> Iterable[Miss]:
        """A command of the session was decided: forecasts whose time has come, if a model call is what it told of.

        `session` is as the whole turn left it, which may have been closed by a later command than this one.
        """
        if called is None:
            if session.closed:
                self._waiting.pop(session.id, None)
            return ()
        waiting = self._waiting.get(session.id)
        if waiting is None or waiting.epoch != called.epoch:
            waiting = self._waiting[session.id] = _Waiting(called.epoch)
        missed = list(_due(waiting, called))
        for calls, utilizations in called.expected:
            waiting.expected[calls].append(_Expected(called.call + calls, calls, called.falls, utilizations))
        return missed

    def drop(self, session: Session) -> None:
        """The session rests, or somebody else serves it."""
        self._waiting.pop(session.id, None)


def _due(waiting: _Waiting, called: Called) -> Iterator[Miss]:
    for expected in waiting.expected.values():
        while expected and expected[0].due <= called.call:
            one = expected.popleft()
            if one.due == called.call:
                for place, component in enumerate((None, *COMPONENTS)):
                    if one.falls[place] == called.falls[place]:
                        yield Miss(component, one.calls, abs(one.utilizations[place] - called.utilizations[place]))
