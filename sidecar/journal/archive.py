"""What a frame means for the archive: a pure projection, the same for every journal.

Nothing leaves the window, or shrinks in it, without a record here (SPEC 3.5). Records and contents are written in the
transaction of the frame that causes them, so there is no moment in which an item is in neither place.

Contents are kept apart from records, by item and by the version of the put that brought them: a text is written once,
and both the held item and its record may speak of it. One that neither speaks of any more is dropped.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from sidecar.budget.entries import ArchiveErased, CleanedUp, ItemPut, ItemRemoved
from sidecar.budget.presets import STANDARD
from sidecar.budget.steps import reasons
from sidecar.journal import ArchiveRecord, Frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """Store `text` as the content of an item, put with this version."""

    item: str
    version: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Forget:
    """The item was put anew: drop its contents but `held`, and but the one its archive record speaks of."""

    item: str
    held: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """Store this record in place of the item's former one, and drop the item's contents but the record's."""

    record: ArchiveRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Erase:
    """Delete the record of the item, or of all items (None), with every content up to the record's."""

    item: str | None


Operation: TypeAlias = Keep | Forget | Archive | Erase

# The entries that mean anything to it.
ARCHIVING = frozenset({ItemPut.type, CleanedUp.type, ItemRemoved.type, ArchiveErased.type})

_REASONS = reasons(STANDARD.cleanup)


def operations(frame: Frame) -> Iterator[Operation]:
    """What a journal does to archive and contents when it stores `frame`, in this order."""
    for version, entry in enumerate(frame.entries, frame.first):
        match entry:
            case ItemPut(item=item):
                if version in frame.contents:
                    yield Keep(item=item.id, version=version, text=frame.contents[version])
                if entry.replaces and not entry.new:
                    yield Forget(item=item.id, held=item.content)
            case CleanedUp():
                for action in entry.actions:
                    yield Archive(
                        record=ArchiveRecord(
                            id=action.item,
                            kind=action.kind,
                            component=action.component,
                            step=action.step,
                            reason=entry.reasons.get(action.step) or _REASONS[action.step],
                            tokens_before=action.original_tokens,
                            tokens_after=action.tokens_after,
                            archived_at=entry.time,
                            content_version=action.content,
                        )
                    )
            case ItemRemoved():
                yield Archive(
                    record=ArchiveRecord(
                        id=entry.item,
                        kind=entry.kind,
                        component=entry.component,
                        step=None,
                        reason=entry.reason,
                        tokens_before=entry.original_tokens,
                        tokens_after=0,
                        archived_at=entry.time,
                        content_version=entry.content,
                    )
                )
            case ArchiveErased():
                yield Erase(item=entry.item)
            case _:
                pass  # changes nothing that leaves the window
