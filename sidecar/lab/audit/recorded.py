"""A session's windows as a recording, in the provider's tokens, with each step's piece beside it.

What was billed tells two things that a transcript does not: how many provider tokens one of our counted ones is, and
how much of the prompt is hidden from it (the tool's own system prompt and definitions). Both follow from how the bill
grows as the window does.
"""

import heapq
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from sidecar.lab.audit.sources import Source
from sidecar.lab.audit.transcript import Piece, Thread
from sidecar.lab.mapping import place
from sidecar.lab.recordings import MAIN, SUB_AGENT, Recording, Step, Usage
from sidecar.receivers.otlp.context_windows import context_window

ENOUGH = 2_000  # counted tokens of growth from which a ratio is learned
RATIOS = (0.5, 4.0)
FALL = 0.10  # a bill that falls by this part of itself: something was thrown out
FIRST = 5  # calls from which the hidden part is learned
USUAL_LIMIT = 200_000
LONG_LIMIT = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How a window's counted tokens become the provider's: `ratio` for each, and `hidden` besides.

    `kept` is what each compaction left besides what is hidden: more than its summary, for tools keep messages or read
    files again that they do not tell of. None where no call followed. `billed`: there were bills to learn from.
    """

    ratio: float = 1.0
    hidden: int = 0
    kept: tuple[int | None, ...] = ()
    billed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A session: its recording, and by window what it was made from. `pieces` are by the number of their step."""

    source: Source
    recording: Recording
    pieces: dict[int, Piece]
    threads: dict[str, Thread]
    scales: dict[str, Scale]
    limits: dict[str, int]


def record(source: Source) -> Recorded:
    """Tell a session as a recording. Windows run side by side: steps are in the order of their times."""
    threads = {_window(thread): thread for thread in source.threads}
    ordered = dict(sorted(threads.items(), key=lambda each: each[0] != MAIN))
    scales = {window: scale(thread.pieces) for window, thread in ordered.items()}
    limits = {window: _limit(thread) for window, thread in ordered.items()}
    began = min((piece.time for thread in source.threads for piece in thread.pieces if piece.time), default=0.0)
    told = heapq.merge(*(_timed(window, thread, began) for window, thread in ordered.items()), key=lambda each: each[0])
    steps: list[Step] = []
    pieces: dict[int, Piece] = {}
    opened: set[str] = set()
    cuts = {window: iter(scale.kept) for window, scale in scales.items()}
    for at, window, piece in told:
        if window not in opened:
            opened.add(window)
            if hidden := scales[window].hidden:
                unseen = Piece(kind="system_hidden", role="system", counted=hidden)
                pieces[len(steps)] = unseen
                steps.append(_step(len(steps), window, at, unseen, hidden, None))
        pieces[len(steps)] = piece
        counted = _tokens(piece, scales[window], cuts[window])
        steps.append(_step(len(steps), window, at, piece, counted, limits[window]))
    name = session_name(source)
    names = {window: name if window == MAIN else f"{name}.{_clean(window[len(SUB_AGENT) :])}" for window in ordered}
    names.setdefault(MAIN, name)
    return Recorded(
        source=source,
        recording=Recording(
            session=name, steps=tuple(steps), windows=dict(sorted(names.items(), key=lambda each: each[0] != MAIN))
        ),
        pieces=pieces,
        threads=ordered,
        scales=scales,
        limits=limits,
    )


def session_name(source: Source) -> str:
    """Name a session as recordings are: `agent__project-id`, the id shortened to what tells sessions apart."""
    if "__" in source.session:  # it is one
        return _clean(source.session)
    short = source.session.replace("-", "")
    # Ids that begin with the time (Codex) differ at their end.
    short = short[-8:] if source.agent == "codex" else short[:8]
    return f"{source.agent}__{_clean(source.project or 'unknown')}-{_clean(short)}"


