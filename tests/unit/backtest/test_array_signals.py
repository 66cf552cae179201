"""Array signals through engine and exchange: what each row makes of what is held, and columns that are none."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pytest

from liualgotrader.common.calendar import sessions
from liualgotrader.strategies.base import Strategy, StrategyType
from tests.unit.backtest.test_runner import flat, played, trades

DAYS = sessions(date(2024, 7, 2), date(2024, 7, 2))


class Columns(Strategy):
    """Returns columns of ten shares with these cells, by column and row."""

    strategy_type = StrategyType.SWING
    cells: dict[str, dict[int, float]] = {}

    def signals(self, bars: Any) -> dict[str, Any]:
        rows = len(bars.close)
        columns = {"entry": np.zeros(rows), "exit": np.zeros(rows), "size": np.full(rows, 10.0)}
        columns |= {name: np.full(rows, np.nan) for name in ("stop", "target")}
        for name, cells in self.cells.items():
            columns[name][[*cells]] = [*cells.values()]
        return columns


def traded(**cells: dict[int, float]) -> list[tuple[str, int, float]]:
    """What these cells trade on bars that open at 100 dollars plus a cent a minute and close half a cent higher."""
    kind = type("Tested", (Columns,), {"cells": cells})
    return [(t.operation, int(t.quantity), float(t.price)) for t in trades(played(kind, {"AAPL": flat(DAYS)}, DAYS))]


def test_an_entry_trades_at_the_next_open_and_an_exit_closes_it_there() -> None:
    assert traded(entry={5: 1}, exit={3: 1, 9: 1}) == [("buy", 10, 100.06), ("sell", 10, 100.10)]


def test_an_opposite_entry_closes_and_the_next_one_opens_the_other_side() -> None:
    expected = [("buy", 10, 100.06), ("sell", 10, 100.10), ("sell", 10, 100.11)]
    assert traded(entry={5: 1, 7: 1, 9: -1, 10: -1}) == expected


def test_a_target_and_a_stop_rest_at_the_exchange_until_one_of_them_trades() -> None:
    """The minute that opens at the target's price is the first to reach it; so it is for the stop of a short sale."""
    found = traded(entry={5: 1, 20: -1}, target={5: 100.10, 20: 99}, stop={5: 99, 20: 100.30})
    assert found == [("buy", 10, 100.06), ("sell", 10, 100.10), ("sell", 10, 100.21), ("buy", 10, 100.30)]


def test_an_exit_takes_stop_and_target_back_before_it_closes() -> None:
    found = traded(entry={5: 1}, target={5: 101}, stop={5: 99}, exit={9: 1})
    assert found == [("buy", 10, 100.06), ("sell", 10, 100.10)]


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"entry": [1.0]}, "returned no column 'size'"),
        ({"entry": [1.0], "size": [1.0]}, r"returned 'entry' of shape \(1,\); a row a bar is \(390,\)"),
        ({"entry": np.full(390, 2), "size": np.ones(390)}, "an entry that is none of -1, 0 and 1"),
        ({"entry": np.ones(390), "size": np.ones(390), "stops": np.ones(390)}, "returned the column 'stops'"),
    ],
)
def test_columns_that_are_none_stop_the_strategy_in_one_sentence(columns: dict[str, Any], sentence: str) -> None:
    kind = type("Wrong", (Strategy,), {"signals": lambda self, bars: columns})
    record = played(kind, {"AAPL": flat(DAYS)}, DAYS)
    assert not trades(record)
    with pytest.raises(ValueError, match=sentence):
        raise ValueError(record.stopped[1])
