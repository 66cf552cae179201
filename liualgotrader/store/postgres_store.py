"""The record in PostgreSQL: every table of a session in one class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from liualgotrader.common.errors import LiuError
from liualgotrader.store.analysis_tables import AnalysisTables
from liualgotrader.store.finished_run import FinishedRunTables
from liualgotrader.store.gateway_tables import GatewayTables
from liualgotrader.store.order_tables import OrderTables
from liualgotrader.store.session_tables import SessionTables

_QUERY_SECONDS = 300.0


class PostgresStore(GatewayTables, SessionTables, OrderTables, AnalysisTables, FinishedRunTables):
    """The port `Store`, kept by PostgreSQL. One store belongs to one event loop.

    Instants are cut to microseconds, which is what PostgreSQL keeps. After the server was away the next
    call makes new connections by itself.
    """

    @property
    def pool(self) -> Any:
        """Return the asyncpg pool, for code of users that was written for the original."""
        return self._database.pool

    async def fetch(self, query: str, *args: Any) -> Sequence[Mapping[str, Any]]:
        """Run a query of the user's and return its rows; it may take five minutes.

        Raises:
            LiuError: if PostgreSQL does not understand the query.
        """
        from asyncpg.exceptions import SyntaxOrAccessError

        try:
            async with self._database.connection() as connection:
                rows = await connection.fetch(query, *args, timeout=_QUERY_SECONDS)
        except SyntaxOrAccessError as e:
            raise LiuError(f"PostgreSQL does not understand the query: {str(e).splitlines()[0]}.") from e
        return [dict(row) for row in rows]

    async def close(self) -> None:
        """Give the account back and end all connections."""
        await self._end_lease()
        await self._database.close()
