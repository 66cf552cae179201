"""How a session ends: what is open after it, what a person reads, and with which status."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from liualgotrader.analytics.summary import summarize
from liualgotrader.analytics.trips import round_trips
from liualgotrader.common.clock import SECOND, instant
from liualgotrader.common.rows import AlgoRunRow, FilledTrade, PlanRow, Row, TradeRow
from liualgotrader.common.session_plan import DECLINED, SlotPlan
from liualgotrader.common.tradeplan import TradePlan
from liualgotrader.scanners_runner.scanner_marks import StoppedScanner
from liualgotrader.supervisor.batch import Batch, BatchFinder, lay_out
from liualgotrader.supervisor.ending import (
    MARKET_CLOSE,
    DayResult,
    Ending,
    could_not_trade,
    needing_a_person,
    no_strategy_runs,
    say_data,
    say_days,
    say_positions,
    say_refusals,
    say_scanners_off,
    say_summary,
)
from liualgotrader.supervisor.plan_inspection import StrategyFacts
from liualgotrader.supervisor.session_figures import FinalPosition, Results, at_newest_prices
from liualgotrader.supervisor.view import GatewayFacts, PositionLine, ProcessView, StrategyView, View
from tests.fakes.store import MemoryStore
from tests.fakes.supervisor import RecordingScreen, gateway_facts


def d(text: Any) -> Decimal:
    return Decimal(str(text))


class Days:
    """A record that is filled session by session, as the gateway fills it."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.rows = 0

    async def run(self, batch: str, strategy: str = "Swing", slot: int = 1, environment: str = "PAPER") -> int:
        return await self.store.begin_algo_run(AlgoRunRow(batch, slot, strategy, environment, "", {}, 0))

    async def write(self, row: Row) -> None:
        self.rows += 1
        await self.store.apply("any", [row], await self.store.progress("any"))

    async def trade(
        self, run: int, operation: str, quantity: Any, price: Any, symbol: str = "IBM", stop: Any = None
    ) -> None:
        execution, at = f"e{self.rows}", (self.rows + 1) * SECOND
        stop = None if stop is None else d(stop)
        row = TradeRow(
            execution, f"o{self.rows}", run, symbol, operation, d(quantity), d(price), d(0), at, {}, stop, None
        )
        await self.write(row)

    async def move_stop(self, run: int, stop: Any, symbol: str = "IBM") -> None:
        await self.write(PlanRow(run, symbol, (self.rows + 1) * SECOND, d(stop), None))


def results(
    days: Days,
    batch: str,
    *,
    environment: str = "PAPER",
    skip_existing: bool = False,
    strategies: Sequence[str] = ("Swing",),
) -> Results:
    return Results(days.store, environment, batch, strategies, alone=skip_existing or environment == "SIMULATED")


async def two_days() -> Days:
    """Yesterday 10 shares were bought with a stop at 90; today the stop was moved and other shares were bought."""
    days = Days()
    yesterday = await days.run("yesterday")
    await days.trade(yesterday, "buy", 10, 100, stop=90)
    today = await days.run("today")
    await days.move_stop(today, 97)
    await days.trade(today, "buy", 2, 50, "BAC", stop=45)
    return days


async def test_what_is_open_counts_a_position_that_was_not_traded_today_with_its_stop_as_moved_since() -> None:
    days = await two_days()
    assert await results(days, "today").standing() == [
        FinalPosition("Swing", "BAC", d(2), d(50), stop=d(45)),
        FinalPosition("Swing", "IBM", d(10), d(100), stop=d(97)),
    ]


async def test_where_the_account_began_empty_or_is_left_alone_only_todays_shares_count() -> None:
    days = await two_days()
    assert [p.symbol for p in await results(days, "today", skip_existing=True).standing()] == ["BAC"]
    days = Days()
    for batch in ("first", "second"):
        await days.trade(await days.run(batch, environment="SIMULATED"), "buy", 3, 10)
    [only] = await results(days, "second", environment="SIMULATED").standing()
    assert only.quantity == 3


