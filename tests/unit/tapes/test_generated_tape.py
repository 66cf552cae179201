from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import date, timedelta

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from liualgotrader.common.calendar import previous_sessions, sessions
from liualgotrader.common.clock import HOUR, MINUTE, SECOND
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.events import Counts, Quote, Status, TradeTick
from liualgotrader.tapes.columns import TapeEvent
from liualgotrader.tapes.generated import GeneratedTape
from liualgotrader.tapes.generated_profile import MOST_SYMBOLS, Role, tickers
from liualgotrader.tapes.minute_bars import bars_of, sum_of
from tests.examples import examples

DAY = date(2024, 3, 12)
HALF_DAY = date(2024, 7, 3)
FOR_EVER = 2**62

seeds = st.integers(0, 2**32)
days = st.sampled_from(sessions(date(2020, 1, 1), date(2026, 12, 31))).map(lambda s: s.day)
few = examples(12, suppress_health_check=[HealthCheck.too_slow])


def small(seed: int, day: date = DAY, symbols: int = 8) -> GeneratedTape:
    return GeneratedTape(day, seed, symbols, events_limit=symbols * 3_000)


@pytest.fixture(scope="module")
def tape() -> GeneratedTape:
    return GeneratedTape(DAY, seed=7)


@pytest.fixture(scope="module")
def tenth() -> GeneratedTape:
    return GeneratedTape(DAY, seed=7, symbols=20, events_limit=60_000)


@pytest.fixture(scope="module")
def whole(tenth: GeneratedTape) -> list[TapeEvent]:
    return list(tenth.events(0, FOR_EVER))


def size(tape: GeneratedTape) -> int:
    """Count trades and quotes without making them."""
    return sum(len(c.trades.at) + len(c.quotes.at) for c in map(tape.columns, tape.symbols()))


def is_cents(price: float) -> bool:
    return price == round(price, 2)


@few
@given(seeds, days)
def test_quotes_are_never_crossed_or_one_sided_and_trades_lie_within_them(seed: int, day: date) -> None:
    best: dict[str, Quote] = {}
    for event in small(seed, day).events(0, FOR_EVER):
        if isinstance(event, Quote):
            assert 0 < event.bid < event.ask
            assert event.bid_size >= 100 <= event.ask_size
            assert event.bid_size % 100 == 0 == event.ask_size % 100
            assert is_cents(event.bid)
            assert is_cents(event.ask)
            best[event.symbol] = event
        elif isinstance(event, TradeTick):
            assert best[event.symbol].bid <= event.price <= best[event.symbol].ask
            assert is_cents(event.price)
            assert event.size >= 1
            assert event.flags == (Counts.ALL if event.size >= 100 else Counts.VOLUME)


@few
@given(seeds, days)
def test_events_of_a_symbol_come_strictly_later_one_by_one_and_within_their_hours(seed: int, day: date) -> None:
    tape = small(seed, day)
    last: dict[str, int] = {}
    previous = 0
    for event in tape.events(0, FOR_EVER):
        assert event.at >= previous
        previous = event.at
        if isinstance(event, Status):
            continue
        assert event.at > last.get(event.symbol, 0)
        last[event.symbol] = event.at
        begin = tape.opens_at if isinstance(event, TradeTick) else tape.opens_at - 15 * MINUTE
        assert begin <= event.at < tape.closes_at


@few
@given(seeds, days, st.integers(0, 420), st.integers(0, 420))
def test_a_window_shows_what_the_whole_day_has_in_it(seed: int, day: date, start: int, end: int) -> None:
    tape = small(seed, day, symbols=3)
    begin, until = (tape.opens_at + (m - 20) * MINUTE for m in (start, end))
    expected = [e for e in tape.events(0, FOR_EVER) if begin <= e.at < until]
    assert list(small(seed, day, symbols=3).events(begin, until)) == expected


