"""The connection that notebooks and tools of the original open before they use its classes."""

from __future__ import annotations

import asyncio
import atexit
from typing import TYPE_CHECKING, Any

from liualgotrader.common import config
from liualgotrader.common.config import Settings
from liualgotrader.common.ports import Store
from liualgotrader.postgres.embedded_server import DEFAULT_DATABASE, SIMULATED_DATABASE, EmbeddedServer
from liualgotrader.store.database import fetch_frame, set_pool
from liualgotrader.store.store_factory import open_store, store_on

if TYPE_CHECKING:
    import pandas as pd


async def create_db_connection(dsn: str | None = None, home: str | None = None, *, simulated: bool = False) -> None:
    """Open the database of this program: `dsn`, else the one that DSN names, else the embedded one of `home` (LIU_HOME).

    With `simulated` it is the embedded one of simulated sessions, whatever DSN says. Its tables are brought to this version. The pool, which belongs to the running event loop, is `config.db_conn_pool`.

    Raises:
        ConfigError: if the address, the login or the data folder cannot be used.
        OutsideError: if the server does not come up or cannot be reached.
    """
    settings = Settings.resolve({"home": home})
    address = dsn or ("" if simulated else settings.dsn.reveal())
    if not address:
        database = SIMULATED_DATABASE if simulated else DEFAULT_DATABASE
        server = await asyncio.to_thread(EmbeddedServer.start, settings.home_path)
        atexit.register(server.release)
        await asyncio.to_thread(server.ensure_database, database)
        address = server.dsn(database)
    store = await open_store(address, migrate=True)
    set_pool(store.pool)
    config.show_pool(store.pool)


async def open_if_none() -> None:
    """Open the database as `create_db_connection` does, unless one is open."""
    if config.db_conn_pool is None:
        await create_db_connection()


async def opened_store() -> Store:
    """Return the program's database as the port `Store`, opened as `create_db_connection` does where none is."""
    await open_if_none()
    return store_on(config.db_conn_pool)


async def fetch_as_dataframe(query: str, *args: Any) -> pd.DataFrame:
    """Return a query's rows as a frame with its columns; the database is opened if none is.

    `$1`, `$2` … in the query stand for `args`.
    """
    await open_if_none()
    return await fetch_frame(query, *args, pool=config.db_conn_pool)
