"""Which sessions a policy's numbers may be chosen on, and which judge it: by project, never by session.

Sessions of one project are alike, whichever agent worked on it. So a whole project belongs to one part. The rule looks
at nothing but its name: the CRC-32 of the name is odd for the part that is tuned on, even for the part that judges.
"""

from typing import Literal, TypeAlias
from zlib import crc32

Part: TypeAlias = Literal["tune", "judge"]


def project_of(session: str) -> str:
    """The project that a recorded session is from: sessions are named `agent__project-id`."""
    name = session.partition("__")[2] or session
    return name.partition(".")[0].rpartition("-")[0] or name


def part_of(project: str) -> Part:
    """The part that the project belongs to."""
    return "tune" if crc32(project.encode()) % 2 else "judge"
