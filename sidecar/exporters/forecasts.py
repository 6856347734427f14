"""Forecasts held against what came: the errors that `predictor="forecast"` exports, and those of the whole window.

At each model call of a session what is expected some calls ahead is remembered, and looked at again when they have
come. Where something was cleaned up or compacted meanwhile, nothing is said: a forecast is what the window holds if
nothing is. A session whose calls came together is looked at after the last of them. What is remembered is bounded: a
few numbers for each call of the longest horizon, for each active session.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

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
    """What waits for a session's next calls, by horizon, the sooner first. `calls`: those that were looked at."""

    epoch: int
    calls: int
    expected: dict[int, deque[_Expected]] = field(
        default_factory=lambda: {reach.calls: deque(maxlen=reach.calls) for reach in REACHES}
    )


class Forecasts:
    """Remembers forecasts by session until their time has come."""

    def __init__(self) -> None:
        self._waiting: dict[str, _Waiting] = {}

    def look(self, session: Session) -> Iterable[Miss]:
        """The session has changed: forecasts whose time has come, if it has had a model call since."""
        waiting = self._waiting.get(session.id)
        if session.closed:
            self._waiting.pop(session.id, None)
        if waiting is None or waiting.epoch != session.epoch:
            if not session.calls or session.closed:
                return ()
            waiting = self._waiting[session.id] = _Waiting(session.epoch, 0)
        if session.calls == waiting.calls:
            return ()
        waiting.calls = session.calls
        missed = list(self._due(waiting, session))
        if not session.closed:
            _expect(waiting, session)
        return missed

    def drop(self, session: Session) -> None:
        """The session rests, or somebody else serves it."""
        self._waiting.pop(session.id, None)

    def _due(self, waiting: _Waiting, session: Session) -> Iterator[Miss]:
        falls = _falls(session)
        actual = (session.utilization, *(held.utilization for held in session.components.values()))
        for expected in waiting.expected.values():
            while expected and expected[0].due <= session.calls:
                one = expected.popleft()
                if one.due == session.calls:
                    for place, component in enumerate((None, *COMPONENTS)):
                        if one.falls[place] == falls[place]:
                            yield Miss(component, one.calls, abs(one.utilizations[place] - actual[place]))


def _expect(waiting: _Waiting, session: Session) -> None:
    falls = _falls(session)
    for calls, utilizations in session.expected():
        waiting.expected[calls].append(_Expected(session.calls + calls, calls, falls, utilizations))


def _falls(session: Session) -> tuple[int, ...]:
    return (session.pace.falls, *(held.pace.falls for held in session.components.values()))
