"""Recorded batches as backtests: which there are, and what plays one of them again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from datetime import date
from pathlib import Path
from typing import Any

import msgspec

from liualgotrader.analytics.trips import Key
from liualgotrader.common.clock import MINUTE
from liualgotrader.common.config import Settings
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.events import Pick
from liualgotrader.common.ports import Store
from liualgotrader.common.rows import (
    AlgoRunRow,
    BatchResult,
    BatchRow,
    CarriedPosition,
    EquityRow,
    FilledTrade,
    HonestyCheck,
)
from liualgotrader.common.tradeplan import TradePlan
from liualgotrader.data.market_store import MarketStore
from liualgotrader.data.recorded_series import MARKET, records_of
from liualgotrader.store.page_queries import PORTFOLIO_BATCHES, PORTFOLIO_MONEY
from liualgotrader.supervisor.backtest_bars import BarsWanted
from liualgotrader.supervisor.backtesting import ENVIRONMENT, RepeatedBatch, other_ratios
from liualgotrader.supervisor.request import KEPT_DATABASE, TraderRequest
from liualgotrader.supervisor.session_database import open_record
from liualgotrader.supervisor.session_figures import Results

LISTED = 30  # batches of each kind
_BY_HAND = "command line"  # who chose the symbols that are named


class FoundBatch(msgspec.Struct, frozen=True):
    """A batch of the record: its row and its runs, what was picked and traded in it, and what checks found.

    `opening` is what earlier batches had left open, `parameters` those of each strategy.
    """

    row: BatchRow
    runs: dict[int, AlgoRunRow]
    simulated: bool  # it lies in the database of simulated sessions
    picks: tuple[Pick, ...] = ()
    trades: tuple[FilledTrade, ...] = ()
    opening: Mapping[Key, CarriedPosition] = {}
    checks: tuple[HonestyCheck, ...] = ()
    parameters: Mapping[str, Mapping[str, Any]] = {}
    equity: tuple[EquityRow, ...] = ()
    others: tuple[float, ...] | None = None  # Sharpe ratios of other backtests of the same strategies; None: not known

    @property
    def traded(self) -> frozenset[str]:
        """The symbols that were traded."""
        return frozenset(trade.symbol for trade in self.trades)


class FoundPortfolio(msgspec.Struct, frozen=True):
    """A portfolio of the record: what its account began with and what has moved it, US dollars, and the batches that traded for it.

    Of each batch the executions are those for the portfolio. `unknown` batches are those of an older version, without a row.
    """

    portfolio_id: str
    began: float
    moved: float
    batches: tuple[FoundBatch, ...]
    unknown: int


async def newest_results(settings: Settings, most: int = LISTED, environment: str = "") -> list[BatchResult]:
    """Return the newest batches, the newest first, then those in the database of simulated sessions; so many of each.

    Raises:
        LiuError: if a database cannot be used or reached.
    """
    async with aclosing(_stores(settings)) as stores:
        return [found async for store, _ in stores for found in await store.results(most, environment)]


async def find_batch(settings: Settings, beginning: str, *, everywhere: bool = False) -> FoundBatch:
    """Return the batch whose id begins so; `everywhere` is in the databases of accounts that `--state` keeps too.

    Raises:
        ConfigError: if there is none, or more than one.
        LiuError: if a database cannot be used or reached.
    """
    found: list[FoundBatch] = []
    async with aclosing(_stores(settings, everywhere=everywhere)) as stores:
        async for store, simulated in stores:
            for row in await store.newest_batches(2, beginning):
                found.append(await _read(store, row, simulated))
    if not found:
        raise ConfigError(f"there is no batch {beginning}: `backtester batch --batch-list` lists the newest")
    if len(found) > 1:
        raise ConfigError(f"more than one batch begins with {beginning}: write more of its id")
    return found[0]


async def find_portfolio(settings: Settings, beginning: str) -> FoundPortfolio | None:
    """Return the portfolio whose id begins so, wherever it is; None if there is none.

    Raises:
        ConfigError: if there is more than one.
        LiuError: if a database cannot be used or reached.
    """
    found: list[FoundPortfolio] = []
    async with aclosing(_stores(settings, everywhere=True)) as stores:
        async for store, simulated in stores:
            for row in await store.fetch(PORTFOLIO_MONEY, beginning):
                portfolio_id = row["portfolio_id"]
                ids = [one["batch_id"] for one in await store.fetch(PORTFOLIO_BATCHES, portfolio_id)]
                rows = [one for batch_id in ids for one in await store.newest_batches(2, batch_id)]
                batches = [await _read(store, one, simulated) for one in rows if one.batch_id in ids]
                traded = tuple(_traded_for(one, portfolio_id) for one in batches)
                money = float(row["began"]), float(row["moved"])
                found.append(FoundPortfolio(portfolio_id, *money, traded, len(ids) - len(batches)))
    if len(found) > 1:
        raise ConfigError(f"more than one portfolio begins with {beginning}: write more of its id")
    return found[0] if found else None


def _traded_for(found: FoundBatch, portfolio_id: str) -> FoundBatch:
    """Return the batch with what it traded for a portfolio: where no run says for which it trades, that is everything."""
    said = {number: run.parameters.get("portfolio_id") for number, run in found.runs.items()}
    mine = {number for number, of in said.items() if of == portfolio_id or not any(said.values())}
    trades = tuple(trade for trade in found.trades if trade.algo_run_id in mine)
    names = {found.runs[number].strategy for number in mine}
    parameters = {name: values for name, values in found.parameters.items() if name in names}
    return msgspec.structs.replace(found, trades=trades, parameters=parameters)


async def _read(store: Store, row: BatchRow, simulated: bool) -> FoundBatch:
    batch_id = row.batch_id
    runs = dict(await store.algo_runs(batch_id))
    results = Results(
        store, row.environment, batch_id, list({r.strategy: None for r in runs.values()}), alone=_began_empty(row)
    )
    trades, opening = await results.executions()
    return FoundBatch(
        row,
        runs,
        simulated,
        tuple(Pick(p.symbol, p.at, p.scanner, p.strategy) for p in await store.picks(batch_id)),
        tuple(trades),
        opening,
        tuple(await store.honesty_checks(batch_id)),
        {run.strategy: run.parameters for run in runs.values()},
        tuple(await store.equity([batch_id])),
        await other_ratios(store, batch_id, {run.strategy for run in runs.values()}),
    )


def _began_empty(row: BatchRow) -> bool:
    """Whether the account of a batch was made for it."""
    market = row.configuration.get("market")
    return row.environment == ENVIRONMENT or bool(market and not market.get("account"))


async def _stores(settings: Settings, *, everywhere: bool = False) -> AsyncGenerator[tuple[Store, bool], None]:
    """Yield the record, then that of simulated sessions, where there is one, then those of accounts that were kept."""
    from liualgotrader.postgres.embedded_server import SIMULATED_DATABASE

    record = await open_record(settings, TraderRequest())
    try:
        yield record.store, False
        names = await asyncio.to_thread(record.server.databases) if record.server is not None else ()
        kept = [name for name in sorted(names) if everywhere and KEPT_DATABASE.fullmatch(name)]
        for name in [*filter(names.__contains__, [SIMULATED_DATABASE]), *kept]:
            simulated = await open_record(settings, TraderRequest(simulate=True), name)
            try:
                yield simulated.store, True
            finally:
                await simulated.close()
    finally:
        await record.close()


def repeated(
    found: FoundBatch, bars: BarsWanted, plan: TradePlan, *, symbols: Sequence[str] = (), strict: bool = False
) -> tuple[BarsWanted, RepeatedBatch]:
    """Return the bars that play a batch again, and what was picked in it, or `symbols` from the open on.

    With `strict` only what was traded in it is picked. A pick for a strategy that the plan does not have is for all.

    Raises:
        ConfigError: if nothing was picked.
    """
    batch_id, opens_at = found.row.batch_id, bars.sessions()[0].opens_at
    picks = [Pick(symbol, opens_at, _BY_HAND) for symbol in symbols] or [
        msgspec.structs.replace(pick, strategy=pick.strategy if pick.strategy in plan.strategies else "")
        for pick in found.picks
        if pick.symbol in found.traded or not strict
    ]
    every = found.row.environment == ENVIRONMENT and not found.picks  # a backtest without scanners
    if not picks and strict and every:
        picks = [Pick(symbol, opens_at, _BY_HAND) for symbol in sorted(found.traded)]
    if not picks and not every:
        what = "traded" if strict else "picked"
        raise ConfigError(f"no symbol was {what} in batch {batch_id}: name some with --symbol")
    runs = {run.strategy: number for number, run in reversed(found.runs.items())}  # of several slots the first
    names = sorted({pick.symbol for pick in picks})
    wanted = msgspec.structs.replace(bars, symbols=tuple(names) or bars.symbols)
    return wanted, RepeatedBatch(batch_id, tuple(picks), dict(reversed(runs.items())), found.simulated)


def bars_of(found: FoundBatch) -> BarsWanted:
    """Return the bars that a batch was traded on: those of its session, of its folder, or of its invented market.

    Raises:
        ConfigError: if that cannot be known.
    """
    row = found.row
    day, seed, told = date.fromisoformat(row.session_date), row.seed or 0, row.configuration
    if row.environment == ENVIRONMENT:
        return msgspec.convert(told["backtest"]["bars"], BarsWanted)
    market = told.get("market")
    if not market:
        return BarsWanted(first=day, last=day)
    window = market["opens_at"], market["closes_at"]
    if market["data"]:
        return BarsWanted(first=day, last=day, data=market["data"], window=window)
    if market.get("account"):
        raise ConfigError(
            f"batch {row.batch_id} was traded on an invented market that other sessions led to (--state), which is not kept:"
            " name other data with --data"
        )
    return BarsWanted(first=day, last=day, generated=market["symbol_count"], seed=seed, of_session=True, window=window)


def from_kept(bars: BarsWanted, batch_id: str, home: Path) -> BarsWanted:
    """Return the bars as the batch's strategies saw them, if it kept those of all wanted symbols; else as they were."""
    store = MarketStore(records_of(home, batch_id) / MARKET)
    there = {
        symbol for symbol, kind, period in map(store.series_of, store.files()) if (kind, period) == ("bars", MINUTE)
    }
    if not bars.symbols or not there.issuperset(bars.symbols):
        return bars
    return msgspec.structs.replace(bars, kept=str(store.folder), data="", generated=None, of_session=False)


def with_duration(plan: TradePlan, minutes: float) -> TradePlan:
    """Return the plan with windows that last so long."""
    strategies = {
        name: details | {"schedule": [{**window, "duration": minutes} for window in details.get("schedule", ())]}
        for name, details in plan.strategies.items()
    }
    return msgspec.structs.replace(plan, strategies=strategies)
