"""Everything in examples/ loads from its tradeplan, and does in the engine what it says."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from liualgotrader.common.clock import HOUR
from liualgotrader.common.events import Bar
from liualgotrader.common.orders import OrderIntent, OrderState, OrderType, Side
from liualgotrader.common.plugins import outside_reads
from liualgotrader.common.tradeplan import TradePlan, load_tradeplan
from liualgotrader.scanners.base import Scanner, make_scanner
from liualgotrader.strategies.base import Strategy, make_strategy
from tests.fakes.strategies import BATCH_ID, HOURS, Play, a_bar

EXAMPLES = Path(__file__).parents[3] / "examples"
PLANS = sorted(EXAMPLES.glob("*/tradeplan.toml"))
OPENING = 16  # minutes 0 to 15 reach 100.50 at most


def plan_of(name: str) -> TradePlan:
    return load_tradeplan(EXAMPLES / name / "tradeplan.toml")


def a_strategy(plan: TradePlan, name: str, **more: Any) -> Strategy:
    return make_strategy(BATCH_ID, name, {**plan.strategies[name], **more}, Path())


def a_scanner(plan: TradePlan, name: str, **more: Any) -> Scanner:
    return make_scanner(None, name, {**plan.scanners[name], **more})


# --- all of them ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*PLANS, EXAMPLES.parent / "tradeplan.toml"], ids=lambda path: path.parent.name)
def test_a_tradeplans_strategies_and_scanners_load(path: Path) -> None:
    plan = load_tradeplan(path)
    strategies = [make_strategy(BATCH_ID, name, details, path.parent) for name, details in plan.strategies.items()]
    scanners = [make_scanner(None, name, details, path.parent) for name, details in plan.scanners.items()]
    assert [strategy.name for strategy in strategies] == list(plan.strategies)
    assert [type(scanner).__name__.lower() for scanner in scanners] == [name.lower() for name in plan.scanners]
    targets = {scanner.target_strategy_name for scanner in scanners} - {None}
    assert targets <= set(plan.strategies)


def test_every_file_of_the_examples_is_used_by_a_tradeplan() -> None:
    plans = [load_tradeplan(path) for path in PLANS]
    tables = [table for plan in plans for table in (*plan.strategies.values(), *plan.scanners.values())]
    used = {Path(table["filename"]) for table in tables if "filename" in table}
    assert {path.resolve() for path in EXAMPLES.rglob("*.py")} <= used


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.py")), ids=lambda path: path.name)
def test_no_example_reads_a_clock_or_chance_past_the_engines_doors(path: Path) -> None:
    assert outside_reads(path) == []


# --- quickstart: the original's style ---------------------------------------------------------------------


def a_session(**more: Any) -> Play:
    plan = plan_of("quickstart")
    yesterday = [a_bar(number, 300.0) for number in range(-960, -900)]  # its high is not the opening's
    strategy = a_strategy(plan, "MomentumLong", **more)
    play = Play(strategy, events=plan.events, portfolio_value=plan.portfolio_value, history=lambda symbol: yesterday)
    play.pick("AAPL", strategy="MomentumLong")
    for number in range(OPENING):
        play.bars([a_bar(number, 100.0, high=100.5, low=99.5)])
    assert play.orders == []
    return play


def bought(play: Play) -> OrderIntent:
    (order,) = play.minute(OPENING, 102.0)
    return order


def test_the_quickstart_buys_above_the_high_of_the_first_fifteen_minutes() -> None:
    order = bought(a_session())
    assert (order.side, order.type, order.limit_price) == (Side.BUY, OrderType.LIMIT, Decimal("102.10"))
    assert order.quantity == 19  # 2000 $ / 102.10 = 19.6; by risk 50 $ / (102.10 - 100.98) = 44
    assert (order.planned_stop, order.planned_target) == (Decimal("100.98"), Decimal("103.53"))
    assert order.indicators == {"buy": {"opening_high": 100.5}}
    assert order.cancel_after == 60_000_000_000  # the session's order_lifetime_seconds


def test_the_quickstart_waits_for_more_than_the_opening_high() -> None:
    assert a_session().minute(OPENING, 100.5) == []


@pytest.mark.parametrize(
    "close, reason", [(100.98, "stop"), (100.99, None), (103.52, None), (103.53, "target"), (110.0, "target")]
)
def test_the_quickstart_sells_at_its_stop_and_its_target(close: float, reason: str | None) -> None:
    play = a_session()
    bought(play)
    found = play.minute(OPENING + 1, close)
    if reason is None:
        assert found == []
        return
    (order,) = found
    assert (order.side, order.type, order.quantity) == (Side.SELL, OrderType.MARKET, 19)
    assert order.indicators == {"sell": {"reason": reason}}
    assert play.trips[0].gain == 19 * (Decimal(str(close)) - 102)


def test_the_quickstart_hears_of_its_fills(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    play = a_session()
    bought(play)
    play.minute(OPENING + 1, 104.0)
    said = [record.getMessage() for record in caplog.records]
    assert any("MomentumLong bought 19.0 AAPL at 102.0" in line for line in said)
    assert any("MomentumLong sold 19.0 AAPL at 104.0" in line for line in said)


def test_the_quickstart_hears_of_an_order_filled_in_parts_once_it_is_whole(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    play = a_session()
    play.answer = "hold"
    order = bought(play)
    play.fill(order, "101.00", "9.5")
    assert not caplog.records
    play.fill(order, "102.00", "9.5")
    assert "MomentumLong bought 19.0 AAPL at 101.5" in caplog.text


def test_the_quickstart_sells_what_a_cancelled_order_had_bought() -> None:
    play = a_session()
    play.answer = "hold"
    order = bought(play)
    play.fill(order, "102.00", "9")
    assert play.minute(OPENING + 1, 99.0) == []  # not called while its order works
    play.end(order, OrderState.CANCELED)
    (sale,) = play.minute(OPENING + 2, 99.0)
    assert sale.quantity == 9


def test_the_quickstart_rejects_what_it_cannot_afford() -> None:
    play = a_session(most_dollars=100.0)
    assert play.minute(OPENING, 101.0) == []
    assert [(reject.strategy, reject.symbol) for reject in play.rejects] == [("MomentumLong", "AAPL")]
    assert play.minute(OPENING + 1, 102.0) == []
    assert len(play.rejects) == 1


def test_the_quickstart_tries_again_after_a_refusal() -> None:
    play = a_session()
    play.answer = "refuse"
    bought(play)
    play.answer = "fill"
    (order,) = play.minute(OPENING + 1, 103.0)
    assert order.planned_stop == Decimal("101.97")


async def test_the_watchlist_picks_what_its_table_names() -> None:
    scanner = a_scanner(plan_of("quickstart"), "Watchlist", symbols=["B", "A"], recurrence=10)
    assert (await scanner.run(), scanner.recurrence) == (["B", "A"], timedelta(minutes=10))


# --- the demo's scanner -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Seen:
    symbol: str
    previous_daily_bar: Bar | None


def before(symbol: str, close: float, volume: float) -> Seen:
    day = HOURS.opens_at - 24 * HOUR
    return Seen(symbol, Bar(symbol, day, day + HOUR, close, close, close, close, volume, close, 1))


class Market:
    async def tradable_symbols(self) -> Mapping[str, Any]:
        return dict.fromkeys(["CC", "AA", "NEW", "DD", "BB"])

    async def snapshots(self, symbols: Sequence[str]) -> Mapping[str, Seen]:
        seen = [before("BB", 10.0, 500.0), before("AA", 5.0, 1000.0), before("CC", 1.0, 6000.0), Seen("NEW", None)]
        return {one.symbol: one for one in seen}


async def test_the_demos_scanner_picks_the_most_dollars_of_the_day_before() -> None:
    scanner = a_scanner(plan_of("demo"), "Liquid", count=2)
    scanner.join_session(data_api=Market(), now=lambda: HOURS.opens_at, opens_at=HOURS.opens_at)  # type: ignore[arg-type]
    assert await scanner.run() == ["CC", "AA"]  # 6000 $, then 5000 $ twice, by symbol
    assert (scanner.recurrence, scanner.target_strategy_name) == (timedelta(minutes=30), "VwapReversion")
