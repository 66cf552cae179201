"""Pages, timeframes, the record, the grid of time, subscriptions and faults, each by itself."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liualgotrader.common.clock import MINUTE, NEVER, SECOND, grid_after, grid_at_or_after
from liualgotrader.common.events import Bar, Counts, Quote, Status, TradeTick
from liualgotrader.exchange.exchange_values import HeldPosition, OrderChanges, Refusal
from liualgotrader.simulator.data_routes import page
from liualgotrader.simulator.day_history import DayRecord, EquityCurve, Timeframe, folded, rows_between, timeframe_of
from liualgotrader.simulator.faults import Fault, Faults
from liualgotrader.simulator.order_requests import closing_order, order_request, replacement
from liualgotrader.simulator.subscriptions import ApiKeys, StreamSession, by_symbol
from tests.fakes.tapes import at

D = Decimal
KEYS = ApiKeys("key", "secret")


# --- pages


@given(
    st.dictionaries(st.sampled_from("ABCDE"), st.lists(st.integers(0, 99), unique=True).map(sorted)),
    st.integers(1, 7),
    st.booleans(),
)
def test_pages_together_are_the_whole(rows: dict[str, list[int]], limit: int, descending: bool) -> None:
    found: list[tuple[str, object]] = []
    token: str | None = None
    while True:
        part, token = page(
            list(rows), lambda s: (rows[s], lambda place: place), limit=limit, descending=descending, token=token
        )
        assert sum(len(r) for r in part.values()) <= limit
        found += [(symbol, row) for symbol, some in part.items() for row in some]
        if token is None:
            break
    turn = -1 if descending else 1
    assert found == [(symbol, row) for symbol in sorted(rows) for row in rows[symbol][::turn]]


@pytest.mark.parametrize("token", ["???", "QUJD", "QUJDfHg="])
def test_a_token_that_is_none_of_ours_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match="invalid page_token"):
        page(["ABC"], lambda _: ([1], str), limit=1, descending=False, token=token)


# --- timeframes


@pytest.mark.parametrize(
    ("text", "timeframe"),
    [
        ("1Min", Timeframe(1, "Min")),
        ("59T", Timeframe(59, "Min")),
        ("Hour", Timeframe(1, "Hour")),
        ("23H", Timeframe(23, "Hour")),
        ("1Day", Timeframe(1, "Day")),
        ("1W", Timeframe(1, "Week")),
        ("6M", Timeframe(6, "Month")),
    ],
)
def test_timeframes_are_read_in_both_spellings(text: str, timeframe: Timeframe) -> None:
    assert timeframe_of(text) == timeframe


@pytest.mark.parametrize("text", ["60Min", "24Hour", "2Day", "5Month", "0Min", "", "Year", "1min"])
def test_other_timeframes_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="invalid timeframe"):
        timeframe_of(text)


def test_intervals_are_counted_from_new_yorks_midnight() -> None:
    assert timeframe_of("7Min").label(at("09:34")) == at("09:34")  # 574 minutes = 82 x 7
    assert timeframe_of("4Hour").label(at("09:34")) == at("08:00")
    assert timeframe_of("1Day").label(at("09:34")) == at("00:00")


def test_bars_fold_into_open_high_low_close_and_sums() -> None:
    def bar(minute: str, open_: float, high: float, low: float, close: float, volume: float, vwap: float) -> Bar:
        return Bar("ABC", at(minute), at(minute) + MINUTE, open_, high, low, close, volume, vwap, 2)

    (whole,) = folded(
        [bar("09:30", 1, 4, 1, 2, 100, 2), bar("09:34", 2, 3, 0.5, 3, 300, 3)], timeframe_of("5Min").label
    )
    assert (whole.opened_at, whole.open, whole.high, whole.low, whole.close) == (at("09:30"), 1, 4, 0.5, 3)
    assert (whole.volume, whole.count, whole.vwap) == (400, 4, 2.75)


# --- the record


def record() -> DayRecord:
    return DayRecord(at("09:30"), at("16:00"))


def test_a_minute_has_no_bar_before_its_end() -> None:
    day = record()
    assert day.bars_due_at == NEVER
    day.trade(TradeTick("ABC", at("09:30:01"), 10.0, 100.0))
    assert day.bars_due_at == at("09:31")
    assert day.close_minutes(at("09:31") - 1) == []
    assert day.minutes.last_bar("ABC") is None
    (bar,) = day.close_minutes(at("09:31"))
    assert (bar.open, bar.volume) == (10, 100)
    assert day.minutes.last_bar("ABC") == bar
    assert day.bars_due_at == NEVER


def test_the_daily_bar_takes_prices_of_regular_trading_and_all_volume() -> None:
    day = record()
    day.trade(TradeTick("ABC", at("09:29"), 50.0, 10.0))
    assert day.day_bar("ABC") is None
    day.close_minutes(at("09:30"))
    day.trade(TradeTick("ABC", at("09:30"), 10.0, 100.0))
    day.trade(TradeTick("ABC", at("09:30:01"), 99.0, 5.0, int(Counts.VOLUME)))
    day.trade(TradeTick("ABC", at("09:30:02"), 12.0, 100.0, int(Counts.HIGH_LOW | Counts.VOLUME)))
    bar = day.day_bar("ABC")
    assert bar is not None
    assert (bar.open, bar.high, bar.low, bar.close, bar.volume, bar.count) == (10, 12, 10, 10, 215, 4)


def test_prints_are_numbered_and_the_last_one_is_the_last_that_counts() -> None:
    day = record()
    assert day.trade(TradeTick("ABC", at("09:30"), 10.0, 100.0)) == 1
    assert day.trade(TradeTick("ABC", at("09:30:01"), 99.0, 5.0, int(Counts.VOLUME))) == 2
    assert day.trade(TradeTick("XYZ", at("09:30:01"), 1.0, 5.0)) == 1
    assert day.last_trade["ABC"] == 1
    assert day.trades("ABC").get("ABC", 1).price == 99
    assert "NOPE" not in day.last_trade and len(day.trades("NOPE")) == 0


def test_quotes_are_kept_as_they_came_and_statuses_counted() -> None:
    day = record()
    quote = Quote("ABC", at("09:30"), 1.0, 2.0, 3.0, 4.0)
    day.take(quote)
    day.take(Status("ABC", at("09:30"), True))
    assert day.quotes("ABC").get("ABC", 0) == quote
    assert day.events == 2


def test_bounds_of_rows_are_inclusive_and_equal_times_stay_together() -> None:
    assert rows_between([1, 2, 2, 3], 2, 2) == range(1, 3)
    assert rows_between([1, 2, 2, 3], 4, 9) == range(4, 4)


def test_the_equity_curve_keeps_the_last_point_of_each_interval() -> None:
    curve = EquityCurve()
    for minute, equity in (("09:31", 1), ("09:32", 2), ("09:36", 3)):
        curve.add(at(minute), D(equity))
    assert curve.due_at == at("09:37")
    points = curve.points(0, at("10:00"), 5 * MINUTE)
    assert points == [(at("09:30") // SECOND, D(2)), (at("09:35") // SECOND, D(3))]


# --- the grid of time


@given(st.integers(0, 10**15), st.integers(1, 10**9))
def test_boundaries_hold_their_instants(instant: int, quantum: int) -> None:
    after, reached = grid_after(instant, quantum), grid_at_or_after(instant, quantum)
    assert after % quantum == reached % quantum == 0
    assert after - quantum <= instant < after
    assert reached - quantum < instant <= reached


# --- subscriptions


def test_keys_are_never_shown() -> None:
    assert "secret" not in repr(KEYS).replace("secret_key", "")


def test_an_unsubscription_takes_only_what_it_names() -> None:
    session = StreamSession(KEYS)
    session.receive({"action": "auth", "key": "key", "secret": "secret"})
    session.receive({"action": "subscribe", "trades": ["A", "B"], "quotes": ["A"]})
    (state,) = session.receive({"action": "unsubscribe", "trades": ["A", "C"]})
    assert (state["trades"], state["quotes"]) == (["B"], ["A"])


def test_too_many_symbols_leave_the_subscriptions_as_they_were() -> None:
    session = StreamSession(KEYS, symbol_limit=2)
    session.open("key", "secret")
    session.receive({"action": "subscribe", "trades": ["A", "B"]})
    (reply,) = session.receive({"action": "subscribe", "quotes": ["C"]})
    assert reply["code"] == 405
    assert session.state()["quotes"] == []


def test_silence_ends_with_the_time_out() -> None:
    session = StreamSession(KEYS)
    assert session.expire() == [{"T": "error", "code": 404, "msg": "auth timeout"}]
    assert session.close_code == 1008


def test_who_wants_everything_gets_what_others_name_too() -> None:
    def subscriber(*symbols: str) -> SimpleNamespace:
        return SimpleNamespace(session=SimpleNamespace(symbols={"trades": set(symbols)}))

    one, everything, both = subscriber("A"), subscriber("*"), subscriber("A", "*")
    table = by_symbol([one, everything, both], "trades")
    assert table["*"] == [everything, both]
    assert sorted(map(id, table["A"])) == sorted(map(id, [one, everything, both]))


# --- requests


def test_a_bracket_is_read_with_both_of_its_exits() -> None:
    request = order_request(
        {
            "symbol": "abc",
            "qty": "1",
            "side": "buy",
            "type": "market",
            "time_in_force": "gtc",
            "order_class": "bracket",
            "take_profit": {"limit_price": 1.1 * 3},
            "stop_loss": {"stop_price": "2", "limit_price": 1.9},
        }
    )
    assert (request.symbol, request.order_class, request.take_profit_limit) == ("ABC", "bracket", D("3.3"))
    assert (request.stop_loss_stop, request.stop_loss_limit) == (D(2), D("1.9"))


@pytest.mark.parametrize("body", [{"qty": "many"}, {"take_profit": 5}, {"stop_loss": {"stop_price": []}}, {"side": 1}])
def test_a_field_of_the_wrong_kind_is_refused(body: dict[str, object]) -> None:
    with pytest.raises(Refusal) as caught:
        order_request(body)
    assert caught.value.status == 422


def test_a_replacement_names_only_what_changes() -> None:
    assert replacement({"limit_price": 5}) == OrderChanges(limit_price=D(5))


def position(quantity: str) -> HeldPosition:
    zero = D(0)
    return HeldPosition(
        symbol="ABC",
        exchange="NYSE",
        side="long",
        quantity=D(quantity),
        quantity_available=zero,
        average_entry_price=zero,
        cost_basis=zero,
        market_value=zero,
        current_price=zero,
        lastday_price=zero,
        change_today=zero,
        unrealized_pl=zero,
        unrealized_plpc=zero,
        unrealized_intraday_pl=zero,
        unrealized_intraday_plpc=zero,
        asset_marginable=True,
        realized_pl=zero,
    )


@pytest.mark.parametrize(
    ("held", "quantity", "percentage", "side", "shares"),
    [
        ("10", None, None, "sell", "10"),
        ("-10", None, None, "buy", "10"),
        ("10", "3", None, "sell", "3"),
        ("11", None, "25", "sell", "2"),
        ("1.5", None, "50", "sell", "0.75"),
    ],
)
def test_a_position_is_closed_by_an_order_on_the_other_side(
    held: str, quantity: str | None, percentage: str | None, side: str, shares: str
) -> None:
    order = closing_order(position(held), quantity, percentage)
    assert (order.side, order.quantity) == (side, D(shares))


def test_no_shares_are_not_all_shares() -> None:
    assert closing_order(position("10"), "0", None).quantity == 0  # which the exchange refuses


@pytest.mark.parametrize(
    ("quantity", "percentage"), [("1", "1"), (None, "101"), (None, "-1"), (None, "0"), ("x", None)]
)
def test_a_senseless_part_of_a_position_is_refused(quantity: str | None, percentage: str | None) -> None:
    with pytest.raises(Refusal):
        closing_order(position("10"), quantity, percentage)


# --- faults


def test_faults_hit_the_next_requests_of_their_target_in_order_and_then_no_more() -> None:
    faults = Faults()
    faults.add("order_500", 1)
    faults.add("order_never", 2)
    faults.add("cancel_504_after", 1)
    assert faults.pending() == {"order_500": 1, "order_never": 2, "cancel_504_after": 1}
    assert faults.next_for("POST") is Fault.ERROR_500
    faults.add("order_never", 0)
    assert faults.next_for("POST") is faults.next_for("GET") is None
    assert faults.next_for("DELETE") is Fault.TIMEOUT_504_AFTER
    assert faults.pending() == {}
