from __future__ import annotations

import hashlib
from datetime import date

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from liualgotrader.common.calendar import session_of, sessions
from liualgotrader.common.clock import MINUTE
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.market_columns import BarColumns, between
from liualgotrader.tapes.generated_bars import generated_bars
from liualgotrader.tapes.generated_profile import tickers
from liualgotrader.tapes.minute_bars import sum_of
from tests.examples import examples

FIRST, LAST = date(2023, 10, 1), date(2024, 1, 31)  # with the end of summer time and a half day
SESSIONS = sessions(FIRST, LAST)
FIELDS = ("opened_at", "closed_at", "open", "high", "low", "close", "volume", "average", "count")
PRICES = ("open", "high", "low", "close")

places = st.integers(0, len(SESSIONS) - 1)
few = examples(12, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module")
def market() -> dict[str, BarColumns]:
    return generated_bars(3, SESSIONS, seed=7)


def same(left: BarColumns, right: BarColumns) -> bool:
    return all(np.array_equal(getattr(left, name), getattr(right, name)) for name in FIELDS)


@few
@given(places, places, st.integers(3, 40))
def test_bars_depend_neither_on_the_days_nor_on_the_symbols_asked_for(
    market: dict[str, BarColumns], one: int, other: int, count: int
) -> None:
    first, last = sorted((one, other))
    span = SESSIONS[first : min(last, first + 5) + 1]
    name = tickers(3)[one % 3]
    found = generated_bars(count, span, seed=7, only=[name.lower()])
    assert list(found) == [name]
    assert same(found[name], between(market[name], span[0].opens_at, span[-1].closes_at))


def test_each_minute_of_each_session_has_a_bar_and_no_other(market: dict[str, BarColumns]) -> None:
    expected = np.concatenate([np.arange(s.opens_at, s.closes_at, MINUTE) for s in SESSIONS])
    half_day = session_of(date(2023, 11, 24))
    assert half_day is not None
    for bars in market.values():
        assert np.array_equal(bars.opened_at, expected)
        assert np.array_equal(bars.closed_at, expected + MINUTE)
        assert len(between(bars, half_day.opens_at, half_day.closes_at).close) == 210


def test_prices_are_whole_cents_and_volumes_whole_shares(market: dict[str, BarColumns]) -> None:
    for bars in market.values():
        for name in PRICES:
            prices = getattr(bars, name)
            assert np.array_equal(prices, np.round(prices, 2))
            assert np.all((bars.low <= prices) & (prices <= bars.high))
        assert np.all(bars.low >= 1)
        assert np.all((bars.low <= bars.average) & (bars.average <= bars.high))
        assert np.all((bars.volume >= 1) & (bars.volume == np.rint(bars.volume)))


def test_a_daily_bar_is_the_sum_of_its_minutes(market: dict[str, BarColumns]) -> None:
    for name, days in generated_bars(3, SESSIONS, seed=7, daily=True).items():
        for session, day in zip(SESSIONS, days.bars(), strict=True):
            inside = between(market[name], session.opens_at, session.closes_at).bars()
            assert day == sum_of(inside, session.opens_at, session.closes_at)


def test_a_session_opens_near_the_last_close_and_prices_wander() -> None:
    for days in generated_bars(3, sessions(date(2005, 1, 1), date(2005, 12, 31)), seed=7, daily=True).values():
        moved = np.abs(days.open[1:] / days.close[:-1] - 1)
        assert np.all(moved < 0.2)
        assert np.median(moved) < 0.02
        assert days.close.max() / days.close.min() > 1.1


@pytest.mark.slow
def test_what_a_price_did_says_nothing_about_what_it_will_do() -> None:
    # Of 2,500 sessions the correlation of the halves of the day has a deviation of 0.02 if there is none.
    span = [s for s in sessions(date(2023, 1, 1), date(2023, 12, 31)) if s.minutes == 390]
    early, late = [], []
    for bars in generated_bars(10, span, seed=3).values():
        opens, noon, close = (bars.open[::390], bars.close[194::390], bars.close[389::390])
        early.append(noon / opens - 1)
        late.append(close / noon - 1)
    correlation = np.corrcoef(np.concatenate(early), np.concatenate(late))[0, 1]
    assert abs(correlation) < 0.06
    assert np.std(early) == pytest.approx(np.std(late), rel=0.06)


def test_the_first_session_of_the_calendar_has_bars_too() -> None:
    found = generated_bars(1, sessions(date(1998, 1, 1), date(1998, 1, 2)))
    assert [len(bars.close) for bars in found.values()] == [390]


def test_a_generated_market_does_not_change_between_versions_of_this_program() -> None:
    (bars,) = generated_bars(1, SESSIONS[:2], seed=1).values()
    digest = hashlib.sha256(b"".join(getattr(bars, name).tobytes() for name in FIELDS)).hexdigest()
    assert digest[:16] == "c9cb5a999a84eaa8"


def test_another_seed_makes_another_market(market: dict[str, BarColumns]) -> None:
    for name, bars in generated_bars(3, SESSIONS[:1], seed=8).items():
        assert not np.array_equal(bars.close, market[name].close[:390])


@pytest.mark.parametrize(
    ("count", "seed", "only", "sentence"),
    [
        (0, 0, None, "has 1 to 900 symbols, not 0"),
        (901, 0, None, "has 1 to 900 symbols, not 901"),
        (2, -1, None, "seed of a generated market is a whole number from 0, not -1"),
        (2, 0, ["SPY"], "generated market of 2 symbols holds nothing for SPY; it has "),
    ],
)
def test_what_cannot_be_generated_is_one_sentence(count: int, seed: int, only: list[str] | None, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        generated_bars(count, SESSIONS[:1], seed, only=only)


def test_no_session_has_no_market() -> None:
    with pytest.raises(ConfigError, match="at least one session"):
        generated_bars(1, [])
