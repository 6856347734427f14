"""The command line of `audit`. What does the work is loaded when there is some, so that `--help` answers at once."""

import argparse
import asyncio
import json
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shutil import get_terminal_size
from typing import TextIO

from sidecar.lab.audit.findings import Audit
from sidecar.lab.audit.sources import AuditError, find, usual_folders
from sidecar.lab.backtest.arms import NAMES, Arm, arms
from sidecar.lab.backtest.files import PolicyError
from sidecar.lab.style import Style, count, duration

FAILED, WRONG = 1, 2
COMPARED = ("standard", "coding-agent")  # unless others are asked for; the last is the one that the summary speaks of
NARROW, USUAL = 80, 120  # columns: the least that tables are made for, and where the output is no terminal
DRAW_EVERY = 0.1  # seconds


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
    parser.add_argument(
        "--preset",
        action="append",
        default=[],
        metavar="NAME",
        help=f"judge this policy, repeatable: {', '.join(NAMES)} (default: {', '.join(COMPARED)})",
    )
    parser.add_argument(
        "--policy",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="judge one of your own (TOML), repeatable",
    )
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
    progress = _Progress(stream=sys.stderr, style=Style.of(sys.stderr), files=len(files), stopped=stopped)
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
    """How far the work is: drawn in place on a terminal, one line at the end elsewhere."""

    stream: TextIO
    style: Style
    files: int
    stopped: threading.Event
    read: int = 0
    judged: int = 0
    _began: float = field(default_factory=time.monotonic)
    _drawn: float = field(default_factory=time.monotonic)

    def add(self, part: str) -> None:
        if self.stopped.is_set():
            raise _StoppedError
        self.read += part == "files"
        self.judged += part == "sessions"
        now = time.monotonic()
        if self.style.live and now - self._drawn >= DRAW_EVERY:
            self._drawn = now
            self.stream.write(f"\r\x1b[K{self._line()}")
            self.stream.flush()

    def end(self) -> None:
        self.stream.write(f"{chr(13) + chr(27) + '[K' if self.style.live else ''}{self._line()}\n")
        self.stream.flush()

    def _line(self) -> str:
        judged = f", {count(self.judged, 'session')} judged" if self.judged else ""
        elapsed = duration(time.monotonic() - self._began)
        return f"{self.read:,} of {count(self.files, 'file')} read{judged}, {elapsed}"


def _number(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number of 1 or more")
    return number
