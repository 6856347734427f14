"""How fast a window fills, call by call: a robust running mean that costs the same however long the session is.

What a model call adds to a window has a heavy tail: most calls add a little, a few read half a book. A straight line
follows each of those jumps for as long as it remembers it. Here a jump counts for no more than a cap that is itself
learned (a running quantile, after Robbins and Monro 1951), the newest calls count most, and a session that has hardly
begun is taken to grow as the agent's sessions do. The numbers below were chosen on one half of the recorded projects
and judged on the other; tests/forecasts/README.md has both, and the command that reproduces them.
"""

from dataclasses import dataclass
from math import exp

from sidecar.budget.policy import Component

FORGET = 0.10  # how much less each call counts than the one after it
_KEEP = 1 - FORGET
PRIOR_CALLS = 5.0  # calls that the agent's usual growth counts for
QUANTILE = 0.85  # growth above this quantile is cut off at it
STEP = 0.15  # by how much of its logarithm a call moves the estimate of that quantile
FIRST_CAP = 4.0  # multiples of the usual growth at which the estimate begins
_UP, _DOWN = exp(STEP * QUANTILE), exp(-STEP * (1 - QUANTILE))
LEAST_CAP, MOST_CAP = 16.0, 1e12  # a component may rest for a long time, and must be heard when it wakes

# A fall by more than this part is a cleanup or a compaction, and no growth.
FALL = 0.02

# Tokens that a model call adds, as far as nothing is known of an agent, and the part of each component in that: the
# recorded sessions' own, rounded.
USUAL = 800.0
USUAL_PARTS: dict[Component, float] = {
    "system_context": 0.02,
    "working_memory": 0.80,
    "knowledge_base": 0.06,
    "agent_context": 0.06,
    "interaction_buffer": 0.06,
}


@dataclass(slots=True)
class Pace:
    """The growth of one level from model call to model call.

    `level` is that at the last call (None: there was none), `usual` the growth expected before there is any. `seen`
    counts growths, `falls` the calls that found less than the one before them.
    """

    usual: float = USUAL
    level: int | None = None
    cap: float = 0.0  # 0: as `usual` says
    weight: float = 0.0
    total: float = 0.0
    seen: int = 0
    falls: int = 0

    def see(self, level: int) -> None:
        """A model call found the level there."""
        before, self.level = self.level, level
        if before is None:
            return
        if level < before * (1 - FALL):
            self.falls += 1
            return
        self.seen += 1
        growth = float(level - before)
        cap = self.cap or max(LEAST_CAP, FIRST_CAP * self.usual)
        self.weight = self.weight * _KEEP + 1
        if growth > cap:
            self.total = self.total * _KEEP + cap
            self.cap = min(max(cap * _UP, LEAST_CAP), MOST_CAP)
        else:
            self.total = self.total * _KEEP + growth
            self.cap = min(max(cap * _DOWN, LEAST_CAP), MOST_CAP)

    def lower(self, tokens: int) -> None:
        """A cleanup freed tokens: growth goes on from there, and what was expected before it does not hold."""
        if self.level is not None:
            self.level = max(0, self.level - tokens)
        self.falls += 1

    @property
    def mean(self) -> float:
        """Tokens a call has added in this session alone, at least 0."""
        mean = self.total / self.weight if self.weight else 0.0
        return mean if mean > 0 else 0.0

    @property
    def rate(self) -> float:
        """Tokens a call adds, at least 0."""
        rate = (self.total + PRIOR_CALLS * self.usual) / (self.weight + PRIOR_CALLS)
        return rate if rate > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Reach:
    """What is made of a rate for so many calls ahead: the growth is expected to be `calls` x rate x `expected`.

    A single call mostly adds less than the mean call does. In 80 of 100 cases the growth lies between those for `low`
    and `high`.
    """

    calls: int
    low: float
    expected: float
    high: float


REACHES = (
    Reach(1, low=0.2, expected=0.65, high=3.0),
    Reach(3, low=0.3, expected=0.85, high=2.8),
    Reach(10, low=0.5, expected=1.0, high=2.5),
)
