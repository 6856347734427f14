"""Connections to PostgreSQL, its tables, and what its errors mean.

A pool of a few connections; a broken one is replaced when it is next asked for. An error of the world (connection,
timeout, read-only after a failover, disk full) is a `JournalError`, and makes every connection new: after a failover
the name may lead elsewhere. A serialization failure or a deadlock stored nothing, which is what a conflict says.

A server that says nothing is waited for only so long. Then the connection is cut, without a word of goodbye, for which
one would wait as well; so it is when a caller gives up.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator
from importlib import resources
from typing import TypeAlias
from urllib.parse import urlsplit

import asyncpg

from sidecar.journal import JournalError, StoreAway

_log = logging.getLogger(__name__)

Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"

SCHEMA = "token_budget"
SCHEMA_VERSION = 2  # the last of schema/postgres-*.sql
_MIGRATING = 0x746F6B62  # the advisory lock under which one replica at a time migrates
CONNECTIONS = 8
_CONNECT_SECONDS = 3.0
_COMMAND_SECONDS = 10.0  # of what nobody waits for: forgetting, snapshots
_MIGRATE_SECONDS = 600.0
PROMPTLY = 5.0  # seconds for what somebody waits for, from its first statement to its last
_FULL_PAUSE = 0.05  # seconds between attempts to connect to a server that has no room for one more

Conflicting = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
# The last is what a connection says that was broken in the middle of something.
_World = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError, asyncpg.InternalClientError)
_Breaks = (asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError, asyncpg.InterfaceError, ConnectionError)
_Away = (TimeoutError, asyncpg.InsufficientResourcesError)


class BrokenConnection(StoreAway):
    """The connection broke, or was not to be had: if a new one does no better, the store is away."""


class Store:
    """The database behind a journal."""

    def __init__(self, url: str, *, synchronous: bool) -> None:
        self._url = url
        # Said once it is connected: a pooler (PgBouncer) refuses a client that begins with it.
        self._settings = f"SET search_path TO {SCHEMA}"
        if synchronous:
            self._settings += "; SET synchronous_commit TO on"
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        parts = urlsplit(url)
        self.name = f"{parts.netloc.rpartition('@')[2]}{parts.path}"

    async def open(self) -> None:
        """Connect, and bring the tables up to date."""
        with self.failing("cannot be opened"):
            self._pool = await asyncpg.create_pool(
                self._url,
                min_size=0,  # a floor would be restored, and loudly, all the time that the server is away
                max_size=CONNECTIONS,
                timeout=_CONNECT_SECONDS,
                command_timeout=_COMMAND_SECONDS,
                server_settings={"application_name": "token-budget-sidecar"},
                init=self._prepare,
                reset=_as_it_is,
            )
        try:
            async with self.connection("cannot be opened") as connection:
                await _migrate(connection, self.name)
        except BaseException:
            await self.close()
            raise

    async def _prepare(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        await connection.execute(self._settings)

    async def close(self) -> None:
        """Let go of the connections."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        try:
            async with asyncio.timeout(0.5):
                await pool.close()
        except (*_World, asyncio.CancelledError):
            pool.terminate()

    @property
    def is_open(self) -> bool:
        """Whether it was opened."""
        return self._pool is not None

    @contextlib.asynccontextmanager
    async def connection(
        self, what: str, *, within: float | None = None, patient: bool = True
    ) -> AsyncIterator[Connection]:
        """A connection of the pool, for at most `within` seconds; errors are `JournalError`s that say `what` failed.

        `patient`: where the server has no room for one more, wait for a while.
        """
        if self._pool is None:
            raise JournalError(f"journal {self.name} is not open")
        pool = self._pool
        with self.failing(what):
            try:
                connection = await (_acquire(pool) if patient else pool.acquire(timeout=_CONNECT_SECONDS))
                try:
                    with _cutting(connection, within):
                        yield connection
                finally:
                    await pool.release(connection)
            except (*Conflicting, JournalError):
                raise
            except _World:
                with contextlib.suppress(asyncpg.InterfaceError):
                    await pool.expire_connections()
                raise

    @contextlib.contextmanager
    def failing(self, what: str) -> Iterator[None]:
        """Say what failed, where, and why."""
        try:
            yield
        except JournalError:
            raise
        except Conflicting:
            raise
        except _World as error:
            reason = str(error) or ("no answer in time" if isinstance(error, TimeoutError) else type(error).__name__)
            away = StoreAway if isinstance(error, _Away) else JournalError
            kind = BrokenConnection if isinstance(error, _Breaks) else away
            raise kind(f"journal {self.name} {what}: {reason}") from error


