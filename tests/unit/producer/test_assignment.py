"""A symbol belongs to one consumer for the whole session."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from liualgotrader.producer.assignment import Assignment

symbols = st.lists(st.text("ABCDE", min_size=1, max_size=3), max_size=60)


def test_symbols_go_round_from_the_lowest_consumer() -> None:
    table = Assignment(3, {})
    assert [table.assign(s) for s in ("A", "B", "C", "D", "A")] == [0, 1, 2, 0, 0]


def test_the_consumer_with_the_fewest_symbols_gets_the_next() -> None:
    table = Assignment(3, {"A": 0, "B": 0, "C": 2})
    assert [table.assign(s) for s in ("D", "E", "F")] == [1, 1, 2]
    assert (table.of("A"), table.of("Z"), table.counts()) == (0, None, [2, 2, 2])


@given(symbols, st.integers(1, 5))
def test_consumers_never_differ_by_more_than_one_symbol(picked: list[str], consumers: int) -> None:
    table = Assignment(consumers, {})
    for symbol in picked:
        table.assign(symbol)
    counts = table.counts()
    assert max(counts) - min(counts) <= 1
    assert sum(counts) == len(set(picked))


@given(symbols, st.integers(1, 5), st.integers(0, 60))
def test_a_restart_in_between_changes_nothing(picked: list[str], consumers: int, cut: int) -> None:
    whole = Assignment(consumers, {})
    before = Assignment(consumers, {})
    stored = {symbol: before.assign(symbol) for symbol in picked[:cut]}
    after = Assignment(consumers, stored)
    assert [after.assign(s) for s in picked] == [whole.assign(s) for s in picked]
