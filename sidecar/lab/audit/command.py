"""The command line of `audit`. What does the work is loaded when there is some, so that `--help` answers at once."""

import argparse
import asyncio
import json
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import get_terminal_size

from sidecar.lab.audit.findings import Audit
from sidecar.lab.audit.sources import AuditError, find, usual_folders
from sidecar.lab.backtest.arms import NAMES, Arm, add_policies, arms
from sidecar.lab.backtest.files import PolicyError
from sidecar.lab.line import Line
from sidecar.lab.style import Style, count

FAILED, WRONG = 1, 2
COMPARED = ("standard", "coding-agent")  # unless others are asked for; the last is the one that the summary speaks of
NARROW, USUAL = 80, 120  # columns: the least that tables are made for, and where the output is no terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `audit` takes."""
    parser.add_argument(
        "paths",
        nargs="*",
        type=Path,
        metavar="PATH",
        help="a transcript, or a folder of them: Claude Code, Codex CLI, Copilot CLI, pi, recorded sessions"
        " (default: the tools' own folders in your home)",
    )
    parser.add_argument("--newest", type=_number, metavar="N", help="only the N files that were written last")
    add_policies(parser, default=", ".join(COMPARED))
    parser.add_argument("--without-policies", action="store_true", help="only tell what happened, which is quicker")
    parser.add_argument("--rows", type=_number, default=10, metavar="N", help="of each table (default: %(default)s)")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write the report as a page of its own here as well")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure here as well")


async def run(args: argparse.Namespace) -> int:
    """Carry out `audit`; the exit status is 1 where there is nothing to audit, 2 where a flag or a policy is wrong."""
    try:
        judged = _arms(args)
        files = find(args.paths or usual_folders(), newest=args.newest)
        found = await _audit(files, judged)
        from sidecar.lab.audit.machine import document
        from sidecar.lab.audit.page import page
        from sidecar.lab.audit.terminal import report

        if args.json:
            args.json.write_text(json.dumps(document(found), indent=1) + "\n", encoding="utf-8")
        if args.html:
            args.html.write_text(page(found, rows=args.rows), encoding="utf-8")
    except PolicyError as error:
        print(f"audit: {error}", file=sys.stderr)
        return WRONG
    except AuditError as error:
        print(f"audit: {error}", file=sys.stderr)
        return FAILED
    except OSError as error:
        print(f"audit: {error.filename}: cannot be written: {error.strerror}", file=sys.stderr)
        return FAILED
    style = Style.of(sys.stdout)
    columns = get_terminal_size((USUAL, 24)).columns if style.live else USUAL
    print(report(found, style, width=max(NARROW, columns), rows=args.rows))
    return 0


def _arms(args: argparse.Namespace) -> list[Arm]:
    if args.without_policies:
        if args.preset or args.policy:
            raise PolicyError("--without-policies: judges none, so it goes with neither --preset nor --policy")
        return []
    chosen = args.preset or ([] if args.policy else [name for name in COMPARED if name in NAMES])
    return arms(chosen, args.policy)


async def _audit(files: Sequence[Path], judged: Sequence[Arm]) -> Audit:
    """Work beside the event loop, so that a signal ends it between two files."""
    from sidecar.lab.audit.auditing import audit

    stopped = threading.Event()
    line = Line(stream=sys.stderr, style=Style.of(sys.stderr))
    progress = _Progress(line=line, files=len(files), arms=len(judged), stopped=stopped)
    try:
        return await asyncio.to_thread(audit, files, judged, each=progress.add)
    except asyncio.CancelledError:
        stopped.set()
        raise
    finally:
        progress.end()


class _StoppedError(Exception):
    """The command was interrupted."""


@dataclass(slots=True, kw_only=True)
class _Progress:
    """How far the work is. `arms`: how many policies each session is judged by."""

    line: Line
    files: int
    arms: int
    stopped: threading.Event
    read: int = 0
    judgements: int = 0

    def add(self, part: str) -> None:
        if self.stopped.is_set():
            raise _StoppedError
        self.read += part == "files"
        self.judgements += part == "sessions"
        self.line.draw(self._text())

    def end(self) -> None:
        self.line.end(self._text())

    def _text(self) -> str:
        judged = ""
        if self.judgements:
            sessions = count(self.judgements // self.arms, "session")
            judged = f", {sessions} judged by {count(self.arms, 'policy', 'policies')}"
        return f"{self.read:,} of {count(self.files, 'file')} read{judged}, {self.line.elapsed}"


def _number(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number of 1 or more")
    return number
