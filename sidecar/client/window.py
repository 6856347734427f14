"""What an adapter does to a message list, for any framework: tell the sidecar, apply its directives, keep the bound.

The host's own history stays whole; a `Window` decides how each piece of it is *shown* in the next prompt: as it is,
cut, or gone, with a note in its place. The prompt fits at every call: where the directives do not suffice, or the
sidecar is away, the window takes out the oldest pieces by itself, and the next sync tells the ledger.
"""

import logging
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from sidecar.client.calls import Call, SessionCalls, fresh_id
from sidecar.client.errors import Refused
from sidecar.client.guard import relieve
from sidecar.client.pieces import NOTES, Piece, Plan, Shown, notes
from sidecar.client.replies import Directive, Item, WindowReply
from sidecar.client.shorten import Shorten, middle_out
from sidecar.client.tokens import Calibration, Count, estimate

log = logging.getLogger(__name__)

TEXT = 1_000_000  # characters of content in one sync: a body has 8 MiB at most; the rest comes with the next ones
EVENTS = 8  # told at once: pieces may be large
ROUNDS = 3  # of relief: what is taken out leaves notes, which count as well

Turn: TypeAlias = Generator[Call[Any], Any, Plan]


@dataclass(slots=True, kw_only=True)
class Window:
    """The window of one session. `total_tokens` and `reserve_tokens` as the session was opened with.

    `keep`: the newest pieces that the window's own guard never takes out. `content`: whether the sidecar is given the
    texts, so that they can be searched and read there. `time`: the host's clock (SPEC 3.9), if the session is on one.
    """

    total_tokens: int
    reserve_tokens: int = 0
    count: Count = estimate
    shorten: Shorten = middle_out
    keep: int = 6
    content: bool = True
    gone: dict[str, str] = field(default_factory=dict)  # id -> its stub
    cut: dict[str, str] = field(default_factory=dict)  # id -> the shorter text
    restored: set[str] = field(default_factory=set)
    calibration: Calibration = field(default_factory=Calibration)
    through: int = 0
    shown_tokens: int = 0  # of the last prompt
    _sizes: dict[str, int] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)
    _given: set[str] = field(default_factory=set)  # whose text the sidecar has

    @property
    def limit(self) -> int:
        """The most tokens, as they are counted here, that the next prompt may have."""
        return int((self.total_tokens - self.reserve_tokens) / max(1.0, self.calibration.ratio))

    def turn(self, session: SessionCalls, pieces: Sequence[Piece], *, time: float | None = None) -> Turn:
        """Everything before a model call: yields the calls to make, is sent their replies, and returns the plan.

        Raises:
            Away: only if the client fails closed.
        """
        self._forget(pieces)
        plan = self._plan(pieces)
        reply = yield from self._sync(session, plan, time)
        self._apply(pieces, reply["directives"])
        plan = self._plan(pieces)
        for _ in range(ROUNDS):
            if plan.tokens <= self.limit:
                break
            unarchived = relieve(self, pieces, plan.tokens)
            if unarchived:
                yield from self._tell_removed(session, unarchived)
            plan = self._plan(pieces)
        self.shown_tokens = plan.tokens
        return plan

    def billed(self, session: SessionCalls, tokens: int) -> Generator[Call[Any], Any, None]:
        """Everything after a model call: learn what the provider billed for the prompt that was shown last, and tell.

        Raises:
            Away: only if the client fails closed.
        """
        self.calibration.learn(counted=self.shown_tokens, billed=tokens)
        try:
            yield SessionCalls.billed.describe(session, tokens)
        except Refused as refused:
            log.warning("the sidecar refused what was billed: %s", refused)

    def bring_back(self, id: str) -> bool:
        """Show a piece as it first was again; False if it was neither gone nor cut."""
        gone, cut = self.gone.pop(id, None), self.cut.pop(id, None)
        if gone is None and cut is None:
            return False
        self._sizes.pop(id, None)
        self.restored.add(id)
        return True

    def told(self, id: str) -> bool:
        """Whether the sidecar knows a piece well enough to archive it."""
        return id in self._told and (id in self._given or not self.content)

    def size(self, piece: Piece) -> int:
        """The tokens of a piece as it is shown; counted once."""
        size = self._sizes.get(piece.id)
        if size is None:
            text = self.cut.get(piece.id, piece.text)
            size = self._sizes[piece.id] = self.count(text) + piece.extra_tokens
        return size

    def shorten_to(self, piece: Piece, tokens: int) -> bool:
        """Cut a piece to so many tokens; False if it cannot be cut, or would not get smaller."""
        if not piece.cuttable:
            return False
        before = self.size(piece)
        shorter = self.shorten(piece.text, max(1, tokens - piece.extra_tokens), self.count)
        size = self.count(shorter) + piece.extra_tokens
        if not shorter or size >= before:
            return False
        self.cut[piece.id] = shorter
        self._sizes[piece.id] = size
        return True

    # --- how it is shown ----------------------------------------------------------------------------------------------

    def _plan(self, pieces: Sequence[Piece]) -> Plan:
        """How each piece is shown now. A tool call stays as long as one of its results does."""
        standing = {piece.group for piece in pieces if piece.group and piece.id not in self.gone}
        shown: list[Shown] = []
        for piece in pieces:
            stub = self.gone.get(piece.id)
            if stub is None or (piece.group in standing and not piece.answers):
                shown.append(Shown(piece=piece, text=self.cut.get(piece.id), tokens=self.size(piece)))
            else:  # a result keeps its place beside the call that stands
                in_place = piece.group in standing
                shown.append(Shown(piece=piece, stub=stub, in_place=in_place))
        return notes(shown, self.count)

    def _forget(self, pieces: Sequence[Piece]) -> None:
        """What the host itself has dropped needs no memory."""
        if len(self._sizes) + len(self.gone) > 2 * len(pieces) + 64:
            there = {piece.id for piece in pieces}
            for memory in (self.gone, self.cut, self._sizes):
                for id in [id for id in memory if id not in there]:
                    del memory[id]
            self._told &= there
            self._given &= there
            self.restored &= there

    # --- what the sidecar is told, and says ---------------------------------------------------------------------------

    def _sync(self, session: SessionCalls, plan: Plan, time: float | None) -> Generator[Call[Any], Any, WindowReply]:
        try:
            return (yield from self._show(session, plan, time))
        except Refused as refused:
            if not self._told:
                log.warning("the sidecar refused the window: %s", refused)
                return {"directives": []}
        self._given.clear()
        self._told.clear()  # it may have lost what it knew: tell everything again
        self.through = 0
        try:
            return (yield from self._show(session, plan, time))
        except Refused as refused:
            log.warning("the sidecar refused the window: %s", refused)
            return {"directives": []}

    def _show(self, session: SessionCalls, plan: Plan, time: float | None) -> Generator[Call[Any], Any, WindowReply]:
        standing = [each for each in plan.shown if each.stub is None]
        items, room = [], TEXT
        given = set()
        for each in standing:
            item = self._item(each, room=room)
            items.append(item)
            if "content" in item:
                room -= len(item["content"])
            if "content" in item or not each.piece.text:
                given.add(each.piece.id)
        if plan.note_tokens:
            items.append({"id": NOTES, "kind": "context", "tokens": plan.note_tokens, "pinned": True})
        reply: WindowReply = yield SessionCalls.sync.describe(session, items, through=self.through, time=time)
        if not reply.get("offline"):
            self._told.update(each.piece.id for each in standing)
            self._given |= given
        return reply

    def _item(self, shown: Shown, *, room: int) -> Item:
        """An item of a sync: what the sidecar does not know of it yet, its text where there is room for any."""
        piece = shown.piece
        item: Item = {"id": piece.id, "tokens": shown.tokens}
        if piece.id not in self._told:
            item = self._whole(piece, shown.tokens)
        if self.content and piece.text and piece.id not in self._given and room > 0:
            item["content"] = piece.text
        return item

    def _whole(self, piece: Piece, tokens: int) -> Item:
        item: Item = {"id": piece.id, "kind": piece.kind, "tokens": tokens, "pinned": piece.pinned}
        if piece.group is not None:
            item["group"] = piece.group
        if piece.path is not None:
            item["path"] = piece.path
        return item

    def _apply(self, pieces: Sequence[Piece], directives: Sequence[Directive]) -> None:
        """Apply directives. What cannot be is shown as it is, and the next sync undoes it in the ledger."""
        there = {piece.id: piece for piece in pieces}
        for directive in filter(_sound, directives if isinstance(directives, list) else ()):
            self.through = max(self.through, directive["number"])
            piece = there.get(directive["item"])
            if piece is None or piece.id in self.gone:
                continue
            if directive["tokens_after"] == 0:
                self.gone[piece.id] = directive.get("stub", f"[{piece.kind} {piece.id!r} was archived.]")
            else:
                self.shorten_to(piece, directive["tokens_after"])

    def _tell_removed(self, session: SessionCalls, removed: Sequence[Piece]) -> Generator[Call[Any], Any, None]:
        """Pieces that went before the sidecar heard of them, or were cut: each is put and removed, and so archived.

        What was cut comes with the next sync again, as small as it is now; the archive keeps its first text.
        """
        events: list[dict[str, Any]] = []
        for piece in removed:
            if not self.told(piece.id):
                item = self._whole(piece, self.count(piece.text) + piece.extra_tokens)
                if self.content and piece.text:
                    item["content"] = piece.text
                events.append({"type": "put_item", "id": fresh_id(), "item": item})
            events.append({"type": "remove_item", "id": fresh_id(), "item": piece.id})
            self._told.discard(piece.id)
            self._given.discard(piece.id)
        for start in range(0, len(events), EVENTS):
            try:
                yield SessionCalls.tell.describe(session, *events[start : start + EVENTS])
            except Refused as refused:
                log.warning("the sidecar refused what was removed: %s", refused)


def _sound(directive: Any) -> bool:
    """Whether it is a directive: what another program answers must not break the agent."""
    return isinstance(directive, dict) and (
        isinstance(directive.get("number"), int)
        and isinstance(directive.get("item"), str)
        and isinstance(directive.get("tokens_after"), int)
        and isinstance(directive.get("stub", ""), str)
    )
