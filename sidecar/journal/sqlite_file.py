"""The file behind the embedded journal: who may open it, what must be in it, and connections to it.

One process at a time: the operating system holds a lock on `PATH.lock` for as long as the process lives, however it
ends. A second process is refused with a sentence instead of sharing a ledger that it believes to be its own.
"""

import contextlib
import fcntl
import logging
import os
import sqlite3
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import TypeAlias

from sidecar.journal import JournalError

APPLICATION_ID = 0x54425343  # tells our files from other SQLite databases
SCHEMA_VERSION = 3  # the last of schema/sqlite-*.sql

# Somebody looks into the file with another program: wait a moment for them, but do not hold the event loop for long.
_BUSY_SECONDS = 0.25

log = logging.getLogger(__name__)

FileId: TypeAlias = tuple[int, int]  # device, inode


class SqliteFile:
    """An open journal file: the lock, and connections that are each used by one thread at a time.

    `writer` has every transaction, `reader` sees what is committed, `keeper` moves the write-ahead log into the file.
    """

    def __init__(self, path: Path, *, synchronous: str) -> None:
        self.path = path
        self._lock = self._take_lock()
        self._connections: list[sqlite3.Connection] = []
        try:
            with self.failing("cannot be opened"):
                # It has what agents said: a new one is its owner's alone, and its log as well, as SQLite does it.
                os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
                self.writer = self._connect()
                self._prepare()
                self.writer.execute(f"PRAGMA synchronous = {synchronous}")
                self.reader = self._connect()
                self.reader.execute("PRAGMA query_only = ON")
                self.keeper = self._connect()
            # A process that is killed again and again, before it had written much, would never get round to this.
            with contextlib.suppress(sqlite3.Error):  # a full disk: the first write will say so
                self.keeper.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self._log = f"{path.resolve()}-wal"
            self.identity, self._log_identity = _found(path), _found(self._log)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Move the log into the file, close the connections and let others have the file. Never raises."""
        # SQLite does it when the last connection closes, but not where the file has been moved: then the log stays, and
        # would be taken for that of whatever file is put in its place.
        for keeper in self._connections[2:]:  # there is none where opening failed: then the file is not touched
            with contextlib.suppress(sqlite3.Error):
                keeper.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        for connection in self._connections:
            with contextlib.suppress(sqlite3.Error):
                connection.close()
        self._connections.clear()
        os.close(self._lock)

    def check_in_place(self) -> None:
        """Raise `OSError` where the path leads to this file no longer: what is written to it ends with the process.

        So it is with the log, where the newest commits are; it is moved into the file when that is closed.
        """
        if _found(self.path) != self.identity:
            raise FileNotFoundError("the file was removed, or another one put in its place")
        if self._log_identity is not None and _found(self._log) != self._log_identity:
            raise FileNotFoundError(f"{self._log} was removed, or another one put in its place")

    @contextlib.contextmanager
    def failing(self, what: str) -> Iterator[None]:
        """Say what failed, where, and why."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise JournalError(f"journal {self.path} {what}: {error}") from error

    def _take_lock(self) -> int:
        if not self.path.parent.is_dir():
            raise JournalError(f"journal {self.path} cannot be opened: the folder {self.path.parent} does not exist")
        with self.failing("cannot be opened"):
            lock = os.open(f"{self.path.resolve()}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            raise JournalError(f"journal {self.path} is in use by another process") from error
        return lock

    def _connect(self) -> sqlite3.Connection:
        # Transactions are written out (autocommit), and a connection is handed from thread to thread, never shared.
        connection = sqlite3.connect(self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        self._connections.append(connection)
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        return connection

    def _prepare(self) -> None:
        """Create the tables or bring them up to date, or refuse a file that is not ours."""
        (application,) = self.writer.execute("PRAGMA application_id").fetchone()
        (version,) = self.writer.execute("PRAGMA user_version").fetchone()
        (tables,) = self.writer.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if tables and application != APPLICATION_ID:
            raise JournalError(f"journal {self.path} cannot be opened: it is another program's database")
        if version > SCHEMA_VERSION:
            raise JournalError(
                f"journal {self.path} cannot be opened: a newer version of this program wrote it"
                f" (schema {version}, known up to {SCHEMA_VERSION})"
            )
        (mode,) = self.writer.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise JournalError(f"journal {self.path} cannot be opened: its file system has no write-ahead log ({mode})")
        for step in range(version + 1 if tables else 1, SCHEMA_VERSION + 1):
            schema = (
                resources.files("sidecar.journal").joinpath(f"schema/sqlite-{step}.sql").read_text(encoding="utf-8")
            )
            stamp = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {step};"
            self.writer.executescript(f"BEGIN IMMEDIATE; {schema} {stamp} COMMIT;")
        if tables and version < SCHEMA_VERSION:
            log.info("journal %s was brought from schema %d to %d", self.path, version, SCHEMA_VERSION)


def _found(path: Path | str) -> FileId | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - asked at each commit, and a third faster than Path.stat
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
