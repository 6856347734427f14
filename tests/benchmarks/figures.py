"""What a measure tells, and how: figures with aims, quantiles, pairs in alternation, and how noisy the machine was."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from time import perf_counter, process_time
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured number. `at_least`, `at_most`: its aim (None: only told). `of` says how it came about."""

    name: str
    value: float
    unit: str = ""
    at_least: float | None = None
    at_most: float | None = None
    of: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the aim is met; None where there is none."""
        if self.at_least is not None:
            return self.value >= self.at_least
        return None if self.at_most is None else self.value <= self.at_most

    @property
    def aim(self) -> str:
        """The aim in words."""
        if self.at_least is not None:
            return f">= {self.at_least:g}"
        return "" if self.at_most is None else f"<= {self.at_most:g}"

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return {name: value for name, value in asdict(self).items() if value not in (None, "")} | {"met": self.met}


def quantile(values: Sequence[float], part: float) -> float:
    """The value that `part` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


def pairs(
    ours: Callable[[], float], theirs: Callable[[], float], rounds: int
) -> tuple[float, list[float], list[float]]:
    """Measure both in turn, so that what slows the machine slows both: the median of ours/theirs, and all values."""
    mine, others = [], []
    for number in range(rounds):
        first, second = (ours, theirs) if number % 2 == 0 else (theirs, ours)
        one, two = first(), second()
        mine.append(one if first is ours else two)
        others.append(two if first is ours else one)
    return statistics.median(a / b for a, b in zip(mine, others, strict=True)), mine, others


def spin() -> tuple[float, float]:
    """A fixed piece of work: seconds it took, and of the processor's time. On a quiet machine always the same."""
    begun, worked = perf_counter(), process_time()
    total = 0
    for number in range(1_000_000):
        total += number & 7
    assert total
    return perf_counter() - begun, process_time() - worked