@few
@given(seeds)
def test_nobody_trades_or_quotes_in_a_halt_and_both_begin_again_after_it(seed: int) -> None:
    tape = small(seed, symbols=30)
    halts = list(_halts(tape))
    assert halts, "of thirty symbols some are halted"
    for symbol, begin, end in halts:
        columns = tape.columns(symbol)
        for at in (columns.quotes.at, columns.trades.at):
            assert not ((at >= begin) & (at < end)).any()
        assert columns.quotes.at[columns.quotes.at >= end][0] < end + SECOND
        assert (columns.trades.at > end).any()
        assert 5 * MINUTE <= end - begin <= 15 * MINUTE


def _halts(tape: GeneratedTape) -> Iterator[tuple[str, int, int]]:
    for symbol in tape.symbols():
        begun = 0
        for status in tape.columns(symbol).statuses:
            if status.halted:
                begun = status.at
            else:
                yield symbol, begun, status.at


@few
@given(seeds, days)
def test_history_ends_at_the_close_the_day_starts_from_and_days_are_sums_of_their_minutes(seed: int, day: date) -> None:
    tape = small(seed, day, symbols=2)
    before = previous_sessions(day, 260)
    for symbol in tape.symbols():
        daily = tape.daily_bars(symbol, date(1998, 1, 1), day)
        assert [(b.opened_at, b.closed_at) for b in daily] == [(s.opens_at, s.closes_at) for s in before]
        assert daily[-1].close == tape.profiles[symbol].previous_close / 100
        assert all(b.low <= min(b.open, b.close) <= max(b.open, b.close) <= b.high for b in daily)
        assert all(is_cents(p) for b in daily for p in (b.open, b.high, b.low, b.close))
        for session, whole in zip(before[-5:], daily[-5:], strict=True):
            minutes = tape.minute_bars(symbol, session.opens_at, session.closes_at)
            assert len(minutes) == session.minutes
            assert all(b.low <= min(b.open, b.close) <= max(b.open, b.close) <= b.high for b in minutes)
            assert sum_of(minutes, session.opens_at, session.closes_at) == whole
        assert tape.minute_bars(symbol, before[-1].closes_at, FOR_EVER) == []


def test_history_can_be_cut_by_day_and_by_minute(tape: GeneratedTape) -> None:
    symbol = tape.symbols()[0]
    every = tape.daily_bars(symbol, date(1998, 1, 1), DAY)
    assert tape.daily_bars(symbol, date(2024, 3, 7), date(2024, 3, 11)) == every[-3:]
    assert tape.daily_bars(symbol, DAY, DAY + timedelta(days=5)) == []
    friday = previous_sessions(DAY, 2)[0]
    some = tape.minute_bars(symbol, friday.opens_at + MINUTE, friday.opens_at + 3 * MINUTE)
    assert [b.opened_at - friday.opens_at for b in some] == [MINUTE, 2 * MINUTE]
    assert tape.minute_bars("NOBODY", 0, FOR_EVER) == tape.daily_bars("NOBODY", DAY, DAY) == []


def test_a_full_session_has_at_most_600000_events_and_nearly_as_many(tape: GeneratedTape) -> None:
    assert 590_000 <= size(tape) <= 600_000


def test_every_trade_and_quote_is_played(tenth: GeneratedTape, whole: list[TapeEvent]) -> None:
    assert sum(not isinstance(e, Status) for e in whole) == size(tenth)


def test_a_half_day_has_as_many_fewer_events_and_ends_at_13_00() -> None:
    tape = GeneratedTape(HALF_DAY, seed=1)
    assert tape.closes_at - tape.opens_at == 210 * MINUTE
    assert 600_000 * 210 / 390 * 0.97 <= size(tape) <= 600_000 * 210 / 390
    last = max(tape.columns(symbol).trades.at[-1] for symbol in tape.symbols())
    assert tape.closes_at - MINUTE < last < tape.closes_at


