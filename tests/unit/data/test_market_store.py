"""The market-data store: what is written is read back, what is complete is known, damage is one sentence."""

from __future__ import annotations

from datetime import date, time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liualgotrader.common.calendar import new_york
from liualgotrader.common.clock import DAY, HOUR, MINUTE, NEVER, SECOND
from liualgotrader.common.errors import ConfigError, OutsideError
from liualgotrader.common.market_columns import BarColumns, QuoteColumns, TradeColumns, take
from liualgotrader.data.market_store import PERIODS, Known, MarketStore, uncovered, with_known
from liualgotrader.tapes.splits import Dividend, Split

OPENS = 1_710_250_200 * SECOND  # 2024-03-12 09:30 New York is 13:30 UTC
MIDNIGHT = new_york(date(2024, 3, 12), time())


def bars(*minutes: int, price: float = 10.0, period: int = MINUTE, symbol: str = "ABC") -> BarColumns:
    at = OPENS - OPENS % period + np.array(minutes, np.int64) * period
    prices = np.arange(len(at), dtype=np.float64) + price
    return BarColumns(
        symbol, at, at + period, prices, prices + 1, prices - 1, prices, prices * 100, prices, np.ones(len(at))
    )


def span(start: int, end: int) -> tuple[int, int]:
    return OPENS + start * MINUTE, OPENS + end * MINUTE


def same(one: object, other: object) -> bool:
    kind = type(one)
    assert type(other) is kind
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in kind.__slots__)  # type: ignore[attr-defined]


@pytest.fixture
def store(tmp_path: Path) -> MarketStore:
    return MarketStore(tmp_path / "market")


@pytest.mark.parametrize("period", PERIODS.values())
def test_bars_of_every_period_are_read_back_as_written(store: MarketStore, period: int) -> None:
    written = bars(0, 1, 5, 400, period=period)
    store.write("abc", period, written, [(0, NEVER - DAY)] if period >= MINUTE else [(OPENS, OPENS + HOUR)], "test")
    assert same(store.read("ABC", period, 0, NEVER), written)
    inner = store.read("abc", period, int(written.opened_at[1]), int(written.opened_at[3]))
    assert same(inner, take(written, slice(1, 3)))


def test_what_is_read_is_a_view_of_the_file_and_cannot_be_changed(store: MarketStore) -> None:
    store.write("ABC", MINUTE, bars(*range(100)), [span(0, 100)], "test")
    close = store.read("ABC", MINUTE, *span(10, 20)).close
    assert not close.flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        close[0] = 1.0


def test_ticks_lie_in_a_file_for_each_day_and_come_back_as_one(store: MarketStore) -> None:
    at = np.array([MIDNIGHT - 1, MIDNIGHT, MIDNIGHT, OPENS], np.int64)
    size = np.array([1.0, 2.0, 3.0, 4.0])
    trades = TradeColumns(at, size + 10, size, np.full(4, 7))
    quotes = QuoteColumns(at, size, size, size + 1, size, np.zeros(4, np.int64))
    complete = [(MIDNIGHT - DAY, MIDNIGHT + DAY)]
    store.write("BTC/USD", 0, trades, complete, "test")
    store.write("BTC/USD", 0, quotes, complete, "test")
    assert same(store.trades("btc/usd", 0, NEVER), trades)
    assert same(store.quotes("BTC/USD", 0, NEVER), quotes)
    assert store.trades("BTC/USD", MIDNIGHT, OPENS).size.tolist() == [2.0, 3.0]
    names = [str(path.relative_to(store.folder)) for path in store.files()]
    assert names == [f"{kind}/BTC_USD/2024-03-{day}.arrow" for kind in ("trades", "quotes") for day in (11, 12)]
    assert store.missing("BTC/USD", "trades", 0, MIDNIGHT - DAY, MIDNIGHT + DAY) == []
    assert store.trades("XYZ", 0, NEVER).at.tolist() == []


