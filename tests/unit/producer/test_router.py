"""Which consumer gets which event."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liualgotrader.common.clock import MILLISECOND
from liualgotrader.common.events import Bar, Counts, FeedEvent, Needs, Pick, Quote, Rejected, Status, TradeTick, Unpick
from liualgotrader.common.session_plan import SlotPlan
from liualgotrader.producer.router import Assignment, EventOutbox, Router, Sampler, next_sample

SHARDED = (SlotPlan(0, "Alpha", 0, 1), SlotPlan(1, "Alpha", 1, 2))
ROTATION = SlotPlan(2, "Rotation", 1, 3, run_all=True)


def router(slots: Sequence[SlotPlan], consumers: int = 2, tick_homes: Sequence[str] = ()) -> Router:
    return Router(slots, [EventOutbox(1) for _ in range(consumers)], Assignment(consumers, {}), tick_homes)


def got(made: Router) -> list[list[FeedEvent]]:
    return [list(outbox.waiting) for outbox in made.outboxes]


def t(symbol: str, at: int) -> TradeTick:
    return TradeTick(symbol, at, 1.0, 1.0)


def q(symbol: str, at: int) -> Quote:
    return Quote(symbol, at, 1.0, 1.0, 2.0, 1.0)


def b(symbol: str, at: int) -> Bar:
    return Bar(symbol, at, at + 60, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1)


@pytest.mark.parity(14)
def test_a_symbol_goes_whole_to_its_consumer_and_to_no_other() -> None:
    made = router(SHARDED)
    picks = [Pick("A", 1, "s"), Pick("B", 1, "s")]
    for pick in picks:
        made.accept(pick)
    made.dispatch([t("A", 2), q("B", 3), b("A", 4), t("Z", 5)])
    assert got(made) == [[picks[0], t("A", 2), b("A", 4)], [picks[1], q("B", 3)]]
    assert made.unrouted == 1
    assert made.symbols == {"A", "B"}


def test_a_pick_for_all_reaches_the_run_all_home_too_which_gets_bars_and_samples() -> None:
    made = router((*SHARDED, ROTATION))
    pick = Pick("A", 1, "s")
    made.accept(pick)  # consumer 0 has it; the home is consumer 1
    halt = Status("A", 6, True, "H")
    made.dispatch([t("A", 2), q("A", 3), t("A", 4), b("A", 5), halt])
    assert got(made)[0] == [pick, t("A", 2), q("A", 3), t("A", 4), b("A", 5), halt]
    at_home = Pick("A", 1, "s", "Rotation")  # the per-symbol strategies there leave the symbol to consumer 0
    assert got(made)[1] == [at_home, b("A", 5), halt]
    assert made.samples_wait
    made.sample()
    assert sorted(got(made)[1][3:], key=lambda e: e.at) == [q("A", 3), t("A", 4)]
    assert not made.samples_wait
    made.sample()
    assert len(got(made)[1]) == 5, "what did not change is not sent again"


def test_a_home_that_has_the_symbol_anyway_gets_nothing_twice() -> None:
    made = router((*SHARDED, ROTATION))
    made.accept(Pick("A", 1, "s"))
    made.accept(Pick("B", 1, "s"))  # assigned to the home itself
    made.dispatch([t("B", 2)])
    made.sample()
    assert got(made)[1] == [Pick("A", 1, "s", "Rotation"), Pick("B", 1, "s"), t("B", 2)]


def test_a_pick_for_a_run_all_strategy_alone_takes_no_place_in_the_table() -> None:
    made = router((*SHARDED, ROTATION))
    pick = Pick("A", 1, "s", "Rotation")
    assert not made.needs_consumer(pick.strategy)
    made.accept(pick)
    made.dispatch([b("A", 2), t("A", 3)])
    assert got(made) == [[], [pick, b("A", 2)]]


def test_a_pick_for_a_per_symbol_strategy_does_not_reach_the_home() -> None:
    made = router((*SHARDED, ROTATION))
    made.accept(Pick("A", 1, "s", "Alpha"))
    made.dispatch([b("A", 2)])
    assert got(made) == [[Pick("A", 1, "s", "Alpha"), b("A", 2)], []]


def test_a_run_all_strategy_may_ask_for_every_tick_at_home() -> None:
    made = router((*SHARDED, ROTATION), tick_homes=["Rotation"])
    made.accept(Pick("A", 1, "s", "Rotation"))
    made.dispatch([t("A", 2), t("A", 3)])
    assert got(made)[1] == [Pick("A", 1, "s", "Rotation"), t("A", 2), t("A", 3)]


def test_with_run_all_strategies_only_no_symbol_needs_a_consumer() -> None:
    made = router((ROTATION,))
    assert not made.needs_consumer("")
    made.accept(Pick("A", 1, "s"))
    assert got(made) == [[], [Pick("A", 1, "s", "Rotation")]]


def test_a_symbol_picked_again_for_another_strategy_is_told_and_routed_once() -> None:
    made = router(SHARDED)
    first, second = Pick("A", 1, "s", "Alpha"), Pick("A", 2, "s2")
    made.accept(first)
    assert made.is_known(Pick("A", 9, "other", "Alpha"))
    assert not made.is_known(second)
    made.accept(second)
    made.dispatch([t("A", 3)])
    assert got(made)[0] == [first, second, t("A", 3)]


def test_a_symbol_let_go_is_told_to_everybody_who_had_it() -> None:
    made = router((*SHARDED, ROTATION))
    made.accept(Pick("A", 1, "s"))
    made.let_go("A", 5)
    made.let_go("A", 6)
    made.dispatch([t("A", 7)])
    assert [events[-1] for events in got(made)] == [Unpick("A", 5)] * 2
    assert (made.unrouted, made.symbols) == (1, set())
    assert not made.is_known(Pick("A", 1, "s"))


def test_a_needed_symbol_is_routed_to_its_consumer_without_any_pick() -> None:
    made = router(SHARDED)
    assert made.need(1, Needs({1: ["X"]})) == []
    made.dispatch([t("X", 2)])
    assert got(made) == [[], [t("X", 2)]]
    assert made.symbols == {"X"}


def test_a_home_gets_what_it_holds_as_bars_and_samples() -> None:
    made = router((*SHARDED, ROTATION))
    made.need(1, Needs({1: [], 2: ["X"]}))
    made.dispatch([t("X", 2), b("X", 3)])
    assert got(made)[1] == [b("X", 3)]
    assert made.samples_wait
    made.need(1, Needs({1: ["X"], 2: ["X"]}))
    made.dispatch([t("X", 4)])
    assert got(made)[1][-1] == t("X", 4), "a strategy that is called for each event holds it as well"


def test_a_needed_symbol_is_not_let_go_and_goes_on_until_it_is() -> None:
    made = router(SHARDED)
    made.accept(Pick("A", 1, "s"))
    made.need(0, Needs({0: ["A"]}))
    assert not made.let_go("A", 2)
    assert made.is_known(Pick("A", 9, "s"))
    assert made.need(0, Needs({0: []})) == ["A"]
    made.dispatch([t("A", 3)])
    assert got(made)[0] == [Pick("A", 1, "s"), t("A", 3)]
    assert made.let_go("A", 4)
    assert got(made)[0][-1] == Unpick("A", 4)


def test_a_symbol_that_was_only_needed_is_let_go_at_whom_it_was_with() -> None:
    made = router(SHARDED)
    made.need(1, Needs({1: ["X"]}))
    assert made.need(1, Needs({1: []})) == ["X"]
    made.dispatch([t("X", 2)])
    assert made.let_go("X", 3)
    assert got(made) == [[], [t("X", 2), Unpick("X", 3)]]
    assert made.symbols == set()


def test_needs_are_known_when_every_consumer_has_told_them() -> None:
    made = router(SHARDED)
    made.need(0, Needs({}))
    assert not made.knows_needs
    made.need(1, Needs({}))
    assert made.knows_needs


def test_only_symbols_held_by_per_symbol_strategies_are_to_be_given_to_a_consumer() -> None:
    made = router((*SHARDED, ROTATION))
    made.accept(Pick("A", 1, "s"))
    assert made.unassigned(Needs({0: ["A", "C"], 1: ["B"], 2: ["D"]})) == ["B", "C"]


def test_a_symbol_is_unwanted_once_everybody_it_was_picked_for_has_rejected_it() -> None:
    made = router((*SHARDED, ROTATION))
    made.accept(Pick("A", 1, "s"))  # of consumer 0; for Alpha there and for Rotation at home
    assert made.reject(Rejected(0, ["A"])) == []
    assert made.reject(Rejected(1, ["A"])) == [], "Alpha of the other consumer is not asked"
    assert made.reject(Rejected(2, ["A"])) == ["A"]
    assert not made.is_wanted("A", "")


def test_a_symbol_picked_meanwhile_for_somebody_else_is_wanted() -> None:
    other = SlotPlan(3, "Beta", 0, 4)
    made = router((*SHARDED, other))
    made.accept(Pick("A", 1, "s", "Alpha"))
    made.accept(Pick("A", 1, "s", "Beta"))
    assert made.reject(Rejected(0, ["A"])) == []
    assert not made.is_wanted("A", "Alpha")
    assert made.is_wanted("A", "Beta")


def test_samples_fall_on_quarters_of_a_second_of_market_time() -> None:
    at = 1_709_908_200_000 * MILLISECOND
    assert [next_sample(at + ms * MILLISECOND) - at for ms in (0, 1, 249, 250)] == [
        250 * MILLISECOND, 250 * MILLISECOND, 250 * MILLISECOND, 500 * MILLISECOND,
    ]  # fmt: skip


ALONE = SlotPlan(3, "Alone", 2, 4, own_process=True)


def test_a_strategy_with_a_process_of_its_own_gets_every_event_of_what_is_picked_for_it_or_for_all() -> None:
    made = Router((*SHARDED, ALONE), [EventOutbox(1) for _ in range(3)], Assignment(2, {}))
    for pick in (Pick("A", 1, "s"), Pick("B", 1, "s", "Alone"), Pick("C", 1, "s", "Alpha")):
        made.accept(pick)
    assert [made.needs_consumer(name) for name in ("", "Alone", "Alpha")] == [True, False, True]
    made.dispatch([t("A", 2), q("B", 3), b("B", 4), t("C", 5)])
    assert got(made)[2] == [
        Pick("A", 1, "s", "Alone"),
        Pick("B", 1, "s", "Alone"),
        t("A", 2),
        q("B", 3),
        b("B", 4),
    ]
    assert got(made)[0] == [Pick("A", 1, "s"), t("A", 2)] and got(made)[1] == [Pick("C", 1, "s", "Alpha"), t("C", 5)]


def test_what_a_strategy_with_a_process_of_its_own_holds_belongs_to_no_other_consumer_and_comes_whole() -> None:
    made = Router((*SHARDED, ALONE), [EventOutbox(1) for _ in range(3)], Assignment(2, {}))
    needs = Needs({3: ["HELD"]})
    assert made.unassigned(needs) == []
    made.need(2, needs)
    made.accept(Pick("HELD", 1, "s", "Alpha"))
    made.reject(Rejected(3, ["A"]))
    made.dispatch([t("HELD", 4)])
    assert [waiting[-1:] for waiting in got(made)] == [[t("HELD", 4)], [], [t("HELD", 4)]]
    assert not made.is_wanted("A", "Alone") and made.is_wanted("A", "")


def test_without_consumers_that_share_nothing_is_assigned() -> None:
    made = Router((SlotPlan(0, "Alone", 0, 1, own_process=True),), [EventOutbox(1)], Assignment(0, {}))
    for name in ("", "Alone", "Nobody"):
        made.accept(Pick("A", 1, "s", name))
    made.dispatch([t("A", 2)])
    assert got(made) == [[Pick("A", 1, "s", "Alone"), Pick("A", 1, "s", "Alone"), t("A", 2)]]


# --- assignment ----------------------------------------------------------------------------------------------------


symbols = st.lists(st.text("ABCDE", min_size=1, max_size=3), max_size=60)


def test_symbols_go_round_from_the_lowest_consumer() -> None:
    table = Assignment(3, {})
    assert [table.assign(s) for s in ("A", "B", "C", "D", "A")] == [0, 1, 2, 0, 0]


def test_the_consumer_with_the_fewest_symbols_gets_the_next() -> None:
    table = Assignment(3, {"A": 0, "B": 0, "C": 2})
    assert [table.assign(s) for s in ("D", "E", "F")] == [1, 1, 2]
    assert (table.of("A"), table.of("Z"), table.counts) == (0, None, [2, 2, 2])


@pytest.mark.parity(14)
@given(symbols, st.integers(1, 5))
def test_consumers_never_differ_by_more_than_one_symbol(picked: list[str], consumers: int) -> None:
    table = Assignment(consumers, {})
    for symbol in picked:
        table.assign(symbol)
    counts = table.counts
    assert max(counts) - min(counts) <= 1
    assert sum(counts) == len(set(picked))


@pytest.mark.parity(14)
@given(symbols, st.integers(1, 5), st.integers(0, 60))
def test_a_restart_in_between_changes_nothing(picked: list[str], consumers: int, cut: int) -> None:
    whole = Assignment(consumers, {})
    before = Assignment(consumers, {})
    stored = {symbol: before.assign(symbol) for symbol in picked[:cut]}
    after = Assignment(consumers, stored)
    assert [after.assign(s) for s in picked] == [whole.assign(s) for s in picked]


# --- samples -------------------------------------------------------------------------------------------------------


ROUND, ODD = TradeTick("A", 1, 10.0, 500.0), TradeTick("A", 2, 12.34, 3.0, int(Counts.VOLUME))


def test_a_print_that_makes_no_price_displaces_none_that_does() -> None:
    got: list[FeedEvent] = []
    sampler = Sampler(got.append)
    sampler.take(ROUND)
    sampler.take(ODD)
    sampler.sample()
    assert got == [ROUND, ODD]


def test_a_sample_keeps_the_order_of_arrival() -> None:
    got: list[FeedEvent] = []
    sampler = Sampler(got.append)
    quote, newer = Quote("A", 3, 9.9, 1.0, 10.1, 1.0), TradeTick("A", 4, 10.1, 100.0)
    for event in (ROUND, ODD, quote, newer):
        sampler.take(event)
    sampler.sample()
    assert got == [ODD, quote, newer]


def test_a_strategy_that_joins_gets_what_was_picked_for_all_or_for_it_once() -> None:
    made = router((ROTATION,))
    for pick in (Pick("A", 1, "s"), Pick("B", 1, "s", "Rotation"), Pick("C", 2, "s", "Late")):
        made.accept(pick)
    late = (SlotPlan(3, "Late", 0, 4), SlotPlan(4, "Late", 1, 5))
    assert not made.needs_consumer("")
    again = made.join(late, ticks_at_home=False)
    assert again == [Pick("A", 1, "s"), Pick("C", 2, "s", "Late")]
    assert made.needs_consumer("")  # from now on a symbol picked for all has an owner
    for pick in again:
        made.accept(pick)
    made.dispatch([t("A", 3), t("B", 3), t("C", 3)])
    ticks = [[event for event in found if isinstance(event, TradeTick)] for found in got(made)]
    assert ticks == [[t("C", 3)], [t("A", 3)]]  # C had an owner before, for a strategy that was not there yet
    assert made.join(late, ticks_at_home=False) == []
