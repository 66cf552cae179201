"""The pool of connections, with one sentence for each way in which a database fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from liualgotrader.common.errors import BadData, ConfigError, DatabaseUnavailable, LiuError

if TYPE_CHECKING:
    import pandas as pd
    from asyncpg import Connection, Pool, Record

CONNECT_SECONDS = 10.0
COMMAND_SECONDS = 60.0
_CLOSE_SECONDS = 10.0
_POOL_SIZE = 4

# SQLSTATE classes (PostgreSQL manual, appendix A) after which the same call may succeed later:
# connection exceptions, transaction rollback (deadlock), insufficient resources (disk full, too many
# connections), operator intervention (shutdown, crash recovery), system errors.
_ASK_AGAIN = ("08", "40", "53", "57", "58")
_READ_ONLY = "25006"  # a standby took our connection during a failover
_BAD_ROW = ("22", "23")  # data exceptions, integrity constraint violations
_BAD_LOGIN = ("28", "3D", "42501")  # invalid authorization, no such database, no right to do this


class Database:
    """A pool of connections that recovers by itself after the server was away.

    Every call raises DatabaseUnavailable while the server cannot be reached, and BadData if a row cannot be stored as
    it is.
    """

    def __init__(self, pool: Pool, connect: Callable[[float | None], Awaitable[Connection]]) -> None:
        self.pool = pool  # also for user code written for the original
        self._connect = connect

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection; errors of the body are translated too."""
        from asyncpg import InterfaceError

        with our_errors():
            connection: Any = await self.pool.acquire(timeout=CONNECT_SECONDS)
            try:
                yield connection
            except Exception as e:
                if isinstance(as_our_error(e), DatabaseUnavailable):
                    with suppress(InterfaceError):  # the pool may have noticed and released it itself
                        connection.terminate()  # cleaning a lost connection would fail on it again
                raise
            finally:
                try:
                    await self.pool.release(connection)
                except Exception as e:  # the connection is broken; the next call reports that the server is gone
                    if as_our_error(e) is None:
                        raise

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Lend a connection for one transaction; it is committed when the body ends without an exception."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    async def execute(self, statement: str, *args: Any) -> None:
        """Run a statement."""
        async with self.connection() as connection:
            await connection.execute(statement, *args)

    async def fetch(self, query: str, *args: Any) -> list[Record]:
        """Return a query's rows."""
        async with self.connection() as connection:
            rows: list[Record] = await connection.fetch(query, *args)
        return rows

    async def fetchrow(self, query: str, *args: Any) -> Record | None:
        """Return a query's first row, None if there is none."""
        return next(iter(await self.fetch(query, *args)), None)

    async def fetchval(self, query: str, *args: Any) -> Any:
        """Return the first value of a query's first row, None if there is no row."""
        row = await self.fetchrow(query, *args)
        return None if row is None else row[0]

    async def dedicated(self, *, patient: bool = False) -> Connection:
        """Return a connection that belongs to the caller, who closes it; a patient one never times out."""
        with our_errors():
            return await self._connect(None if patient else COMMAND_SECONDS)

    async def close(self) -> None:
        """Close all connections; one that hangs is cut."""
        try:
            await asyncio.wait_for(self.pool.close(), _CLOSE_SECONDS)
        except TimeoutError:
            self.pool.terminate()
        except Exception as e:  # the server is gone, so there is nothing to close
            self.pool.terminate()
            if as_our_error(e) is None:
                raise


class Tables:
    """Some tables of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database


async def open_database(dsn: str, *, readonly: bool = False) -> Database:
    """Return the database at `dsn` after one connection to it was made; a `readonly` one refuses every write.

    Raises:
        ConfigError: if the address makes no sense, or the server knows no such user, password or database.
        DatabaseUnavailable: if the server cannot be reached.
    """
    import asyncpg

    settings = {"application_name": "liualgotrader", "timezone": "UTC"}
    if readonly:
        settings["default_transaction_read_only"] = "on"
    options: dict[str, Any] = {"timeout": CONNECT_SECONDS, "server_settings": settings}
    with our_errors():
        try:
            pool = await asyncpg.create_pool(
                dsn, min_size=0, max_size=_POOL_SIZE, command_timeout=COMMAND_SECONDS, **options
            )
            async with pool.acquire():  # a server that is away is noticed here
                pass
        except (ValueError, asyncpg.ClientConfigurationError):
            # asyncpg's message may quote the address, which may hold a password.
            raise ConfigError(
                "DSN is not the address of a PostgreSQL database: it reads"
                " postgresql://user:password@host:port/database."
            ) from None
    return Database(pool, lambda seconds: asyncpg.connect(dsn, command_timeout=seconds, **options))


@contextmanager
def our_errors() -> Iterator[None]:
    """Raise asyncpg's errors as errors of ours."""
    try:
        yield
    except Exception as e:
        if (ours := as_our_error(e)) is None:
            raise
        raise ours from e


def as_our_error(e: Exception) -> LiuError | None:
    """Return the error of ours that says what `e`, raised by asyncpg, means; None if it is a bug."""
    from asyncpg import InterfaceError, InternalClientError, PostgresError

    if isinstance(e, PostgresError):
        state, words = e.sqlstate or "", _words(e)
        if state.startswith(_BAD_LOGIN):
            return ConfigError(f"PostgreSQL refuses the connection: {words}; check DSN.")
        if state.startswith(_ASK_AGAIN) or state == _READ_ONLY:
            return DatabaseUnavailable(f"PostgreSQL cannot do this now: {words}.")
        return BadData(f"A row cannot be stored: {words}.") if state.startswith(_BAD_ROW) else None
    if isinstance(e, (OSError, TimeoutError, EOFError)):  # refused, reset, no socket file, no answer
        return DatabaseUnavailable(f"PostgreSQL cannot be reached ({_words(e)}); rows wait until it can.")
    # asyncpg says so of an idle connection that the server closed as it shut down.
    dead = isinstance(e, InternalClientError) and "cannot switch to state" in str(e)
    if dead or (isinstance(e, InterfaceError) and "clos" in str(e)):  # "is closed", "was closed in the middle"
        return DatabaseUnavailable("The connection to PostgreSQL was lost; rows wait until it is back.")
    return None


def _words(e: Exception) -> str:
    return (str(e).splitlines() or [""])[0].rstrip(".") or type(e).__name__


# --- the pool of the program, for classes of the original ---------------------------------------

_current: list[Pool] = []  # at most one; a program has one record


def set_pool(pool: Any) -> None:
    """Set the pool for code written for the original; None clears it."""
    _current[:] = [] if pool is None else [pool]


def current_pool(pool: Any = None) -> Any:
    """Return `pool`, or the program's pool if it is None.

    Raises:
        ConfigError: if there is none.
    """
    if pool is not None:
        return pool
    if not _current:
        raise ConfigError("No database is open: call this inside a session, or hand over an asyncpg pool.")
    return _current[0]


async def fetch_frame(query: str, *args: Any, pool: Any = None) -> pd.DataFrame:
    """Return a query's rows as a frame, which has the query's columns also without rows."""
    import pandas as pd

    async with current_pool(pool).acquire() as connection:
        prepared = await connection.prepare(query)
        names = [attribute.name for attribute in prepared.get_attributes()]
        rows = await prepared.fetch(*args)
    return pd.DataFrame([tuple(row) for row in rows], columns=names)
