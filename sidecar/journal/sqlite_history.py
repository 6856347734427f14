"""History in SQLite: where sessions stand, their snapshots, and what is forgotten of them.

Much is forgotten in pieces, a small transaction each: commits happen on the event loop, and no call should wait for
another session's ten thousand rows.
"""

PIECE = 500  # rows deleted at a time

# Each id is one step along the index, however many frames its session has. Bytes come after all texts, and name none.
_IDS = """
    WITH RECURSIVE ids (id) AS (
        SELECT min(session) FROM frames WHERE session > :after AND session < x''
        UNION ALL
        SELECT (SELECT min(session) FROM frames WHERE session > ids.id AND session < x'') FROM ids
        WHERE ids.id IS NOT NULL
    )
"""
SESSIONS = f"{_IDS} SELECT id FROM ids WHERE id IS NOT NULL LIMIT :limit"  # noqa: S608 - made of constants
_HEAD = """
    SELECT session, first + count - 1, written_at, closes FROM frames
    JOIN chosen ON session = chosen.id AND first = (SELECT max(first) FROM frames WHERE session = chosen.id)
"""
SURVEY = f"""
    {_IDS}, chosen (id) AS (SELECT id FROM ids WHERE id IS NOT NULL LIMIT :limit) {_HEAD} ORDER BY session
"""  # noqa: S608 - made of constants
HEADS = f"WITH chosen (id) AS (SELECT value FROM json_each(?)) {_HEAD}"  # noqa: S608 - as above

# The join order and the index give each session's frames in order; the reader checks that they are.
TAILS = """
    SELECT session, first, count, written_at, CAST(entries AS BLOB) FROM json_each(?) AS mark
    CROSS JOIN frames ON session = json_extract(mark.value, '$[0]') AND first > json_extract(mark.value, '$[1]')
"""
SNAPSHOTS = """
    SELECT session, version, written_at, stamp, state FROM snapshots
    WHERE session IN (SELECT value FROM json_each(?))
"""
# While one was made, the session may have been forgotten and begun anew, or an older backup put in place.
KEEP_SNAPSHOT = """
    INSERT INTO snapshots (session, version, written_at, stamp, state)
    SELECT :session, :version, :written_at, :stamp, :state
    WHERE :version < (SELECT first + count FROM frames WHERE session = :session ORDER BY first DESC LIMIT 1)
    ON CONFLICT (session) DO UPDATE SET version = excluded.version, written_at = excluded.written_at,
        stamp = excluded.stamp, state = excluded.state
    WHERE excluded.version >= snapshots.version
"""

# A closed session: first what may be many rows, the newest frame and the snapshot last, so that what is left at any
# moment can still be read, and is found again should this be interrupted.
FORGET_MANY = (
    """DELETE FROM contents WHERE rowid IN (SELECT rowid FROM contents WHERE session = :session LIMIT :piece)""",
    """DELETE FROM archive WHERE session = :session AND item IN
       (SELECT item FROM archive WHERE session = :session LIMIT :piece)""",
    """DELETE FROM frames WHERE id IN
       (SELECT id FROM frames WHERE session = :session AND first < :newest ORDER BY first LIMIT :piece)""",
)
NEWEST = """
    SELECT first FROM frames WHERE session = :session AND first + count - 1 = :version AND closes
    AND first = (SELECT max(first) FROM frames WHERE session = :session)
"""
FORGET_LAST = (
    "DELETE FROM frames WHERE session = :session",
    "DELETE FROM snapshots WHERE session = :session",
)
# Only ever from the front, and never the newest, from which the next version is counted.
OLD_FRAMES = """
    SELECT id, CAST(count AS INTEGER) FROM frames WHERE session = :session AND first < (
        SELECT min(first) FROM frames AS kept WHERE kept.session = :session AND (
            kept.written_at >= :before
            OR kept.first + kept.count - 1 > coalesce((SELECT version FROM snapshots WHERE session = :session), 0)
            OR kept.first = (SELECT max(first) FROM frames WHERE session = :session)))
    ORDER BY first LIMIT :piece
"""
OLD_RECORDS = "SELECT item FROM archive WHERE session = :session AND stored_at < :before LIMIT :piece"
FORGET_CONTENTS = """
    DELETE FROM contents WHERE session = :session AND item = :item AND version <= (
        SELECT content_version FROM archive WHERE session = :session AND item = :item)
"""
FORGET_RECORD = "DELETE FROM archive WHERE session = :session AND item = :item"
