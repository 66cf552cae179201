"""What strategies may record, and what becomes of it in memory."""

from __future__ import annotations

import threading
from decimal import Decimal
from math import inf, isnan
from typing import Any

import numpy as np
import pytest

from liualgotrader.common.recording import Recording, SeriesKey


def recorded(*values: Any, name: str = "sma", symbol: str = "SPY") -> Recording:
    recording = Recording(100, 100)
    for at, value in enumerate(values):
        recording.record("Trend", symbol, name, at, value)
    return recording


def test_numbers_of_any_kind_are_kept_as_floats() -> None:
    taken = recorded(
        1.5, 2, Decimal("2.5"), True, np.float32(0.25), np.int64(7), np.array(3.0), 10**400, -(10**400), inf
    ).take()
    assert taken.value.tolist() == [1.5, 2.0, 2.5, 1.0, 0.25, 7.0, 3.0, inf, -inf, inf]
    assert taken.keys == (SeriesKey("Trend", "SPY", "sma"),)
    assert taken.at.tolist() == list(range(10))


@pytest.mark.parametrize("unknown", [None, float("nan"), np.nan])
def test_what_is_unknown_is_nan_and_not_zero(unknown: Any) -> None:
    assert isnan(recorded(unknown).take().value[0])


@pytest.mark.parametrize("value", ["1.5", b"1", [1.0], np.array([1.0]), {}, object(), 1j])
def test_what_is_no_number_is_refused_in_one_sentence(value: Any) -> None:
    with pytest.raises(
        TypeError, match=r"^'sma' is recorded as .{1,60}: record a number, or None where it is unknown$"
    ):
        recorded(value)


@pytest.mark.parametrize("name", ["", "x" * 65, "two\nlines", "\ud800", 7, None])
def test_a_name_is_short_and_printable(name: Any) -> None:
    with pytest.raises(ValueError, match="the name of a recorded series has 1 to 64 printable characters"):
        recorded(1.0, name=name)


@pytest.mark.parametrize("symbol", ["../up", "spy", "", None])
def test_a_value_is_of_a_symbol(symbol: Any) -> None:
    with pytest.raises(ValueError, match="which is no symbol"):
        recorded(1.0, symbol=symbol)


def test_a_strategy_that_makes_names_of_values_is_stopped_at_a_hundred() -> None:
    recording = Recording(1000, 1000)
    for number in range(100):
        recording.record("Trend", "SPY", f"at {number}", 1, 1.0)
        recording.record("Trend", "QQQ", f"at {number}", 1, 1.0)
    with pytest.raises(ValueError, match="a name stands for a whole series"):
        recording.record("Trend", "SPY", "at 100", 1, 1.0)
    recording.record("Other", "SPY", "at 100", 1, 1.0)
    assert len(recording) == 201


def test_what_does_not_fit_is_left_out_and_counted_until_there_is_room_again() -> None:
    recording = Recording(most=3, most_in_all=5)
    taken: list[float] = []
    for value in range(12):
        if value in (4, 8):
            taken += recording.take().value.tolist()
        recording.record("Trend", "SPY", "sma", value, value)
    taken += recording.take().value.tolist()
    assert taken == [0.0, 1.0, 2.0, 4.0, 5.0]
    assert recording.left_out == 12 - 5


def test_another_thread_is_refused() -> None:
    recording, errors = recorded(), []

    def aside() -> None:
        try:
            recording.record("Trend", "SPY", "sma", 1, 1.0)
        except RuntimeError as error:
            errors.append(str(error))

    thread = threading.Thread(target=aside)
    thread.start()
    thread.join()
    assert errors == ["Trend records 'sma' from a thread of its own: let the thread return the value"]
    assert not len(recording)
