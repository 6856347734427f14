"""Recorded agent sessions: figures only, one JSON line a step, read into typed steps.

A recording says how large each piece of context was, when it came and what kind it was; never what it said. It may hold
several windows: the main one, and one for each sub-agent (`ctx` is `sub:<id>`). What a step means to a budget is not
decided here but in `mapping`.
"""

import gzip
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Annotated

import msgspec

from sidecar.lab.mapping import STEP_KINDS, Placement, place

MAIN = "main"
SUB_AGENT = "sub:"
SUFFIXES = (".jsonl", ".jsonl.gz")
GZIP_MAGIC = b"\x1f\x8b"

Count = Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000_000)]
Text = Annotated[str, msgspec.Meta(min_length=1)]
NO_RECORDING = " (is it a recording? Transcripts of agents are for `audit`)"


class RecordingError(Exception):
    """A recording cannot be read: the text names the file, the line, the field and the rule."""


class Usage(msgspec.Struct, frozen=True):
    """What the provider billed for a model call, in the provider's tokens. `context_tokens` is the whole prompt."""

    context_tokens: Count | None = None
    context_window: Annotated[int, msgspec.Meta(ge=1)] | None = None
    output_tokens: Count | None = None
    model: str | None = None


class _Line(msgspec.Struct, frozen=True):
    """A line as it was written; fields that are not named here do not matter to a replay."""

    session: Text
    step: Count
    kind: Text
    tokens: Count
    ctx: Text = MAIN
    ts: float | None = None
    role: str = ""
    name: str | None = None
    path: str | None = None
    fingerprint: str | None = None
    simhash: str | None = None
    usage: Usage | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a recorded session.

    `ts` is seconds from the start of the recording and never falls within a window. `fingerprint` is the 64-bit
    similarity hash where the text was long enough to have one, else a digest that only equal texts share; both are 16
    hex digits.
    """

    number: int
    window: str
    ts: float
    role: str
    kind: str
    tokens: int
    name: str | None = None
    path: str | None = None
    fingerprint: str | None = None
    usage: Usage | None = None

    @property
    def placement(self) -> Placement:
        """What the step is to a budget."""
        return place(self.kind, self.role, self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One recorded session: its steps in order, of the main window and of those of its sub-agents.

    `windows` maps each window (`main`, `sub:<id>`) to the session that it is to a sidecar, the main one first.
    """

    session: str
    steps: tuple[Step, ...]
    windows: dict[str, str]

    @property
    def agent(self) -> str:
        """The agent that was recorded: sessions are named `agent__project-id`."""
        agent, separator, _ = self.session.partition("__")
        return agent if separator else "unknown"

    @property
    def duration(self) -> float:
        """Seconds from the start to the last step."""
        return max((step.ts for step in self.steps), default=0.0)


def read(paths: Iterable[Path]) -> list[Recording]:
    """Read recordings from files (`.jsonl`, gzip or plain) and, recursively, from folders of them.

    Raises:
        RecordingError: a file is missing, empty or not a recording.
    """
    return [recording for path in paths for file in _files(path) for recording in _read_file(file)]


def bundled() -> Path:
    """Return the folder of the recordings that come with the package (`PROVENANCE.md` in it tells where from)."""
    return Path(__file__).with_name("sessions")


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.rglob("*") if file.name.endswith(SUFFIXES))
    if not found:
        raise RecordingError(f"{path}: the folder holds no recordings ({' or '.join(SUFFIXES)})")
    return found


def _read_file(path: Path) -> list[Recording]:
    try:
        data = path.read_bytes()
        text = gzip.decompress(data) if data.startswith(GZIP_MAGIC) else data
    except (OSError, EOFError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise RecordingError(f"{path}: cannot be read: {reason}") from error
    by_session: dict[str, list[_Line]] = {}
    for line in _lines(path, text):
        by_session.setdefault(line.session, []).append(line)
    if not by_session:
        raise RecordingError(f"{path}: holds no steps")
    return [_recording(session, lines) for session, lines in by_session.items()]


def _lines(path: Path, text: bytes) -> Iterator[_Line]:
    decoder = msgspec.json.Decoder(_Line)
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            decoded = decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            # msgspec already tells the field and the rule ("Expected `int` >= 0 - at `$.tokens`").
            hint = NO_RECORDING if number == 1 else ""
            raise RecordingError(f"{path}:{number}: {str(error).replace('$.', '')}{hint}") from error
        if decoded.kind not in STEP_KINDS:
            raise RecordingError(f"{path}:{number}: Expected one of {', '.join(STEP_KINDS)} - at `kind`")
        yield decoded


def _recording(session: str, lines: list[_Line]) -> Recording:
    # Recorders append when they come to it; the step's number is the order in which things happened.
    ordered = sorted(lines, key=lambda line: line.step)
    windows = {MAIN: session}
    for window, _ in groupby(ordered, key=lambda line: line.ctx):
        windows.setdefault(window, f"{session}.{window.removeprefix(SUB_AGENT)}")
    clocks = dict.fromkeys(windows, 0.0)
    steps = []
    for line in ordered:
        # A step without a time came with the one before: nothing is invented.
        clocks[line.ctx] = max(clocks[line.ctx], line.ts if line.ts is not None else 0.0)
        steps.append(
            Step(
                number=line.step,
                window=line.ctx,
                ts=clocks[line.ctx],
                role=line.role,
                kind=line.kind,
                tokens=line.tokens,
                name=line.name,
                path=line.path,
                fingerprint=line.simhash or line.fingerprint,
                usage=line.usage,
            )
        )
    return Recording(session=session, steps=tuple(steps), windows=windows)
