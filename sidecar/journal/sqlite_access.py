"""How the embedded journal gets at its file: transactions, selections, and the threads in which they run."""

import asyncio
import sqlite3
from collections.abc import Callable
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

    def transaction(self, failing: str, *, single: bool = False) -> "Transaction":
        """A transaction of the writer: all of it, or none. `failing` says what cannot be done if it fails.

        `single`: of one statement that writes, which is a transaction by itself, and need not be told.
        """
        return Transaction(self, self.file, failing, single=single)

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


class Transaction:
    """What happens within it happens, or nothing does. Every turn has one, and as a generator it would cost twice."""

    __slots__ = ("_access", "_failing", "_file", "_single", "_write")

    def __init__(self, access: Access, file: SqliteFile, failing: str, *, single: bool) -> None:
        self._access = access
        self._file = file
        self._failing = failing
        self._single = single
        self._write = file.writer.execute

    def __enter__(self) -> Write:
        try:
            self._file.check_in_place()
            if not self._single:
                self._write("BEGIN IMMEDIATE")
        except BaseException as error:
            self._fail(error)
            raise
        return self._write

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if error is not None:
            self._fail(error)
        elif not self._single:
            try:
                self._write("COMMIT")
            except BaseException as failed:
                self._fail(failed)
                raise

    def _fail(self, error: BaseException) -> None:
        """It may have happened or not. Raises `JournalError` where the store is to blame."""
        self._access.doubtful = True
        self._access.follows.clear()
        with self._file.failing(self._failing):
            if self._file.writer.in_transaction:
                self._write("ROLLBACK")
            if isinstance(error, sqlite3.Error | OSError):
                raise error
