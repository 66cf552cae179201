"""When a stream that lives is of no use. Silences are played in machine seconds; the market's clock runs alike."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

import pytest

from liualgotrader.common.clock import SECOND
from liualgotrader.data.liveness import Liveness

LOOK = 5.0


class Stream:
    """A stream that is looked at every five seconds."""

    def __init__(self, symbols: int = 1) -> None:
        self.liveness = Liveness(30.0)
        self.now = 1000.0
        self.symbols = symbols
        self.expected = True
        self.market_moves = True
        self.alarms: list[float] = []
        self._look_at = self.now

    def silent(self, seconds: float) -> list[float]:
        """Play so much silence; return when, after its beginning, an alarm was raised."""
        begun, before = self.now, len(self.alarms)
        while self._look_at <= begun + seconds:
            self.now, self._look_at = self._look_at, self._look_at + LOOK
            market = self.now if self.market_moves else 0.0
            if self.liveness.look(
                round(self.now * SECOND), round(market * SECOND), expected=self.expected, symbols=self.symbols
            ):
                self.alarms.append(self.now - begun)
        self.now = begun + seconds
        return self.alarms[before:]

    def data_after(self, gaps: Iterable[float]) -> None:
        for gap in gaps:
            self.silent(gap)
            self.liveness.heard(round(self.now * SECOND))


def test_a_busy_stream_is_mute_after_the_plans_seconds() -> None:
    stream = Stream()
    stream.data_after([1.0] * 30)
    (after,) = stream.silent(60)
    assert 30 < after <= 30 + 2 * LOOK


@pytest.mark.parametrize(("symbols", "limit"), [(1, 600), (4, 600), (8, 300), (20, 120), (500, 120)])
def test_a_stream_that_never_said_a_thing_is_given_longer_the_fewer_its_symbols(symbols: int, limit: int) -> None:
    (after, *_) = Stream(symbols).silent(1000)
    assert limit < after <= limit + 2 * LOOK


@pytest.mark.parametrize("mean", [5, 60, 150, 300])
def test_an_illiquid_symbol_raises_hardly_an_alarm_in_a_whole_day(mean: float) -> None:
    days = []
    for seed in range(50):
        rng, stream = Random(seed), Stream()
        while stream.now < 6.5 * 3600:
            stream.data_after([rng.expovariate(1 / mean)])
        days.append(len(stream.alarms))
    assert sum(days) <= 15
    assert max(days) <= 2


def test_bars_once_a_minute_are_missed_after_four_of_them() -> None:
    stream = Stream()
    stream.data_after([60.0] * 25)
    (after,) = stream.silent(300)
    assert 240 < after <= 240 + 2 * LOOK


def test_while_nothing_is_expected_no_silence_counts() -> None:
    stream = Stream()
    stream.data_after([1.0] * 30)
    stream.expected = False
    assert stream.silent(3600) == []
    stream.expected = True
    (after,) = stream.silent(60)
    assert after > 30
    stream.data_after([1.0])
    (after,) = stream.silent(60)
    assert after <= 30 + 2 * LOOK, "the pause was no silence to learn from"


def test_a_market_that_stands_says_nothing() -> None:
    stream = Stream()
    stream.data_after([1.0] * 30)
    stream.market_moves = False
    assert stream.silent(3600) == []


def test_alarms_without_data_in_between_come_ever_more_rarely() -> None:
    stream = Stream()
    stream.data_after([1.0] * 30)
    alarms = stream.silent(1000)
    gaps = [later - earlier for earlier, later in zip([0.0, *alarms], alarms, strict=False)]
    assert [round(gap / 30) for gap in gaps] == [1, 2, 4, 8, 16][: len(gaps)]
    assert len(alarms) == 5


def test_a_silence_that_a_new_connection_did_not_end_was_the_streams_own() -> None:
    stream = Stream()
    stream.data_after([1.0] * 30)
    stream.data_after([60.0, 1.0])  # an alarm after 30 to 40 s, and data soon after it: that has helped
    (after,) = stream.silent(60)
    assert after <= 30 + 2 * LOOK
    stream.data_after([40.0, 1.0])  # 100 s in all, more than 30 of them after the alarm
    assert stream.silent(500)[0] > 4 * 100