def scale(pieces: Sequence[Piece]) -> Scale:
    """Learn a window's scale from its calls: the ratio from how the bill grows, the hidden part from its start."""
    cuts = sum(place(piece.kind, piece.role, piece.name).summary for piece in pieces)
    calls = list(_calls(pieces))
    if not calls:
        return Scale(kept=(None,) * cuts)
    grown_counted = grown_billed = 0
    for call, after in pairwise(calls):
        steady = call.era == after.era and after.billed > call.billed * (1 - FALL)
        if steady:  # small falls too: reasoning that was billed once is dropped again
            grown_counted += after.counted - call.counted
            grown_billed += after.billed - call.billed
    ratio = grown_billed / grown_counted if grown_counted >= ENOUGH else 1.0
    ratio = min(max(ratio, RATIOS[0]), RATIOS[1])

    def unseen(era: int) -> int | None:
        """What was billed beyond what was counted, in the first calls after a compaction."""
        first = [call.billed - ratio * call.counted for call in calls if call.era == era][:FIRST]
        return max(0, round(median(first))) if first else None

    hidden = unseen(0) or 0
    kept = [unseen(era) for era in range(1, cuts + 1)]
    return Scale(
        ratio=ratio,
        hidden=hidden,
        kept=tuple(None if left is None else max(0, left - hidden) for left in kept),
        billed=True,
    )


class _Call(NamedTuple):
    """A billed call: what was counted of its prompt, what was billed for it, and how many compactions came before."""

    counted: int
    billed: int
    era: int


def _calls(pieces: Sequence[Piece]) -> Iterator[_Call]:
    """The billed calls of a window. Summaries are left out of the count: what they left is learned, as `kept`."""
    counted = lasting = era = 0
    since: int | None = None  # what was counted when the call began
    for piece in pieces:
        placement = place(piece.kind, piece.role, piece.name)
        if placement.summary:
            counted, era, since = lasting, era + 1, None
            continue
        if piece.role == "assistant" and since is None:
            since = counted
        counted += piece.counted
        if placement.lasting:
            lasting += piece.counted
        if piece.bill is not None and since is not None:
            yield _Call(since, piece.bill.prompt, era)
            since = None


def _tokens(piece: Piece, scale: Scale, kept: Iterator[int | None]) -> int:
    """The provider's tokens of a piece; of a summary what it really left, where a call has shown that."""
    own = round(piece.counted * scale.ratio)
    if not place(piece.kind, piece.role, piece.name).summary:
        return own
    left = next(kept, None)
    return own if left is None else left


def _timed(window: str, thread: Thread, began: float) -> Iterator[tuple[float, str, Piece]]:
    """The pieces with their seconds from the start: a clock that runs backwards stands, and none is the one before."""
    at = 0.0
    for piece in thread.pieces:
        at = max(at, (piece.time or began) - began)
        yield at, window, piece


def _step(number: int, window: str, at: float, piece: Piece, tokens: int, limit: int | None) -> Step:
    bill = piece.bill
    usage = None
    if bill is not None:
        usage = Usage(context_tokens=bill.prompt, context_window=limit, output_tokens=bill.output, model=bill.model)
    return Step(
        number=number,
        window=window,
        ts=at,
        role=piece.role,
        kind=piece.kind,
        tokens=tokens,
        name=piece.name,
        path=piece.path,
        fingerprint=piece.digest,
        usage=usage,
    )


def _window(thread: Thread) -> str:
    return MAIN if thread.within is None else f"{SUB_AGENT}{thread.within}"


def _limit(thread: Thread) -> int:
    """The window's size: as told, else the model's, else the usual; never less than what was sent."""
    bills = [piece.bill for piece in thread.pieces if piece.bill is not None]
    model = next((bill.model for bill in reversed(bills) if bill.model), None)
    limit = thread.limit or context_window(model) or USUAL_LIMIT
    most = max((bill.prompt for bill in bills), default=0)
    return limit if most <= limit else max(LONG_LIMIT, most)


def _clean(name: str) -> str:
    """A name as part of a session's id."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:80] or "unnamed"
