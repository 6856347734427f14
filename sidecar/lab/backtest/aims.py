"""What a policy for coding agents has to reach on recorded sessions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import ge, le, lt

from sidecar.lab.backtest.measures import Measures
from sidecar.lab.backtest.scores import Figure, few_emergencies, readmitted, refused_nothing, sessions, total


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """A bound on a figure of many windows. `bound` reads as it is shown."""

    name: str
    title: str
    bound: str
    unit: str
    of: Callable[[Sequence[Measures]], Figure]
    holds: Callable[[float, float], bool]
    limit: float

    def met(self, figure: Figure) -> bool:
        """Whether the figure is inside the bound; what there is nothing of cannot be missed."""
        return figure is None or self.holds(figure, self.limit)


AIMS: tuple[Aim, ...] = (
    Aim(
        name="refuses_nothing",
        title="refuses nothing, of sessions whose total fits",
        bound="at least 95 %",
        unit="percent",
        of=refused_nothing,
        holds=ge,
        limit=95,
    ),
    Aim(
        name="never_overflows",
        title="sessions over their limit, in provider tokens",
        bound="none",
        unit="count",
        of=sessions(lambda window: window.overflows > 0),
        holds=le,
        limit=0,
    ),
    Aim(
        name="few_emergencies",
        title="sessions with fewer than 3 emergency cleanups",
        bound="at least 95 %",
        unit="percent",
        of=few_emergencies,
        holds=ge,
        limit=95,
    ),
    Aim(
        name="little_readmitted",
        title="freed, then needed again",
        bound="under 4 %",
        unit="percent",
        of=readmitted,
        holds=lt,
        limit=4,
    ),
    Aim(
        name="nothing_recent",
        title="items touched that were used in the last 3 calls",
        bound="none",
        unit="count",
        of=total("recent_actions"),
        holds=le,
        limit=0,
    ),
)