@pytest.mark.parametrize("seed", range(5))
def test_of_200_symbols_some_gap_some_revert_and_four_are_halted(seed: int) -> None:
    profiles = list(GeneratedTape(DAY, seed).profiles.values())
    assert len(profiles) == 200
    by_role = {role: [p for p in profiles if p.role is role] for role in Role}
    assert 8 <= len(by_role[Role.GAP_UP]) <= 15
    assert len(by_role[Role.GAP_DOWN]) >= 5
    assert len(by_role[Role.REVERTING]) >= 20
    assert sum(len(p.halts) for p in profiles) == 4
    assert all(p.opening >= 1.035 * p.previous_close for p in by_role[Role.GAP_UP])
    assert all(p.opening <= 0.965 * p.previous_close for p in by_role[Role.GAP_DOWN])
    assert all(200 <= p.previous_close <= 40_000 for p in profiles)
    # A dollar volume of yesterday that the scanners' usual bound of 500,000 lets pass.
    assert all(p.usual_volume * p.previous_close / 100 > 1_000_000 for p in profiles)


def test_symbols_that_gap_up_climb_and_those_that_revert_come_back(tape: GeneratedTape) -> None:
    for symbol, profile in tape.profiles.items():
        price = tape.columns(symbol).trades.price
        middle, opened = np.median(price), profile.opening / 100
        if profile.role is Role.GAP_UP:
            assert price[-1] > 1.02 * opened, symbol
            falls = 1 - price / np.maximum.accumulate(price)
            assert falls.max() > 0.005, "a climb has pullbacks"
        if profile.role is Role.REVERTING:
            crossings = np.count_nonzero(np.diff(np.sign(price - middle)))
            assert crossings >= 8, symbol
            assert abs(price[-1] / opened - 1) < 0.04, symbol


