"""`python -m tests.forecasts [FILE ...]`: how good forecasts and predictions of needs are on recorded sessions.

FILE is a recording or a folder of them; without any, the bundled ones. All figures are absolute errors in points (parts
of a hundred) of the whole window, or of a component's budget.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from sidecar.budget.pace import REACHES
from sidecar.budget.policy import COMPONENTS
from sidecar.lab.recordings import bundled, read
from tests.forecasts.tasks import JUDGED, Guess, guesses
from tests.forecasts.windows import PREDICTORS, Miss, misses, windows

T = TypeVar("T")
PARTS = ("tune", "judge")
KNOWN = PREDICTORS[3]  # what a sidecar shows
FEW = (0, 1, 2, 3, 5, 10, 20, 50)


def quantile(values: Iterable[float], part: float) -> float:
    """The value below which this part of all lies; nan of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else float("nan")


def table(title: str, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a Markdown table."""
    print(f"\n{title}\n\n| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for row in rows:
        print(f"| {' | '.join(f'{cell:.2f}' if isinstance(cell, float) else str(cell) for cell in row)} |")


def points(found: Sequence[T], error: Callable[[T], float]) -> str:
    """Median and 90th percentile."""
    errors = [100 * error(each) for each in found]
    return f"{quantile(errors, 0.5):.2f} / {quantile(errors, 0.9):.2f}" if errors else "-"


def of_windows(found: list[Miss]) -> None:
    """The tables about forecasts."""
    whole = [miss for miss in found if miss.component is None]
    reaches = [reach.calls for reach in REACHES]
    heads = ["part", "predictor", *(f"{calls} ahead" for calls in reaches), "inside the interval at 10"]
    rows: list[list[object]] = []
    for part in PARTS:
        for predictor in PREDICTORS:
            own = [miss for miss in whole if (miss.part, miss.predictor) == (part, predictor)]
            cells = [points([m for m in own if m.calls == calls], lambda m: m.error) for calls in reaches]
            told = [miss.within for miss in own if miss.calls == 10 and miss.within is not None]
            rows.append([part, predictor, *cells, f"{100 * sum(told) / len(told):.0f} %" if told else ""])
    table("Whole window: median / 90th percentile of the error, in points", heads, rows)

    best = [miss for miss in whole if miss.predictor == KNOWN and miss.calls == 10]
    rows = [
        [agent, len(own := [miss for miss in best if miss.agent == agent]), points(own, lambda m: m.error)]
        for agent in sorted({miss.agent for miss in best})
    ]
    table(f"By agent: 10 calls ahead, {KNOWN}", ["agent", "forecasts", "error"], rows)

    rows = []
    for low, high in ((0.0, 0.01), (0.01, 0.03), (0.03, 0.06), (0.06, 9.0)):
        own = [miss for miss in best if low <= miss.largest < high]
        text = f"{100 * low:g} to {100 * high:g}" if high < 1 else f"over {100 * low:g}"
        rows.append([text, f"{100 * len(own) / max(1, len(best)):.0f} %", points(own, lambda m: m.error)])
    table("Anatomy: by what the largest of the ten calls added, in points", ["largest call", "of all", "error"], rows)

    rows = [
        [
            name,
            *(
                points(
                    [m for m in found if (m.component, m.predictor, m.calls, m.part) == (name, KNOWN, calls, "judge")],
                    lambda m: m.error,
                )
                for calls in reaches
            ),
        ]
        for name in COMPONENTS
    ]
    table("Components, in points of their own budgets, as learned (judge)", ["component", *heads[2:-1]], rows)


def of_tasks(found: list[Guess]) -> None:
    """The tables about tasks."""
    rows: list[list[object]] = []
    for part in PARTS:
        for name in JUDGED:
            own = [guess for guess in found if (guess.part, guess.component) == (part, name)]
            rows.append([part, name, len(own), points(own, lambda g: g.prior), points(own, lambda g: g.calibrated)])
    heads = ["part", "component", "tasks", "prior", "calibrated"]
    table("Needs of tasks: median / 90th percentile of the error, in points of the standard budget", heads, rows)
    rows = []
    for low, high in zip(FEW, (*FEW[1:], 10**9), strict=True):
        own = [guess for guess in found if guess.component == "working_memory" and low <= guess.known < high]
        text = f"{low}" if high == low + 1 else f"{low} to {high - 1}" if high < 10**9 else f"{low} and more"
        rows.append([text, len(own), points(own, lambda g: g.prior), points(own, lambda g: g.calibrated)])
    table("Working memory, by how many tasks of the agent were known", ["known", "tasks", *heads[3:]], rows)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.forecasts", description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE")
    recordings = read(parser.parse_args().files or [bundled()])
    of_windows(list(misses(windows(recordings))))
    of_tasks(list(guesses(recordings)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
