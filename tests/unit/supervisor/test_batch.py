"""Who runs where."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liualgotrader.common.errors import ConfigError
from liualgotrader.supervisor.batch import lay_out, stored_layout
from liualgotrader.supervisor.plan_inspection import StrategyFacts


def facts(*names: str) -> list[StrategyFacts]:
    """Return facts; a name in capitals is a `run_all` strategy."""
    return [StrategyFacts(n, n.isupper()) for n in names]


@pytest.mark.parity(23)
def test_each_strategy_has_a_slot_in_every_consumer_and_run_all_only_one() -> None:
    layout = lay_out(facts("a", "ALL", "b"), 2)
    assert [(p.slot, p.strategy, p.consumer) for p in layout.places] == [
        (1, "a", 0),
        (2, "a", 1),
        (3, "ALL", 0),
        (4, "b", 0),
        (5, "b", 1),
    ]


def test_run_all_strategies_go_where_the_fewest_are() -> None:
    layout = lay_out(facts("A", "B", "C", "D"), 3)
    assert [p.consumer for p in layout.places] == [0, 1, 2, 0]


@given(st.lists(st.sampled_from(["a", "b", "C", "D", "E"]), unique=True, min_size=1), st.integers(1, 6))
def test_slots_are_numbered_without_holes_and_run_all_is_unique(names: Any, consumers: Any) -> None:
    layout = lay_out(facts(*names), consumers)
    assert [p.slot for p in layout.places] == list(range(1, len(layout.places) + 1))
    for name in names:
        homes = [p.consumer for p in layout.places if p.strategy == name]
        assert len(homes) == (1 if name.isupper() else consumers)
        assert len(set(homes)) == len(homes)


def test_a_stored_layout_comes_back_and_fits_only_the_same_strategies() -> None:
    layout = lay_out(facts("a", "B"), 2)
    assert stored_layout(layout.as_dict(), facts("B", "a"), "x") == layout
    with pytest.raises(ConfigError, match="the unfinished batch x was made with the strategies a, B"):
        stored_layout(layout.as_dict(), facts("a"), "x")


def test_a_strategy_with_a_process_of_its_own_has_a_consumer_after_those_that_share() -> None:
    found = [StrategyFacts("a", False), StrategyFacts("alone", False, own_process=True), StrategyFacts("b", False)]
    layout = lay_out([*found, StrategyFacts("ALL", True, own_process=True), StrategyFacts("HOME", True)], 2)
    where = {name: [p.consumer for p in layout.places if p.strategy == name] for name in layout.strategies()}
    assert where == {"a": [0, 1], "alone": [2], "b": [0, 1], "ALL": [3], "HOME": [0]}
    assert layout.consumers == 4 and [p.slot for p in layout.places] == list(range(1, 8))


def test_if_every_strategy_has_a_process_of_its_own_there_are_no_other_consumers() -> None:
    layout = lay_out([StrategyFacts(name, False, own_process=True) for name in ("a", "b")], 4)
    assert [p.consumer for p in layout.places] == [0, 1] and layout.consumers == 2


def test_a_strategy_that_joins_gets_new_slots_in_the_consumers_that_there_are() -> None:
    layout = lay_out([*facts("a", "ALL"), StrategyFacts("alone", False, own_process=True)], 2)
    with_two = layout.joined_by(StrategyFacts("late", False), "plan-1").joined_by(StrategyFacts("LATE", True), "plan-2")
    assert with_two.places[:4] == layout.places and with_two.consumers == 3
    assert [(p.slot, p.strategy, p.consumer, p.trade_plan) for p in with_two.places[4:]] == [
        (5, "late", 0, "plan-1"),
        (6, "late", 1, "plan-1"),
        (7, "LATE", 1, "plan-2"),  # ALL lives in the first
    ]
    alone = lay_out([StrategyFacts("alone", False, own_process=True)], 2).joined_by(StrategyFacts("b", False), "x")
    assert [(p.slot, p.consumer, p.own_process) for p in alone.places] == [(1, 0, True), (2, 0, True)]


def test_what_came_from_the_database_does_not_bind_the_tradeplan_that_takes_a_batch_up() -> None:
    layout = lay_out(facts("a"), 1).joined_by(StrategyFacts("late", False), "plan-1")
    assert stored_layout(layout.as_dict(), facts("a"), "x") == layout
