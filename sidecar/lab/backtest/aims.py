"""What a policy for coding agents has to reach on recorded sessions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import ge, le, lt

from sidecar.lab.backtest.measures import Measures
from sidecar.lab.backtest.scores import Figure, few_emergencies, readmitted, refused_nothing, sessions, total


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """What a figure must not leave; `text` is how it is shown."""

    text: str
    unit: str
    holds: Callable[[float, float], bool]
    limit: float


MOST = Bound(text="at least 95 %", unit="percent", holds=ge, limit=95)
FEW = Bound(text="under 4 %", unit="percent", holds=lt, limit=4)
NONE = Bound(text="none", unit="count", holds=le, limit=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """A bound on a figure of many windows."""

    name: str
    title: str
    bound: Bound
    of: Callable[[Sequence[Measures]], Figure]

    def met(self, figure: Figure) -> bool:
        """Whether the figure is inside the bound; what there is nothing of cannot be missed."""
        return figure is None or self.bound.holds(figure, self.bound.limit)


AIMS: tuple[Aim, ...] = (
    Aim(
        name="refuses_nothing",
        title="refuses nothing, of sessions whose total fits",
        bound=MOST,
        of=refused_nothing,
    ),
    Aim(
        name="never_overflows",
        title="sessions over their limit, in provider tokens",
        bound=NONE,
        of=sessions(lambda window: window.overflows > 0),
    ),
    Aim(
        name="few_emergencies",
        title="sessions with fewer than 3 emergency cleanups",
        bound=MOST,
        of=few_emergencies,
    ),
    Aim(
        name="little_readmitted",
        title="freed, then needed again",
        bound=FEW,
        of=readmitted,
    ),
    Aim(
        name="nothing_recent",
        title="items touched that were used in the last 3 calls",
        bound=NONE,
        of=total("recent_actions"),
    ),
)
