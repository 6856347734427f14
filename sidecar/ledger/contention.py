"""Sessions that another replica writes to at the same time, and how both get forward.

After a conflict a session counts as contested for a while. It is then decided on a copy that was brought up to date
just before, so that being second costs reading what the other wrote, and not the whole session; and turns wait for a
random moment, so that they are fewer and larger, and no replica is always the second.
"""

import asyncio
import random
from collections.abc import Iterable

from sidecar.journal import SessionId

_AFTER = 10.0  # seconds for which a session counts as contested
_WAY = 0.01  # seconds that a turn waits at most


class Contention:
    """The contested sessions, each until when it counts as one. Times are server time."""

    def __init__(self) -> None:
        self._until: dict[SessionId, float] = {}

    def __contains__(self, id: SessionId) -> bool:
        return id in self._until

    def __bool__(self) -> bool:
        return bool(self._until)

    def conflict(self, id: SessionId, now: float) -> None:
        """Another writer was first."""
        self._until[id] = now + _AFTER

    async def give_way(self, waiting: Iterable[SessionId], now: float) -> None:
        """Let others come first, if one of the sessions that wait is contested."""
        # Later than that it cannot be: the clock was set back.
        for id in [id for id, until in self._until.items() if not now < until <= now + _AFTER]:
            del self._until[id]
        if any(id in self._until for id in waiting):
            await asyncio.sleep(random.uniform(0, _WAY))  # noqa: S311 - nothing to protect
