"""The lazy frame behaves as a DataFrame and cannot harm the engine's memory."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from liualgotrader.common.clock import MINUTE, SECOND
from liualgotrader.common.events import Bar, BarSource
from liualgotrader.engine.bars import Bars
from liualgotrader.strategies.frames import lazy_frames, real_frames

START = 1_709_908_200 * SECOND  # 2024-03-08 09:30 New York


@pytest.fixture
def bars() -> Bars:
    made = Bars("A", (START,))
    for i in range(390):
        at = START + i * MINUTE
        made.append(Bar("A", at, at + MINUTE, 1.0 + i, 2.0 + i, 0.5 + i, 1.5 + i, 100.0, 1.2 + i, 3))
    return made


def test_it_equals_the_real_frame(bars: Bars) -> None:
    lazy, real = lazy_frames(bars)(False), real_frames(bars)(False)
    assert isinstance(lazy, pd.DataFrame)
    pd.testing.assert_frame_equal(pd.DataFrame(lazy), pd.DataFrame(real))
    assert lazy.index[0] == pd.Timestamp("2024-03-08 09:30", tz="America/New_York")


def test_a_single_value_does_not_fill_the_frame(bars: Bars) -> None:
    frame = lazy_frames(bars)(False)
    column = frame["close"]
    assert (column.iloc[-1], column[-1], len(column), len(frame)) == (390.5, 390.5, 390, 390)
    assert "_mgr" not in frame.__dict__ and "_mgr" not in column.__dict__


@pytest.mark.parametrize(
    "read",
    [
        lambda f: f.close.rolling(20).mean().iloc[-1],
        lambda f: f["close"].ewm(span=9).mean().iloc[-1],
        lambda f: f.close.pct_change().iloc[-1],
        lambda f: f.between_time("09:30", "09:40").shape,
        lambda f: f.resample("5min").last().close.iloc[-1],
        lambda f: f.iloc[-1].close,
        lambda f: f.loc[f.index[-1], "close"],
        lambda f: f[-5:].close.tolist(),
        lambda f: f.tail(3).high.max(),
        lambda f: (f.close > f.vwap).sum(),
        lambda f: np.asarray(f.close)[-3:].tolist(),
        lambda f: f.close.values[-1],
        lambda f: f.close.to_numpy().sum(),
        lambda f: pd.concat([f.close, f.open], axis=1).shape,
        lambda f: f.copy().describe().shape,
        lambda f: np.mean(f.close),
        lambda f: f.close.between_time("09:30", "09:31").tolist(),
        lambda f: bool((f["close"] == f.close).all()),
        lambda f: f.groupby(f.index.hour).close.max().tolist(),
        lambda f: list(f.columns),
        lambda f: "close" in f,
        lambda f: f.empty,
        lambda f: pickle.loads(pickle.dumps(f)).close.tolist(),
        lambda f: pickle.loads(pickle.dumps(f.close)).index[-1],
        lambda f: f[["open", "close"]].shape,
    ],
)
def test_everyday_pandas_gives_what_a_real_frame_gives(bars: Bars, read: object) -> None:
    lazy, real = lazy_frames(bars)(False), real_frames(bars)(False)
    assert read(lazy) == read(pd.DataFrame(real))  # type: ignore[operator]


def test_a_whole_number_is_a_place_also_after_filling(bars: Bars) -> None:
    frame = lazy_frames(bars)(False)
    assert frame.tail(1).close[-1] == 390.5
    assert frame.close[-1] == 390.5
    assert frame.close.shift(1)[-1] == 389.5


def test_columns_can_be_added_without_touching_the_engine(bars: Bars) -> None:
    frame = lazy_frames(bars)(False)
    frame["sma"] = frame.close.rolling(3).mean()
    assert frame["sma"].iloc[-1] == 389.5
    assert "sma" not in lazy_frames(bars)(False).columns


def test_prices_cannot_be_overwritten(bars: Bars) -> None:
    frame = lazy_frames(bars)(False)
    with pytest.raises(ValueError, match="read-only"):
        frame.close.iloc[-1] = 5.0
    assert bars.closed("close")[-1] == 390.5


def test_real_frames_have_memory_of_their_own(bars: Bars) -> None:
    frame = real_frames(bars)(False)
    frame.loc[frame.index[-1], "close"] = 5.0
    assert bars.closed("close")[-1] == 390.5


def test_the_open_minute_is_the_last_row_when_asked_for(bars: Bars) -> None:
    bars.fold(START + 390 * MINUTE + SECOND, 500.0, 10.0, 7)
    frame = lazy_frames(bars)(True)
    assert (frame.close.iloc[-1], len(frame)) == (500.0, 391)
    bars.fold(START + 390 * MINUTE + 2 * SECOND, 501.0, 10.0, 7)
    assert lazy_frames(bars)(True).close.iloc[-1] == 501.0


def test_what_is_written_into_a_frame_changes_that_frame_only(bars: Bars) -> None:
    frame = lazy_frames(bars)(True)
    frame.loc[frame.index[-1], "vwap"] = 5.0
    frame["close"] = 7.0
    assert (frame.vwap.iloc[-1], frame.close.iloc[0]) == (5.0, 7.0)
    again = lazy_frames(bars)(True)
    assert (again.vwap.iloc[-1], again.close.iloc[0]) != (5.0, 7.0)


def row(minute: int, close: float) -> Bar:
    at = START + minute * MINUTE
    return Bar("A", at, at + MINUTE, close, close, close, close, 100.0, close, 1, int(BarSource.VENDOR_UPDATE))


CHANGES = [
    lambda bars: bars.fold(START + 390 * MINUTE + 2 * SECOND, 900.0, 10.0, 7),
    lambda bars: bars.take(row(390, 7.0)),
    lambda bars: bars.correct(row(5, 7.0)),
    lambda bars: bars.correct(row(-3, 7.0)),
    lambda bars: bars.preload([row(minute, 7.0) for minute in range(-20, 3)]),
    lambda bars: [bars.append(row(minute, 7.0)) for minute in range(391, 2000)],
]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("with_forming", [False, True])
@pytest.mark.parametrize("touch", ["close", "vwap", None])
def test_a_kept_frame_never_changes(
    bars: Bars, change: Callable[[Bars], object], with_forming: bool, touch: str | None
) -> None:
    bars.fold(START + 390 * MINUTE + SECOND, 500.0, 10.0, 7)
    kept, expected = lazy_frames(bars)(with_forming), pd.DataFrame(real_frames(bars)(with_forming))
    column = kept[touch] if touch else None
    length = len(kept)
    change(bars)
    lazy_frames(bars)(True)["close"].iloc[-1]
    lazy_frames(bars)(True)["vwap"].iloc[-1]
    if column is not None:
        pd.testing.assert_series_equal(pd.Series(column), expected[touch])
    pd.testing.assert_frame_equal(pd.DataFrame(kept), expected)
    assert length == len(expected)
