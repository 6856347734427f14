"""The archive in SQLite: what a stored frame means for it, and how it is read and searched."""

from collections.abc import Callable
from typing import Any

from sidecar.journal import Frame
from sidecar.journal.archive import Archive, Erase, Forget, Keep, operations

_STORE_RECORD = """
    INSERT OR REPLACE INTO archive (session, item, kind, component, step, reason,
                                    tokens_before, tokens_after, archived_at, content_version, stored_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_KEEP = "INSERT INTO contents (session, item, version, text) VALUES (?, ?, ?, ?)"
_FORGET = """
    DELETE FROM contents WHERE session = :session AND item = :item AND version IS NOT :held
    AND version IS NOT (SELECT content_version FROM archive WHERE session = :session AND item = :item)
"""
_KEEP_ONLY = "DELETE FROM contents WHERE session = ? AND item = ? AND version IS NOT ?"
_ERASE_CONTENTS = """
    DELETE FROM contents WHERE session = :session AND (:item IS NULL OR item = :item) AND version <= (
        SELECT content_version FROM archive WHERE archive.session = :session AND archive.item = contents.item)
"""
_ERASE_RECORDS = "DELETE FROM archive WHERE session = :session AND (:item IS NULL OR item = :item)"

RECORD = """
    SELECT item, kind, component, step, reason, tokens_before, tokens_after, archived_at, content_version
    FROM archive WHERE session = :session
"""
RECORDS = f"""
    {RECORD} AND (:after IS NULL OR item > :after) AND (:component IS NULL OR component = :component)
    AND (:pattern IS NULL OR item LIKE :pattern ESCAPE '~' OR kind LIKE :pattern ESCAPE '~'
         OR reason LIKE :pattern ESCAPE '~' OR EXISTS (
            SELECT 1 FROM contents WHERE contents.session = archive.session AND contents.item = archive.item
            AND contents.version = archive.content_version AND text LIKE :pattern ESCAPE '~'))
    ORDER BY item LIMIT :limit
"""  # noqa: S608 - made of constants
CONTENT = "SELECT text FROM contents WHERE session = ? AND item = ? AND version = ?"


def store_archive(write: Callable[..., Any], frame: Frame) -> int:
    """Carry out what a stored frame means for the archive; the size of its contents in characters."""
    size = 0
    session = frame.session
    for operation in operations(frame):
        match operation:
            case Keep(item=item, version=version, text=text):
                write(_KEEP, (session, item, version, text))
                size += len(text)
            case Forget(item=item, held=held):
                write(_FORGET, {"session": session, "item": item, "held": held})
            case Archive(record=r):
                sizes = (r.tokens_before, r.tokens_after, r.archived_at, r.content_version, frame.written_at)
                write(_STORE_RECORD, (session, r.id, r.kind, r.component, r.step, r.reason, *sizes))
                write(_KEEP_ONLY, (session, r.id, r.content_version))
            case Erase(item=erased):
                write(_ERASE_CONTENTS, {"session": session, "item": erased})
                write(_ERASE_RECORDS, {"session": session, "item": erased})
    return size


def pattern_of(query: str | None) -> str | None:
    """The LIKE pattern that finds a text anywhere; `~` escapes."""
    return query and "%" + query.replace("~", "~~").replace("%", "~%").replace("_", "~_") + "%"
