"""The port `Store` in memory: a small real implementation that passes the same contract suite as PostgreSQL."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import zip_longest
from typing import Any, TypeVar

import msgspec

from liualgotrader.common.errors import BadData, ConfigError, DatabaseUnavailable, OutsideError
from liualgotrader.common.orders import OrderState
from liualgotrader.common.rows import (
    ActivityRow,
    AlgoRunRow,
    BatchResult,
    BatchRow,
    BookedExecution,
    CarriedPosition,
    EarlierOrder,
    EquityRow,
    EventLag,
    FilledTrade,
    ForeignRow,
    GainLossRow,
    HonestyCheck,
    OperatorAction,
    OptimizerRow,
    OptimizerSession,
    OrderEventRow,
    OrderRow,
    PickRow,
    PlanRow,
    PortfolioAccount,
    Progress,
    RecordedBatch,
    ResultFigures,
    Row,
    SignalRow,
    TradeAnalysisRow,
    TradedBefore,
    TradePlanRow,
    TradeRow,
    why_sent,
)
from liualgotrader.store.gateway_tables import rows_after
from liualgotrader.store.order_tables import PositionStep, carried_positions, with_resting_stop

T = TypeVar("T", bound=msgspec.Struct)
_NOTHING = Progress()


@dataclass
class AlgoRun:
    """A row of `algo_run`."""

    row: AlgoRunRow
    ended_at: int | None = None
    end_reason: str | None = None


@dataclass
class Account:
    """A row of `accounts`, with its transactions."""

    balance: Decimal
    amounts: list[Decimal] = field(default_factory=list)


@dataclass
class MemoryDatabase:
    """What several stores share, as several programs share one server. Tests read and prepare it directly."""

    batches: dict[str, BatchRow] = field(default_factory=dict)
    ends: dict[str, tuple[int, str]] = field(default_factory=dict)
    figures: dict[str, ResultFigures] = field(default_factory=dict)
    searches: dict[str, OptimizerSession] = field(default_factory=dict)
    tried: dict[tuple[str, int, bool, int], OptimizerRow] = field(default_factory=dict)
    runs: dict[int, AlgoRun] = field(default_factory=dict)
    assigned: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    picks: dict[PickRow, None] = field(default_factory=dict)
    rejects: dict[tuple[str, str, str], int] = field(default_factory=dict)
    signals: dict[bytes, SignalRow] = field(default_factory=dict)
    actions: dict[str, OperatorAction] = field(default_factory=dict)
    lags: dict[tuple[str, str, int], EventLag] = field(default_factory=dict)
    orders: dict[str, OrderRow] = field(default_factory=dict)
    events: dict[tuple[str, int], OrderEventRow] = field(default_factory=dict)
    trades: dict[str, TradeRow] = field(default_factory=dict)
    foreign: dict[tuple[str, str], ForeignRow] = field(default_factory=dict)
    plans: dict[tuple[int, str], PlanRow] = field(default_factory=dict)
    activities: dict[str, ActivityRow] = field(default_factory=dict)
    progress: dict[str, Progress] = field(default_factory=dict)
    gains: dict[tuple[str, int], GainLossRow] = field(default_factory=dict)
    trips: dict[tuple[str, int, int], TradeAnalysisRow] = field(default_factory=dict)
    checks: dict[tuple[str, str], HonestyCheck] = field(default_factory=dict)
    equity: dict[tuple[str, str], EquityRow] = field(default_factory=dict)
    accounts: dict[int, Account] = field(default_factory=dict)
    portfolios: dict[str, int] = field(default_factory=dict)  # portfolio id -> account id
    sub_accounts: dict[str, str] = field(default_factory=dict)  # portfolio id -> account at the broker
    portfolio_batches: set[tuple[str, str]] = field(default_factory=set)
    trade_plans: list[TradePlanRow] = field(default_factory=list)  # in force
    plans_started: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)  # (batch, trade plan) -> details
    keys: dict[str, str] = field(default_factory=dict)
    leases: dict[str, int] = field(default_factory=dict)
    holders: dict[str, object] = field(default_factory=dict)
    reachable: bool = True


class MemoryStore:
    """The port `Store`. `store.database.reachable = False` is an outage."""

    def __init__(self, database: MemoryDatabase | None = None) -> None:
        self.database = database if database is not None else MemoryDatabase()
        self._account: str | None = None
        self._generation = 0

    @property
    def _data(self) -> MemoryDatabase:
        if not self.database.reachable:
            raise DatabaseUnavailable("PostgreSQL cannot be reached (a test said so); rows wait until it can.")
        return self.database

    # --- batches ------------------------------------------------------------------------------

    async def begin_batch(self, batch: BatchRow) -> None:
        self._data.batches.setdefault(batch.batch_id, _cut(batch, "started_at"))

    async def end_batch(self, batch_id: str, at: int, reason: str) -> None:
        if batch_id in self._data.batches:
            self._data.ends.setdefault(batch_id, (at, reason))

    async def unfinished_batches(self, environment: str) -> Sequence[BatchRow]:
        ended = self._data.ends
        return [
            batch
            for batch in reversed(self.database.batches.values())
            if batch.environment == environment and batch.batch_id not in ended
        ]

    async def newest_batches(self, most: int, beginning: str = "") -> Sequence[BatchRow]:
        found = [b for b in reversed(self._data.batches.values()) if b.batch_id.startswith(beginning)]
        return found[:most]

    async def results(self, most: int, environment: str = "") -> Sequence[BatchResult]:
        found = [b for b in reversed(self._data.batches.values()) if environment in ("", b.environment)]
        results = []
        for b in found[:most]:
            runs = list((await self.algo_runs(b.batch_id)).values())
            results.append(
                BatchResult(
                    b.batch_id,
                    b.environment,
                    b.session_date,
                    b.started_at,
                    self.database.ends[b.batch_id][1] if b.batch_id in self.database.ends else None,
                    {run.strategy: run.parameters for run in reversed(runs)},
                    min((run.build_number for run in runs), default=""),
                    b.configuration.get("backtest", {}),
                    self.database.figures.get(b.batch_id),
                )
            )
        return results

    async def save_figures(self, batch_id: str, figures: ResultFigures) -> None:
        self._data.figures[batch_id] = figures

    async def algo_runs(self, batch_id: str) -> Mapping[int, AlgoRunRow]:
        runs = sorted(self._data.runs.items(), key=lambda item: item[1].row.slot)
        return {number: run.row for number, run in runs if run.row.batch_id == batch_id}

    async def begin_algo_run(self, run: AlgoRunRow) -> int:
        for algo_run_id, present in self._data.runs.items():
            if (present.row.batch_id, present.row.slot) == (run.batch_id, run.slot):
                return algo_run_id
        algo_run_id = len(self.database.runs) + 1
        self.database.runs[algo_run_id] = AlgoRun(run)
        return algo_run_id

    async def end_algo_run(self, algo_run_id: int, at: int, reason: str) -> None:
        run = self._data.runs.get(algo_run_id)
        if run is not None and run.ended_at is None:
            run.ended_at, run.end_reason = at, reason

    async def open_algo_runs(self, batch_id: str) -> Sequence[int]:
        return [n for n, run in self._data.runs.items() if run.row.batch_id == batch_id and run.ended_at is None]

    # --- picks --------------------------------------------------------------------------------

    async def assign(self, batch_id: str, symbol: str, consumer: int) -> None:
        self._data.assigned[batch_id][symbol] = consumer

    async def assignments(self, batch_id: str) -> Mapping[str, int]:
        return dict(self._data.assigned[batch_id])

    async def save_picks(self, picks: Sequence[PickRow]) -> None:
        self._data.picks.update(dict.fromkeys(_cut(pick, "at") for pick in picks))

    async def picks(self, batch_id: str) -> Sequence[PickRow]:
        return sorted((p for p in self._data.picks if p.batch_id == batch_id), key=lambda p: p.at)

    async def save_reject(self, batch_id: str, strategy: str, symbol: str, at: int) -> None:
        self._data.rejects.setdefault((batch_id, strategy, symbol), at)

    async def rejects(self, batch_id: str) -> Sequence[tuple[str, str]]:
        return sorted((strategy, symbol) for batch, strategy, symbol in self._data.rejects if batch == batch_id)

    async def save_signals(self, signals: Sequence[SignalRow]) -> None:
        for signal in signals:
            one = msgspec.structs.replace(signal, outcome="") if signal.client_order_id is not None else signal
            self._data.signals[msgspec.json.encode(one)] = signal

    async def save_operator_actions(self, actions: Sequence[OperatorAction]) -> None:
        for action in actions:
            self._data.actions.setdefault(action.action_id, action)

    async def save_event_lags(self, lags: Sequence[EventLag]) -> None:
        for lag in lags:
            self._data.lags.setdefault((lag.batch_id, lag.process, lag.at), lag)

    # --- the gateway's rows -------------------------------------------------------------------

    async def apply(self, batch_id: str, rows: Sequence[Row], before: Progress = _NOTHING) -> Progress:
        data = self._data
        self._check_lease()
        fresh, end = rows_after(data.progress.get(batch_id, _NOTHING), rows, before)
        for row in fresh:
            self._must_have_its_run(row)
        for row in fresh:
            self._write(row)
        if fresh:
            data.progress[batch_id] = end
        return end

    def _write(self, row: Row) -> None:
        data = self.database
        match row:
            case OrderRow():
                before = data.orders.get(row.client_order_id)
                if before is None or before.generation <= row.generation:
                    data.orders[row.client_order_id] = row
            case OrderEventRow():
                data.events.setdefault((row.client_order_id, row.number), row)
            case ForeignRow():
                data.foreign[row.batch_id, row.symbol] = row
            case TradeRow():
                self._book(row)
            case ActivityRow():
                data.activities.setdefault(row.activity_id, row)
            case PlanRow():
                data.plans[row.algo_run_id, row.symbol] = row
                self._complete(row)

    def _complete(self, plan: PlanRow) -> None:
        """Give the executions of the position now held the stop and target that they lack."""
        data, held = self.database, Decimal(0)
        of_position: list[TradeRow] = []
        for trade in data.trades.values():
            if (trade.algo_run_id, trade.symbol) == (plan.algo_run_id, plan.symbol):
                held += trade.quantity if trade.operation == "buy" else -trade.quantity
                of_position = [*of_position, trade] if held else []
        for trade in of_position:
            data.trades[trade.execution_id] = msgspec.structs.replace(
                trade,
                planned_stop=plan.planned_stop if trade.planned_stop is None else trade.planned_stop,
                planned_target=plan.planned_target if trade.planned_target is None else trade.planned_target,
            )

    def _book(self, row: TradeRow) -> None:
        if row.execution_id in self.database.trades:
            return
        self.database.trades[row.execution_id] = row
        if row.account_id is not None:
            sign = -1 if row.operation == "buy" else 1
            account = self.database.accounts[row.account_id]
            account.amounts.append(sign * row.quantity * row.price - row.fee)
            account.balance += account.amounts[-1]

    async def progress(self, batch_id: str) -> Progress:
        return self._data.progress.get(batch_id, _NOTHING)

    async def save_run(self, rows: Sequence[Row], signals: Sequence[SignalRow]) -> None:
        for row in rows:
            self._must_have_its_run(row)
        for row in rows:
            self._write(row)
        await self.save_signals(signals)

    def _must_have_its_run(self, row: Row) -> None:
        if isinstance(row, TradeRow) and row.algo_run_id not in self._data.runs:
            raise BadData(f"A row cannot be stored: there is no algo_run {row.algo_run_id}.")

    async def trades(self, batch_id: str) -> Sequence[FilledTrade]:
        orders, events = self.database.orders, self.database.events
        filled = [
            _filled(row, run, orders.get(row.client_order_id), events.get((row.client_order_id, 1)))
            for row, run in self._trades_with_runs()
            if run.batch_id == batch_id
        ]
        return sorted(filled, key=lambda trade: trade.at)

    async def carried_positions(self, environment: str, strategy: str, batch_id: str) -> Sequence[CarriedPosition]:
        return self._open(self._runs_before(environment, strategy, batch_id))

    async def traded_before(
        self, environment: str, strategies: Sequence[str], batch_id: str, since: int
    ) -> Sequence[TradedBefore]:
        found: dict[str, TradedBefore] = {}
        for row, run in self._trades_with_runs():
            mine = run.environment == environment and run.strategy in strategies and run.batch_id != batch_id
            if mine and row.at >= since and "adjusted" not in row.indicators:
                was = found.get(row.symbol, TradedBefore(row.symbol, Decimal(0), Decimal(0), Decimal(0)))
                signed = row.quantity if row.operation == "buy" else -row.quantity
                found[row.symbol] = TradedBefore(
                    row.symbol, was.quantity + signed, was.value + signed * row.price, was.fees + row.fee
                )
        return [found[symbol] for symbol in sorted(found)]

    async def strategies_before(self, environment: str, batch_id: str) -> Sequence[str]:
        runs = [run.row for run in self._data.runs.values()]
        return sorted({r.strategy for r in runs if r.environment == environment and r.batch_id != batch_id})

    async def unfinished_orders(self, environment: str, batch_id: str) -> Sequence[EarlierOrder]:
        data, found = self._data, []
        for row in data.orders.values():
            run = data.runs[row.algo_run_id].row
            if run.environment != environment or row.batch_id == batch_id or OrderState(row.state).is_final:
                continue
            found.append(self._recorded_order(row, run.strategy))
        return sorted(found, key=lambda e: (e.order.decided_at, e.order.client_order_id))

    def _recorded_order(self, row: OrderRow, strategy: str) -> EarlierOrder:
        data, name = self.database, row.client_order_id
        mine = sorted(e.number for key, e in data.events.items() if key[0] == name)
        first = data.events.get((name, 1))
        portfolio = next((p for p, batch in sorted(data.portfolio_batches) if batch == row.batch_id), "")
        cut = _cut(_cut(row, "decided_at"), "updated_at")
        booked = tuple(
            BookedExecution(t.execution_id, t.quantity, t.price)
            for t in data.trades.values()
            if t.client_order_id == name and t.quantity > 0
        )
        details = first.details if first else {}
        return EarlierOrder(cut, strategy, mine[-1] if mine else 0, str(details.get("parent") or ""),
                            data.portfolios.get(portfolio), booked, first.event if first else "", details)  # fmt: skip

    async def recorded(self, batch_id: str) -> RecordedBatch:
        data = self._data
        runs = {n: run.row for n, run in data.runs.items() if run.row.batch_id == batch_id}
        taken = {
            e.client_order_id
            for e in data.events.values()
            if e.event == "taken_over" and e.details.get("batch_id") == batch_id
        }
        rows = [o for o in data.orders.values() if o.batch_id == batch_id or o.client_order_id in taken]
        orders = [
            self._recorded_order(o, data.runs[o.algo_run_id].row.strategy if o.algo_run_id in data.runs else "")
            for o in rows
        ]
        bare: dict[str, Any] = {"indicators": {}, "planned_stop": None, "planned_target": None, "account_id": None}
        trades = [
            _cut(msgspec.structs.replace(t, **bare), "at")
            for t in data.trades.values()
            if t.algo_run_id in runs and t.quantity > 0
        ]
        return RecordedBatch(
            data.progress.get(batch_id, _NOTHING),
            tuple(sorted(orders, key=lambda e: (e.order.decided_at, e.order.client_order_id))),
            tuple(trades),
            tuple(_cut(p, "at") for _, p in sorted(data.plans.items()) if p.algo_run_id in runs),
            tuple(_cut(f, "at") for key, f in sorted(data.foreign.items()) if key[0] == batch_id),
        )

    async def open_after(
        self, environment: str, strategy: str, batch_id: str, *, alone: bool = False
    ) -> Sequence[CarriedPosition]:
        own = self._runs(environment, strategy, batch_id)
        runs = own if alone else own | self._runs_before(environment, strategy, batch_id)
        working = [o for o in self._data.orders.values() if not OrderState(o.state).is_final and o.algo_run_id in runs]
        resting = sorted((o.stop_price, o.symbol, o.side) for o in working if o.stop_price is not None)
        stops = {(symbol, side): price for price, symbol, side in resting if side == "sell"}
        stops |= {(symbol, side): price for price, symbol, side in reversed(resting) if side == "buy"}
        return [with_resting_stop(p, stops) for p in self._open(runs)]

    def _runs(self, environment: str, strategy: str, batch_id: str = "") -> set[int]:
        wanted = (environment, strategy)
        runs = self._data.runs.items()
        return {
            n
            for n, run in runs
            if (run.row.environment, run.row.strategy) == wanted and batch_id in ("", run.row.batch_id)
        }

    def _runs_before(self, environment: str, strategy: str, batch_id: str) -> set[int]:
        own = {n for n, run in self._data.runs.items() if run.row.batch_id == batch_id}
        return {n for n in self._runs(environment, strategy) if n not in own and (not own or n < min(own))}

    def _held(self, runs: set[int]) -> Mapping[str, Decimal]:
        held: dict[str, Decimal] = defaultdict(Decimal)
        for row, _ in self._trades_with_runs():
            if row.algo_run_id in runs:
                held[row.symbol] += row.quantity if row.operation == "buy" else -row.quantity
        return {symbol: quantity for symbol, quantity in sorted(held.items()) if quantity}

    def _open(self, runs: set[int]) -> Sequence[CarriedPosition]:
        held = self._held(runs)
        trades = [row for row, _ in self._trades_with_runs() if row.algo_run_id in runs and row.symbol in held]
        steps = [
            PositionStep(t.symbol, t.at // 1000 * 1000, t.quantity if t.operation == "buy" else -t.quantity, t.price,
                 t.planned_stop, t.planned_target)
            for t in trades
        ]  # fmt: skip
        moved = [p for p in self._data.plans.values() if p.algo_run_id in runs and p.symbol in held]
        steps += [
            PositionStep(p.symbol, p.at // 1000 * 1000, stop=p.planned_stop, target=p.planned_target) for p in moved
        ]
        return carried_positions(steps)

    def _trades_with_runs(self) -> Sequence[tuple[TradeRow, AlgoRunRow]]:
        data = self._data
        return [(row, data.runs[row.algo_run_id].row) for row in data.trades.values() if row.quantity > 0]

    # --- the account --------------------------------------------------------------------------

    async def lease(self, account_number: str) -> int:
        if self._data.holders.get(account_number, self) is not self:
            raise OutsideError("Another order gateway trades for this account: end it, then start again.")
        self._generation = self.database.leases.get(account_number, 0) + 1
        self.database.leases[account_number] = self._generation
        self.database.holders[account_number] = self
        self._account = account_number
        return self._generation

    async def is_account_of(self, batch_id: str, account_number: str) -> bool:
        batch = self._data.batches.get(batch_id)
        return batch is None or batch.configuration.setdefault("account_digest", account_number) == account_number

    def _check_lease(self) -> None:
        if self._account is not None and self.database.leases[self._account] != self._generation:
            raise OutsideError("Another order gateway has taken this account over: this one must stop.")

    # --- results, portfolios, keys ------------------------------------------------------------

    async def save_analysis(self, gains: Sequence[GainLossRow], trades: Sequence[TradeAnalysisRow]) -> None:
        named = {gain.algo_run_id for gain in gains} | {trip.algo_run_id for trip in trades}
        missing = named - set(self._data.runs)
        if missing:
            raise BadData(f"A row cannot be stored: there is no algo_run {min(missing)}.")
        for table in (self.database.gains, self.database.trips):
            for key in [key for key in table if key[1] in named]:
                del table[key]  # type: ignore[arg-type]
        self.database.gains.update({(g.symbol, g.algo_run_id): g for g in gains})
        taken: set[tuple[str, int, int]] = set()
        for trip in trades:
            start = trip.started_at // 1000
            while (trip.symbol, trip.algo_run_id, start) in taken:
                start += 1
            taken.add((trip.symbol, trip.algo_run_id, start))
            self.database.trips[trip.symbol, trip.algo_run_id, start] = trip

    async def save_check(self, batch_id: str, check: HonestyCheck) -> None:
        self._data.checks[batch_id, check.name] = _cut(check, "ran_at")

    async def honesty_checks(self, batch_id: str) -> Sequence[HonestyCheck]:
        plans = {name: batch.configuration.get("plan") for name, batch in self._data.batches.items()}
        mine = plans.get(batch_id)
        found: dict[str, tuple[bool, int, HonestyCheck]] = {}
        for (of, name), check in self.database.checks.items():
            if of == batch_id or (mine is not None and plans.get(of) == mine):
                better = (of == batch_id, check.ran_at, check)
                if name not in found or better[:2] > found[name][:2]:
                    found[name] = better
        return [found[name][2] for name in sorted(found)]

    async def save_equity(self, rows: Sequence[EquityRow]) -> None:
        for row in rows:
            old = self._data.equity.get((row.batch_id, row.session_date))
            pairs = zip_longest(row.amounts, old.amounts if old is not None else ())
            amounts = tuple(stored if fresh is None else fresh for fresh, stored in pairs)
            self._data.equity[row.batch_id, row.session_date] = msgspec.structs.replace(row, amounts=amounts)

    async def equity(self, batch_ids: Sequence[str]) -> Sequence[EquityRow]:
        rows = [row for row in self._data.equity.values() if row.batch_id in batch_ids]
        return sorted(rows, key=lambda row: (row.session_date, row.batch_id))

    async def begin_optimizer(self, session: OptimizerSession) -> None:
        self._data.searches.setdefault(session.optimizer_session_id, _cut(session, "started_at"))

    async def end_optimizer(self, session_id: str, at: int, reason: str, result: Mapping[str, Any]) -> None:
        ended = {"end_reason": reason, "result": dict(result)}
        self._data.searches[session_id] = msgspec.structs.replace(self._data.searches[session_id], **ended)

    async def optimizer_sessions(self, most: int, beginning: str = "") -> Sequence[OptimizerSession]:
        found = [one for name, one in self._data.searches.items() if name.startswith(beginning)]
        return found[::-1][:most]

    async def save_optimizer_rows(self, rows: Sequence[OptimizerRow]) -> None:
        for row in rows:
            self._data.tried.setdefault((row.optimizer_session_id, row.fold, row.out_of_sample, row.number), row)

    async def optimizer_rows(self, session_id: str) -> Sequence[OptimizerRow]:
        return [row for key, row in sorted(self._data.tried.items()) if key[0] == session_id]

    async def portfolio_account(self, portfolio_id: str) -> PortfolioAccount | None:
        account_id = self._data.portfolios.get(portfolio_id)
        if account_id is None:
            return None
        sub_account = self._data.sub_accounts.get(portfolio_id)
        account = self._data.accounts[account_id]
        return PortfolioAccount(account_id, account.balance, external_account_id=sub_account)

    async def trade_plans(self) -> Sequence[TradePlanRow]:
        ran_as = {plan: details["strategy"] for (_, plan), details in self._data.plans_started.items()}
        return [
            msgspec.structs.replace(row, ran_as=ran_as.get(row.trade_plan_id, "")) for row in self._data.trade_plans
        ]

    async def start_trade_plan(
        self,
        batch_id: str,
        trade_plan_id: str,
        layout: Mapping[str, Any],
        details: Mapping[str, Any],
        table: Mapping[str, Any],
    ) -> None:
        if (batch_id, trade_plan_id) not in self._data.plans_started:
            self._data.plans_started[batch_id, trade_plan_id] = dict(details)
            batch = self._data.batches[batch_id]
            self._data.batches[batch_id] = msgspec.structs.replace(batch, layout=dict(layout))

    async def associate_portfolio(self, portfolio_id: str, batch_id: str) -> None:
        if portfolio_id not in self._data.portfolios:
            raise ConfigError(f"There is no portfolio {portfolio_id}.")
        self.database.portfolio_batches.add((portfolio_id, batch_id))

    async def key_load(self, key: str) -> str | None:
        return self._data.keys.get(key)

    async def key_save(self, key: str, value: str) -> None:
        if "\0" in key + value:
            raise BadData("A key or value of the key-store contains a NUL.")
        self._data.keys[key] = value

    async def fetch(self, query: str, *args: Any) -> Sequence[Mapping[str, Any]]:
        raise NotImplementedError("a query needs a real PostgreSQL: use the fixture `store`")

    async def close(self) -> None:
        held = self.database.holders
        self.database.holders = {number: store for number, store in held.items() if store is not self}


def _cut(row: T, field_name: str) -> T:
    """Return the row with its instant cut to microseconds, which is what a database keeps."""
    return msgspec.structs.replace(row, **{field_name: getattr(row, field_name) // 1000 * 1000})


def _filled(row: TradeRow, run: AlgoRunRow, order: OrderRow | None, first: OrderEventRow | None) -> FilledTrade:
    return FilledTrade(
        algo_run_id=row.algo_run_id,
        strategy=run.strategy,
        symbol=row.symbol,
        operation=row.operation,
        quantity=row.quantity,
        price=row.price,
        fee=row.fee,
        at=row.at // 1000 * 1000,
        stop=row.planned_stop,
        execution_id=row.execution_id,
        target=row.planned_target,
        because=why_sent(order.type if order else "", first.details if first else {}),
    )