def test_rows_of_a_span_replace_those_that_were_there_and_no_others(store: MarketStore) -> None:
    store.write("ABC", MINUTE, bars(0, 1, 2, 3), [span(0, 4)], "first")
    store.write("ABC", MINUTE, bars(2, price=50.0), [span(1, 3)], "second")
    found = store.read("ABC", MINUTE, 0, NEVER)
    assert ((found.opened_at - OPENS) // MINUTE).tolist() == [0, 2, 3]
    assert found.close.tolist() == [10.0, 50.0, 13.0]
    [file] = store.files()
    assert store.open(file).known == [(*span(0, 1), "first"), (*span(1, 3), "second"), (*span(3, 4), "first")]


def test_an_empty_answer_is_known_and_not_missing_any_more(store: MarketStore) -> None:
    assert store.missing("ABC", "bars", MINUTE, *span(0, 10)) == [span(0, 10)]
    store.write("ABC", MINUTE, bars(), [span(2, 5)], "test")
    assert store.missing("ABC", "bars", MINUTE, *span(0, 10)) == [span(0, 2), span(5, 10)]
    assert store.missing("ABC", "bars", DAY, *span(0, 10)) == [span(0, 10)]
    assert len(store.read("ABC", MINUTE, 0, NEVER).open) == 0


def test_rows_that_fall_or_lie_outside_what_they_complete_are_refused(store: MarketStore) -> None:
    for wrong in (bars(2, 1), bars(1, 1), bars(1, 7)):
        with pytest.raises(ValueError, match="do not ascend, or lie outside"):
            store.write("ABC", MINUTE, wrong, [span(0, 5)], "test")


@pytest.mark.parametrize("symbol", ["BRK.B", "BF-B", "BTC/USD", "0700", "CON", "A.B/C-D"])
def test_a_legal_symbol_has_a_file_of_its_own_inside_the_store(store: MarketStore, symbol: str) -> None:
    store.write(symbol.lower(), MINUTE, bars(0, symbol=symbol), [span(0, 1)], "test")
    [path] = store.files()
    assert path.parent == store.folder / "bars/minute"
    assert store.open(path).symbol == store.read(symbol, MINUTE, 0, NEVER).symbol == symbol


@pytest.mark.parametrize("symbol", ["", "..", "../X", "/etc/passwd", "A B", "A_B", "A\0B", ".ABC", "X" * 21, "ÄBC"])
def test_nothing_else_reaches_a_file(store: MarketStore, symbol: str) -> None:
    for act in (
        lambda: store.read(symbol, MINUTE, 0, NEVER),
        lambda: store.trades(symbol, 0, NEVER),
        lambda: store.missing(symbol, "actions", 0, 0, 1),
        lambda: store.write(symbol, MINUTE, bars(0), [span(0, 1)], "test"),
    ):
        with pytest.raises(ConfigError, match="is not a symbol: up to 20 letters"):
            act()
    assert not store.folder.exists()


def test_prices_are_raw_or_those_of_a_day(store: MarketStore) -> None:
    """700 before 7:1 on the 12th are 100; a dividend of 1 on the 13th after a close of 100 takes a hundredth off."""
    store.write("ABC", MINUTE, bars(-DAY // MINUTE, price=700.0), [span(-DAY // MINUTE, 1)], "test")
    thirteenth = Dividend(date(2024, 3, 13), 1.0, 100.0)
    store.write_actions("ABC", [Split(date(2024, 3, 12), 7.0)], [thirteenth], [(0, NEVER)], "test")
    closes = [
        store.read("ABC", MINUTE, 0, NEVER, day).close.tolist()
        for day in (None, date(2024, 3, 11), date(2024, 3, 12), date(2024, 3, 13))
    ]
    assert closes == [[700.0], [700.0], [100.0], [99.0]]
    assert store.missing("ABC", "actions", 0, 0, NEVER) == []
    store.write_actions("ABC", [], [], [(thirteenth.at, thirteenth.at + 1)], "corrected")
    assert store.actions("ABC") == ([Split(date(2024, 3, 12), 7.0)], [])


def test_simulated_data_never_stands_beside_what_happened(store: MarketStore) -> None:
    store.write("ABC", MINUTE, bars(0), [span(0, 1)], "alpaca sip")
    with pytest.raises(ConfigError, match=r"ABC: data of the simulated market .* delete .*ABC\.arrow, or keep"):
        store.write("ABC", MINUTE, bars(2), [span(2, 3)], "simulated")
    assert len(store.read("ABC", MINUTE, 0, NEVER).open) == 1


def test_a_changed_byte_of_a_column_is_found_by_the_checksum(store: MarketStore) -> None:
    store.write("ABC", MINUTE, bars(0, 1), [span(0, 2)], "test")
    [path] = store.files()
    assert store.open(path).is_as_written
    content = path.read_bytes()
    place = content.index(np.float64(11.0).tobytes())
    path.write_bytes(content[: place + 2] + b"\1" + content[place + 3 :])
    assert not store.open(path).is_as_written


@pytest.mark.parametrize("length", [0, 1, 8, 100, 1000, -1, -8, -50])
def test_a_truncated_file_is_one_sentence_with_symbol_file_and_what_to_do(store: MarketStore, length: int) -> None:
    store.write("ABC", MINUTE, bars(*range(50)), [span(0, 50)], "test")
    [path] = store.files()
    path.write_bytes(path.read_bytes()[:length])
    for act in (
        lambda: store.read("ABC", MINUTE, 0, NEVER),
        lambda: store.write("ABC", MINUTE, bars(0), [span(0, 1)], "test"),
    ):
        with pytest.raises(
            OutsideError, match=rf"^ABC: {path} is damaged \(.*\): delete it, and import or fetch ABC again\.$"
        ):
            act()


@pytest.mark.parametrize("content", [b"", b"{", b'{"splits": [["soon", 7]]}', b"\xff"])
def test_damaged_splits_are_the_same_sentence(store: MarketStore, content: bytes) -> None:
    (store.folder / "actions").mkdir(parents=True)
    (store.folder / "actions/ABC.json").write_bytes(content)
    with pytest.raises(OutsideError, match=r"ABC: .*ABC\.json is damaged"):
        store.actions("ABC")


def test_a_disk_that_does_not_take_it_is_one_sentence_and_what_was_there_stays(store: MarketStore) -> None:
    store.write("ABC", MINUTE, bars(0), [span(0, 1)], "test")
    (store.folder / "bars/minute/ABC.new").mkdir()
    with pytest.raises(OutsideError, match=r"ABC\.arrow cannot be written \(Is a directory\): what was there stays"):
        store.write("ABC", MINUTE, bars(1), [span(1, 2)], "test")
    assert len(store.read("ABC", MINUTE, 0, NEVER).open) == 1


# --- for all inputs ---------------------------------------------------------------------------------------

spans = st.tuples(st.integers(0, 30), st.integers(0, 30)).filter(lambda s: s[0] < s[1])
sources = st.sampled_from(["a", "b"])


@given(spans, st.lists(st.tuples(spans, sources), max_size=6))
def test_uncovered_is_what_no_known_span_holds(
    whole: tuple[int, int], known: list[tuple[tuple[int, int], str]]
) -> None:
    held = {at for (start, end), _ in known for at in range(start, end)}
    found = uncovered(whole, [(*one, source) for one, source in known])
    assert [at for start, end in found for at in range(start, end)] == sorted(set(range(*whole)) - held)
    assert all(one[1] < other[0] for one, other in pairwise(found))


@given(st.lists(st.tuples(st.lists(spans, min_size=1, max_size=3), sources), max_size=6))
def test_the_last_source_of_an_instant_is_the_one_that_is_known(steps: list[tuple[list[tuple[int, int]], str]]) -> None:
    known: list[Known] = []
    expected: dict[int, str] = {}
    for complete, source in steps:
        known = with_known(known, complete, source)
        expected |= {at: source for start, end in complete for at in range(start, end)}
    assert {at: source for start, end, source in known for at in range(start, end)} == expected
    assert known == sorted(known)
    assert all(one[1] < other[0] or one[2] != other[2] for one, other in pairwise(known))


@given(st.lists(st.tuples(spans, st.sets(st.integers(0, 29)), st.integers(1, 1000)), min_size=1, max_size=5))
def test_any_order_of_writes_leaves_the_newest_rows_of_every_span(
    tmp_path_factory: pytest.TempPathFactory, writes: list[tuple[tuple[int, int], set[int], int]]
) -> None:
    store = MarketStore(tmp_path_factory.mktemp("store"))
    expected: dict[int, float] = {}
    for (start, end), minutes, price in writes:
        inside = sorted(m for m in minutes if start <= m < end)
        written = bars(*inside, price=float(price))
        store.write("ABC", MINUTE, written, [span(start, end)], "test")
        expected = {m: close for m, close in expected.items() if not start <= m < end}
        expected |= dict(zip(inside, written.close.tolist(), strict=True))
    found = store.read("ABC", MINUTE, 0, NEVER)
    assert dict(zip(((found.opened_at - OPENS) // MINUTE).tolist(), found.close.tolist(), strict=True)) == expected
    assert np.all(np.diff(found.opened_at) > 0)
