"""A session as a model call found it, in numbers alone: what forecasts are held against later (SPEC 3.8).

Several calls of a session may be decided together; when they are told, the session stands as the last of them left it.
So what each of them found is taken down when it is decided.
"""

from typing import NamedTuple

from sidecar.budget.session import Session


class Called(NamedTuple):
    """What the model call `call` of a session's `epoch` found; the whole window first, then each component.

    `falls` counts the times that each level fell, `utilizations` are parts of the budgets, and `expected` is what they
    will be so many model calls later, by their number.
    """

    epoch: int
    call: int
    falls: tuple[int, ...]
    utilizations: tuple[float, ...]
    expected: list[tuple[int, tuple[float, ...]]]


def called(session: Session) -> Called:
    """What the latest model call found, with what its command did after it."""
    components = session.components.values()
    return Called(
        session.epoch,
        session.calls,
        (session.pace.falls, *[held.pace.falls for held in components]),
        (session.utilization, *[held.utilization for held in components]),
        session.expected(),
    )
