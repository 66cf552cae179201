"""Ports: what the inner rooms expect of vendors, broker and database. Adapters live in data, trading and store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from datetime import date
from typing import Any, Protocol

import msgspec

from liualgotrader.common.errors import BadData
from liualgotrader.common.events import Bar, MarketEvent
from liualgotrader.common.orders import (
    BrokerAccount,
    BrokerActivity,
    BrokerExecution,
    BrokerOrder,
    BrokerPosition,
    BrokerUpdate,
    OrderIntent,
    ReplaceIntent,
)
from liualgotrader.common.rows import (
    AlgoRunRow,
    BatchResult,
    BatchRow,
    CarriedPosition,
    EarlierOrder,
    EquityRow,
    EventLag,
    FilledTrade,
    GainLossRow,
    HonestyCheck,
    OperatorAction,
    OptimizerRow,
    OptimizerSession,
    PickRow,
    PortfolioAccount,
    Progress,
    RecordedBatch,
    ResultFigures,
    Row,
    SignalRow,
    TradeAnalysisRow,
    TradedBefore,
    TradePlanRow,
)


class Asset(msgspec.Struct, frozen=True, order=True):
    """What one symbol is and may do; `exchange` is Alpaca's name of the venue."""

    symbol: str
    name: str
    exchange: str
    shortable: bool = True
    fractionable: bool = True


class SymbolSnapshot(msgspec.Struct, frozen=True):
    """The newest figures of one symbol; None where the vendor has none."""

    symbol: str
    last_price: float | None = None
    minute_bar: Bar | None = None
    daily_bar: Bar | None = None
    previous_daily_bar: Bar | None = None


class Tape(Protocol):
    """One recorded or generated session, with the history that lies before it."""

    @property
    def day(self) -> date: ...
    @property
    def opens_at(self) -> int: ...
    @property
    def closes_at(self) -> int: ...

    def assets(self) -> Sequence[Asset]:
        """Return what can be traded, by symbol in alphabetical order."""

    def events(self, start: int, end: int) -> Iterator[MarketEvent]:
        """Yield trades, quotes and statuses with start <= at < end, by time; equal times in file order."""

    def minute_bars(self, symbol: str, start: int, end: int) -> Sequence[Bar]:
        """Return minute bars of sessions before `day` with start <= opened_at < end."""

    def daily_bars(self, symbol: str, start: date, end: date) -> Sequence[Bar]:
        """Return daily bars from `start` to `end`, both included, of days before `day`."""


class Broker(Protocol):
    """The account at the broker, as the order gateway uses it. Every call ends within its time-out.

    Lists raise `UnusableRows` where some of their rows cannot be used: it carries the others.
    """

    async def submit(self, order: OrderIntent) -> BrokerOrder:
        """Send the order under its client order id.

        Raises:
            BrokerRefused: the broker rejected the order.
            BrokerUnreachable: no answer; the order may be live.
        """

    async def cancel(self, broker_order_id: str) -> None:
        """Ask for cancellation; it returns once the broker has accepted the request."""

    async def cancel_all(self) -> Collection[str]:
        """Ask for cancellation of all open orders of the account, also foreign ones; return the ids that were accepted."""

    async def replace(self, broker_order_id: str, terms: ReplaceIntent, client_order_id: str) -> BrokerOrder:
        """Ask for other terms; the answer is the new order."""

    async def order_by_client_id(self, client_order_id: str) -> BrokerOrder | None:
        """Return the order, None if the broker does not know the id."""

    async def orders(self, *, since: int, open_only: bool = False) -> Sequence[BrokerOrder]:
        """Return all orders submitted at or after `since`, oldest first, through all pages."""

    async def executions(self, *, since: int) -> Sequence[BrokerExecution]:
        """Return all executions at or after `since`, oldest first, through all pages."""

    async def activities(self, *, since: int) -> Sequence[BrokerActivity]:
        """Return what has changed the account since then and is no execution, oldest first.

        Where the broker reports only days: all of the day of `since` in New York, and later.
        """

    async def positions(self) -> Sequence[BrokerPosition]:
        """Return what the account holds."""

    async def account(self) -> BrokerAccount:
        """Return the account's figures."""

    async def clock(self) -> int:
        """Return the broker's time, ns UTC."""

    def updates(self) -> AsyncIterator[BrokerUpdate | BadData | None]:
        """Yield the order stream for ever; None means that it was (re)connected, so reconcile; BadData is a message
        that cannot be read, so reconcile too."""

    async def close(self) -> None:
        """End the stream and all connections."""


