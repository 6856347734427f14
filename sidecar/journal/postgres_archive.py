"""The archive in PostgreSQL: what a stored frame means for it, and how it is read and searched."""

from collections.abc import Sequence
from typing import Any

from sidecar.journal import ArchiveRecord, Frame
from sidecar.journal.archive import Archive, Erase, Forget, Keep, Operation, operations
from sidecar.journal.postgres_store import Connection

_KEEP = "INSERT INTO contents (session, item, version, text) VALUES ($1, $2, $3, $4)"
_FORGET = """
    DELETE FROM contents WHERE session = $1 AND item = $2 AND version IS DISTINCT FROM $3
    AND version IS DISTINCT FROM (SELECT content_version FROM archive WHERE session = $1 AND item = $2)
"""
_STORE_RECORD = """
    INSERT INTO archive (session, item, kind, component, step, reason,
                         tokens_before, tokens_after, archived_at, content_version, stored_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
    ON CONFLICT (session, item) DO UPDATE SET
        kind = excluded.kind, component = excluded.component, step = excluded.step, reason = excluded.reason,
        tokens_before = excluded.tokens_before, tokens_after = excluded.tokens_after,
        archived_at = excluded.archived_at, content_version = excluded.content_version, stored_at = excluded.stored_at
"""
_KEEP_ONLY = "DELETE FROM contents WHERE session = $1 AND item = $2 AND version IS DISTINCT FROM $3"
_ERASE_CONTENTS = """
    DELETE FROM contents WHERE session = $1 AND ($2::text IS NULL OR item = $2) AND version <= (
        SELECT content_version FROM archive WHERE archive.session = $1 AND archive.item = contents.item)
"""
_ERASE_RECORDS = "DELETE FROM archive WHERE session = $1 AND ($2::text IS NULL OR item = $2)"

RECORD = """
    SELECT item, kind, component, step, reason, tokens_before, tokens_after, archived_at, content_version
    FROM archive WHERE session = $1
"""
# In the collation "C", `lower` changes ASCII letters alone.
RECORDS = f"""
    {RECORD} AND ($2::text IS NULL OR item > $2) AND ($3::text IS NULL OR component = $3)
    AND ($4::text IS NULL OR lower(item) LIKE $4 ESCAPE '~' OR lower(kind) LIKE $4 ESCAPE '~'
         OR lower(reason) LIKE $4 ESCAPE '~' OR EXISTS (
            SELECT 1 FROM contents WHERE contents.session = $1 AND contents.item = archive.item
            AND contents.version = archive.content_version AND lower(text) LIKE $4 ESCAPE '~'))
    ORDER BY item LIMIT $5
"""  # noqa: S608 - made of constants
CONTENT = "SELECT text FROM contents WHERE session = $1 AND item = $2 AND version = $3"
OLD_CONTENTS = """
    DELETE FROM contents USING archive WHERE archive.session = $1 AND archive.stored_at < $2
    AND contents.session = $1 AND contents.item = archive.item AND contents.version <= archive.content_version
"""
OLD_RECORDS = "DELETE FROM archive WHERE session = $1 AND stored_at < $2"

_LOWER = str.maketrans({chr(letter): chr(letter + 32) for letter in range(ord("A"), ord("Z") + 1)})


def archive_statements(frame: Frame) -> list[tuple[str, tuple[Any, ...]]]:
    """What a stored frame means for the archive, as statements in order."""
    return [statement for operation in operations(frame) for statement in _statements(frame.session, operation, frame)]


def _statements(session: str, operation: Operation, frame: Frame) -> list[tuple[str, tuple[Any, ...]]]:
    match operation:
        case Keep(item=item, version=version, text=text):
            return [(_KEEP, (session, item, version, without_nul(text)))]
        case Forget(item=item, held=held):
            return [(_FORGET, (session, item, held))]
        case Archive(record=r):
            sizes = (r.tokens_before, r.tokens_after, r.archived_at, r.content_version, frame.written_at)
            return [
                (_STORE_RECORD, (session, r.id, r.kind, r.component, r.step, r.reason, *sizes)),
                (_KEEP_ONLY, (session, r.id, r.content_version)),
            ]
        case Erase(item=erased):
            return [(_ERASE_CONTENTS, (session, erased)), (_ERASE_RECORDS, (session, erased))]


async def store_archive(connection: Connection, statements: Sequence[tuple[str, tuple[Any, ...]]]) -> None:
    """Carry them out, those of a kind that follow each other in one go."""
    start = 0
    for end in range(1, len(statements) + 1):
        if end == len(statements) or statements[end][0] != statements[start][0]:
            await connection.executemany(statements[start][0], [values for _, values in statements[start:end]])
            start = end


def pattern_of(query: str | None) -> str | None:
    """The LIKE pattern that finds a text anywhere, whatever the case of its ASCII letters; `~` escapes."""
    if query is None:
        return None
    query = without_nul(query).translate(_LOWER)
    return "%" + query.replace("~", "~~").replace("%", "~%").replace("_", "~_") + "%"


def record_of(row: Sequence[Any], *, content: str | None = None) -> ArchiveRecord:
    """The record in a row of `RECORD`."""
    item, kind, component, step, reason, before, after, archived_at, content_version = row
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
        content=None if content is None else with_nul(content),
    )


def without_nul(text: str) -> str:
    r"""The text as PostgreSQL can hold it: NUL becomes SUB and `0`, SUB itself SUB and `1`."""
    return text.replace("\x1a", "\x1a1").replace("\x00", "\x1a0")


def with_nul(text: str) -> str:
    """The text as it was."""
    return text.replace("\x1a0", "\x00").replace("\x1a1", "\x1a")
