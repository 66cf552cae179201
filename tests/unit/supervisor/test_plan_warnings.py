"""A plan that can be traded and will surprise gets a sentence; one that is as it should be gets none."""

from __future__ import annotations

from typing import Any

import pytest

from liualgotrader.common.clock import MINUTE
from liualgotrader.common.session_plan import Hours
from liualgotrader.common.tradeplan import Limits, TradePlan
from liualgotrader.supervisor.plan_inspection import (
    PlanFacts,
    ScannerFacts,
    StrategyFacts,
    warnings_about,
    warnings_about_hours,
)

DAY = StrategyFacts("Day", run_all=False, day_trade=True)
SWING = StrategyFacts("Swing", run_all=False, day_trade=False)
ROTATION = StrategyFacts("Rotation", run_all=True, day_trade=True)
ALL = ScannerFacts("momentum")


def plan(**more: Any) -> TradePlan:
    return TradePlan(
        **{"scanners": {"momentum": {"from_market_open": 15}}, "strategies": {"Day": {}, "Swing": {}}, **more}
    )


def hours(minutes: int, *, bypass: bool = False) -> Hours:
    return Hours("2024-06-03", 0, minutes * MINUTE, 0, minutes * MINUTE, bypass=bypass)


def test_a_plan_as_it_should_be_raises_no_doubt() -> None:
    found = PlanFacts((DAY, SWING), (ALL,))
    assert warnings_about(plan(), found) == []
    assert warnings_about_hours(plan(), found, hours(390)) == []


def test_strategies_that_nothing_is_picked_for_are_named() -> None:
    (doubt,) = warnings_about(plan(scanners={}), PlanFacts((DAY, SWING, ROTATION)))
    assert doubt.startswith(
        "no scanner is configured, so nothing is picked: Day and Swing will be called for positions"
    )
    assert warnings_about(plan(scanners={}), PlanFacts((ROTATION,))) == []
    (doubt,) = warnings_about(plan(), PlanFacts((DAY, SWING), (ScannerFacts("momentum", "Day"),)))
    assert doubt == "no scanner picks for strategy Swing: every one has another `target_strategy_name`"


def test_a_target_that_a_scanner_says_itself_and_that_is_no_strategy_is_told() -> None:
    doubts = warnings_about(plan(), PlanFacts((DAY,), (ScannerFacts("W", "Dya"), ALL)))
    assert doubts == ["scanner W picks for 'Dya', which is not a strategy of the plan; did you mean `Day`?"]


def test_places_that_a_replay_cannot_repeat_and_odd_values_are_told() -> None:
    odd = StrategyFacts("Day", run_all=False, day_trade=True, notes=("x.py:3 uses time.time",), doubts=("odd",))
    broken = StrategyFacts("Swing", run_all=False, broken="[strategies.Swing] no")
    assert warnings_about(plan(), PlanFacts((odd, broken), (ALL,))) == [
        "strategy Day: x.py:3 uses time.time, or a replay of the session may differ",
        "odd",
    ]


def test_a_session_shorter_than_the_time_to_liquidate_is_one_sentence() -> None:
    (doubt,) = warnings_about_hours(plan(), PlanFacts((DAY, SWING), (ALL,)), hours(10))
    assert "the session lasts 10 minutes" in doubt
    assert "so Day will open nothing" in doubt
    assert warnings_about_hours(plan(), PlanFacts((DAY,), (ALL,)), hours(10, bypass=True)) == []


@pytest.mark.parametrize(("start", "told"), [(14, 0), (15, 1)])
def test_a_window_after_the_last_entry_is_told(start: int, told: int) -> None:
    late = plan(strategies={"Day": {"schedule": [{"start": start, "duration": 9}]}}, scanners={})
    assert len(warnings_about_hours(late, PlanFacts((DAY,)), hours(30))) == told


def test_a_momentum_scanner_that_begins_after_the_close_is_told() -> None:
    (doubt,) = warnings_about_hours(plan(), PlanFacts((SWING,), (ALL,)), hours(15))
    assert "the momentum scanner will pick nothing" in doubt


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"from_market_open": 0}, 1),
        ({"from_market_open": 0, "recurrence": 5}, 0),
        ({"from_market_open": 1}, 0),
        ({"filename": "momentum.py", "from_market_open": 0}, 0),
    ],
)
def test_a_momentum_scanner_that_runs_once_before_anything_has_traded_is_told(
    values: dict[str, Any], told: int
) -> None:
    doubts = warnings_about(plan(scanners={"momentum": values}), PlanFacts((SWING,), (ALL,)))
    assert [d.startswith("the momentum scanner runs once, at the open") for d in doubts] == [True] * told


def test_a_limit_that_was_meant_as_a_percentage_is_told() -> None:
    (doubt,) = warnings_about(
        plan(limits=Limits(order_equity_fraction=50, gross_equity_fraction=4)), PlanFacts((), (ALL,))
    )
    assert doubt == "[limits] `order_equity_fraction` is 50, 5000% of equity: 50 % is written 0.5"
