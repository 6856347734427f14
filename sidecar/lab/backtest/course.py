"""What would have happened to a window whatever the policy: the moves of its host, and what its provider billed.

The counterfactual is this. The host does as recorded, except that it never compacts its window by itself: what its
compactions threw out stays until the policy takes it, and their summaries never come. So every policy meets the same
stream of context, and the whole pressure of it.

The provider bills other tokens than were counted, more of them in windows with hidden reasoning. What it would have
billed for our window is our counted tokens times the session's own ratio, billed to counted, at that same model call.
Right after the host's own compaction the recorded window was much smaller than ours, and its ratio mostly that of what
is hidden in it. Then the ratio is that of the latest call whose recorded window held at least half as much as ours.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from sidecar.lab.recordings import Recording
from sidecar.lab.script import AnyMove, Close, Compact, Gain, ModelCall, Open, moves

COMPARABLE = 0.5  # a recorded window of at least this part of ours has a ratio that holds for ours

Level: TypeAlias = tuple[int, int]  # counted and billed tokens of a recorded window at a model call


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """One window from its opening to its end. Sizes in tokens.

    `moves`: what its host does, compactions left out. `levels`: of each model call the level known last, None before
    the first that was billed. `total`: all that ever comes in, as counted.
    """

    opened: Open
    moves: tuple[AnyMove, ...]
    levels: tuple[Level | None, ...]
    total: int

    @property
    def session(self) -> str:
        """The session's id in the recording."""
        return self.opened.session

    def ratio(self, call: int, counted: int) -> float:
        """Provider tokens per counted token at a model call (from 0) of a window that holds `counted` tokens."""
        best: Level | None = None
        for level in reversed(self.levels[: call + 1]):
            if level is None:
                break
            if level[0] >= COMPARABLE * counted:
                best = level
                break
            if best is None or level[0] > best[0]:
                best = level
        return best[1] / best[0] if best is not None and best[0] else 1.0

    @property
    def billed_total(self) -> int:
        """The provider's tokens of the window at its end if nothing ever left it."""
        return round(self.total * self.ratio(len(self.levels) - 1, self.total))


def courses(recording: Recording) -> list[Course]:
    """The courses of a recording's windows, the main one first."""
    levels = _levels(moves(recording))
    told: dict[str, list[AnyMove]] = {session: [] for session in recording.windows.values()}
    for move in moves(recording, compacting=False):
        told[move.session].append(move)
    return [course(each, levels.get(session, [])) for session, each in told.items() if each]


def course(told: Sequence[AnyMove], levels: Sequence[Level | None]) -> Course:
    """The course that a window's moves make; the first opens it."""
    opened = told[0]
    if not isinstance(opened, Open):
        raise TypeError(f"a window begins by being opened, not by {type(opened).__name__}")
    return Course(
        opened=opened,
        moves=tuple(move for move in told[1:] if not isinstance(move, Close)),
        levels=tuple(levels),
        total=sum(move.item.tokens for move in told if isinstance(move, Gain)),
    )


def _levels(told: Iterable[AnyMove]) -> dict[str, list[Level | None]]:
    """By session, the level at each model call as it was recorded, compactions and all."""
    held: dict[str, dict[str, int]] = {}
    levels: dict[str, list[Level | None]] = {}
    for move in told:
        window = held.setdefault(move.session, {})
        known = levels.setdefault(move.session, [])
        match move:
            case Gain(item=item):
                window[item.id] = item.tokens
            case Compact(items=items):
                for each in items:
                    window.pop(each, None)
            case ModelCall(billed=billed):
                counted = sum(window.values())
                known.append(_level(counted, billed) or (known[-1] if known else None))
            case _:
                pass
    return levels


def _level(counted: int, billed: int | None) -> Level | None:
    return (counted, billed) if counted and billed else None


def windows(recordings: Iterable[Recording]) -> Iterator[Course]:
    """The courses of all windows of recordings, in their order."""
    for recording in recordings:
        yield from courses(recording)