class MarketHistory(Protocol):
    """Market history and snapshots of one vendor; calls do not block the event loop."""

    async def bars(self, symbols: Sequence[str], start: int, end: int, *, minutes: int) -> Mapping[str, Sequence[Bar]]:
        """Return bars with start <= opened_at < end, oldest first; `minutes` is 1 or 1440 (a session day)."""

    async def snapshots(self, symbols: Sequence[str]) -> Mapping[str, SymbolSnapshot]:
        """Return the newest figures of those symbols that have any."""

    async def tradable_symbols(self) -> Mapping[str, Asset]:
        """Return active, tradable US equities by symbol."""

    async def close(self) -> None:
        """End all connections."""


class KeyValues(Protocol):
    """Text values by key, shared by all processes of a strategy and kept for ever."""

    async def load(self, key: str) -> str | None: ...
    async def save(self, key: str, value: str) -> None: ...


class Store(Protocol):
    """The record: PostgreSQL. Every write may be repeated without harm.

    Raises `DatabaseUnavailable` from every method while the server cannot be reached.
    """

    async def begin_batch(self, batch: BatchRow) -> None: ...
    async def end_batch(self, batch_id: str, at: int, reason: str) -> None: ...
    async def unfinished_batches(self, environment: str) -> Sequence[BatchRow]:
        """Return the environment's batches that have no end, the newest first."""

    async def newest_batches(self, most: int, beginning: str = "") -> Sequence[BatchRow]:
        """Return the batches whose id begins so, the newest first, so many at most."""

    async def results(self, most: int, environment: str = "") -> Sequence[BatchResult]:
        """Return the newest batches, of one environment if it is named, with what each of them came to."""

    async def save_figures(self, batch_id: str, figures: ResultFigures) -> None:
        """Write what a batch came to, in place of what was written before."""

    async def algo_runs(self, batch_id: str) -> Mapping[int, AlgoRunRow]:
        """Return the batch's runs by id, in the order of their slots."""

    async def begin_algo_run(self, run: AlgoRunRow) -> int:
        """Return the id of the row for (batch, slot), making it if it is not there."""

    async def end_algo_run(self, algo_run_id: int, at: int, reason: str) -> None:
        """Write the end, unless one is written."""

    async def open_algo_runs(self, batch_id: str) -> Sequence[int]:
        """Return the ids of the batch's runs without an end."""

    async def assign(self, batch_id: str, symbol: str, consumer: int) -> None: ...
    async def assignments(self, batch_id: str) -> Mapping[str, int]: ...
    async def save_picks(self, picks: Sequence[PickRow]) -> None: ...
    async def picks(self, batch_id: str) -> Sequence[PickRow]: ...
    async def save_reject(self, batch_id: str, strategy: str, symbol: str, at: int) -> None: ...
    async def rejects(self, batch_id: str) -> Sequence[tuple[str, str]]:
        """Return (strategy, symbol) pairs that are never called again this session."""

    async def save_signals(self, signals: Sequence[SignalRow]) -> None: ...
    async def save_operator_actions(self, actions: Sequence[OperatorAction]) -> None: ...
    async def save_event_lags(self, lags: Sequence[EventLag]) -> None: ...

    async def apply(self, batch_id: str, rows: Sequence[Row], before: Progress = ...) -> Progress:
        """Write the gateway's next rows, those that follow on `before`, and return the progress after them.

        Raises:
            RecordDiffers: if what is stored is neither `before` nor the outcome of these rows up to one of them.
        """

    async def progress(self, batch_id: str) -> Progress:
        """Return how many of the gateway's rows are stored, and their digest."""

    async def save_run(self, rows: Sequence[Row], signals: Sequence[SignalRow]) -> None:
        """Write all rows and signals of a batch that has none yet: what `apply` and `save_signals` write, all or nothing."""

    async def trades(self, batch_id: str) -> Sequence[FilledTrade]:
        """Return the batch's executions by time."""

    async def carried_positions(self, environment: str, strategy: str, batch_id: str) -> Sequence[CarriedPosition]:
        """Return what earlier batches of a strategy left open, with stop and target as they were left, by symbol."""

    async def traded_before(
        self, environment: str, strategies: Sequence[str], batch_id: str, since: int
    ) -> Sequence[TradedBefore]:
        """Return what other batches of these strategies have traded since then, by symbol."""

    async def strategies_before(self, environment: str, batch_id: str) -> Sequence[str]:
        """Return the names of the strategies that other batches of an environment ran, in alphabetical order."""

    async def unfinished_orders(self, environment: str, batch_id: str) -> Sequence[EarlierOrder]:
        """Return the orders of other batches in an environment that have no known end, oldest first."""

    async def recorded(self, batch_id: str) -> RecordedBatch:
        """Return all that the record has of a batch's trading."""

    async def open_after(
        self, environment: str, strategy: str, batch_id: str, *, alone: bool = False
    ) -> Sequence[CarriedPosition]:
        """Return what a strategy holds after this batch and all before it, or (`alone`) from this batch alone.

        Where the strategy has planned no stop, `planned_stop` is the one that the broker keeps, if there is one.
        """

    async def save_analysis(self, gains: Sequence[GainLossRow], trades: Sequence[TradeAnalysisRow]) -> None: ...
    async def save_check(self, batch_id: str, check: HonestyCheck) -> None: ...
    async def honesty_checks(self, batch_id: str) -> Sequence[HonestyCheck]:
        """Return what was found by checks of the batch, or else of others of the same plan, by name."""

    async def save_equity(self, rows: Sequence[EquityRow]) -> None:
        """Write the account's value over sessions; what was stored stays where the new rows know nothing."""

    async def equity(self, batch_ids: Sequence[str]) -> Sequence[EquityRow]:
        """Return the account's value over the sessions of these batches, by day and batch."""

    async def begin_optimizer(self, session: OptimizerSession) -> None:
        """Write a search, unless it is there."""

    async def end_optimizer(self, session_id: str, at: int, reason: str, result: Mapping[str, Any]) -> None:
        """Write why a search ended and what it came to, in place of what was written before."""

    async def optimizer_sessions(self, most: int, beginning: str = "") -> Sequence[OptimizerSession]:
        """Return the searches whose id begins so, the newest first."""

    async def save_optimizer_rows(self, rows: Sequence[OptimizerRow]) -> None:
        """Write combinations, each once: the first counts."""

    async def optimizer_rows(self, session_id: str) -> Sequence[OptimizerRow]:
        """Return the combinations of a search by fold and number."""

    async def lease(self, account_number: str) -> int:
        """Take the account for this connection and return the new generation number.

        Raises:
            OutsideError: if another gateway holds the account.
        """

    async def is_account_of(self, batch_id: str, account_number: str) -> bool:
        """Return whether a batch began in this account; one that does not know its account yet remembers this one."""

    async def portfolio_account(self, portfolio_id: str) -> PortfolioAccount | None:
        """Return the account of a portfolio, None if there is none."""

    async def trade_plans(self) -> Sequence[TradePlanRow]:
        """Return the rows of the original's table `trade_plan` that have begun and not expired, oldest first."""

    async def start_trade_plan(
        self,
        batch_id: str,
        trade_plan_id: str,
        layout: Mapping[str, Any],
        details: Mapping[str, Any],
        table: Mapping[str, Any],
    ) -> None:
        """Write that a trade plan runs in a batch, once, and what the batch is with it; all or nothing.

        `details` name the `strategy` and are kept with the plan; `table` is what it is made from. The end of the batch
        is the plan's end there.
        """

    async def associate_portfolio(self, portfolio_id: str, batch_id: str) -> None: ...

    async def key_load(self, key: str) -> str | None: ...
    async def key_save(self, key: str, value: str) -> None: ...
    async def fetch(self, query: str, *args: Any) -> Sequence[Mapping[str, Any]]:
        """Run a user's query and return its rows."""

    async def close(self) -> None: ...
