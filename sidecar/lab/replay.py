"""`replay`: send recorded sessions to a sidecar, at their own pace or faster, and show what became of them."""

import argparse
import asyncio
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from shutil import get_terminal_size
from typing import get_args

from sidecar.budget.policy import MODES
from sidecar.lab.board import board
from sidecar.lab.connection import Connection, Shown, SidecarAway, SidecarError, add_credentials, connect
from sidecar.lab.player import Options, Played, Player, Way
from sidecar.lab.progress import Progress
from sidecar.lab.recordings import Recording, RecordingError, read
from sidecar.lab.style import Style, width_of
from sidecar.lab.table import details, overview

SIDE_BY_SIDE = 8  # recordings at once when there is no pace to keep
IN_DETAIL = 24  # sessions: more are shown by a line each


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `replay` takes."""
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="a recording (.jsonl, .jsonl.gz) or a folder of recordings"
    )
    parser.add_argument(
        "--to",
        default="http://127.0.0.1:8321",
        metavar="URL",
        help="the sidecar: http://HOST:PORT, https://HOST:PORT or unix:PATH (default: %(default)s)",
    )
    parser.add_argument(
        "--as",
        dest="way",
        choices=get_args(Way),
        default="items",
        help="tell each change as it happens, or show the whole window at each model call (default: %(default)s)",
    )
    parser.add_argument(
        "--mode",
        choices=MODES,
        default="managed",
        help="managed: ask first, and apply directives; observed: only tell (default: %(default)s)",
    )
    parser.add_argument("--prefix", default="", metavar="TEXT", help="put before each session's name")
    parser.add_argument("--close", action="store_true", help="close each session at the end of its recording")
    parser.add_argument(
        "--start", type=_time, metavar="TIME", help="when it began, RFC 3339 (default: so as to end now)"
    )
    parser.add_argument(
        "--total", type=_tokens, metavar="TOKENS", help="each window's size (default: as recorded, else the sidecar's)"
    )
    add_pace(parser, speed="max", idle=None)
    add_credentials(parser)


def add_pace(parser: argparse.ArgumentParser, *, speed: str, idle: float | None) -> None:
    """Declare `--speed` and `--skip-idle` with their defaults."""
    parser.add_argument(
        "--speed",
        type=_speed,
        default=speed,
        metavar="N|max",
        help="recorded seconds per second: 1 is real time, max as fast as possible (default: %(default)s)",
    )
    parser.add_argument(
        "--skip-idle",
        type=_seconds,
        default=idle,
        metavar="SECONDS",
        help="wait no longer than this for a recorded pause"
        + (" (default: %(default)g)" if idle is not None else " (default: all of it)"),
    )


async def run(args: argparse.Namespace) -> int:
    """Carry out `replay`; the exit status is 1 where the sidecar failed, 2 where a recording cannot be read."""
    try:
        recordings = read(args.files)
    except RecordingError as error:
        print(f"replay: {error}", file=sys.stderr)
        return 2
    options = Options(
        way=args.way,
        mode=args.mode,
        speed=args.speed,
        skip_idle=args.skip_idle,
        start=args.start,
        total_tokens=args.total,
        prefix=args.prefix,
        close=args.close,
    )
    try:
        async with connect(args.to, shown=Shown.of(args)) as connection:
            await connection.greet()
            replayed = await replay(recordings, connection, options)
    except SidecarError as error:
        print(f"replay: {error}", file=sys.stderr)
        return 1
    show(replayed)
    return 1 if replayed.errors else 0


@dataclass(slots=True)
class Replayed:
    """What became of a replay: the sessions that came to their end, and what went wrong with the others."""

    sessions: list[Played] = field(default_factory=list)
    errors: list[SidecarError] = field(default_factory=list)


async def replay(recordings: Sequence[Recording], connection: Connection, options: Options) -> Replayed:
    """Replay recordings side by side, with progress on standard error.

    At a pace all begin at once, as agents do; without one, a few at a time. What one recording is refused does not stop
    the others.

    Raises:
        SidecarAway: the sidecar went away for too long.
    """
    players = [Player(connection=connection, recording=recording, options=options) for recording in recordings]
    style = Style.of(sys.stderr)
    progress = Progress(
        stream=sys.stderr,
        style=style,
        steps=sum(len(recording.steps) for recording in recordings),
        recordings=len(recordings),
        board=lambda: board(players, style, get_terminal_size()),
    )
    turns = asyncio.Semaphore(SIDE_BY_SIDE if options.speed is None else max(len(players), 1))
    replayed = Replayed()

    async def play(player: Player) -> None:
        player.on_step = progress.step
        async with turns:
            try:
                await player.play()
            except SidecarAway:
                raise
            except SidecarError as error:
                replayed.errors.append(error)
        progress.finish()

    with progress.shown():
        away: SidecarAway | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                for player in players:
                    tasks.create_task(play(player))
        except* SidecarAway as group:
            away = next(error for error in group.exceptions if isinstance(error, SidecarAway))
        if away is not None:
            raise away
    replayed.sessions = [played for player in players for played in player.played.values() if played.report]
    return replayed


def show(replayed: Replayed) -> None:
    """Print what became of a replay: in detail where that can be read, always as an overview."""
    style = Style.of(sys.stdout)
    width = width_of(sys.stdout)
    print()
    if len(replayed.sessions) <= IN_DETAIL:
        print(details(replayed.sessions, style, width), end="\n\n")
    print(overview(replayed.sessions, style, width))
    for error in replayed.errors:
        print(f"replay: {error}", file=sys.stderr)


def _speed(text: str) -> float | None:
    if text == "max":
        return None
    if (speed := _number(text)) <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number above 0 nor max")
    return speed


def _seconds(text: str) -> float:
    if (seconds := _number(text)) < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return seconds


def _number(text: str) -> float:
    """Read a finite number; anything else is -1, which no option takes."""
    try:
        number = float(text)
    except ValueError:
        return -1.0
    return number if math.isfinite(number) else -1.0


def _tokens(text: str) -> int:
    number = int(text.replace(",", "").replace("_", "")) if text.replace(",", "").replace("_", "").isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return number


def _time(text: str) -> float:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time like 2026-11-22T09:00:00Z") from None
    if time.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r} has no offset: write 2026-11-22T09:00:00Z or +01:00")
    return time.timestamp()
