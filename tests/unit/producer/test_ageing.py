"""Until when a symbol is followed."""

from __future__ import annotations

from typing import Any

from liualgotrader.common.clock import MINUTE, NEVER, SECOND
from liualgotrader.common.tradeplan import Timings, TradePlan
from liualgotrader.producer.ageing import Ageing

AT = 1_709_908_200 * SECOND  # 09:30 New York


def ageing(scanners: dict[str, dict[str, Any]], **plan: Any) -> Ageing:
    return Ageing(TradePlan(scanners=scanners, **plan))


def test_a_symbol_not_picked_for_thirty_minutes_is_over() -> None:
    made = ageing({"s": {"recurrence": 5}})
    made.picked("A", "s", AT)
    made.picked("B", "s", AT)
    made.picked("B", "s", AT + 5 * MINUTE)
    assert made.over(AT + 30 * MINUTE - 1) == []
    assert made.over(AT + 30 * MINUTE) == ["A"]
    assert made.over(AT + 35 * MINUTE) == ["A", "B"]
    made.forget("A")
    assert made.over(AT + 35 * MINUTE) == ["B"]


def test_the_span_is_the_tradeplans() -> None:
    made = ageing({"s": {"recurrence": 1}}, timings=Timings(unpick_minutes=3))
    made.picked("A", "s", AT)
    assert made.over(AT + 3 * MINUTE) == ["A"]


def test_the_picks_of_a_scanner_that_runs_once_last_all_day() -> None:
    made = ageing({"once": {}, "often": {"recurrence": 5}})
    made.picked("A", "often", AT)
    made.picked("A", "once", AT)
    made.picked("A", "often", AT)
    assert made.next_review(AT) == NEVER


def test_a_pick_lasts_until_its_scanner_had_time_to_run_again() -> None:
    made = ageing({"hourly": {"recurrence": 60}})
    made.picked("A", "hourly", AT)
    assert made.over(AT + 61 * MINUTE) == []
    assert made.over(AT + 62 * MINUTE) == ["A"]


def test_with_keep_picks_nothing_is_ever_over() -> None:
    made = ageing({"s": {"recurrence": 5}}, keep_picks=True)
    made.picked("A", "s", AT)
    made.needed("B", AT)
    assert made.next_review(AT) == NEVER


def test_that_a_symbol_was_held_changes_nothing_if_it_was_picked_and_is_all_if_it_was_not() -> None:
    made = ageing({"s": {"recurrence": 5}})
    made.picked("A", "s", AT)
    for symbol in ("A", "B"):
        made.needed(symbol, AT + 20 * MINUTE)
    assert made.over(AT + 20 * MINUTE) == ["B"]
    assert made.over(AT + 30 * MINUTE) == ["A", "B"]


def test_reviews_fall_on_half_minutes_after_the_first_symbol_is_over() -> None:
    made = ageing({"s": {"recurrence": 5}})
    made.picked("A", "s", AT)
    assert made.next_review(AT) == AT + 30 * MINUTE + 30 * SECOND
    late = AT + 40 * MINUTE
    assert made.next_review(late) == late + 30 * SECOND