async def test_what_the_gateway_could_not_carry_is_not_in_the_account() -> None:
    days = await two_days()
    bought = {("Swing", "BAC"): PositionLine("Swing", "BAC", d(2), d(50))}
    found = await results(days, "today").standing(held=bought)
    assert [(p.symbol, p.in_account, p.recorded) for p in found] == [("BAC", True, None), ("IBM", False, None)]
    found = await results(days, "today").standing(
        held={**bought, ("Swing", "IBM"): PositionLine("Swing", "IBM", d(10), d(100))}
    )
    assert [p.in_account for p in found] == [True, True]


async def test_a_position_that_only_the_record_or_only_the_gateway_has_is_no_open_position_but_needs_a_person() -> None:
    days = await two_days()
    held = {
        ("Swing", "IBM"): PositionLine("Swing", "IBM", d(10), d(100)),
        ("Swing", "F"): PositionLine("Swing", "F", d(-3), d(12)),
    }
    found = await results(days, "today").standing(held=held)
    assert [(p.symbol, p.quantity, p.in_account, p.recorded) for p in found] == [
        ("BAC", 2, False, 2),
        ("F", -3, True, 0),
        ("IBM", 10, True, None),
    ]
    ending = needing_a_person(Ending(), found, (), (), flattened=False)
    assert (ending.exit_code, ending.sentence) == (
        4,
        "the database and the order gateway differ in BAC, F: see the warnings of the summary",
    )
    screen = RecordingScreen()
    say_positions(screen, found, ["Swing"], {})
    assert screen.warnings[:3] == [
        "the database has +2 BAC of Swing, the order gateway none: look at the account",
        "the database has +0 F of Swing, the order gateway -3: look at the account",
        "open position: Swing -3 F at 12.0000, last price unknown, without protection, kept overnight",
    ]


async def test_shares_of_earlier_batches_belong_to_the_slot_that_trades_them_now() -> None:
    days = Days()
    yesterday = await days.run("yesterday")
    await days.trade(yesterday, "buy", 10, 100)
    await days.trade(yesterday, "buy", 3, 20, "BAC")
    today = await days.run("today")
    await days.trade(today, "sell", 10, 101)
    known = results(days, "today")
    ((key, held),) = (await known.executions())[1].items()
    assert (key, held.quantity, held.average_price) == ((today, "IBM"), 10, 100)
    alone = results(days, "today", skip_existing=True)
    assert (await alone.executions())[1] == {}


def fill(
    side: str, quantity: Any, price: Any, at: int, symbol: str = "IBM", stop: Any = None, strategy: str = "Swing"
) -> FilledTrade:
    return FilledTrade(5, strategy, symbol, side, d(quantity), d(price), d(0), at, stop, f"{at}")


IBM = FinalPosition("Swing", "IBM", d(10), d(100), stop=d("97.5"))
BAC = FinalPosition("Day", "BAC", d(2), d(50))
GONE = FinalPosition("Swing", "GE", d(7), d(30), in_account=False)


def test_the_summary_shows_strategies_a_total_and_every_open_position() -> None:
    screen = RecordingScreen()
    summary = summarize(["Swing", "Day"], round_trips([fill("buy", 2, 50, 2, symbol="BAC", strategy="Day")]))
    why = {"MSFT": "the broker holds 5 shares more than our books say"}
    priced = msgspec.structs.replace(IBM, last=d("101.25"), target=d(110)), msgspec.structs.replace(BAC, last=d("49"))
    say_summary(screen, summary, [*priced, GONE], dropped=3)
    say_positions(screen, [*priced, GONE], {"Swing"}, why)
    ((title, header, rows),) = screen.tables
    assert (title, header[0]) == ("Session summary", "strategy")
    assert [(r[0], r[header.index("open")]) for r in rows] == [("Swing", "1"), ("Day", "1"), ("total", "2")]
    money = [[r[header.index(name)] for name in ("realized $", "open $", "P&L $")] for r in rows]
    assert money == [["0.00", "12.50", "12.50"], ["0.00", "-2.00", "-2.00"], ["0.00", "10.50", "10.50"]]
    assert screen.lines == [
        "open position: Swing +10 IBM at 100.0000, last 101.25, P&L +12.50 $, stop 97.5, target 110, kept overnight"
    ]
    assert screen.warnings[:3] == [
        "3 market events were dropped because a consumer lagged",
        "open position: Day +2 BAC at 50.0000, last 49, P&L -2.00 $, without protection, DAY_TRADE, still open",
        "not in the account: Swing +7 GE, which earlier sessions left open; nothing was done with it",
    ]
    assert screen.warnings[3].startswith(
        "MSFT is quarantined: the broker holds 5 shares more than our books say. Check its orders and its position"
    )


