"""Who may trade for an account: one gateway at a time, each later one outranks the one before, and no other batch's."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from liualgotrader.common.errors import OutsideError
from liualgotrader.store.database import Database, as_our_error

if TYPE_CHECKING:
    from asyncpg import Connection

# A gateway that was killed a moment ago may still be on the server's books.
WAIT_AT_MOST = "SET lock_timeout = '3s'"
TAKE_LOCK = "SELECT pg_advisory_lock($1)"
NEXT_GENERATION = """
    INSERT INTO account_lease (account_digest, generation) VALUES ($1, 1)
    ON CONFLICT (account_digest) DO UPDATE SET generation = account_lease.generation + 1, taken_at = now()
    RETURNING generation
"""
# A digest that stands there already stays: of equal keys `||` takes the right one.
REMEMBER_ACCOUNT = """
    UPDATE batch SET configuration = jsonb_build_object('account_digest', $2::text) || configuration
    WHERE batch_id = $1
    RETURNING configuration ->> 'account_digest'
"""
GENERATION = "SELECT generation FROM account_lease WHERE account_digest = $1"

_HELD = "Another order gateway trades for this account: end it, then start again."
_LOST = "Another order gateway has taken this account over: this one must stop."


@dataclass(frozen=True, slots=True)
class _Lease:
    connection: Connection  # the lock lives as long as this connection
    digest: str
    generation: int


class LeaseTables:
    """`account_lease`, and the advisory lock that goes with it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lease: _Lease | None = None

    async def lease(self, account_number: str) -> int:
        """Take the account for this store's life and return the new generation number.

        A lost connection gives the lock up; the next `apply` takes it again, unless another gateway was faster.

        Raises:
            OutsideError: if another gateway holds the account.
        """
        await self._end_lease()
        digest = _digest(account_number)
        connection = await self._locked_connection(digest)
        try:
            generation: int = await connection.fetchval(NEXT_GENERATION, digest)
        except Exception as e:
            connection.terminate()
            if (ours := as_our_error(e)) is None:
                raise
            raise ours from e
        self._lease = _Lease(connection, digest, generation)
        return generation

    async def is_account_of(self, batch_id: str, account_number: str) -> bool:
        """Return whether a batch began in this account; one that does not know its account yet remembers this one."""
        digest = _digest(account_number)
        async with self._database.connection() as connection:
            return await connection.fetchval(REMEMBER_ACCOUNT, batch_id, digest) in (digest, None)

    async def _locked_connection(self, digest: str) -> Connection:
        from asyncpg import LockNotAvailableError

        connection = await self._database.dedicated()
        key = int.from_bytes(bytes.fromhex(digest)[:8], signed=True)
        try:
            await connection.execute(WAIT_AT_MOST)
            await connection.execute(TAKE_LOCK, key)
        except LockNotAvailableError:
            connection.terminate()
            raise OutsideError(_HELD) from None
        except Exception as e:
            connection.terminate()
            if (ours := as_our_error(e)) is None:
                raise
            raise ours from e
        return connection

    async def _hold_lease(self) -> None:
        """Take the lock again if its connection was lost with the server."""
        if self._lease is None or not self._lease.connection.is_closed():
            return
        connection = await self._locked_connection(self._lease.digest)
        self._lease = _Lease(connection, self._lease.digest, self._lease.generation)

    async def _check_generation(self, connection: Connection) -> None:
        if self._lease is None:
            return
        newest: int = await connection.fetchval(GENERATION, self._lease.digest)
        if newest != self._lease.generation:
            raise OutsideError(_LOST)

    async def _end_lease(self) -> None:
        if self._lease is not None:
            self._lease.connection.terminate()
            self._lease = None


def _digest(account_number: str) -> str:
    return sha256(f"liu-account:{account_number}".encode()).hexdigest()
