"""Agents' profiles in the store: what a stored frame teaches, and profiles as bytes.

A profile is a pure fold over the lessons among all sessions' entries (budget/profile.py). Each journal folds a frame's
lessons in the frame's own transaction, on the profile as the store has it then: a crash leaves both or neither, and
replicas that teach the same agent come one after the other.
"""

from collections.abc import Sequence
from typing import get_args

import msgspec

from sidecar.budget.profile import Lesson, Profile, learn, lesson_of
from sidecar.journal import Frame, JournalError

TEACHING = frozenset(each.type for each in get_args(Lesson))  # the entries that may hold a lesson
AGENTS = 1_000  # profiles kept; beyond that the one that learned least recently is forgotten

_ENCODER = msgspec.json.Encoder(enc_hook=dict)  # the only thing that JSON does not know is a read-only mapping
_DECODER = msgspec.json.Decoder(Profile)


def lessons(frame: Frame) -> Sequence[tuple[str, Lesson]]:
    """What the entries of a frame teach, in their order: the agent and the lesson."""
    return [lesson for entry in frame.entries if (lesson := lesson_of(entry)) is not None]


def taught(frame: Frame) -> dict[str, list[Lesson]]:
    """The lessons of a frame by agent. The agents are in order, so that no two writers wait for each other."""
    found: dict[str, list[Lesson]] = {}
    for agent, lesson in sorted(lessons(frame), key=lambda pair: pair[0]):
        found.setdefault(agent, []).append(lesson)
    return found


def after_lessons(data: bytes | None, taught: Sequence[Lesson], *, at: float) -> Profile:
    """The profile in `data` (None: there is none yet), with these lessons more."""
    profile = Profile() if data is None else decode_profile(data)
    for lesson in taught:
        profile = learn(profile, lesson, at=at)
    return profile


def encode_profile(profile: Profile) -> bytes:
    """A profile as JSON; a field's default is written too, so that every row can be read by itself."""
    return _ENCODER.encode(profile)


def decode_profile(data: bytes) -> Profile:
    """The profile in JSON; fields that an older version did not write have their defaults. Raises `JournalError`."""
    try:
        return _DECODER.decode(data)
    except (msgspec.MsgspecError, TypeError) as error:  # what is neither bytes nor a text is of a wrong type
        raise JournalError(f"a profile cannot be read: {error}") from error
