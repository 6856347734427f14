"""The bound that holds without a sidecar: take out the oldest pieces, and cut what alone is too large."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sidecar.client.pieces import Piece

if TYPE_CHECKING:
    from sidecar.client.window import Window

RELIEVE_TO = 0.80  # of the limit: one larger relief spoils the provider's prompt cache less often than many small ones


def relieve(window: "Window", pieces: Sequence[Piece], left: int) -> list[Piece]:
    """Make a prompt of `left` tokens fit: tool work before conversation, old before new, never half of a tool call.

    Returns:
        The pieces that the next sync alone would not archive: those the sidecar has never heard of, and those cut.
    """
    goal = int(window.limit * RELIEVE_TO)
    touched, left = _take_out(window, pieces, left, goal, keep=window.keep)
    cut: list[Piece] = []
    if left > window.limit:
        cut, left = _cut(window, pieces, left, goal)
    if left > window.limit:  # some of what should stay cannot be cut: only the newest stays, and what was asked last
        more, left = _take_out(window, pieces, left, window.limit, keep=1)
        touched += more
    unarchived = [piece for piece in touched if not window.told(piece.id)] + cut
    return list({piece.id: piece for piece in unarchived}.values())


def _take_out(window: "Window", pieces: Sequence[Piece], left: int, goal: int, *, keep: int) -> tuple[list[Piece], int]:
    """Take out whole groups until at most `goal` tokens are left: what went, and what is left."""
    gone: list[Piece] = []
    for members in _order(window, pieces, keep):
        if left <= goal:
            break
        for piece in members:
            left -= window.size(piece)
            window.gone[piece.id] = _stub(piece, window.size(piece))
            gone.append(piece)
    return gone, left


def _order(window: "Window", pieces: Sequence[Piece], keep: int) -> list[list[Piece]]:
    """What may go, first first: whole groups."""
    asked = next((piece.id for piece in reversed(pieces) if piece.kind == "interaction" and not piece.answers), None)
    protected = {asked, *(piece.id for piece in pieces[-keep:])} if keep else {asked}
    groups: dict[str, list[Piece]] = {}
    for piece in pieces:
        if piece.id not in window.gone:
            groups.setdefault(piece.group or piece.id, []).append(piece)
    free = [members for members in groups.values() if not any(each.pinned or each.id in protected for each in members)]
    return sorted(
        free,
        key=lambda members: (
            any(each.id in window.restored for each in members),
            all(each.kind == "interaction" for each in members),
        ),
    )


def _cut(window: "Window", pieces: Sequence[Piece], left: int, goal: int) -> tuple[list[Piece], int]:
    """Cut the largest of what has to stay until at most `goal` tokens are left: what was cut, and what is left."""
    cut: list[Piece] = []
    stay = [piece for piece in pieces if piece.id not in window.gone and piece.cuttable and not piece.pinned]
    for piece in sorted(stay, key=window.size, reverse=True):
        if left <= goal:
            break
        before = window.size(piece)
        if window.shorten_to(piece, max(before - (left - goal), 200)):
            left -= before - window.size(piece)
            cut.append(piece)
    return cut, left


def _stub(piece: Piece, tokens: int) -> str:
    what = f"{piece.kind} {(piece.path or piece.id)!r}"
    return (
        f"[{what} ({tokens:,} tokens) was archived: the window was full. "
        f"To get it back, restore item {piece.id!r} from the archive.]"
    )
