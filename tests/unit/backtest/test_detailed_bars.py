"""Finer data inside bars: which of two prices was touched first, when, and what is done where there is none."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from liualgotrader.common.calendar import TradingSession, sessions
from liualgotrader.common.clock import MICROSECOND, MINUTE, SECOND
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.events import TradeTick
from liualgotrader.common.market_columns import BarColumns
from liualgotrader.strategies.base import Strategy, StrategyType
from liualgotrader.supervisor.backtest_bars import BarsWanted, DetailedBars
from tests.fakes.tape_files import write_tape
from tests.unit.backtest.test_runner import played, trades

DAYS = sessions(date(2024, 7, 2), date(2024, 7, 2))
OPEN = DAYS[0].opens_at
WIDE = OPEN + 10 * MINUTE  # the minute that goes from 99 to 101


class Bracketed(Strategy):
    """Buys at the open of the sixth minute, with a target at 100.50 and a stop at 99.50."""

    strategy_type = StrategyType.SWING

    def on_bar(self, ctx: Any, bar: Any) -> None:
        if len(ctx.bars) == 5:
            ctx.buy(10, take_profit=100.5, stop_loss=99.5)


def minutes() -> BarColumns:
    opened = OPEN + np.arange(390) * MINUTE
    high, low = np.full(390, 100.0), np.full(390, 100.0)
    high[10], low[10] = 101.0, 99.0
    calm = np.full(390, 100.0)
    return BarColumns("AAPL", opened, opened + MINUTE, calm, high, low, calm, np.full(390, 1e6), calm, np.zeros(390))


def seconds(*prices: tuple[int, float]) -> BarColumns:
    """Bars of one price in these seconds of the wide minute."""
    opened = WIDE + np.array([second for second, _ in prices]) * SECOND
    price = np.array([price for _, price in prices])
    return BarColumns(
        "AAPL",
        opened,
        opened + SECOND,
        price,
        price,
        price,
        price,
        np.full(len(price), 1e6),
        price,
        np.zeros(len(price)),
    )


@pytest.mark.parametrize(
    ("inside", "price", "ends_after"),
    [
        ([], 99.50, 60),  # nothing finer: the worst path
        ([(3, 100.0), (20, 101.0), (40, 99.0)], 101.0, 21),  # over the target first; the second opens above it
        ([(3, 100.0), (20, 99.0), (40, 101.0)], 99.0, 21),  # below the stop first, through a gap
        ([(3, 100.0), (40, 100.2)], None, 0),  # the prints that made the bar's ends are none of these
    ],
)
def test_finer_data_says_which_price_was_touched_first(
    inside: Sequence[tuple[int, float]], price: float | None, ends_after: int
) -> None:
    none = seconds()

    def detail(symbol: str, session: TradingSession) -> BarColumns:
        return seconds(*inside) if inside else none

    bought, *sold = trades(played(Bracketed, {"AAPL": minutes()}, DAYS, detail=detail))
    assert (bought.at, float(bought.price)) == (OPEN + 5 * MINUTE, 100.0)
    assert [float(one.price) for one in sold] == ([] if price is None else [price])
    for one in sold:
        assert WIDE + (ends_after - 1) * SECOND <= one.at <= WIDE + ends_after * SECOND - MICROSECOND or not inside


def test_an_order_of_a_fill_inside_a_bar_trades_in_the_same_bar() -> None:
    """Nothing of it is known before, so it is none of the prices before."""

    class SellsWhenFilled(Strategy):
        strategy_type = StrategyType.SWING

        def on_bar(self, ctx: Any, bar: Any) -> None:
            if len(ctx.bars) == 5:
                ctx.buy(10, limit=99.8)

        def on_fill(self, ctx: Any, fill: Any) -> None:
            if ctx.position:
                ctx.sell(10)

    inside = seconds((3, 100.0), (20, 99.0), (25, 99.4), (40, 101.0))
    record = played(SellsWhenFilled, {"AAPL": minutes()}, DAYS, detail=lambda symbol, session: inside)
    assert [(one.operation, float(one.price)) for one in trades(record)] == [("buy", 99.0), ("sell", 99.4)]


def test_seconds_of_a_folder_are_made_of_its_prints_and_what_is_missing_is_said(tmp_path: Path) -> None:
    prints = [(OPEN + SECOND // 2, 10.0, 100.0), (OPEN + SECOND - 1, 11.0, 50.0)]
    write_tape(tmp_path, [TradeTick("AAPL", at, price, size) for at, price, size in prints])
    found = DetailedBars(BarsWanted(first=DAYS[0].day, last=DAYS[0].day, data=str(tmp_path), detail="second"), tmp_path)
    bars = found("AAPL", DAYS[0])
    assert (bars.opened_at.tolist(), bars.high.tolist(), bars.volume.tolist()) == ([OPEN], [11.0], [150.0])
    assert found.warnings() == []
    assert not len(found("MSFT", DAYS[0]).opened_at)
    assert found.warnings() == [
        "no seconds of MSFT in up to 1 sessions with orders: the worst path inside their bars was taken"
    ]


@pytest.mark.parametrize(
    ("more", "sentence"), [({"period": 0}, "bars of a minute or a day"), ({"generated": 3}, "has nothing finer")]
)
def test_what_has_nothing_finer_is_refused(more: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        DetailedBars(BarsWanted(first=DAYS[0].day, last=DAYS[0].day, detail="tick", **more), Path())
