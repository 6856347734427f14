"""Pieces of a prompt, how they are shown, and the notes that stand where pieces are gone."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sidecar.client.replies import Kind
from sidecar.client.tokens import Count

AnyMessage = TypeVar("AnyMessage")

NOTES = "archive-notes"  # the item that all notes together are to the ledger
STUBS_PER_NOTE = 2
FRAME = 4  # tokens that a message takes beside its text
ATTACHED = 1_000  # tokens of an image or a file, roughly
PATHS = ("path", "file_path", "filename", "file", "relative_path")  # arguments of tools that name a file


def path_of(arguments: Mapping[str, Any]) -> str | None:
    """The file that a tool's arguments name, if any does."""
    return next((arguments[name] for name in PATHS if isinstance(arguments.get(name), str)), None)


def digest(kind: str, *parts: object) -> str:
    """An id for what has none: the same text at the same time is the same piece."""
    return f"{kind}:{hashlib.sha256(repr(parts).encode()).hexdigest()[:20]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A message, tool definition or other part of the prompt, as a host has it.

    `group`: a tool call and its results share it; `answers`: it is such a result. `cuttable`: its text may be replaced
    by a shorter one. `extra_tokens`: what it takes beside its text (images, the frame of a message).
    """

    id: str
    kind: Kind
    text: str
    group: str | None = None
    answers: bool = False
    path: str | None = None
    pinned: bool = False
    cuttable: bool = False
    extra_tokens: int = 0


@dataclass(slots=True, kw_only=True)
class Shown:
    """A piece in the next prompt: as it is, with a shorter `text`, or gone with a `stub`.

    `in_place`: gone, but its message stays with the stub for its text. `note`: stands before this gone piece for it and
    all that follow it.
    """

    piece: Piece
    text: str | None = None
    stub: str | None = None
    in_place: bool = False
    note: str | None = None
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """The next prompt: every piece, in order; its tokens in all, and those of stubs and notes."""

    shown: Sequence[Shown]
    tokens: int
    note_tokens: int


def notes(shown: Sequence[Shown], count: Count) -> Plan:
    """Put one note where each run of gone pieces was, however long the run."""
    tokens = sum(each.tokens for each in shown)
    note_tokens = 0
    run: list[Shown] = []
    for each in shown:
        if each.stub is not None and not each.in_place:
            run.append(each)
            continue
        note_tokens += _close(run, count)
        if each.stub is not None:
            note_tokens += count(_framed(each.stub))
    note_tokens += _close(run, count)
    return Plan(shown, tokens + note_tokens, note_tokens)


def as_shown(
    messages: Sequence[AnyMessage],
    shown: Sequence[Shown],
    *,
    with_text: Callable[[AnyMessage, str], AnyMessage],
    noted: Callable[[str], AnyMessage],
) -> list[AnyMessage]:
    """The messages, a piece each, as a plan shows them. `noted` makes a message of a note."""
    result: list[AnyMessage] = []
    for message, each in zip(messages, shown, strict=True):
        if each.note is not None:
            result.append(noted(each.note))
        if each.stub is None:
            result.append(message if each.text is None else with_text(message, each.text))
        elif each.in_place:
            result.append(with_text(message, each.stub))
    return result


def user_message(text: str) -> Any:
    """A note as a message of the user's, in the formats that have messages for JSON."""
    return {"role": "user", "content": text}


def _close(run: list[Shown], count: Count) -> int:
    """End a run of gone pieces with its note; the tokens of that."""
    if not run:
        return 0
    note = run[0].note = _note([each.stub or "" for each in run])
    run.clear()
    return count(_framed(note))


def _framed(text: str) -> str:
    """A message is a few tokens more than its text."""
    return f"{text} <role>"


def _note(stubs: Sequence[str]) -> str:
    if len(stubs) <= STUBS_PER_NOTE:
        return "\n".join(stubs)
    earlier = (
        f"[{len(stubs) - STUBS_PER_NOTE:,} earlier pieces of this conversation were archived as well; "
        "they can be searched and restored.]"
    )
    return "\n".join([earlier, *stubs[-STUBS_PER_NOTE:]])