def test_volume_is_u_shaped(tape: GeneratedTape) -> None:
    hours = [0.0] * 7
    for trades in (tape.columns(symbol).trades for symbol in tape.symbols()):
        for hour, shares in enumerate(np.bincount((trades.at - tape.opens_at) // HOUR, trades.size)):
            hours[hour] += shares
    noon = min(hours[2:5])
    assert hours[0] > 2 * noon
    assert hours[6] * 2 > 2 * noon  # the last one is half an hour


def test_minute_bars_hold_every_share_but_those_of_minutes_with_odd_lots_only(whole: list[TapeEvent]) -> None:
    trades = [e for e in whole if isinstance(e, TradeTick)]
    priced = {(t.symbol, t.at // MINUTE) for t in trades if t.flags & Counts.LAST}
    expected = sum(t.size for t in trades if (t.symbol, t.at // MINUTE) in priced)
    assert sum(b.volume for b in bars_of(trades)) == expected


def test_everybody_has_a_quote_in_the_last_second_of_a_minute_unless_halted(tape: GeneratedTape) -> None:
    for symbol in tape.symbols():
        minutes = tape.session.minutes
        end = tape.opens_at + np.arange(1, minutes + 1) * MINUTE
        at = tape.columns(symbol).quotes.at
        fresh = np.searchsorted(at, end) - np.searchsorted(at, end - SECOND)
        paused = sum(b - a for a, b in tape.profiles[symbol].halts) * minutes
        assert np.count_nonzero(fresh == 0) <= paused + 6, symbol


def test_everybody_is_quoted_from_09_15_and_at_the_open(tape: GeneratedTape) -> None:
    known = {e.symbol for e in tape.events(0, tape.opens_at - 15 * MINUTE + SECOND)}
    assert known == set(tape.symbols())
    fresh = {e.symbol for e in tape.events(tape.opens_at, tape.opens_at + 1000_000)}
    assert fresh == set(tape.symbols())


def test_a_generated_day_does_not_change_between_versions_of_this_program() -> None:
    # A digest of this program's own output: it says that something changed, not that it is right. Whoever
    # changes the generator on purpose writes the new one here.
    tape = GeneratedTape(DAY, 1, 10, 12_000)
    found = hashlib.sha256(b"".join(map(msgspec.msgpack.encode, tape.events(0, FOR_EVER)))).hexdigest()
    assert found[:16] == "cdb9c6945267dd0c"


def test_other_seeds_and_days_give_other_sessions() -> None:
    first = [list(small(seed, day, 2).events(0, FOR_EVER)) for seed, day in ((1, DAY), (2, DAY), (1, HALF_DAY))]
    assert first[0] != first[1]
    assert first[0] != first[2]


def test_naming_some_symbols_does_not_change_them() -> None:
    every = small(5, symbols=12)
    name = every.symbols()[4]
    some = GeneratedTape(DAY, 5, 12, 36_000, only=[name.lower()])
    assert some.symbols() == (name,)
    assert list(some.events(0, FOR_EVER)) == [e for e in every.events(0, FOR_EVER) if e.symbol == name]


def test_tickers_are_invented_distinct_and_four_letters_long() -> None:
    names = tickers(MOST_SYMBOLS)
    assert len(set(names)) == MOST_SYMBOLS
    assert all(len(n) == 4 and n.isalpha() and n.isupper() for n in names)
    assert set(tickers(10)) < set(tickers(200))


def test_assets_say_that_they_are_generated(tape: GeneratedTape) -> None:
    assets = tape.assets()
    assert [a.symbol for a in assets] == sorted(tape.symbols())
    assert all(a.name == f"{a.symbol} (generated)" and a.exchange in ("NYSE", "NASDAQ") for a in assets)
    assert 0 < sum(not a.shortable for a in assets) < 20
    assert "generated from seed 7" in tape.notes()[0]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"day": date(2024, 3, 10)}, "closed on 2024-03-10"),
        ({"seed": -1}, "from 0, not -1"),
        ({"symbols": 0}, "1 to 900 symbols, not 0"),
        ({"symbols": 901, "events_limit": 10**6}, "1 to 900 symbols, not 901"),
        ({"events_limit": 1_000}, "at least 120000, not 1000"),
        ({"only": ["IBM"]}, "holds nothing for IBM"),
    ],
    ids=str,
)
def test_what_cannot_be_generated_is_refused_in_one_sentence(arguments: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        GeneratedTape(**{"day": DAY, **arguments})  # type: ignore[arg-type]


@few
@given(seeds, st.integers(1, 4))
def test_a_session_that_follows_others_opens_from_their_last_prices_and_has_them_as_history(
    seed: int, age: int
) -> None:
    every = [session.day for session in previous_sessions(DAY, age)]
    first = GeneratedTape(every[0], seed, 3, events_limit=9_000)
    played = GeneratedTape(DAY, seed, 3, events_limit=9_000, since=every[0])
    assert [a.symbol for a in played.assets()] == [a.symbol for a in first.assets()]
    assert [(a.exchange, a.shortable) for a in played.assets()] == [(a.exchange, a.shortable) for a in first.assets()]
    yesterday = GeneratedTape(every[-1], seed, 3, events_limit=9_000, since=every[0])
    for symbol in played.symbols():
        trades = [e for e in yesterday.events(yesterday.opens_at, yesterday.closes_at) if isinstance(e, TradeTick)]
        last = [t.price for t in trades if t.symbol == symbol and t.flags & Counts.LAST][-1]
        history = played.daily_bars(symbol, date(2020, 1, 1), DAY)
        assert history[-1].close == last
        assert played.profiles[symbol].previous_close == round(last * 100)
        assert list(history[:-age]) == list(first.daily_bars(symbol, date(2020, 1, 1), DAY))
        assert [b.opened_at for b in history] == sorted({b.opened_at for b in history})
        minutes = played.minute_bars(symbol, yesterday.opens_at, yesterday.closes_at)
        assert (minutes[-1].close, sum(b.volume for b in minutes)) == (last, history[-1].volume)
    at_hand = GeneratedTape(DAY, seed, 3, events_limit=9_000, since=every[0], yesterday=yesterday)
    assert list(at_hand.events(0, 2**62)) == list(played.events(0, 2**62))
    assert [at_hand.history(s, MINUTE) for s in played.symbols()] == [
        played.history(s, MINUTE) for s in played.symbols()
    ]
