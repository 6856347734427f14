"""Frames in SQLite: stored where they come next in their session, and read in chunks."""

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from sidecar.budget.entries import Closed
from sidecar.journal import Frame, Outcome, SessionId
from sidecar.journal.archive import ARCHIVING
from sidecar.journal.codec import encode
from sidecar.journal.profiles import TEACHING
from sidecar.journal.sqlite_archive import store_archive
from sidecar.journal.sqlite_file import SqliteFile
from sidecar.journal.sqlite_log import PAGE
from sidecar.journal.sqlite_profiles import learn_frame

Row: TypeAlias = tuple[SessionId, int, int, float, bytes, int]  # session, first, count, written_at, entries, place

CHUNK = 256  # frames read at a time, so that nobody waits long for the reading thread

_MEANING = ARCHIVING | TEACHING
_REMEMBERED = 10_000  # sessions of which it is known what follows

# A frame is stored only where it comes next. Asked in one statement, SQLite would make a table for the answer first,
# which takes longer than the insert.
_NEXT = "SELECT first + count FROM frames WHERE session = ? ORDER BY first DESC LIMIT 1"
_STORE_FRAME = "INSERT INTO frames (session, first, count, written_at, closes, entries) VALUES (?, ?, ?, ?, ?, ?)"
_READ_ALL = """
    SELECT session, first, count, written_at, CAST(entries AS BLOB), id FROM frames WHERE id > ? ORDER BY id LIMIT ?
"""
_READ_SESSION = """
    SELECT session, first, count, written_at, CAST(entries AS BLOB), first FROM frames
    WHERE session = ? AND first > ? ORDER BY first LIMIT ?
"""
# Added here and not in Python: the version after the largest number there is would not fit.
_FRAME_BEFORE = "SELECT coalesce(max(first), 1) - 1 FROM frames WHERE session = ? AND first <= ? + 1"


def store_frames(
    write: Callable[..., Any], frames: Sequence[Frame], follows: dict[SessionId, int]
) -> tuple[list[Outcome], int]:
    """Store frames with what they mean for archive and profiles: an outcome for each, and the pages written, about.

    `follows`: as `Access` has it. It spares looking; whether a frame comes next the table itself decides in the end.
    """
    outcomes: list[Outcome] = []
    size = 0
    for frame in frames:
        session, first, entries = frame.session, frame.first, frame.entries
        stored = first == follows.get(session) or first == _next(write, session)
        if stored:
            data = encode(entries)
            closes = entries[-1].type == Closed.type
            try:
                write(_STORE_FRAME, (session, first, len(entries), frame.written_at, closes, data))
            except sqlite3.IntegrityError:  # somebody has, whatever we believed
                stored = False
            else:
                size += len(data)
                if not means_nothing_more(frame):
                    size += store_archive(write, frame) + learn_frame(write, frame)
                follows[session] = first + len(entries)
        outcomes.append("stored" if stored else "conflict")
    while len(follows) > _REMEMBERED:
        del follows[next(iter(follows))]
    return outcomes, 2 + len(frames) + size // PAGE


def _next(write: Callable[..., Any], session: SessionId) -> object:
    """The version that comes next in a session."""
    newest = write(_NEXT, (session,)).fetchone()
    return 1 if newest is None else newest[0]


def means_nothing_more(frame: Frame) -> bool:
    """Whether storing its row is all that there is to do: nothing for the archive or for profiles."""
    return _MEANING.isdisjoint([entry.type for entry in frame.entries])


def frame_before(file: SqliteFile, session: SessionId, after: int) -> int:
    """The place to read a session from: the frame that holds version `after` + 1 is the next one."""
    with file.failing("cannot be read"):
        (place,) = file.reader.execute(_FRAME_BEFORE, (session, after)).fetchone()
    return int(place)


def read_frames(file: SqliteFile, session: SessionId | None, place: int, limit: int) -> list[Row]:
    """The frames after a place, of one session or of all, each with its own place."""
    with file.failing("cannot be read"):
        if session is None:
            return file.reader.execute(_READ_ALL, (place, limit)).fetchall()
        return file.reader.execute(_READ_SESSION, (session, place, limit)).fetchall()
