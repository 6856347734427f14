"""How the embedded journal gets at its file: transactions, selections, and the threads in which they run."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar, get_args

from sidecar.journal import JournalError, SessionId
from sidecar.journal.sqlite_file import SCHEMA_VERSION, FileId, SqliteFile

Durability: TypeAlias = Literal["normal", "full"]
Thread: TypeAlias = Literal["write", "read", "keep"]  # one for each connection of `SqliteFile`
Write: TypeAlias = Callable[..., sqlite3.Cursor]  # executes a statement within a transaction

_T = TypeVar("_T")


class Access:
    """The file at `path`, while it is open. `doubtful`: the last write failed, and may have happened.

    `follows`: the version that comes next in a session, of those written to of late. Nobody else writes while the file
    is ours; after a transaction that failed, nothing is believed of it.
    """

    def __init__(self, path: Path, durability: Durability) -> None:
        self.path = path
        self._durability = durability
        self._file: SqliteFile | None = None
        self._threads: dict[Thread, ThreadPoolExecutor] = {}
        self._was_there = False
        self._known: FileId | None = None  # the file that was read so far
        self.doubtful = False
        self.follows: dict[SessionId, int] = {}

    def check_there(self) -> None:
        """Raise `JournalError` where the file was there, and is not. To begin a new one may not be what is wanted."""
        there = self.path.exists()
        if self._was_there and not there:
            raise JournalError(f"journal {self.path} was removed: put it back, or restart to begin a new one")
        self._was_there = there

    def is_another(self) -> bool:
        """Whether the file is another one than when this was last asked, or first opened."""
        known, self._known = self._known, self.file.identity
        return known != self._known

    def open(self) -> None:
        """Open the file, create it if it was never there. Raises `JournalError` with what is wrong and where."""
        self.check_there()
        self.follows.clear()
        self._file = SqliteFile(self.path, synchronous=self._durability)
        self._was_there = True
        self._known = self._known or self._file.identity
        self._threads = {name: ThreadPoolExecutor(1, f"journal-{name}") for name in get_args(Thread)}

    def close(self) -> None:
        """Move the log into the file and close it, once what runs has ended."""
        if self._file is None:
            return
        for thread in self._threads.values():
            thread.shutdown()
        self._file.close()  # the last connection to close moves the log
        self._file = None

    @property
    def is_open(self) -> bool:
        """Whether it is open."""
        return self._file is not None

    @property
    def file(self) -> SqliteFile:
        """The open file. Raises `JournalError`."""
        if self._file is None:
            raise JournalError(f"journal {self.path} is not open")
        return self._file

    # --- on the loop ------------------------------------------------------------------------------------------------

    async def write(self, work: Callable[[], _T]) -> _T:
        """Run a transaction where this durability runs them: one after the other."""
        return await self.run("write", work) if self._durability == "full" else work()

    async def select(self, statement: str, values: Any) -> list[Any]:
        """All rows of a statement that reads."""

        def select() -> list[Any]:
            file = self.file
            with file.failing("cannot be read"):
                return file.reader.execute(statement, values).fetchall()

        return await self.run("read", select)

    async def run(self, thread: Thread, work: Callable[[], _T]) -> _T:
        """Run work in a thread, after what it was given before."""
        _ = self.file
        return await asyncio.get_running_loop().run_in_executor(self._threads[thread], work)

    # --- in whatever thread -----------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def transaction(self, failing: str) -> Iterator[Write]:
        """A transaction of the writer: all of it, or none. `failing` says what cannot be done if it fails."""
        file = self.file
        write = file.writer.execute
        try:
            file.check_in_place()
            write("BEGIN IMMEDIATE")
            yield write
            write("COMMIT")
        except BaseException:
            self.doubtful = True
            self.follows.clear()
            with file.failing(failing):
                if file.writer.in_transaction:
                    write("ROLLBACK")
                raise

    def touch(self) -> None:
        """Write one page. Raises `JournalError`."""
        file = self.file
        with file.failing("takes no writes"):
            try:
                file.writer.execute("BEGIN IMMEDIATE")
                file.writer.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
                file.writer.execute("COMMIT")
            except sqlite3.Error:
                if file.writer.in_transaction:
                    file.writer.execute("ROLLBACK")
                raise

    def cursor(self, statement: str, values: Any) -> sqlite3.Cursor:
        """A statement that reads, begun."""
        file = self.file
        with file.failing("cannot be read"):
            return file.reader.execute(statement, values)

    def fetch(self, cursor: sqlite3.Cursor, rows: int) -> list[Any]:
        """The next rows of it, at most so many."""
        with self.file.failing("cannot be read"):
            return cursor.fetchmany(rows)