def test_without_a_price_of_every_position_the_summary_states_no_gain_of_what_is_open() -> None:
    screen = RecordingScreen()
    summary = summarize(["Swing"], round_trips([]))
    standing = [msgspec.structs.replace(IBM, last=d(101)), msgspec.structs.replace(IBM, symbol="GE")]
    say_summary(screen, summary, standing)
    say_positions(screen, standing, (), {})
    ((_, header, [row]),) = screen.tables
    assert [row[header.index(name)] for name in ("realized $", "open $", "P&L $")] == ["0.00", "-", "-"]
    assert "GE at 100.0000, last price unknown, stop 97.5" in screen.warnings[1]


FACTS: dict[str, Any] = {
    "equity": "100100.00",
    "account_gain": "100.00",
    "day_gain": "40.00",
    "positions": [
        {
            "strategy": "Swing",
            "symbol": "IBM",
            "quantity": "10",
            "average_price": "100",
            "last": "102",
            "target": "110",
        },
        {"strategy": "Day", "symbol": "BAC", "quantity": "-4", "average_price": "50", "last": None, "stop": "55"},
        {"strategy": "Day", "symbol": "GE", "quantity": "3", "average_price": "20", "last": "21"},
    ],
}


def told(symbol: str = "") -> GatewayFacts:
    """Return the facts, of one symbol or of all."""
    unknown = {"slot": 1, "day_trade": True, "stop": None, "resting_stop": None, "target": None}
    positions = [unknown | p for p in FACTS["positions"] if symbol in ("", p["symbol"])]
    return gateway_facts(**FACTS | {"positions": positions})


def test_a_frame_brought_forward_to_newer_prices_moves_all_its_figures_by_the_same_amount() -> None:
    facts, positions = at_newest_prices(told(), {"IBM": d(103), "BAC": d(49)})  # 10 x 1 + 4 x 1
    assert [(p.symbol, p.last, p.gain, p.stop, p.target) for p in positions] == [
        ("BAC", d(49), d(4), d(55), None),
        ("GE", d(21), d(3), None, None),
        ("IBM", d(103), d(30), None, d(110)),
    ]
    assert (facts.equity, facts.account_gain, facts.day_gain) == (d(100114), d(114), d(54))


def test_a_frame_in_which_something_is_not_known_does_not_guess_it() -> None:
    unknown = msgspec.structs.replace(told("BAC"), equity=None, account_gain=None)
    facts, [position] = at_newest_prices(unknown, {})
    assert (facts.equity, facts.account_gain, position.last, position.gain) == (None, None, None, None)


def test_day_trades_that_are_still_open_at_the_end_need_a_person() -> None:
    opened = [IBM, BAC]
    ended, interrupted = Ending(), Ending(130, "interrupted", "interrupted by Ctrl-C", by_hand=True)
    found = needing_a_person(ended, opened, (), {"Day"}, flattened=False)
    assert (found.exit_code, found.reason) == (4, MARKET_CLOSE)
    assert found.sentence == "DAY_TRADE positions are still open at the end of the session (BAC): close them by hand"
    assert needing_a_person(interrupted, opened, (), {"Day"}, flattened=False) == interrupted
    assert needing_a_person(interrupted, opened, (), {"Day"}, flattened=True).exit_code == 4
    assert needing_a_person(ended, opened, (), {"Other"}, flattened=False) == ended
    assert needing_a_person(ended, [GONE], (), {"Swing"}, flattened=False) == ended
    failed = Ending(3, "failed", "the broker says no")
    assert needing_a_person(failed, opened, {"IBM"}, {"Day"}, flattened=False) == failed


def test_an_account_that_differs_from_our_books_needs_a_person_however_the_session_ended() -> None:
    for ending in (Ending(), Ending(130, "interrupted", "interrupted by Ctrl-C", by_hand=True)):
        found = needing_a_person(ending, [], {"IBM", "F"}, (), flattened=False)
        assert (found.exit_code, found.reason) == (4, ending.reason)
        assert found.sentence == "the account differs from our books in F, IBM: see the warnings of the summary"


