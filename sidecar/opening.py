"""Opening the journal: which one the settings name, and trying it until it works."""

import asyncio
import contextlib
import logging
from collections.abc import Callable

from sidecar.config import Config
from sidecar.config.forms import POSTGRES, sqlite_path
from sidecar.journal import Journal, JournalError
from sidecar.journal.memory import MemoryJournal
from sidecar.journal.sqlite import SqliteJournal
from sidecar.ledger import Ledger

log = logging.getLogger(__name__)

FIRST_RETRY, LAST_RETRY = 0.25, 5.0  # seconds between attempts to open a journal that does not work


def open_journal(config: Config) -> Journal:
    """The journal that the settings name, not opened yet. A file's folder is made where it is missing."""
    if config.journal_url == "memory:":
        return MemoryJournal()
    if config.journal_url.startswith(POSTGRES):
        try:
            from sidecar.journal.postgres import PostgresJournal
        except ImportError as error:
            raise OSError("a PostgreSQL journal needs asyncpg: install token-budget-sidecar[postgres]") from error
        return PostgresJournal(config.journal_url, writer=config.replica_name, durability=config.durability)
    path = sqlite_path(config.journal_url)
    with contextlib.suppress(OSError):  # opening the file says what is wrong
        path.parent.mkdir(parents=True, exist_ok=True)
    return SqliteJournal(path, durability=config.durability)


class Opening:
    """Starts the ledger, at once or as soon as its journal works. `opened` is called when it did."""

    def __init__(self, ledger: Ledger, *, opened: Callable[[], None]) -> None:
        self._ledger = ledger
        self._opened = opened
        self._trying: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the ledger; where its journal does not work, go on trying in the background."""
        try:
            await self._try()
        except JournalError as error:
            log.warning("%s; trying again until it works", error)
            self._trying = asyncio.create_task(self._keep_trying())

    async def stop(self) -> None:
        """Try no more."""
        if self._trying is not None:
            self._trying.cancel()
            await asyncio.gather(self._trying, return_exceptions=True)

    async def _keep_trying(self) -> None:
        pause = FIRST_RETRY
        while True:
            await asyncio.sleep(pause)
            pause = min(2 * pause, LAST_RETRY)
            try:
                await self._try()
            except JournalError:
                continue  # it is known already
            except Exception:
                log.exception("the journal could not be opened")
                continue
            log.info("the journal works")
            return

    async def _try(self) -> None:
        await self._ledger.start()
        self._opened()
