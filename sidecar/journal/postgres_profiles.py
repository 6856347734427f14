"""Profiles in PostgreSQL: lessons folded into them, kept, forgotten and read."""

from sidecar.budget.profile import Profile
from sidecar.journal import Frame
from sidecar.journal.postgres_store import Connection
from sidecar.journal.profiles import AGENTS, after_lessons, encode_profile, taught

PROFILES = "SELECT agent, state FROM profiles WHERE $1::text[] IS NULL OR agent = ANY ($1::text[])"
# An empty row first: a row that is not there cannot be locked, and two replicas might both make it.
_BEGIN = "INSERT INTO profiles (agent, learned_at, state) VALUES ($1, 0, '') ON CONFLICT DO NOTHING"
_LOCK = "SELECT state FROM profiles WHERE agent = $1 FOR UPDATE"
_UPDATE = "UPDATE profiles SET learned_at = $2, state = $3 WHERE agent = $1"
_KEEP = """
    INSERT INTO profiles (agent, learned_at, state) VALUES ($1, $2, $3)
    ON CONFLICT (agent) DO UPDATE SET learned_at = excluded.learned_at, state = excluded.state
"""
_FORGET = "DELETE FROM profiles WHERE agent = $1"
# Rows that somebody writes to just now are not the oldest; to wait for them could be to wait for each other.
_BOUND = """
    DELETE FROM profiles WHERE agent IN (
        SELECT agent FROM profiles WHERE agent NOT IN (
            SELECT agent FROM profiles ORDER BY learned_at DESC, agent LIMIT $1)
        FOR UPDATE SKIP LOCKED)
"""


async def learn_frame(connection: Connection, frame: Frame) -> None:
    """Fold a frame's lessons, within its transaction: others that teach the same agent wait for its end."""
    for agent, lessons in taught(frame).items():
        begun = await connection.execute(_BEGIN, agent)
        data = await connection.fetchval(_LOCK, agent)
        profile = after_lessons(data or None, lessons, at=frame.written_at)
        await connection.execute(_UPDATE, agent, profile.learned_at, encode_profile(profile))
        if begun.endswith(" 1"):
            await connection.execute(_BOUND, AGENTS)


async def keep(connection: Connection, agent: str, profile: Profile | None) -> None:
    """Store an agent's profile, or forget it (None)."""
    if profile is None:
        await connection.execute(_FORGET, agent)
    else:
        await connection.execute(_KEEP, agent, profile.learned_at, encode_profile(profile))
        await connection.execute(_BOUND, AGENTS)
