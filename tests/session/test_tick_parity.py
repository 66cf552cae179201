"""A session on the simulated market and a backtest of the same trades and quotes: the same orders and fills, to the microsecond."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from liualgotrader.cli.trader_arguments import configured
from liualgotrader.common.calendar import new_york
from liualgotrader.common.clock import as_utc
from liualgotrader.common.rows import OrderRow, TradeRow
from liualgotrader.supervisor.backtest_bars import TICKS, BarsWanted
from liualgotrader.supervisor.backtesting import Backtesting, BacktestRequest
from liualgotrader.tapes.generated_profile import tickers
from tests.fakes.real_data import real_data
from tests.fakes.supervisor import RecordingScreen
from tests.session.audit import audit
from tests.session.running import PLANS, REPOSITORY, trader

pytestmark = [pytest.mark.session, pytest.mark.timeout(600)]

Digest = tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]


def test_a_generated_session_and_its_backtest_have_the_same_orders_and_fills(tmp_path: Path) -> None:
    plan = written_plan(tmp_path, tickers(6))
    options = {"seed": "7", "fills": "paper", "fees": "all", "latency_ms": "250"}
    window = ("09:30", "09:38")
    arguments = [word for name, value in options.items() for word in (f"--{name.removesuffix('_ms')}", value)]
    session = session_of("--symbols", "6", "--date", "2024-06-03", *arguments, plan=plan, window=window)
    wanted = BarsWanted(**span("2024-06-03", window), generated=6, seed=7)
    assert len(session[1]) > 30
    assert backtest_of(wanted, plan, options) == session


@pytest.mark.realdata
@pytest.mark.parametrize("day", ["2013-10-07", "2013-10-08", "2013-10-09"])
def test_a_recorded_session_and_its_backtest_have_the_same_orders_and_fills(day: str, tmp_path: Path) -> None:
    folder, window = str(real_data("lean")), ("09:30", "09:35")
    plan = written_plan(tmp_path, ["BAC", "IBM", "SPY"])
    session = session_of("--data", folder, "--date", day, plan=plan, window=window)
    assert len(session[1]) > 50
    assert {fill[1] for fill in session[1]} == {"BAC", "IBM", "SPY"}
    assert backtest_of(BarsWanted(**span(day, window), data=folder), plan, {}) == session


def written_plan(folder: Path, symbols: Sequence[str]) -> str:
    """Write the plan of all strategies for these symbols, and return its path."""
    text = (PLANS / "every_way.toml").read_text().replace("symbols = []", f"symbols = {[*symbols]}")
    text = text.replace('"every_way.py"', f'"{PLANS / "every_way.py"}"').replace(
        "../../../examples", f"{REPOSITORY}/examples"
    )
    path = folder / "every_way.toml"
    path.write_text(text)
    return str(path)


def span(day: str, window: tuple[str, str]) -> dict[str, Any]:
    on = date.fromisoformat(day)
    begins, ends = (new_york(on, time.fromisoformat(clock)) for clock in window)
    return {"first": on, "last": on, "period": TICKS, "window": (begins, ends)}


def session_of(*arguments: str, plan: str, window: tuple[str, str]) -> Digest:
    """Return what a session ordered, and what of it was filled, from the record."""
    with trader(*arguments, "--from", window[0], "--to", window[1], plan=plan) as run:
        assert run.start().ended() == 0, run.output
        with run.database() as dsn:
            record = audit(run.state, dsn, run.home / "logs")
    names = {"tstamp": "at", "qty": "quantity", "trade_fee": "fee"}
    fills = [{names.get(name, name): value for name, value in fill.items()} for fill in record.rows("new_trades")]
    for fill in fills:
        fill["at"] = fill["at"].replace(tzinfo=UTC)
    return digest(record.rows("orders"), fills)


def backtest_of(wanted: BarsWanted, plan: str, options: dict[str, str]) -> Digest:
    """Return the same of a backtest, from its rows."""
    settings, tradeplan = configured(options | {"tradeplan": plan})
    with Backtesting(
        BacktestRequest(bars=wanted, database=False), settings, tradeplan, RecordingScreen()
    ) as backtesting:
        run = backtesting.play(lambda session, events: None).run
    rows = [{name: getattr(row, name) for name in row.__struct_fields__} for row in run.rows]
    orders = [
        row | {"decided_at": as_utc(row["decided_at"])}
        for row, one in zip(rows, run.rows, strict=True)
        if isinstance(one, OrderRow)
    ]
    fills = [
        row | {"at": as_utc(row["at"])} for row, one in zip(rows, run.rows, strict=True) if isinstance(one, TradeRow)
    ]
    return digest(orders, fills)


def digest(orders: Sequence[dict[str, Any]], fills: Sequence[dict[str, Any]]) -> Digest:
    """Return all orders and fills without ids that name the batch; the exits of a bracket have no others."""
    terms = (
        "symbol",
        "side",
        "type",
        "quantity",
        "limit_price",
        "stop_price",
        "state",
        "filled_quantity",
        "average_price",
        "decided_at",
        "reason",
    )
    facts = ("symbol", "operation", "quantity", "price", "fee", "at")

    def told(row: dict[str, Any], names: Sequence[str]) -> tuple[Any, ...]:
        values = (row[name] for name in names)
        cells = (value.normalize() if isinstance(value, Decimal) else value for value in values)
        name = row["client_order_id"]
        return (name.split("-", 2)[2] if name.startswith("liu-") else "exit", *cells)

    return sorted((told(row, terms) for row in orders), key=repr), sorted((told(row, facts) for row in fills), key=repr)