async def _as_it_is(_: "asyncpg.Connection[asyncpg.Record]") -> None:
    """What is given back has nothing to be reset: settings are to stay, and transactions have ended."""


async def _acquire(pool: "asyncpg.Pool[asyncpg.Record]") -> Connection:
    """A connection, as soon as there is room for one."""
    loop = asyncio.get_running_loop()
    latest = loop.time() + _CONNECT_SECONDS
    while True:
        try:
            return await pool.acquire(timeout=max(_FULL_PAUSE, latest - loop.time()))
        except asyncpg.TooManyConnectionsError:
            if loop.time() > latest:
                raise
        await asyncio.sleep(_FULL_PAUSE)


@contextlib.contextmanager
def _cutting(connection: Connection, within: float | None) -> Iterator[None]:
    """Cut the connection when time is up, and when what was under way on it has not ended with the server's answer."""
    late = False

    def cut() -> None:
        nonlocal late
        late = True
        connection.terminate()

    timer = None if within is None else asyncio.get_running_loop().call_later(within, cut)
    try:
        yield
    except (asyncpg.PostgresError, JournalError) as error:
        if late:
            raise TimeoutError(f"no answer within {within:g} s") from error
        raise
    except BaseException as error:
        if late and isinstance(error, _World):
            raise TimeoutError(f"no answer within {within:g} s") from error
        if not late:
            connection.terminate()
        raise
    finally:
        if timer is not None:
            timer.cancel()


@contextlib.asynccontextmanager
async def transaction(connection: Connection) -> AsyncIterator[None]:
    """All that is done in it, or nothing."""
    await connection.execute("BEGIN")
    try:
        yield
        await connection.execute("COMMIT")
    except (asyncpg.PostgresError, JournalError):  # else the connection is cut, which undoes it as well
        with contextlib.suppress(*_World):
            if not connection.is_closed():
                await connection.execute("ROLLBACK")
        raise


async def _migrate(connection: Connection, name: str) -> None:
    """Bring the tables up to date; several replicas may come at once, and each waits for the one before it."""
    async with transaction(connection):
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _MIGRATING, timeout=_MIGRATE_SECONDS)
        if not await connection.fetchval("SELECT to_regnamespace($1) IS NOT NULL", SCHEMA):
            await connection.execute(f"CREATE SCHEMA {SCHEMA}")
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_versions (version integer PRIMARY KEY, applied_at timestamptz NOT NULL)"
        )
        version = await connection.fetchval("SELECT coalesce(max(version), 0) FROM schema_versions")
        if version > SCHEMA_VERSION:
            raise JournalError(
                f"journal {name} cannot be opened: a newer version of this program wrote it"
                f" (schema {version}, known up to {SCHEMA_VERSION})"
            )
        for step in range(version + 1, SCHEMA_VERSION + 1):
            await connection.execute(
                resources.files("sidecar.journal").joinpath(f"schema/postgres-{step}.sql").read_text(encoding="utf-8"),
                timeout=_MIGRATE_SECONDS,
            )
            await connection.execute("INSERT INTO schema_versions VALUES ($1, now())", step)
    if 0 < version < SCHEMA_VERSION:
        _log.info("journal %s was brought from schema %d to %d", name, version, SCHEMA_VERSION)
