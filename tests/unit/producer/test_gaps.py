"""Which symbols have a hole, and when that is told."""

from __future__ import annotations

from liualgotrader.common.events import Gap
from liualgotrader.producer.gaps import Gaps


def test_after_a_loss_everything_followed_is_told_once() -> None:
    gaps = Gaps()
    gaps.lost(5)
    gaps.lost(7)
    assert gaps.due
    carried = frozenset({"A", "B"})
    assert gaps.tell(9, {"B", "A"}, carried) == [Gap("A", 9, 5), Gap("B", 9, 5)]
    assert not gaps.due and gaps.tell(10, {"B", "A"}, carried) == []


def test_a_new_symbol_has_a_gap_only_if_the_vendor_refused_it_at_first() -> None:
    gaps = Gaps()
    gaps.asked(["A", "B"], 3)
    assert gaps.tell(4, {"A", "B"}, frozenset({"A"})) == []
    gaps.freed()
    assert gaps.due
    assert gaps.tell(9, {"A", "B"}, frozenset({"B"})) == [Gap("B", 9, 3)]
    gaps.freed()
    assert not gaps.due


def test_a_symbol_whose_history_is_known_already_has_a_gap_once_it_is_carried() -> None:
    gaps = Gaps()
    gaps.begun(["A"], 3)
    assert gaps.tell(4, {"A"}, frozenset()) == []
    assert gaps.tell(6, {"A"}, frozenset({"A"})) == [Gap("A", 6, 3)]
