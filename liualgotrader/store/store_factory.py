"""Open the record: the one place that names the adapter of the port `Store`."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from liualgotrader.common.errors import ConfigError
from liualgotrader.store.analysis_tables import AnalysisTables
from liualgotrader.store.database import Database, open_database, our_errors
from liualgotrader.store.migrate import migrate as bring_up_to_date
from liualgotrader.store.migrate import missing_steps
from liualgotrader.store.postgres_store import PostgresStore


async def open_store(dsn: str, *, migrate: bool = False, readonly: bool = False) -> PostgresStore:
    """Return the record at `dsn`; with `migrate` its tables are brought to this version first.

    Every write to a `readonly` one is refused by the server.

    Raises:
        ConfigError: if the address, the login or the tables do not fit; the sentence says which.
        DatabaseUnavailable: if the server cannot be reached.
    """
    database = await open_database(dsn, readonly=readonly)
    try:
        if migrate:
            # A connection without time limit: widening the columns of a large table takes minutes.
            connection = await database.dedicated(patient=True)
            try:
                with our_errors():
                    await bring_up_to_date(connection)
            finally:
                connection.terminate()
        async with database.connection() as connection:
            if steps := await missing_steps(connection):
                raise ConfigError(
                    f"The database lacks the tables of this version ({steps[0].name} and later): run `liu db migrate` "
                    "or start `trader`, which brings them up to date."
                )
    except BaseException:
        await database.close()
        raise
    return PostgresStore(database)


def store_on(pool: Any) -> PostgresStore:
    """Return the record behind a pool that is open already; it cannot hold an account, which needs a connection of its own."""

    async def connect(seconds: float | None) -> Any:
        raise ConfigError("a store on a pool of the user's holds no account: open one with `open_store`")

    return PostgresStore(Database(pool, connect))


async def inspect_database(dsn: str, portfolios: Collection[str] = ()) -> tuple[bool, list[str]]:
    """Return whether the tables at `dsn` are as this version has them, and which `portfolios` are not in them.

    Nothing is changed.

    Raises:
        ConfigError: if the address or the login do not fit, or a newer version of this package has been there.
        DatabaseUnavailable: if the server cannot be reached.
    """
    database = await open_database(dsn)
    try:
        async with database.connection() as connection, connection.transaction(readonly=True):
            complete = not await missing_steps(connection)
            kept = await connection.fetchval("SELECT to_regclass('portfolio') IS NOT NULL") if portfolios else False
        analysis = AnalysisTables(database)
        unknown = [p for p in portfolios if not kept or await analysis.portfolio_account(p) is None]
        return complete, unknown
    finally:
        await database.close()
