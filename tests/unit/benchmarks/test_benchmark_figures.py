"""What a run is judged by, and how the ceiling is searched for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.figures import Run, Search, Sent, judge, medians, ratios


def sent(events: int = 300, planned: int = 300, seconds: float = 1.0) -> Sent:
    return Sent(events, planned, seconds, 1.0, 0.0, 0.0)


def run(microseconds: list[float], feed: Sent | None = None, **facts: object) -> Run:
    taken = [np.array(microseconds) * 1000]
    named = {"side": "bare", "purpose": "latency", "repeat": 0, "offered": 300, "other_cores": 0.0, **facts}
    return judge(taken, feed or sent(len(microseconds), len(microseconds)), {"producer": 0.0003}, **named)


def test_percentiles_are_of_all_events_and_in_microseconds() -> None:
    found = run([float(n) for n in range(1, 1002)])
    assert (found.p50_us, found.p99_us, found.p999_us, found.max_us) == (501.0, 991.0, 1000.0, 1001.0)


def test_cpu_is_told_per_event_sent() -> None:
    assert run([100.0] * 300).cpu_us_an_event == {"producer": 1.0}


def test_a_run_in_time_with_every_event_handled_is_kept() -> None:
    assert run([100.0] * 300).kept


def test_one_event_that_was_not_handled_loses_the_run() -> None:
    assert not run([100.0] * 299, sent(300, 300)).kept


def test_a_server_that_needs_three_percent_longer_than_planned_and_more_loses_the_run() -> None:
    assert run([100.0] * 300, sent(seconds=1.04)).kept
    assert not run([100.0] * 300, sent(seconds=1.06)).kept


def test_a_server_that_gave_up_loses_the_run() -> None:
    assert not run([100.0] * 200, sent(events=200)).kept


def test_a_backlog_at_the_end_loses_the_run_and_one_at_the_beginning_does_not() -> None:
    assert not run([100.0] * 200 + [60_000.0] * 100).kept
    assert run([60_000.0] * 100 + [100.0] * 200).kept


def test_a_run_in_which_nothing_arrived_is_lost() -> None:
    found = judge([], sent(), {}, side="bare", purpose="latency", repeat=0, offered=300, other_cores=0.0)
    assert (found.handled, found.kept) == (0, False)


def searched(true_ceiling: int, first: int, resolution: float) -> tuple[int, int]:
    search, probes = Search(first, resolution), 0
    while (rate := search.next()) is not None:
        search.tell(kept=rate <= true_ceiling)
        probes += 1
    return search.ceiling, probes


@given(st.integers(1_500, 5_000_000), st.integers(1_000, 3_000_000))
def test_the_search_ends_within_its_resolution_below_the_true_ceiling(true_ceiling: int, first: int) -> None:
    found, probes = searched(true_ceiling, first, 0.1)
    assert found <= true_ceiling <= found * 1.11
    assert probes <= 60


def test_nothing_is_found_where_not_even_a_thousand_events_a_second_are_kept() -> None:
    assert searched(10, 400_000, 0.1)[0] == 0


def test_one_lost_run_is_tried_again_before_it_counts() -> None:
    search = Search(1000, 0.5)
    search.tell(kept=False)
    assert search.next() == 1000
    search.tell(kept=True)
    assert search.next() == 2000


def test_medians_and_ratios_compare_runs_of_the_same_repeat() -> None:
    runs = [
        run([value], side=side, repeat=repeat)
        for side, values in (("bare", (100.0, 200.0, 50.0)), ("product", (150.0, 800.0, 100.0)))
        for repeat, value in enumerate(values)
    ]
    ceilings = {"bare": [1000, 800, 900], "product": [500, 480, 900]}
    middle = medians(runs, ceilings)
    assert (middle["bare"]["ceiling"], middle["product"]["at_300"]["p50_us"]) == (900, 150.0)
    assert middle["bare"]["at_300"]["cpu_us"] == {"producer": 300.0}
    found = ratios(runs, ceilings)
    assert found["ceiling"] == {"median": 0.6, "each": [0.5, 0.6, 1.0]}
    assert found["at_300"]["p50_us"] == {"median": 2.0, "each": [1.5, 4.0, 2.0]}


def test_one_side_alone_has_no_ratio() -> None:
    found = ratios([run([100.0])], {"bare": [1000]})
    assert found["ceiling"] == {"median": None, "each": []}
    assert found["at_300"]["p50_us"] == {"median": None, "each": []}


@pytest.mark.parametrize(("events", "seconds", "in_time"), [(300, 1.05, True), (300, 1.051, False), (299, 1.0, False)])
def test_in_time_is_everything_planned_within_two_percent_and_30_ms(events: int, seconds: float, in_time: bool) -> None:
    assert sent(events, 300, seconds).in_time is in_time
