"""Back from the archive, and out of it for good (SPEC 3.5)."""

from typing import Protocol

from sidecar.budget.commands import EraseArchive, ItemSpec, RequestAllocation, RestoreItem
from sidecar.budget.entries import ArchiveErased
from sidecar.budget.errors import Conflict, NotFound
from sidecar.budget.items import Kind
from sidecar.budget.policy import Component
from sidecar.budget.replies import ErasureReply, RestoreReply
from sidecar.budget.report import rfc3339
from sidecar.budget.requests import answered_before, request
from sidecar.budget.turn import Turn


class Archived(Protocol):
    """The archive record that a command speaks of, as a journal reads it."""

    @property
    def id(self) -> str:
        """The item."""
        ...

    @property
    def kind(self) -> Kind:
        """What it was."""
        ...

    @property
    def component(self) -> Component:
        """Where it was."""
        ...

    @property
    def step(self) -> str | None:
        """What archived it; None: the host removed it."""
        ...

    @property
    def reason(self) -> str:
        """Why, in words."""
        ...

    @property
    def tokens_before(self) -> int:
        """Its first size."""
        ...

    @property
    def tokens_after(self) -> int:
        """What it was left with; 0: removed."""
        ...

    @property
    def archived_at(self) -> float:
        """Session time, in seconds since the epoch."""
        ...

    @property
    def content(self) -> str | None:
        """Its text, where it was supplied and is kept."""
        ...


def restore(turn: Turn, command: RestoreItem, archived: Archived | None) -> RestoreReply:
    """Bring an archived item back at its first size: a request for all of it, granted whole or denied."""
    session = turn.session
    if archived is None:
        raise NotFound(f"item {command.item!r} is not in this session's archive", path="item")
    digest = f"restore|{archived.id}"
    reply = None if command.request_id is None else answered_before(session, command.request_id, digest)
    if reply is None:
        held = session.find(archived.id)
        if held is not None and held.original_tokens is None:
            raise Conflict(f"item {archived.id!r} is in the window as it is: there is nothing to restore", path="item")
        spec = ItemSpec(
            id=archived.id,
            kind=archived.kind,
            tokens=max(1, archived.tokens_before),
            component=archived.component,
            content=archived.content,
            group=held.group if held is not None else None,
            path=held.path if held is not None else None,
            fingerprint=held.fingerprint if held is not None else None,
        )
        reply = request(turn, RequestAllocation(item=spec, request_id=command.request_id), restoring=digest)
    return {
        **reply,
        "item": {
            "id": archived.id,
            "kind": archived.kind,
            "component": archived.component,
            "step": archived.step,
            "reason": archived.reason,
            "tokens_before": archived.tokens_before,
            "tokens_after": archived.tokens_after,
            "archived_at": rfc3339(archived.archived_at),
            "content": archived.content,
        },
    }


def erase(turn: Turn, command: EraseArchive, archived: Archived | None) -> ErasureReply:
    """Forget archived items and their content: the one named, or all of the session."""
    if command.item is not None and archived is None:
        raise NotFound(f"item {command.item!r} is not in this session's archive", path="item")
    turn.emit(ArchiveErased(time=turn.at, host=turn.host, item=command.item))
    return {"item": command.item, "directives": []}
