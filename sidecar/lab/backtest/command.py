"""`backtest`: run recorded sessions under several policies, and show them side by side."""

import argparse
import errno
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import get_terminal_size
from typing import Any

from sidecar.lab.backtest.aims import AIMS
from sidecar.lab.backtest.arms import NAMES, add_policies
from sidecar.lab.backtest.course import Course, windows
from sidecar.lab.backtest.files import PolicyError
from sidecar.lab.backtest.measures import Measures
from sidecar.lab.backtest.parts import part_of, project_of
from sidecar.lab.backtest.running import Contest, compare
from sidecar.lab.backtest.scores import scores
from sidecar.lab.backtest.table import USUAL, Outcome, table
from sidecar.lab.line import Line
from sidecar.lab.recordings import RecordingError, read
from sidecar.lab.style import Style, count

SCHEMES = ("sqlite://", "postgresql://", "postgres://")  # of journals
WRONG = 2
WIDTH = 30  # of the bar of progress


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `backtest` takes."""
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="a recording (.jsonl, .jsonl.gz), a folder of recordings, or a journal (sqlite:///PATH, postgresql://...)",
    )
    add_policies(parser, default="all of them")
    parser.add_argument(
        "--part",
        choices=("all", "tune", "judge"),
        default="all",
        help="only sessions of the projects that policies are tuned on, or judged on (default: %(default)s)",
    )
    parser.add_argument(
        "--total", type=_tokens, metavar="TOKENS", help="each window's size (default: as recorded, else the policy's)"
    )
    parser.add_argument(
        "--jobs",
        type=_jobs,
        default=os.cpu_count() or 1,
        metavar="N",
        help="processes; the outcome does not depend on it (default: one for each processor, %(default)s here)",
    )
    parser.add_argument(
        "--format", choices=("table", "json"), default="table", help="what is printed (default: %(default)s)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every measure of every session here as well")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the comparison here, as an SVG picture")


async def run(args: argparse.Namespace) -> int:
    """Carry out `backtest`; the exit status is 2 where a recording, policy or target file is wrong."""
    contest = Contest(
        presets=tuple(args.preset or ([] if args.policy else NAMES)), files=tuple(args.policy), total=args.total
    )
    try:
        contest.arms()
        for path in (args.json, args.plot):
            _writable(path)
        courses = await _courses(args.files, args.part)
        outcome = await _compare(courses, contest, jobs=args.jobs)
        told = json.dumps(document(outcome), indent=1) + "\n" if args.json or args.format == "json" else ""
        if args.json:
            args.json.write_text(told, encoding="utf-8")
        if args.plot:
            from sidecar.lab.backtest.plot import plot

            args.plot.write_text(plot(outcome), encoding="utf-8")
    except (RecordingError, PolicyError) as error:
        print(f"backtest: {error}", file=sys.stderr)
        return WRONG
    except OSError as error:
        print(f"backtest: {error.filename}: cannot be written: {error.strerror}", file=sys.stderr)
        return WRONG
    style = Style.of(sys.stdout)
    columns = get_terminal_size((USUAL, 24)).columns if style.live else USUAL
    print(told.rstrip("\n") if args.format == "json" else table(outcome, style, width=columns))
    return 0


def _writable(path: Path | None) -> None:
    """Know before a minute's work whether its result has a place; what is there stays as it is until then."""
    if path is None or (path.parent.is_dir() and not path.is_dir()):
        return
    code = errno.EISDIR if path.is_dir() else errno.ENOENT
    raise OSError(code, os.strerror(code), str(path))


async def _courses(sources: Sequence[str], part: str) -> list[Course]:
    found: list[Course] = []
    for source in sources:
        if source.startswith(SCHEMES):
            from sidecar.lab.backtest.journals import of_journal

            found += await of_journal(source)
        else:
            found += windows(read([Path(source)]))
    courses = [course for course in found if part in ("all", part_of(project_of(course.session)))]
    if not courses:
        raise RecordingError(f"--part {part}: none of the sessions belongs to it")
    return courses


def document(outcome: Outcome) -> dict[str, Any]:
    """The outcome as JSON: scores and aims of each policy, for each part, and all measures of each session."""
    policies = []
    for name, measured in outcome.items():
        parts: dict[str, Any] = {}
        for part in ("all", "tune", "judge"):
            within = [each for each in measured if part in ("all", each.part)]
            parts[part] = {"sessions": len(within), "scores": scores(within), "aims": _aims(within)}
        policies.append({"policy": name, **parts, "sessions": [each.plain() for each in measured]})
    return {"policies": policies}


def _aims(measured: Sequence[Measures]) -> dict[str, Any]:
    reached = {aim.name: aim.of(measured) for aim in AIMS}
    return {
        aim.name: {"reached": reached[aim.name], "aim": aim.bound.text, "met": aim.met(reached[aim.name])}
        for aim in AIMS
    }


async def _compare(courses: Sequence[Course], contest: Contest, *, jobs: int) -> dict[str, list[Measures]]:
    policies = len(contest.presets) + len(contest.files)
    line = Line(stream=sys.stderr, style=Style.of(sys.stderr))
    progress = _Progress(line=line, windows=policies * len(courses))
    try:
        return await compare(courses, contest, jobs=jobs, on_window=progress.add)
    finally:
        progress.end()


@dataclass(slots=True, kw_only=True)
class _Progress:
    """How many windows have come to their end."""

    line: Line
    windows: int
    done: int = 0

    def add(self, number: int) -> None:
        self.done += number
        ratio = self.done / max(self.windows, 1)
        self.line.draw(f"{self.line.style.bar(ratio, WIDTH)} {100 * ratio:3.0f} %  {self._text()}")

    def end(self) -> None:
        self.line.end(self._text())

    def _text(self) -> str:
        return f"{self.done:,} of {count(self.windows, 'session')} run, {self.line.elapsed}"


def _tokens(text: str) -> int:
    return _whole(text.replace(",", "").replace("_", ""), shown=text)


def _jobs(text: str) -> int:
    return _whole(text, shown=text)


def _whole(text: str, *, shown: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{shown!r} is not a whole number above 0")
    return int(text)
