"""Which bars a backtest plays, and what is said of those that are missing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from liualgotrader.common.calendar import sessions
from liualgotrader.common.clock import DAY, HOUR, MINUTE
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.market_columns import BarColumns
from liualgotrader.data.market_store import MarketStore
from liualgotrader.supervisor.backtest_bars import BarsWanted, closing_prices, played_bars

SESSIONS = sessions(date(2024, 3, 11), date(2024, 3, 15))  # Monday to Friday, the week after summer time began
NOWHERE = Path("/nowhere")


def wanted(folder: Path | None = None, **more: Any) -> BarsWanted:
    base = BarsWanted(first=date(2024, 3, 13), last=date(2024, 3, 14), data=str(folder or ""))
    return msgspec.structs.replace(base, **more)


def write_bars(folder: Path, rows: Sequence[tuple[str, int, float]]) -> None:
    lines = [f"{symbol},{at},{price},{price},{price},{price},100" for symbol, at, price in rows]
    (folder / "bars.csv").write_text("\n".join(["symbol,opened_at,open,high,low,close,volume", *lines]) + "\n")


def opens(*days: int) -> list[int]:
    return [SESSIONS[day].opens_at for day in days]


@pytest.mark.parity(49)
def test_bars_of_regular_trading_and_of_the_sessions_before_are_played(tmp_path: Path) -> None:
    session = SESSIONS[2]
    early, late = session.opens_at - HOUR, session.closes_at
    rows = [("A", at, 10.0) for at in (*opens(0, 1), early, session.opens_at, late - MINUTE, late, *opens(3, 4))]
    write_bars(tmp_path, rows)
    found = played_bars(wanted(tmp_path), NOWHERE, history=1)
    assert found.bars["A"].opened_at.tolist() == [*opens(1, 2), late - MINUTE, *opens(3)]
    assert found.notes == ()


def test_prices_are_raw_with_the_splits_and_dividends_of_the_folder_beside_them(tmp_path: Path) -> None:
    write_bars(tmp_path, [("A", opens(2)[0], 100.0), ("A", opens(3)[0], 51.0)])
    (tmp_path / "splits.csv").write_text("symbol,day,ratio\nA,2024-03-14,2\nA,2024-03-15,10\n")
    (tmp_path / "dividends.csv").write_text("symbol,day,amount,close\nA,2024-03-14,0.5,100\n")
    found = played_bars(wanted(tmp_path), NOWHERE, history=0)
    assert found.bars["A"].close.tolist() == [100.0, 51.0]
    assert [(split.day.day, split.ratio) for split in found.splits["A"]] == [(14, 2.0), (15, 10.0)]
    assert [(paid.day.day, paid.amount) for paid in found.dividends["A"]] == [(14, 0.5)]
    assert found.as_of(date(2024, 3, 14))["A"].close.tolist() == [50.0, 51.0]
    assert found.as_of(date(2024, 3, 14))["A"].volume.tolist() == [200.0, 100.0]


def test_what_is_missing_of_a_symbol_is_said(tmp_path: Path) -> None:
    write_bars(tmp_path, [("A", at, 10.0) for at in opens(1, 2, 3)] + [("B", at, 10.0) for at in opens(3)])
    assert played_bars(wanted(tmp_path), NOWHERE, history=2).notes == (
        "B: no bars in 1 of the 2 sessions, the first 2024-03-13",
        "A: no bars in 1 of the 2 sessions of history before the first day, the first 2024-03-11",
        "B: no bars in 2 of the 2 sessions of history before the first day, the first 2024-03-11",
    )


def test_a_session_of_which_nothing_is_known_is_named(tmp_path: Path) -> None:
    write_bars(tmp_path, [("A", at, 10.0) for at in opens(1, 3)])
    with pytest.raises(
        ConfigError, match=f"^{tmp_path} holds no minute bars for 2024-03-13; it has 2024-03-12, 2024-03-14: choose"
    ):
        played_bars(wanted(tmp_path), NOWHERE, history=0)


def test_a_symbol_without_any_bar_is_left_out_unless_it_is_named(tmp_path: Path) -> None:
    write_bars(tmp_path, [("A", at, 10.0) for at in opens(2, 3)] + [("B", opens(0)[0], 10.0)])
    found = played_bars(wanted(tmp_path), NOWHERE, history=0)
    assert (list(found.bars), found.notes) == (["A"], ("B: left out, without any bar in these sessions",))
    with pytest.raises(
        ConfigError, match=r"of B from 2024-03-13 to 2024-03-14; it has 2024-03-11, 2024-03-13, 2024-03-14$"
    ):
        played_bars(wanted(tmp_path, symbols=("A", "B")), NOWHERE, history=0)
    with pytest.raises(ConfigError, match="holds nothing for C; it has A, B"):
        played_bars(wanted(tmp_path, symbols=("C",)), NOWHERE, history=0)


def test_without_another_market_the_bars_of_the_store_are_played(tmp_path: Path) -> None:
    store = MarketStore(tmp_path)
    with pytest.raises(ConfigError, match=r"holds no minute bars yet: name a folder with --data, .* --generated"):
        played_bars(wanted(), tmp_path, history=0)
    at = np.array(opens(2, 3))
    price = np.array([10.0, 11.0])
    bars = BarColumns("A", at, at + MINUTE, price, price, price, price, price, price, price)
    store.write("A", MINUTE, bars, [(int(at[0]), int(at[-1]) + 1)], "test")
    assert played_bars(wanted(), tmp_path, history=0).bars["A"].close.tolist() == [10.0, 11.0]
    with pytest.raises(ConfigError, match="holds no minute bars of B from"):
        played_bars(wanted(symbols=("A", "B")), tmp_path, history=0)


def test_a_generated_market_has_history_too() -> None:
    found = played_bars(wanted(generated=2, seed=3), NOWHERE, history=1).bars
    assert len(found) == 2
    assert {len(bars.close) for bars in found.values()} == {3 * 390}
    daily = played_bars(wanted(generated=2, seed=3, period=DAY), NOWHERE, history=1).bars
    assert [bars.close.tolist() for bars in daily.values()] == [
        bars.close[389::390].tolist() for bars in found.values()
    ]


@pytest.mark.parametrize(
    ("first", "last", "sentence"),
    [
        ("2024-03-14", "2024-03-13", "would begin on 2024-03-14, after its last day 2024-03-13"),
        (
            "2024-03-09",
            "2024-03-10",
            "there is no trading day from 2024-03-09 to 2024-03-10; the next one is 2024-03-11",
        ),
        ("1990-01-01", "2024-03-10", "No sessions are known for 1990-01-01"),
    ],
)
def test_days_that_cannot_be_played_are_one_sentence(first: str, last: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        wanted(first=date.fromisoformat(first), last=date.fromisoformat(last)).sessions()


def test_closing_prices_are_the_newest_known_at_each_close() -> None:
    at = np.array([*opens(1), SESSIONS[1].closes_at - MINUTE, *opens(3)])
    price = np.array([10.0, 12.0, 15.0])
    bars = BarColumns("A", at, at + MINUTE, price - 1, price, price, price, price, price, price)
    assert closing_prices(bars, SESSIONS[1:4]).tolist() == [9.0, 12.0, 12.0, 15.0]
    from_the_start = closing_prices(bars, SESSIONS[:2])
    assert np.isnan(from_the_start[:2]).all()
    assert from_the_start[2] == 12.0
