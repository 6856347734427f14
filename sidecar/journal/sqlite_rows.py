"""Rows of SQLite's tables as what they tell of. A column may hold a value of any type, whatever its declaration says.

A frame, or a record of the archive, that is of other types is damaged, which ends nothing but its session. A snapshot
can be done without. A head only says where to begin: one that makes no sense is that of an open session which was
written to a moment ago, so that it is read (and found damaged), and never forgotten.
"""

import math
from collections.abc import Sequence
from typing import Any

from sidecar.budget.entries import AnyEntry
from sidecar.journal import ArchiveRecord, Damaged, Head, Snapshot
from sidecar.journal.codec import decode

_HEAD = (str, int, float, int)
_FRAME = {"session": str, "first": int, "count": int, "written_at": float, "entries": bytes}
_SNAPSHOT = (str, int, float, str, bytes)
_RECORD = (str, str, str, str | None, str, int, int, float, int | None)


def head_of(row: Sequence[Any]) -> Head:
    """The head in a row of `SURVEY` or `HEADS`; the embedded journal has one writer, which needs no name."""
    session, version, written_at, closes = row
    if not _fits(row, _HEAD):
        return Head(session=session, version=0, written_at=math.inf, writer="", closed=False)
    return Head(session=session, version=version, written_at=written_at, writer="", closed=bool(closes))


def snapshot_of(row: Sequence[Any]) -> Snapshot | None:
    """The snapshot in a row of `SNAPSHOTS`, if it is one."""
    if not _fits(row, _SNAPSHOT):
        return None
    session, version, written_at, stamp, state = row
    return Snapshot(session=session, version=version, written_at=written_at, stamp=stamp, state=state)


def entries_of(row: Sequence[Any]) -> Sequence[AnyEntry]:
    """The entries in a frame's row: session, first, count, written_at, entries. Raises `Damaged`."""
    session, first, count, written_at, data = row
    # Written out, for a restart reads many.
    if not (
        type(session) is str
        and type(first) is int
        and type(count) is int
        and type(written_at) is float
        and type(data) is bytes
    ):
        raise Damaged(f"a frame cannot be read: {_told(row)}")
    entries = decode(data)
    if len(entries) != count:
        raise Damaged(f"a frame cannot be read: it holds {len(entries)} entries and says {count}")
    return entries


def record_of(row: Sequence[Any], *, content: str | None = None) -> ArchiveRecord:
    """The record in a row of `RECORD`. Raises `Damaged`."""
    item, kind, component, step, reason, before, after, archived_at, content_version = row
    if not _fits(row, _RECORD):
        raise Damaged(f"the archive's record of {item!r} cannot be read: its columns are not of their types")
    return ArchiveRecord(
        id=item,
        kind=kind,
        component=component,
        step=step,
        reason=reason,
        tokens_before=before,
        tokens_after=after,
        archived_at=archived_at,
        content_version=content_version,
        content=content,
    )


def _fits(row: Sequence[Any], types: Sequence[Any]) -> bool:
    return all(map(isinstance, row, types))


def _told(row: Sequence[Any]) -> str:
    """Which columns of a frame are not what they should be."""
    return ", ".join(
        f"{name} is {type(value).__name__} and not {wanted.__name__}"
        for (name, wanted), value in zip(_FRAME.items(), row, strict=True)
        if type(value) is not wanted
    )