async def test_a_slot_carries_what_its_class_says_of_the_night(tmp_path: Path) -> None:
    facts = (
        StrategyFacts("Swing", run_all=False, day_trade=False),
        StrategyFacts("Day", False, True),
        StrategyFacts("Silent", False, None),
    )
    ledger = BatchFinder(MemoryStore(), tmp_path)
    batch = Batch("b", lay_out(facts, 1), 0, False, tmp_path, tmp_path, tmp_path)
    plan = TradePlan(strategies={f.name: {} for f in facts})
    slots = await ledger.slots(batch, plan, facts, "PAPER", "", 0)
    assert [(s.strategy, s.day_trade) for s in slots] == [("Swing", False), ("Day", True), ("Silent", True)]


def slots(*reasons: str) -> list[SlotPlan]:
    return [SlotPlan(n, f"S{n}", 0, n, stopped=reason) for n, reason in enumerate(reasons, start=1)]


def test_a_session_goes_on_while_a_strategy_is_left_and_is_no_failure_if_none_wanted_to_run() -> None:
    assert no_strategy_runs([], ()) is None
    assert no_strategy_runs(slots("raised", ""), {1}) is None
    declined = no_strategy_runs(slots(DECLINED, DECLINED), {1, 2})
    assert (declined.exit_code, declined.sentence) == (0, "")


def test_no_strategy_that_could_run_is_a_mistake_and_all_stopped_later_needs_a_person() -> None:
    never = no_strategy_runs(slots("no model (s.py:3)", DECLINED), {1, 2})
    assert (never.exit_code, never.sentence) == (2, "no strategy could run: S1: no model (s.py:3)")
    later = no_strategy_runs(slots("no model", "raised 5 times"), {1})
    assert later.exit_code == 4
    assert "S1: no model; S2: raised 5 times" in later.sentence


def view_of(counters: dict[str, float], refused: dict[str, int] | None = None) -> View:
    strategy = StrategyView("Crossing", 0, 0, 0, d(0), "", refused or {})
    return View(
        "b", "SIMULATED", "2024-06-03", 0, 0, 1, 1.0, 0.0, (ProcessView("x", "ended", 0, 0, counters),), (strategy,)
    )


@pytest.mark.parametrize(
    ("counters", "refused", "shadow", "why"),
    [
        ({"runs": 3}, {}, False, "the scanners picked no symbol in 3 runs"),
        ({"picks": 8, "symbols": 7}, {}, False, "7 symbols were followed, and no strategy gave a signal"),
        ({"symbols": 7, "orders_decided": 4}, {"shadow": 4}, True, "4 orders were decided, and --shadow sends none"),
        (
            {"symbols": 7, "orders_decided": 5},
            {"order_value": 4, "flip": 1},
            False,
            "every order was refused (4 by order_value, 1 by flip)",
        ),
        (
            {"symbols": 7, "orders_decided": 5},
            {"flip": 2},
            False,
            "of 5 orders 2 were refused, and none of the others was filled",
        ),
    ],
)
def test_a_session_without_a_trade_says_why_in_one_line(
    counters: dict[str, Any], refused: dict[str, Any], shadow: bool, why: str
) -> None:
    screen = RecordingScreen()
    say_refusals(screen, view_of(counters, refused), 0, shadow=shadow)
    assert screen.warnings[-1] == f"nothing was traded: {why}"


def test_refused_orders_are_counted_by_rule_although_others_were_filled() -> None:
    screen = RecordingScreen()
    say_refusals(screen, view_of({}, {"no_price": 1, "order_value": 12}), 3, shadow=False)
    assert screen.warnings == ["Crossing, orders refused: 12 by order_value, 1 by no_price"]
    say_refusals(screen, view_of({}), 3, shadow=False)
    assert len(screen.warnings) == 1


OFF = StoppedScanner(0, "failed 3 times in a row")
REFUSED = {"order_value": 4, "flip": 1}


