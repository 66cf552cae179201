from __future__ import annotations

import pytest

from liualgotrader.common.bar_builder import OUR_RULES, TAPE_RULES, BarBuilder, BarRules
from liualgotrader.common.clock import MINUTE
from liualgotrader.common.events import BarSource, Counts

ALL, LAST, RANGE, VOLUME = int(Counts.ALL), int(Counts.LAST), int(Counts.HIGH_LOW), int(Counts.VOLUME)

TRADES = [
    (1, 10.0, 100.0, ALL),
    (2, 12.0, 50.0, LAST),  # a price, and neither high nor volume
    (3, 11.0, 200.0, ALL),
    (4, 9.0, 0.0, RANGE),
    (5, 99.0, 60.0, VOLUME),
    (6, 1.0, 700.0, 0),
]


def built(rules: BarRules, trades: list[tuple[int, float, float, int]]) -> BarBuilder:
    builder = BarBuilder(0, MINUTE, rules)
    for trade in trades:
        builder.add(*trade)
    return builder


@pytest.mark.parametrize(
    ("rules", "high", "count", "average", "source"),
    [
        # (10*100 + 11*200 + 99*60) / 360 = 9140 / 360
        (OUR_RULES, 11.0, 5, 9140 / 360, BarSource.OURS),  # all but the trade that counts for nothing
        (TAPE_RULES, 12.0, 3, 25.388889, BarSource.VENDOR),  # the three that count for volume
    ],
)
def test_rules_name_what_the_makers_of_bars_do_differently(
    rules: BarRules, high: float, count: int, average: float, source: BarSource
) -> None:
    bar = built(rules, TRADES).bar("ABC")
    assert (bar.open, bar.high, bar.low, bar.close, bar.volume) == (10.0, high, 9.0, 11.0, 360.0)
    assert (bar.count, bar.vwap, bar.source) == (count, average, int(source))


@pytest.mark.parametrize("rules", [OUR_RULES, TAPE_RULES])
def test_trades_in_any_order_make_the_same_bar(rules: BarRules) -> None:
    assert built(rules, TRADES[::-1]).bar("ABC") == built(rules, TRADES).bar("ABC")


@pytest.mark.parametrize("rules", [OUR_RULES, TAPE_RULES])
def test_without_a_trade_that_counts_for_last_there_is_no_price(rules: BarRules) -> None:
    assert not built(rules, [(1, 10.0, 100.0, VOLUME), (2, 11.0, 0.0, RANGE)]).has_price
