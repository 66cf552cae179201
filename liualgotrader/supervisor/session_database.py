"""The database of a session: which one, and what is done to it."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from liualgotrader.common.config import Settings, default_home, program_call
from liualgotrader.common.errors import ConfigError, DatabaseUnavailable, OutsideError
from liualgotrader.common.ports import Store
from liualgotrader.common.rows import PortfolioAccount
from liualgotrader.common.session_plan import SlotPlan
from liualgotrader.supervisor.request import TraderRequest

if TYPE_CHECKING:
    from liualgotrader.postgres.embedded_server import EmbeddedServer


@dataclass(frozen=True, slots=True)
class Record:
    """The open database of a session, with the embedded server behind it if it is ours."""

    store: Store
    dsn: str
    server: EmbeddedServer | None
    database: str  # its name on the embedded server, else how to look at it

    def how_to_look(self, home: Path) -> str:
        """Return the command that opens the rows, as it can be typed."""
        if self.server is None:
            return self.database
        at_home = f"LIU_HOME={shlex.quote(str(home))} " if home != default_home() else ""
        return f"{at_home}{program_call('liu')} db psql {self.database}"

    async def keep_alive(self) -> bool:
        """Start the embedded server again if its postmaster was killed; return whether it had to be."""
        if self.server is None or self.server.postmaster_pid is not None:
            return False
        return await asyncio.to_thread(self.server.restart_if_dead)

    async def close(self) -> None:
        """Close the database; the last user of the embedded server stops it."""
        await self.store.close()
        if self.server is not None:
            await asyncio.to_thread(self.server.release)


def has_record(settings: Settings, request: TraderRequest) -> bool:
    """Whether a database is there already, so that it may hold an unfinished batch."""
    from liualgotrader.postgres.embedded_server import holds_server

    return bool(_stated_dsn(settings, request)) or holds_server(settings.home_path)


def _stated_dsn(settings: Settings, request: TraderRequest) -> str:
    return settings.dsn.reveal() if not request.simulate or request.dsn_given else ""


async def open_record(settings: Settings, request: TraderRequest, database: str = "") -> Record:
    """Return the database that the session writes to, its tables up to date, or another one of the embedded server.

    A simulated session uses a database of its own on the embedded server, whatever DSN says; only
    `--dsn` on the command line changes that.

    Raises:
        ConfigError: if the address or the data folder cannot be used.
        OutsideError: if the server does not come up or cannot be reached.
    """
    from liualgotrader.postgres.embedded_server import EmbeddedServer
    from liualgotrader.store.store_factory import open_store

    dsn = "" if database else _stated_dsn(settings, request)
    if dsn:
        with _needed_to_start():
            store = await open_store(dsn, migrate=True)
        where = "psql with the address given to --dsn" if settings.source("dsn") == "command line" else 'psql "$DSN"'
        return Record(store, dsn, None, where)
    server = await asyncio.to_thread(EmbeddedServer.start, settings.home_path)
    database = database or _database(request)
    try:
        await asyncio.to_thread(server.ensure_database, database)
        store = await open_store(server.dsn(database), migrate=True)
    except BaseException:
        server.release()
        raise
    return Record(store, server.dsn(database), server, database)


def _database(request: TraderRequest) -> str:
    """Return the name of a session's database on the embedded server."""
    from liualgotrader.postgres.embedded_server import DEFAULT_DATABASE, SIMULATED_DATABASE

    if (kept := request.kept_account()) is not None:
        return kept.database
    return SIMULATED_DATABASE if request.simulate else DEFAULT_DATABASE


@contextmanager
def _needed_to_start() -> Iterator[None]:
    """Turn the error of a server that is away, for which a running session would wait, into one that ends the program."""
    try:
        yield
    except DatabaseUnavailable as error:
        cause = str(error).partition(";")[0]
        raise OutsideError(f"{cause}, so nothing is started: see that it runs and that DSN names it") from error


async def look_at_record(settings: Settings, request: TraderRequest, portfolios: Collection[str] = ()) -> str:
    """Return what `open_record` would find and do, in words; no database and no table is made or changed.

    Raises:
        LiuError: as `open_record` does, or if one of the `portfolios` is not there.
    """
    from liualgotrader.postgres.embedded_server import EmbeddedServer

    dsn = _stated_dsn(settings, request)
    if dsn:
        with _needed_to_start():
            return f"the server that DSN names{await _would_change(dsn, portfolios)}"
    database = _database(request)
    server = await asyncio.to_thread(EmbeddedServer.start, settings.home_path)
    try:
        if database not in await asyncio.to_thread(server.databases):
            for portfolio_id in portfolios:
                raise no_portfolio(portfolio_id)
            return f"embedded PostgreSQL, database {database} would be made"
        return f"embedded PostgreSQL, database {database}{await _would_change(server.dsn(database), portfolios)}"
    finally:
        await asyncio.to_thread(server.release)


