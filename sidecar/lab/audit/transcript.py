"""What a transcript tells, whichever tool wrote it: windows, the pieces that came into each, and what was billed.

A piece is a size with a name, never a text: readers count a text, take its digest, and let it go.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

from sidecar.client.tokens import estimate

IMAGE_TOKENS = 1_500  # about a full screen's picture; its base64 says nothing about its tokens
HOME = re.compile(r"^(?:[A-Za-z]:)?/(?:home|Users)/[^/]+/|^/root/")
NAMED = 20  # broken lines that are named one by one; all are counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """What the provider counted for one model call, in its tokens; the first three together are the prompt.

    `fresh` were neither in the prompt cache nor put there, `written` were put there, `cached` came from it.
    """

    fresh: int = 0
    written: int = 0
    cached: int = 0
    output: int = 0
    model: str | None = None

    @property
    def prompt(self) -> int:
        """The whole prompt of the call."""
        return self.fresh + self.written + self.cached


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """The tool threw its window out and went on with a summary. `before` is its size then, where the tool says it."""

    trigger: str | None = None
    before: int | None = None


@dataclass(slots=True, kw_only=True)
class Piece:
    """Something that came into a window; `kind` and `role` are those of recordings.

    `counted` tokens are ours, not the provider's. `name` is the tool's, `path` the file's, `skill` the skill's.
    `bill` stands on the last piece that a model call wrote, `cut` on the summary that a compaction left.
    """

    kind: str
    role: str
    counted: int
    time: float | None = None
    name: str | None = None
    path: str | None = None
    skill: str | None = None
    digest: str | None = None
    bill: Bill | None = None
    cut: Cut | None = None


@dataclass(slots=True, kw_only=True)
class Thread:
    """One window, as it was told. `within` names the sub-agent whose window it is; None is the session's own.

    `root` is the folder that the agent worked in, `label` the sub-agent's type, `parent` the session that started it
    where it has a name of its own, `limit` the window's size where the tool knows it, `clock` the time of the last
    line read.
    """

    agent: str
    session: str
    within: str | None = None
    root: str | None = None
    label: str | None = None
    parent: str | None = None
    limit: int | None = None
    clock: float | None = None
    pieces: list[Piece] = field(default_factory=list)

    @property
    def project(self) -> str | None:
        """The name of the folder that the agent worked in."""
        return self.root.rpartition("/")[2] or None if self.root else None

    def add(self, kind: str, role: str, shown: str, *, images: int = 0, **more: Any) -> Piece:
        """Add a piece that came in by now (`clock`, epoch seconds): its size and digest are kept, not its text."""
        if path := more.get("path"):
            more["path"] = shortened(path, self.root)
        piece = Piece(
            kind=kind,
            role=role,
            counted=estimate(shown) + images * IMAGE_TOKENS,
            time=self.clock,
            digest=sha256(shown.encode("utf-8", "surrogatepass")).hexdigest()[:16] if shown else None,
            **more,
        )
        self.pieces.append(piece)
        return piece


@dataclass(slots=True)
class Notes:
    """What could not be used: lines of unknown kinds, lines that are no JSON, files that are no transcripts."""

    files: int = 0
    lines: int = 0
    unknown: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    broken_lines: int = 0
    foreign: list[str] = field(default_factory=list)
    foreign_files: int = 0

    def add_broken(self, path: Path, line: int, reason: str) -> None:
        """Name a line that cannot be read."""
        self.broken_lines += 1
        if len(self.broken) < NAMED:
            self.broken.append(f"{path}:{line}: {reason}")

    def add_foreign(self, path: Path, reason: str) -> None:
        """Name a file that is left out."""
        self.foreign_files += 1
        if len(self.foreign) < NAMED:
            self.foreign.append(f"{path}: {reason}")

    def add_unknown(self, *names: object) -> None:
        """Count a line that is valid but of no known kind."""
        self.unknown["/".join(str(name)[:40] for name in names)] += 1


class Reader(Protocol):
    """Reads one file of one tool, line by line. To teach the audit another tool, write one and list it in `READERS`."""

    agent: str

    def __init__(self, path: Path, notes: Notes) -> None:
        """A file begins."""

    @staticmethod
    def claims(line: Mapping[str, Any]) -> bool:
        """Whether this line, among the first of a file, is one of this tool's."""

    def take(self, line: Mapping[str, Any]) -> None:
        """Take the next line. It may hold anything: whatever is not as it should be is left out."""

    def threads(self) -> Iterable[Thread]:
        """The windows that the file told of, after its last line."""

    def labels(self) -> Mapping[str, str]:
        """The types of the sub-agents that the file started, by the name of their windows."""


def shortened(path: str, root: str | None) -> str:
    """A path as a person would say it: from the project's folder, else from the home folder."""
    path = path.replace("\\", "/").removeprefix("./")
    if root and path.startswith(f"{root}/"):
        return path[len(root) + 1 :]
    return HOME.sub("~/", path, count=1)


def reckon_hidden_thinking(written: list[Piece], output: int) -> None:
    """Where thinking is kept from the transcript it is still in the window: what the call put out beyond the rest.

    `written` is what the call wrote so far; it may be told in parts, and the last part has the last word.
    """
    hidden = [piece for piece in written if piece.kind == "thinking" and (piece.digest is None or not piece.counted)]
    if hidden:
        hidden[0].counted = max(0, output - sum(piece.counted for piece in written if piece is not hidden[0]))
