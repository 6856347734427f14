"""Series as plain numbers behind the beginning of the line that shows them, and the two formats they are shown in.

The event loop is the only writer, so a counter needs no lock: counting costs a tenth of `prometheus_client`'s, and a
scrape, being one join over lines half made, far less than its rendering (the tests hold the two to the same text).
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from math import isinf, isnan
from typing import Final

from sidecar.exporters.metric import Labels, Metric

TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"


class Cell:
    """One series of a counter or gauge. `value` None is absent."""

    __slots__ = ("exemplar", "head", "value")

    def __init__(self, head: str) -> None:
        self.head = head
        self.value: float | None = 0
        self.exemplar = ""

    def add(self, amount: float) -> None:
        """Count."""
        self.value = (self.value or 0) + amount

    def lines(self, *, exemplars: bool) -> Iterator[str]:
        """The line that shows it."""
        if self.value is not None:
            yield f"{self.head} {number(self.value)}{self.exemplar if exemplars else ''}\n"


class Distribution:
    """One histogram: how many values fell up to each bound, and their sum."""

    __slots__ = ("bounds", "counts", "exemplars", "heads", "total")

    def __init__(self, metric: Metric, values: Labels) -> None:
        self.bounds = metric.buckets
        self.counts = [0] * (len(metric.buckets) + 1)
        self.exemplars = [""] * len(self.counts)
        self.total = 0.0
        names = (*metric.labels, "le")
        self.heads = [
            head(f"{metric.name}_bucket", names, (*values, bound))
            for bound in (*(repr(float(each)) for each in metric.buckets), "+Inf")
        ]
        self.heads += [head(f"{metric.name}_{part}", names[:-1], values) for part in ("count", "sum")]

    def observe(self, value: float, exemplar: str = "") -> None:
        """Count one value; `exemplar` is the text of one, as `exemplar` makes it."""
        place = bisect_left(self.bounds, value)
        self.counts[place] += 1
        self.total += value
        if exemplar:
            self.exemplars[place] = exemplar

    def lines(self, *, exemplars: bool) -> Iterator[str]:
        """A line for each bucket, cumulative, and for count and sum."""
        count = 0
        for place, here in enumerate(self.counts):
            count += here
            yield f"{self.heads[place]} {count}{self.exemplars[place] if exemplars else ''}\n"
        yield f"{self.heads[-2]} {count}\n"
        yield f"{self.heads[-1]} {number(self.total)}\n"


class Counted:
    """The series of one counter, gauge or info metric, by label values in the catalogue's order."""

    __slots__ = ("_cells", "metric")

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self._cells: dict[Labels, Cell] = {}

    def __getitem__(self, values: Labels) -> Cell:
        """The series of these label values; it begins at 0 when it is first asked for."""
        cell = self._cells.get(values)
        if cell is None:
            cell = self._cells[values] = Cell(head(self.metric.name, tuple(self.metric.labels), values))
        return cell

    def get(self, values: Labels) -> Cell | None:
        """The series of these label values, if it has begun."""
        return self._cells.get(values)

    def series(self) -> Iterable[Cell]:
        """All of them, in the order in which they began."""
        return self._cells.values()

    def end(self, agent: str) -> None:
        """Show an agent's series no more."""
        self._cells = {values: cell for values, cell in self._cells.items() if values[0] != agent}


class Distributed:
    """The series of one histogram metric, by label values in the catalogue's order."""

    __slots__ = ("_distributions", "metric")

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self._distributions: dict[Labels, Distribution] = {}

    def __getitem__(self, values: Labels) -> Distribution:
        """The histogram of these label values; it begins empty when it is first asked for."""
        found = self._distributions.get(values)
        if found is None:
            found = self._distributions[values] = Distribution(self.metric, values)
        return found

    def series(self) -> Iterable[Distribution]:
        """All of them, in the order in which they began."""
        return self._distributions.values()

    def end(self, agent: str) -> None:
        """Show an agent's series no more."""
        self._distributions = {values: each for values, each in self._distributions.items() if values[0] != agent}


def exposition(family: Counted | Distributed, *, openmetrics: bool) -> str:
    """One metric as a scrape shows it, in the text format or in OpenMetrics."""
    metric = family.metric
    name, kind = metric.name, metric.kind
    if openmetrics:
        name = name.removesuffix("_total").removesuffix("_info")
    elif kind == "info":
        kind = "gauge"
    parts = [f"# HELP {name} {metric.help}\n# TYPE {name} {kind}\n"]
    if openmetrics and metric.unit:
        parts.append(f"# UNIT {name} {metric.unit}\n")
    for each in family.series():
        parts.extend(each.lines(exemplars=openmetrics))
    return "".join(parts)


def head(name: str, labels: Labels, values: Labels) -> str:
    """The beginning of a line: the metric's name and its labels."""
    if not values:
        return name
    pairs = ",".join(f'{label}="{_escape(value)}"' for label, value in zip(labels, values, strict=True))
    return f"{name}{{{pairs}}}"


def exemplar(labels: Mapping[str, str], value: float, time: float) -> str:
    """An exemplar as OpenMetrics writes it after a sample; empty without labels."""
    if not labels:
        return ""
    pairs = ",".join(f'{label}="{_escape(each)}"' for label, each in labels.items())
    return f" # {{{pairs}}} {number(value)} {time:.3f}"


def number(value: float) -> str:
    """A sample's value in words that Prometheus reads back exactly."""
    if isinstance(value, int):
        return str(value)
    if isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return "NaN" if isnan(value) else repr(value)


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