async def existing_record(settings: Settings, request: TraderRequest) -> Record | None:
    """Return the open database that `open_record` would open, None if it is not there; nothing is made or changed.

    Raises:
        LiuError: if it cannot be reached, or its tables are not those of this version.
    """
    from liualgotrader.postgres.embedded_server import EmbeddedServer
    from liualgotrader.store.store_factory import open_store

    if dsn := _stated_dsn(settings, request):
        return Record(await open_store(dsn), dsn, None, "")
    if not has_record(settings, request):
        return None
    server, database = await asyncio.to_thread(EmbeddedServer.start, settings.home_path), _database(request)
    try:
        if database in await asyncio.to_thread(server.databases):
            return Record(await open_store(server.dsn(database)), server.dsn(database), server, database)
    except BaseException:
        server.release()
        raise
    await asyncio.to_thread(server.release)
    return None


async def _would_change(dsn: str, portfolios: Collection[str]) -> str:
    from liualgotrader.store.store_factory import inspect_database

    complete, unknown = await inspect_database(dsn, portfolios)
    if unknown:
        raise no_portfolio(unknown[0])
    return "" if complete else ", whose tables the next session, or `liu db migrate`, brings to this version"


def no_portfolio(portfolio_id: str) -> ConfigError:
    """Return the error of a tradeplan whose `portfolio_id` is not in the database."""
    return ConfigError(
        f"there is no portfolio {portfolio_id} in the database: make one with `portfolio create`, or leave `portfolio_id` out"
    )


async def require_portfolios(record: Record, wanted: Collection[str]) -> None:
    """See that each portfolio of a backtest is there, in its database or in that of simulated sessions.

    Raises:
        ConfigError: if one is in neither.
    """
    from liualgotrader.postgres.embedded_server import SIMULATED_DATABASE
    from liualgotrader.store.store_factory import inspect_database

    unknown = [one for one in wanted if await record.store.portfolio_account(one) is None]
    server = record.server
    if unknown and server is not None and SIMULATED_DATABASE in await asyncio.to_thread(server.databases):
        _, unknown = await inspect_database(server.dsn(SIMULATED_DATABASE), unknown)
    if unknown:
        raise no_portfolio(unknown[0])


async def account_of(store: Store, portfolio_id: str) -> PortfolioAccount:
    """Return the account of a strategy's portfolio.

    Raises:
        ConfigError: if there is no such portfolio.
    """
    found = await store.portfolio_account(portfolio_id)
    if found is None:
        raise no_portfolio(portfolio_id)
    return found


def sub_account_in(portfolio: PortfolioAccount, environment: str) -> str:
    """Return the account at the broker that a portfolio trades for, empty for the one of the keys.

    The simulated market has one account, whatever a portfolio names.
    """
    return "" if environment == "SIMULATED" else portfolio.external_account_id or ""


def sub_account_of(slots: Iterable[SlotPlan]) -> str:
    """Return the account at the broker that these slots trade for, empty for the one of the keys.

    Raises:
        ConfigError: if they trade for more than one.
    """
    found = {slot.sub_account: slot.strategy for slot in slots if slot.sub_account or not slot.stopped}
    if len(found) > 1:
        (one, first), (other, second) = sorted(found.items())[:2]
        named = [f"sub-account …{account[-4:]}" if account else "the account of the keys" for account in (one, other)]
        raise ConfigError(
            f"{first} trades for {named[0]} and {second} for {named[1]} (external_account_id of their portfolios), but a"
            " session trades for one account: give each account a tradeplan of its own"
        )
    return next(iter(found), "")


LEAST_FREE = 500_000_000  # bytes that a new batch needs; one that was begun goes on with less, without entries


def make_home(home: Path) -> None:
    """See that the data folder is there.

    Raises:
        ConfigError: if it cannot be made.
    """
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"the data folder {home} cannot be made ({error.strerror}); set LIU_HOME to another"
        ) from error
    if not os.access(home, os.W_OK | os.X_OK):
        raise ConfigError(f"nothing can be written in the data folder {home}; set LIU_HOME to another")


def enough_room(home: Path) -> None:
    """Check that the data folder has room for a new batch.

    Raises:
        OutsideError: if the disk is full.
    """
    free = shutil.disk_usage(home).free
    if free < LEAST_FREE:
        raise OutsideError(
            f"only {free / 1e6:.0f} MB are free in {home}; a session needs {LEAST_FREE / 1e6:.0f} MB: "
            "free some, or set LIU_HOME to another disk"
        )
