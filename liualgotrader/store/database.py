"""The pool of connections, and one sentence for each way in which a database fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from liualgotrader.common.errors import BadData, ConfigError, DatabaseUnavailable, LiuError

if TYPE_CHECKING:
    from asyncpg import Connection, Pool

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
    """Connections that come back by themselves after the server was away."""

    def __init__(self, pool: Pool, connect: Callable[[float | None], Awaitable[Connection]]) -> None:
        self._pool = pool
        self._connect = connect

    @property
    def pool(self) -> Pool:
        """Return the pool, for code of users that was written for the original."""
        return self._pool

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection.

        Raises:
            DatabaseUnavailable: from entering or from the body, whenever the server cannot be reached.
            BadData: if a row cannot be stored as it is.
        """
        connection: Any = None
        lost = False
        try:
            connection = await self._pool.acquire(timeout=CONNECT_SECONDS)
            yield connection
        except Exception as e:
            ours = as_our_error(e)
            lost = isinstance(ours, DatabaseUnavailable)
            if ours is None:
                raise
            raise ours from e
        finally:
            if connection is not None:
                await self._give_back(connection, lost=lost)

    async def _give_back(self, connection: Any, *, lost: bool) -> None:
        """Return a connection to the pool; a lost one is cut first, since cleaning it would fail on it again.

        The work is done (or has failed and said so) at this point: a server that goes away now is noticed by
        the next call.
        """
        from asyncpg import InterfaceError

        if lost:
            with suppress(InterfaceError):  # the pool may have noticed it and taken it back itself
                connection.terminate()
        try:
            await self._pool.release(connection)
        except Exception as e:  # asyncpg has cut it
            if as_our_error(e) is None:
                raise

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Lend a connection for one transaction; it is committed when the body ends without an exception."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    async def dedicated(self, *, patient: bool = False) -> Connection:
        """Return a connection that belongs to the caller, who closes it; a patient one never times out.

        Raises:
            DatabaseUnavailable: if the server cannot be reached.
        """
        try:
            return await self._connect(None if patient else COMMAND_SECONDS)
        except Exception as e:
            if (ours := as_our_error(e)) is None:
                raise
            raise ours from e

    async def close(self) -> None:
        """End all connections; one that is stuck is cut."""
        try:
            await asyncio.wait_for(self._pool.close(), _CLOSE_SECONDS)
        except TimeoutError:
            self._pool.terminate()
        except Exception as e:  # the server is gone, and with it what there was to close
            self._pool.terminate()
            if as_our_error(e) is None:
                raise


async def open_database(dsn: str) -> Database:
    """Return the database at `dsn` after one connection to it was made.

    Raises:
        ConfigError: if the address makes no sense, or the server knows no such user, password or database.
        DatabaseUnavailable: if the server cannot be reached.
    """
    import asyncpg

    settings = {"application_name": "liualgotrader", "timezone": "UTC"}
    options: dict[str, Any] = {"timeout": CONNECT_SECONDS, "server_settings": settings}
    try:
        pool = await asyncpg.create_pool(
            dsn, min_size=0, max_size=_POOL_SIZE, command_timeout=COMMAND_SECONDS, **options
        )
        async with pool.acquire():  # a server that is away is noticed here
            pass
    except (ValueError, asyncpg.ClientConfigurationError):
        # The library's words may quote the address, which may hold a password.
        raise ConfigError(
            "DSN is not the address of a PostgreSQL database: it reads postgresql://user:password@host:port/database."
        ) from None
    except Exception as e:
        if (ours := as_our_error(e)) is None:
            raise
        raise ours from e
    return Database(pool, lambda seconds: asyncpg.connect(dsn, command_timeout=seconds, **options))


def as_our_error(e: Exception) -> LiuError | None:
    """Return the error of ours that says what `e`, raised by asyncpg, means; None if it is a bug."""
    from asyncpg import InterfaceError, InternalClientError, PostgresError

    if isinstance(e, PostgresError):
        return _by_state(e.sqlstate or "", e)
    if isinstance(e, (OSError, TimeoutError, EOFError)):  # refused, reset, no socket file, no answer
        return DatabaseUnavailable(f"PostgreSQL cannot be reached ({_words(e)}); rows wait until it can.")
    # asyncpg answers so on a connection to which the server, dying, has said good-bye while it was idle.
    dead = isinstance(e, InternalClientError) and "cannot switch to state" in str(e)
    if dead or (isinstance(e, InterfaceError) and "clos" in str(e)):  # "is closed", "was closed in the middle"
        return DatabaseUnavailable("The connection to PostgreSQL was lost; rows wait until it is back.")
    return None


def _by_state(state: str, e: Exception) -> LiuError | None:
    words = _words(e)
    if state.startswith(_BAD_LOGIN):
        return ConfigError(f"PostgreSQL does not let us in: {words}; check DSN.")
    if state.startswith(_ASK_AGAIN) or state == _READ_ONLY:
        return DatabaseUnavailable(f"PostgreSQL cannot do it now: {words}.")
    if state.startswith(_BAD_ROW):
        return BadData(f"A row cannot be stored: {words}.")
    return None


def _words(e: Exception) -> str:
    return (str(e).splitlines() or [""])[0].rstrip(".") or type(e).__name__
