"""Many windows under one policy, summed up: a row a measure, in the order in which one asks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias

from sidecar.lab.backtest.measures import Measures, quantile

Figure: TypeAlias = float | None  # None: there is nothing to take it of
Unit: TypeAlias = Literal["count", "tokens", "percent", "points", "mean"]

FEW = 3  # emergency cleanups: a session should have fewer


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A measure of many windows: a title for readers, a unit, and how it follows from the windows' own."""

    title: str
    unit: Unit
    of: Callable[[Sequence[Measures]], Figure]


def total(name: str) -> Callable[[Sequence[Measures]], Figure]:
    """The sum of a measure over all windows."""
    return lambda windows: sum(getattr(window, name) for window in windows)


def percent(part: float, whole: float) -> Figure:
    """A part in percent of its whole; None where there is no whole."""
    return 100 * part / whole if whole else None


def sessions(condition: Callable[[Measures], bool]) -> Callable[[Sequence[Measures]], Figure]:
    """How many windows satisfy a condition."""
    return lambda windows: sum(condition(window) for window in windows)


def refused_nothing(windows: Sequence[Measures]) -> Figure:
    """Of the windows whose total fits, those that were refused nothing, in percent."""
    fitting = [window for window in windows if window.fits]
    return percent(sum(not window.refusals for window in fitting), len(fitting))


def few_emergencies(windows: Sequence[Measures]) -> Figure:
    """The windows with fewer than three emergency cleanups, in percent."""
    return percent(sum(window.emergencies < FEW for window in windows), len(windows))


def readmitted(windows: Sequence[Measures]) -> Figure:
    """Of the tokens freed, those that were needed again, in percent."""
    return percent(sum(window.readmitted_tokens for window in windows), sum(window.freed_tokens for window in windows))


def _of_calls(name: str) -> Callable[[Sequence[Measures]], Figure]:
    return lambda windows: percent(sum(getattr(each, name) for each in windows), sum(each.calls for each in windows))


def _errors(at: float) -> Callable[[Sequence[Measures]], Figure]:
    return lambda windows: quantile([error for window in windows for error in window.errors], at)


def _emergencies_each(windows: Sequence[Measures]) -> Figure:
    return sum(window.emergencies for window in windows) / len(windows) if windows else None


SECTIONS: Mapping[str, Mapping[str, Score]] = MappingProxyType(
    {
        "Refused": {
            "refused_nothing_percent": Score(
                title="refused nothing, of those whose total fits", unit="percent", of=refused_nothing
            ),
            "refusals": Score(title="requests refused", unit="count", of=total("refusals")),
            "refused_tokens": Score(title="tokens refused", unit="tokens", of=total("refused_tokens")),
        },
        "Exhausted": {
            "exhaustions": Score(title="exhaustions of a component", unit="count", of=total("exhaustions")),
            "emergencies": Score(title="emergency cleanups", unit="count", of=total("emergencies")),
            "emergencies_each": Score(title="emergency cleanups a session", unit="mean", of=_emergencies_each),
            "few_emergencies_percent": Score(
                title="sessions with fewer than 3 of them", unit="percent", of=few_emergencies
            ),
        },
        "Whole window, in provider tokens": {
            "overflowing_sessions": Score(
                title="sessions over their limit", unit="count", of=sessions(lambda window: window.overflows > 0)
            ),
            "overflows": Score(title="model calls over the limit", unit="count", of=total("overflows")),
            "calls_in_target_percent": Score(
                title="model calls inside the target", unit="percent", of=_of_calls("calls_in_target")
            ),
            "calls_above_percent": Score(
                title="model calls above the target", unit="percent", of=_of_calls("calls_above")
            ),
        },
        "Freed": {
            "cleanups": Score(title="cleanups that freed something", unit="count", of=total("cleanups")),
            "freed_tokens": Score(title="tokens freed", unit="tokens", of=total("freed_tokens")),
            "readmitted_tokens": Score(
                title="tokens freed, then needed again", unit="tokens", of=total("readmitted_tokens")
            ),
            "readmitted_percent": Score(title="in percent of those freed", unit="percent", of=readmitted),
            "recent_actions": Score(
                title="items touched that were used in the last 3 calls", unit="count", of=total("recent_actions")
            ),
            "cache_lost_tokens": Score(
                title="prompt cache lost, in tokens", unit="tokens", of=total("cache_lost_tokens")
            ),
        },
        "Foreseen, 10 model calls ahead": {
            "forecast_error_median": Score(title="error of the forecast, median", unit="points", of=_errors(0.5)),
            "forecast_error_p90": Score(title="error of the forecast, 90th percentile", unit="points", of=_errors(0.9)),
        },
    }
)


def scores(windows: Sequence[Measures]) -> dict[str, Figure]:
    """Every score of these windows, by name."""
    return {name: score.of(windows) for section in SECTIONS.values() for name, score in section.items()}