@pytest.mark.parametrize(
    ("off", "decided", "refused", "executions", "shadow", "sentence"),
    [
        (
            {"Gainers": OFF},
            0,
            {},
            0,
            False,
            "no scanner ran to the end of the session: Gainers: failed 3 times in a row",
        ),
        (
            {"Gainers": OFF},
            7,
            {},
            6,
            False,
            "no scanner ran to the end of the session: Gainers: failed 3 times in a row",
        ),
        ({}, 5, REFUSED, 0, False, "every order was refused: 4 by order_value, 1 by flip"),
        ({}, 5, REFUSED, 0, True, ""),
        ({}, 6, REFUSED, 0, False, ""),
        ({}, 6, REFUSED, 1, False, ""),
        ({}, 0, {}, 0, False, ""),
    ],
)
def test_a_session_in_which_nothing_could_be_traded_has_a_status_of_its_own(
    off: Any, decided: int, refused: Any, executions: int, shadow: bool, sentence: str
) -> None:
    view = view_of({"orders_decided": decided}, refused)
    found = could_not_trade(view, ["Gainers"], off, executions, shadow=shadow)
    assert (found.exit_code, found.sentence.startswith(sentence)) == (5, True) if sentence else found is None


def test_money_that_needs_a_person_comes_before_a_session_that_could_not_trade() -> None:
    useless = could_not_trade(view_of({}), ["Gainers"], {"Gainers": OFF}, 0, shadow=False)
    assert useless is not None
    found = needing_a_person(useless, [], {"IBM"}, (), flattened=False)
    assert found.exit_code == 4
    assert found.sentence.startswith("the account differs from our books in IBM")
    assert "no scanner ran to the end" in found.sentence


def test_a_plan_without_scanners_or_with_one_left_is_no_failure() -> None:
    assert could_not_trade(view_of({}), [], {}, 0, shadow=False) is None
    assert could_not_trade(view_of({}), ["Gainers", "Losers"], {"Gainers": OFF}, 0, shadow=False) is None


async def test_shares_that_are_not_ours_are_named_with_the_strategy_that_left_them_and_what_settles_them() -> None:
    days = Days()
    gone = await days.run("yesterday", strategy="Gone")
    await days.trade(gone, "buy", 10, 100)
    await days.run("today")
    told = await results(days, "today").left_behind({"IBM": d(10), "BAC": d(7)})
    assert told == [
        "the account holds 7 BAC that are not ours: they are never traded; `liu positions flatten BAC` closes them,"
        " `adopt` gives them to a strategy",
        "the account holds 10 IBM that are not ours: they are never traded (Gone, which is not in this plan, left some"
        " open); `liu positions flatten IBM` closes them, `adopt` gives them to a strategy",
    ]


def test_a_scanner_that_was_off_is_named_with_its_time() -> None:
    screen = RecordingScreen()
    at = instant(datetime.fromisoformat("2024-06-03T10:35:00-04:00"))
    say_scanners_off(screen, {"Gainers": StoppedScanner(at, "failed 3 times in a row")})
    assert screen.warnings == ["scanner Gainers was off since 10:35:00 New York: failed 3 times in a row"]


def test_the_summary_says_what_was_odd_in_the_data_and_what_was_left_out() -> None:
    screen = RecordingScreen()
    say_data(screen, ("ABC opens at 1 after 10.",), ("2 of 9 quotes of ABC are crossed and were left out.",))
    assert screen.warnings == ["data: ABC opens at 1 after 10."]
    assert screen.lines == ["data: 2 of 9 quotes of ABC are crossed and were left out."]


def test_sessions_that_followed_each_other_are_added_up_and_what_is_unknown_is_not_zero() -> None:
    screen = RecordingScreen()
    first = DayResult("2024-07-02", 2, 5, d("-1.5"), d("10.25"), d("100010.25"))
    say_days(screen, [])
    say_days(screen, [first, DayResult("2024-07-03", 1, 2, d(4), d("-20"), d("99990.25"))])
    say_days(screen, [first, DayResult("2024-07-03", 0, 0, d(0), None, None)])
    rows = [row for _, _, table in screen.tables for row in table]
    assert rows == [
        ("2024-07-02", "2", "5", "-1.50", "10.25", "100,010.25"),
        ("2024-07-03", "1", "2", "4.00", "-20.00", "99,990.25"),
        ("total", "3", "7", "2.50", "-9.75", "99,990.25"),
        ("2024-07-02", "2", "5", "-1.50", "10.25", "100,010.25"),
        ("2024-07-03", "0", "0", "0.00", "-", "-"),
        ("total", "2", "5", "-1.50", "-", "-"),
    ]
