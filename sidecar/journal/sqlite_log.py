"""Moving SQLite's write-ahead log into its file, beside the commits.

Left to a thread alone, a busy writer would never let the log come to its end and start over, and it would grow without
bound; so when the log has grown too long, the next commit waits for what little the thread had not moved yet.
"""

import asyncio
import logging
import sqlite3

from sidecar.journal.sqlite_access import Access

_log = logging.getLogger(__name__)

# In pages of 4 KiB: the log is moved in steps of about 8 MB; beyond 64 MB a commit waits for its end, and with it all
# that come meanwhile, for as long as two flushes take: ten milliseconds, for every few thousand commits.
PAGE = 4096
_STEP_PAGES = 2_000
_LOG_PAGES = 16_000
_NEARLY = 100  # pages written during a round that are few enough to leave for later
_ROUNDS = 4  # each round moves what was written during the former, so a few suffice


class Log:
    """The log of an open file. `pages`, to be counted up by who writes: those since it was last moved, estimated."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._moving: asyncio.Future[None] | None = None
        self._is_long = False
        self.pages = 0

    @property
    def is_too_long(self) -> bool:
        """Whether it is to be shortened before there is more of it."""
        return self._is_long or self.pages >= _LOG_PAGES

    async def shorten(self) -> None:
        """Move it while nobody writes: the next commit starts it over."""
        await self.settled()
        await self._move()
        self._is_long = False

    def after_commit(self) -> None:
        """Begin to move the log if there is enough of it."""
        if self.pages >= _STEP_PAGES and self._moving is None:
            self._moving = asyncio.ensure_future(self._move())

    async def settled(self) -> None:
        """Wait until the log is not being moved."""
        if self._moving is not None:
            await asyncio.wait([self._moving])

    async def _move(self) -> None:
        self.pages = 0
        try:
            length = await self._access.run("keep", self._checkpoint)
            self._is_long = length > _LOG_PAGES
        except sqlite3.Error as error:
            # Nothing is lost: the log still has it. Should the disk be full, the next commit will say so.
            path = self._access.path
            _log.warning("journal %s: the write-ahead log could not be moved into the file: %s", path, error)
        finally:
            self._moving = None

    def _checkpoint(self) -> int:
        """Move it as far as it goes beside the writer; answers the pages in the log."""
        length = 0
        for _ in range(_ROUNDS):
            former = length
            _, length, _ = self._access.file.keeper.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if length - former < _NEARLY:
                break
        return length
