"""The objectives: what is promised (SPEC 3), what counts as good, how much may fail, and when that is worth an alert.

The page "Objectives" draws them, `recording` computes their error ratios, `alerting` watches how fast they burn.
"""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Severity: TypeAlias = Literal["critical", "warning", "info"]


@dataclass(frozen=True, slots=True)
class Burn:
    """Alert where what may fail is used up `factor` times too fast over both windows.

    The long window says that it is serious, the short one that it still goes on (the multi-window method of the Site
    Reliability Workbook, chapter 5).
    """

    factor: float
    long: str
    short: str
    severity: Severity


FAST: Final = Burn(14.4, "1h", "5m", "warning")  # a month's budget in two days
STEADY: Final = Burn(6, "6h", "30m", "warning")  # in five days
SLOW: Final = Burn(1, "3d", "6h", "info")  # in just the month


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """A share of events, `goal`, that are to be good: those of the histogram that are at most `bound`.

    `labels`: only events with these. `least`: fewer events than these in the long window prove nothing.
    """

    key: str
    title: str
    promise: str
    histogram: str
    bound: float
    goal: float
    alert: str
    burns: tuple[Burn, ...]
    least: int
    labels: tuple[tuple[str, str], ...] = ()

    @property
    def budget(self) -> float:
        """The share of events that may be bad."""
        return round(1 - self.goal, 6)


OBJECTIVES: Final = (
    Objective(
        key="decision",
        title="Decisions",
        promise="A request is decided within 10 ms",
        histogram="token_budget_allocation_duration_seconds",
        bound=0.01,
        goal=0.99,
        alert="TokenBudgetDecisionsSlow",
        burns=(FAST, STEADY, SLOW),
        least=100,
    ),
    Objective(
        key="cleanup",
        title="Cleanups",
        promise="A cleanup takes at most 500 ms",
        histogram="token_budget_cleanup_duration_seconds",
        bound=0.5,
        goal=0.99,
        alert="TokenBudgetCleanupsSlow",
        burns=(FAST, STEADY, SLOW),
        least=20,
    ),
    Objective(
        key="prediction",
        title="Predictions",
        promise="A prediction is within 5 points of the actual utilization",
        histogram="token_budget_prediction_error_ratio",
        bound=0.05,
        goal=0.8,  # an aim rather than a promise: one of five may be off
        alert="TokenBudgetPredictionsOff",
        burns=(Burn(3, "6h", "30m", "warning"), SLOW),
        least=20,
        labels=(("predictor", "!=prior"),),  # the prior is only where it starts from
    ),
    Objective(
        key="emergency",
        title="Sessions",
        promise="A session is exhausted fewer than three times",
        histogram="token_budget_session_exhaustions",
        bound=2,
        goal=0.95,
        alert="TokenBudgetEmergencies",
        burns=(FAST, STEADY, SLOW),
        least=10,
    ),
)
WINDOWS: Final = ("5m", "30m", "1h", "6h", "3d")  # of the recorded error ratios
