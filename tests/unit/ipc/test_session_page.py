"""The page of memory that all processes of a session see."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liualgotrader.common.clock import NEVER, SECOND
from liualgotrader.ipc.session_page import Anchor, Cell, Life, SessionPage, cell_symbol, symbol_cell


@pytest.fixture
def page(tmp_path: Path) -> SessionPage:
    made = SessionPage.create(tmp_path / "page", ["producer", "consumer-0"], ["picks", "market-0"])
    for process in range(2):
        made.put(process, Cell.LIFE, Life.READY)
        made.put(process, Cell.DEADLINE, NEVER)
    return made


def test_a_second_mapping_sees_what_the_first_wrote(page: SessionPage) -> None:
    other = SessionPage(page.path)
    page.put(1, Cell.PID, 4711)
    page.set_sent(other.link("market-0"), 7)
    assert (other.processes, other.links) == (("producer", "consumer-0"), ("picks", "market-0"))
    assert (other.get(1, Cell.PID), other.sent(1), other.handled(1)) == (4711, 7, 0)
    other.close()


def test_names_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="1000 processes and 0 links do not fit"):
        SessionPage.create(tmp_path / "page", [f"process-{i}" for i in range(1000)], [])


def test_before_the_market_states_its_time_there_is_none(page: SessionPage) -> None:
    assert page.anchor() is None
    assert page.passed_at(1) == NEVER


def test_market_time_runs_at_the_stated_speed(page: SessionPage) -> None:
    page.set_anchor(1000 * SECOND, 50 * SECOND, 2.5)
    anchor = page.anchor()
    assert anchor is not None
    assert anchor.market(54 * SECOND) == 1010 * SECOND  # 4 s at 2.5
    assert Anchor(1000, 50, 0.0).market(10**12) == 1000, "at speed 0 the market stands"


def test_the_page_remembers_when_the_market_passed_an_instant(page: SessionPage) -> None:
    page.set_anchor(100, 1000, 0.0)
    page.set_anchor(200, 1500, 0.0)
    page.set_anchor(300, 1700, 2.0)
    assert [page.passed_at(at) for at in (99, 100, 101, 200, 300, 310)] == [1000, 1000, 1500, 1500, 1700, 1705]


def test_an_instant_ahead_of_a_standing_market_is_never(page: SessionPage) -> None:
    page.set_anchor(100, 1000, 0.0)
    assert page.passed_at(101) == NEVER


def test_an_instant_older_than_the_page_remembers_gives_the_oldest_it_remembers(page: SessionPage) -> None:
    for quantum in range(200):
        page.set_anchor(quantum * 10, 5000 + quantum, 0.0)
    assert page.passed_at(0) == 5000 + 200 - 63
    assert page.passed_at(1985) == 5199


def test_a_reader_never_sees_half_an_anchor(page: SessionPage) -> None:
    other = SessionPage(page.path)
    stop = threading.Event()

    def write() -> None:
        count = 0
        while not stop.is_set():
            page.set_anchor(count * 10, count, 0.0)
            count += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(20_000):
            anchor = other.anchor(back=30)
            assert anchor is None or anchor.market0 == anchor.machine0 * 10
    finally:
        stop.set()
        writer.join()
    other.close()


def test_a_writer_that_died_half_way_stops_no_reader(page: SessionPage) -> None:
    page.set_anchor(100, 1000, 1.0)
    page._cells[16 + 3] = 999  # the next anchor, begun and not counted
    anchor = page.anchor()
    assert anchor == Anchor(100, 1000, 1.0)


@pytest.mark.parametrize(
    ("cell", "value", "reason"),
    [
        (Cell.LIFE, Life.DOWN, "consumer-0 is not up"),
        (Cell.BUSY, 1, "consumer-0 is busy"),
        (Cell.DEADLINE, 500, "consumer-0 has a timer to serve"),
        (Cell.FEED_SENT, 1, "consumer-0 has market data to take"),
        (Cell.UPDATES_SENT, 1, "consumer-0 has order updates to take"),
    ],
)
def test_the_market_waits_for_each_kind_of_work(page: SessionPage, cell: Cell, value: int, reason: str) -> None:
    assert page.under_way(500) == []
    page.put(1, cell, value)
    assert page.under_way(500) == [reason]
    page.put(1, Cell.LIFE, Life.FINISHED)
    assert page.under_way(500) == [], "who ended on purpose is not waited for"


def test_a_deadline_ahead_of_the_market_holds_nothing(page: SessionPage) -> None:
    page.put(0, Cell.DEADLINE, 501)
    assert page.under_way(500) == []


def test_a_message_that_is_not_handled_holds_the_market(page: SessionPage) -> None:
    page.set_sent(0, 3)
    page.set_handled(0, 2)
    assert page.under_way(0) == ["link picks is not empty"]


def test_all_is_quiet_only_if_nothing_moved_between_two_looks(page: SessionPage) -> None:
    """A message that was sent, handled and answered by busy work between the looks is seen by its count."""
    looks = 0
    reasons = page._reasons

    def work_meanwhile(cells: list[int], market: int) -> list[str]:
        nonlocal looks
        looks += 1
        if looks == 1:
            page.set_sent(0, 1)
            page.set_handled(0, 1)
        return reasons(cells, market)

    page._reasons = work_meanwhile  # type: ignore[method-assign]
    assert page.under_way(0) == ["work is on its way"]
    assert page.under_way(0) == []


def test_a_loop_that_only_beats_is_quiet(page: SessionPage) -> None:
    reasons = page._reasons

    def beat_meanwhile(cells: list[int], market: int) -> list[str]:
        page.put(1, Cell.BEAT, page.get(1, Cell.BEAT) + 1)
        return reasons(cells, market)

    page._reasons = beat_meanwhile  # type: ignore[method-assign]
    assert page.under_way(0) == []


def test_work_shows_whoever_gets_on_and_no_beats(page: SessionPage) -> None:
    before = page.work()
    for process in range(len(page.processes)):
        page.put(process, Cell.BEAT, 5)
    assert page.work() == before
    page.put(len(page.processes) - 1, Cell.ACTING, 1)
    changed = page.work()
    assert changed != before
    page.set_handled(0, 1)
    assert page.work() != changed


@given(st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ.", min_size=1, max_size=8))
def test_a_symbol_comes_back_from_its_cell(symbol: str) -> None:
    assert cell_symbol(symbol_cell(symbol)) == symbol


_CELLS = (Cell.LIFE, Cell.BUSY, Cell.DEADLINE, Cell.FEED_SENT, Cell.FEED_HANDLED, Cell.UPDATES_SENT)
_CHANGES = st.lists(st.tuples(st.integers(0, 1), st.sampled_from(_CELLS), st.integers(0, 3), st.integers(0, 3)))


@given(changes=_CHANGES)
def test_a_page_that_remembers_a_quiet_moment_says_what_a_fresh_look_says(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, Cell, int, int]]
) -> None:
    """Whatever changes, and wherever the market goes meanwhile."""
    path = tmp_path_factory.mktemp("page") / "page"
    old = SessionPage.create(path, ["producer", "consumer-0"], ["picks"])
    for process, cell, value, market in changes:
        old.put(process, cell, value)
        fresh = SessionPage(path)
        assert old.under_way(market) == fresh.under_way(market)
        fresh.close()
    old.close()
