"""Profiles in SQLite: lessons folded into them, kept, forgotten and read."""

from typing import Any

from sidecar.budget.profile import Profile
from sidecar.journal import Frame
from sidecar.journal.profiles import AGENTS, after_lessons, encode_profile, taught
from sidecar.journal.sqlite_access import Write

PROFILES = "SELECT agent, state FROM profiles WHERE :agents IS NULL OR agent IN (SELECT value FROM json_each(:agents))"
_STATE = "SELECT state FROM profiles WHERE agent = ?"
_KEEP = "INSERT OR REPLACE INTO profiles (agent, learned_at, state) VALUES (?, ?, ?)"
_FORGET = "DELETE FROM profiles WHERE agent = ?"
_BOUND = """
    DELETE FROM profiles WHERE agent IN (
        SELECT agent FROM profiles ORDER BY learned_at DESC, agent LIMIT -1 OFFSET ?)
"""


def learn_frame(write: Write, frame: Frame) -> int:
    """Fold a stored frame's lessons; the bytes written."""
    size = 0
    for agent, lessons in taught(frame).items():
        row = write(_STATE, (agent,)).fetchone()
        profile = after_lessons(None if row is None else row[0], lessons, at=frame.written_at)
        size += keep(write, agent, profile)
    return size


def keep(write: Write, agent: str, profile: Profile | None) -> int:
    """Store an agent's profile, or forget it (None); the bytes written."""
    if profile is None:
        write(_FORGET, (agent,))
        return 0
    data: Any = encode_profile(profile)
    write(_KEEP, (agent, profile.learned_at, data))
    write(_BOUND, (AGENTS,))
    return len(data)
