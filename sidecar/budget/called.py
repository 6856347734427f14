"""A session as a model call found it, in numbers alone: what forecasts are held against later (SPEC 3.8).

Several calls of a session may be decided together; when they are told, the session stands as the last of them left it.
So what each of them found is taken down when it is decided: the levels and how fast they grow. What follows from that
for a later call is reckoned when it has come, and only for what is exported.
"""

from collections.abc import Sequence
from typing import NamedTuple

from sidecar.budget.held import ratio
from sidecar.budget.outlook import at, rates
from sidecar.budget.pace import Reach
from sidecar.budget.session import Session


class Called(NamedTuple):
    """What the model call `call` of a session's `epoch` found; the whole window first, then each component.

    `falls` counts the times that each level fell, `levels` are used tokens and budgets. `rates` are the tokens that a
    call adds and `reaches` what is made of them; both empty where nobody knows.
    """

    epoch: int
    call: int
    falls: list[int]
    levels: list[tuple[int, int]]
    rates: Sequence[float]
    reaches: Sequence[Reach]

    def utilization(self, place: int) -> float:
        """What one level was in parts of its budget."""
        return ratio(*self.levels[place])

    def expected(self, place: int, reach: Reach) -> float:
        """The utilization that was expected of one level so many calls later."""
        used, budget = self.levels[place]
        return at(used, budget, self.rates[place], reach, reach.expected)


def called(session: Session) -> Called:
    """What the latest model call found, with what its command did after it."""
    components = session.components.values()
    paces = [session.pace, *[held.pace for held in components]]
    told = rates(session.samples, paces)
    return Called(
        session.epoch,
        session.calls,
        [pace.falls for pace in paces],
        [(session.used, session.total), *[(held.used, held.allocated) for held in components]],
        *(((), ()) if told is None else told),
    )
