"""What a backtest came to: its executions, its summary, why it ended, and the exit status that says so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from liualgotrader.analytics.backtest_summary import BacktestSummary, summarize_backtest
from liualgotrader.analytics.equity import equity_of
from liualgotrader.backtest.picking import Scanning
from liualgotrader.backtest.run_record import RunRecord
from liualgotrader.common.errors import MoneyNeedsAPerson
from liualgotrader.common.market_columns import BarColumns
from liualgotrader.common.money import ZERO
from liualgotrader.common.orders import OrderState
from liualgotrader.common.position import with_plans
from liualgotrader.common.rows import (
    ActivityRow,
    EquityRow,
    FilledTrade,
    OrderEventRow,
    OrderRow,
    ResultFigures,
    why_sent,
)
from liualgotrader.supervisor.backtest_bars import PlayedBars, closing_prices
from liualgotrader.supervisor.ending import COULD_NOT_TRADE
from liualgotrader.supervisor.view import refusals_text


@dataclass(frozen=True, slots=True)
class BacktestOutcome:
    """What a run came to. `sentence` is for a person, empty if all went well."""

    run: RunRecord
    bars: Mapping[str, BarColumns]  # raw
    period: int  # of the bars, ns
    summary: BacktestSummary
    executions: list[FilledTrade]
    exit_code: int = 0
    sentence: str = ""

    def figures(self) -> ResultFigures:
        """Return what lists of results show."""
        told, total, account = self.summary, self.summary.total, self.summary.account
        return ResultFigures(
            first_day=f"{told.first_day}",
            last_day=f"{told.last_day}",
            sessions=told.sessions,
            symbols=len(told.symbols),
            trips=total.trips,
            win_rate=total.win_rate,
            gain=total.gain,
            fees=total.fees,
            total_return=account.total_return,
            sharpe_ratio=account.sharpe_ratio,
            max_drawdown=account.max_drawdown,
        )

    def equity(self) -> list[EquityRow]:
        """Return what the account was worth, a row a session: each minute, or with bars of a day at open and close."""
        run = self.run
        moved = activities_of(run)
        return equity_of(run.batch_id, self.executions, self.bars, run.sessions, self.period, run.first_equity, moved)


def outcome_of(
    run: RunRecord,
    played: PlayedBars,
    strategies: Sequence[str],
    benchmark: str,
    period: int,
    scanning: Scanning | None = None,
) -> BacktestOutcome:
    """Return what a run came to, its warnings in the order in which they matter."""
    bars = played.as_of(run.sessions[-1].day)
    executions = executions_of(run)
    until = run.session_closes[-1]
    last = {symbol: one.close[np.searchsorted(one.closed_at, until, side="right") - 1] for symbol, one in bars.items()}
    summary = summarize_backtest(
        executions,
        np.concatenate([[run.first_equity], run.equity]),
        run.sessions,
        bars=run.bars,
        strategies=strategies,
        last_prices={symbol: float(price) for symbol, price in last.items()},
        benchmark=(benchmark, closing_prices(bars[benchmark], run.sessions)),
        dividends=_moved(run, "DIV"),
        borrow_fees=-_moved(run, "FEE"),
    )
    rejected = _rejected(run)
    run.warnings[:0] = scanning.warnings() if scanning is not None else []
    run.warnings[:0] = [f"{count:,} orders were rejected: {reason}" for reason, count in rejected.most_common()]
    if run.refusals:
        run.warnings.insert(0, f"orders refused: {refusals_text(run.refusals)}")
    code, sentence = _end_of(run, rejected, bool(executions))
    if not code and scanning is not None and scanning.failed == scanning.runs:
        code, sentence = COULD_NOT_TRADE, f"every run of the scanners failed: {run.warnings[0]}"
    if not code and scanning is not None and not scanning.picks:
        code, sentence = COULD_NOT_TRADE, scanning.warnings()[-1]
    return BacktestOutcome(run, played.bars, period, summary, executions, code, sentence)


def _moved(run: RunRecord, kind: str) -> Decimal:
    return sum((row.amount or ZERO for row in activities_of(run) if row.activity_type == kind), ZERO)


def activities_of(run: RunRecord) -> list[ActivityRow]:
    """Return what moved the cash of a run without an execution."""
    return [row for row in run.rows if isinstance(row, ActivityRow)]


def executions_of(run: RunRecord) -> list[FilledTrade]:
    """Return the executions of a run as the record would read them back."""
    names = {slot.algo_run_id: slot.strategy for slot in run.slots}
    types = {row.client_order_id: row.type for row in run.rows if isinstance(row, OrderRow)}
    began = {row.client_order_id: row.details for row in run.rows if isinstance(row, OrderEventRow) and row.number == 1}
    return [
        FilledTrade(
            t.algo_run_id,
            names[t.algo_run_id],
            t.symbol,
            t.operation,
            t.quantity,
            t.price,
            t.fee,
            t.at,
            t.planned_stop,
            t.execution_id,
            t.planned_target,
            why_sent(types.get(t.client_order_id, ""), began.get(t.client_order_id, {})),
        )
        for t in with_plans(run.rows)
    ]


def _rejected(run: RunRecord) -> Counter[str]:
    """Return how many orders the exchange rejected, by its reason."""
    orders = {row.client_order_id: row for row in run.rows if isinstance(row, OrderRow)}
    return Counter(row.reason for row in orders.values() if row.state == OrderState.REJECTED)


def _end_of(run: RunRecord, rejected: Mapping[str, int], traded: bool) -> tuple[int, str]:
    """Return the exit status of a run, and what a person must know."""
    if run.failures:
        more = f" (and {len(run.failures) - 1} more)" if run.failures[1:] else ""
        return MoneyNeedsAPerson.exit_code, f"{run.failures[0]}{more}: what was played stands above"
    if run.ended:
        return 130, f"{run.ended} after the session of {run.sessions[-1].day}: what was played until then stands above"
    if not traded and (run.refusals or rejected):
        told = [refusals_text(run.refusals)] if run.refusals else []
        told += [f"{count:,} were rejected: {reason}" for reason, count in rejected.items()]
        return COULD_NOT_TRADE, f"every order was refused: {'; '.join(told)}"
    return 0, ""
