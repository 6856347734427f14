"""History in PostgreSQL: frames where they come next, where sessions stand, snapshots, and what is forgotten."""

from collections.abc import Sequence
from typing import Any

from sidecar.journal import Head, Snapshot

# Two writers may both find that their frame comes next; the primary key takes one of them.
STORE_FRAME = """
    INSERT INTO frames (session, first, count, written_at, writer, closes, entries)
    SELECT $1, $2, $3, $4, $5, $6, $7
    WHERE $2 = coalesce(
        (SELECT first + count FROM frames WHERE session = $1 ORDER BY first DESC LIMIT 1), 1)
    ON CONFLICT DO NOTHING RETURNING 1
"""
# Between closing and opening again nothing is appended, so this row stays the newest while it is locked.
LOCK_NEWEST = "SELECT 1 FROM frames WHERE session = $1 ORDER BY first DESC LIMIT 1 FOR UPDATE"
# No session is called '': this writes and commits, and nothing stays.
TOUCH = (
    """INSERT INTO snapshots (session, version, written_at, stamp, state) VALUES ('', 0, 0, '', '')
       ON CONFLICT DO NOTHING""",
    "DELETE FROM snapshots WHERE session = ''",
)

# Each id is one step along the index, however many frames its session has.
SESSIONS = """
    WITH RECURSIVE ids (id) AS (
        (SELECT session FROM frames WHERE session > $1 ORDER BY session LIMIT 1)
        UNION ALL
        SELECT (SELECT session FROM frames WHERE session > ids.id ORDER BY session LIMIT 1) FROM ids
        WHERE ids.id IS NOT NULL
    )
    SELECT id FROM ids WHERE id IS NOT NULL LIMIT $2
"""
HEADS = """
    SELECT head.* FROM unnest($1::text[]) AS chosen (id) CROSS JOIN LATERAL (
        SELECT session, first + count - 1, written_at, writer, closes FROM frames
        WHERE session = chosen.id ORDER BY first DESC LIMIT 1) AS head
"""
TAILS = """
    SELECT frames.session, first, written_at, entries
    FROM unnest($1::text[], $2::bigint[]) AS mark (session, version)
    JOIN frames ON frames.session = mark.session AND first > mark.version
    ORDER BY frames.session, first
"""
SNAPSHOTS = "SELECT session, version, written_at, stamp, state FROM snapshots WHERE session = ANY ($1::text[])"
# While one was made, the session may have been forgotten and begun anew.
KEEP_SNAPSHOT = """
    INSERT INTO snapshots (session, version, written_at, stamp, state) SELECT $1, $2, $3, $4, $5
    WHERE $2 < (SELECT first + count FROM frames WHERE session = $1 ORDER BY first DESC LIMIT 1)
    ON CONFLICT (session) DO UPDATE SET version = excluded.version, written_at = excluded.written_at,
        stamp = excluded.stamp, state = excluded.state
    WHERE excluded.version >= snapshots.version
"""
SIZE = """
    SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class
    WHERE relnamespace = to_regnamespace('token_budget') AND relkind = 'r'
"""
FORGET_SESSION = (
    "DELETE FROM contents WHERE session = $1",
    "DELETE FROM archive WHERE session = $1",
    "DELETE FROM snapshots WHERE session = $1",
    "DELETE FROM frames WHERE session = $1",
)
# Only ever from the front, and never the newest, from which the next version is counted.
FORGET_ENTRIES = """
    WITH gone AS (
        DELETE FROM frames WHERE session = $1 AND first < (
            SELECT min(first) FROM frames AS kept WHERE kept.session = $1 AND (
                kept.written_at >= $2
                OR kept.first + kept.count - 1
                    > coalesce((SELECT snapshots.version FROM snapshots WHERE snapshots.session = $1), 0)
                OR kept.first = (SELECT max(first) FROM frames AS newest WHERE newest.session = $1)))
        RETURNING count)
    SELECT coalesce(sum(count), 0)::bigint FROM gone
"""


def head_of(row: Sequence[Any]) -> Head:
    """The head in a row of `HEADS`."""
    session, version, written_at, writer, closes = row
    return Head(session=session, version=version, written_at=written_at, writer=writer, closed=closes)


def snapshot_of(row: Sequence[Any]) -> Snapshot:
    """The snapshot in a row of `SNAPSHOTS`."""
    session, version, written_at, stamp, state = row
    return Snapshot(session=session, version=version, written_at=written_at, stamp=stamp, state=state)
