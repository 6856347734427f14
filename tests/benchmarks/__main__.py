"""`make bench`, or `python tests/benchmarks [MEASURE ...]`: measure, print a table, write JSON.

Everything is a ratio against something plain, measured in the same run, in turns. `--effort 0.3` is a quick look.
"""

import argparse
import importlib
import json
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.figures import Figure, spin

MEASURES = (
    "allocation",
    "latency",
    "events",
    "otlp",
    "decisions",
    "window",
    "cleanup",
    "scrape",
    "process",
    "lives",
    "peers",
    "restore",
    "stores",
    "growth",
)
WIDTH = 58


def main() -> int:
    """Run the measures; 0 whatever they say: a benchmark tells, it does not judge."""
    parser = argparse.ArgumentParser(prog="tests/benchmarks", description=__doc__)
    parser.add_argument("measures", nargs="*", metavar="MEASURE", help=f"one or more of {', '.join(MEASURES)}")
    parser.add_argument("--effort", type=float, default=1.0, help="how long to measure, as a factor (default 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything as JSON as well")
    args = parser.parse_args()
    unknown = set(args.measures) - set(MEASURES)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(MEASURES)}")
    results = [run(name, args.effort) for name in args.measures or MEASURES]
    if args.json:
        machine = {"machine": platform.platform(), "python": platform.python_version()}
        about = {"date": datetime.now(UTC).isoformat(timespec="seconds"), **machine, "effort": args.effort}
        args.json.write_text(json.dumps(about | {"measures": results}, indent=2) + "\n")
    return 0


def run(name: str, effort: float) -> dict[str, object]:
    """One measure, its figures as they come, and what a fixed piece of work took before and after it."""
    module = importlib.import_module(f"tests.benchmarks.{name}")
    print(f"\n{module.NAME}", flush=True)
    noise = [spin()]
    figures = []
    for figure in module.measure(effort):
        figures.append(figure)
        show(figure)
    noise.append(spin())
    waited = max(took / max(worked, 1e-9) for took, worked in noise)
    print(f"  {'noise: a fixed loop waited for the processor':{WIDTH}} {waited:10.2f} times what it worked")
    plain = [figure.plain() for figure in figures]
    return {"measure": name, "figures": plain, "noise": [{"seconds": took, "worked": cpu} for took, cpu in noise]}


def show(figure: Figure) -> None:
    """A line of the table."""
    verdict = {True: "met", False: "MISSED", None: ""}[figure.met]
    value = f"{figure.value:10,.0f}" if figure.value >= 1000 else f"{figure.value:10.3g}"
    print(f"  {figure.name:{WIDTH}} {value} {figure.unit:12} {figure.aim:9} {verdict}".rstrip(), flush=True)


if __name__ == "__main__":
    sys.exit(main())
