"""Alpaca's words and ours; the raw objects follow the vendor's published field lists."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liualgotrader.common.clock import SECOND, nanoseconds, rfc3339
from liualgotrader.common.errors import BadData, BrokerRefused, BrokerUnreachable
from liualgotrader.common.orders import OrderIntent, OrderState, OrderType, ReplaceIntent, Side
from liualgotrader.trading import alpaca_orders as wire

ORDER: dict[str, Any] = {
    "id": "61e69015-8549-4bfd-b9c3-01e75843f47d",
    "client_order_id": "liu-0b5e7a4e0000-3-17",
    "created_at": "2024-03-08T14:30:00.123456789Z",
    "updated_at": "2024-03-08T14:30:01Z",
    "submitted_at": "2024-03-08T14:30:00.2Z",
    "symbol": "AAPL",
    "qty": "10",
    "filled_qty": "4",
    "filled_avg_price": "170.125",
    "side": "buy",
    "status": "partially_filled",
}


def intent(**changes: Any) -> OrderIntent:
    values: dict[str, Any] = {
        "client_order_id": "liu-0b5e7a4e0000-3-17",
        "slot": 3,
        "strategy": "Breakout",
        "symbol": "AAPL",
        "side": Side.BUY,
        "quantity": Decimal("10.0"),
        "type": OrderType.LIMIT,
        "decided_at": 0,
        "valid_until": 0,
        "limit_price": Decimal("170.10"),
    }
    return OrderIntent(**values | changes)


def test_money_goes_out_as_exact_text() -> None:
    body = wire.order_body(intent())
    assert body["qty"] == "10"
    assert body["limit_price"] == "170.10"
    assert "stop_price" not in body


@pytest.mark.parametrize(
    ("exits", "order_class"),
    [
        ({}, None),
        ({"take_profit": Decimal(180)}, "oto"),
        ({"stop_loss": Decimal(160)}, "oto"),
        ({"take_profit": Decimal(180), "stop_loss": Decimal(160)}, "bracket"),
    ],
)
def test_the_exits_decide_the_order_class(exits: dict[str, Decimal], order_class: str | None) -> None:
    assert wire.order_body(intent(**exits)).get("order_class") == order_class


def test_a_replacement_names_only_what_changes() -> None:
    terms = ReplaceIntent("liu-0b5e7a4e0000-3-17", 3, 0, limit_price=Decimal("171.00"))
    assert wire.replace_body(terms, "x-r1") == {"client_order_id": "x-r1", "limit_price": "171"}


def test_an_order_is_read_to_the_last_digit() -> None:
    order = wire.broker_order(ORDER)
    assert order.state is OrderState.PARTIALLY_FILLED
    assert (order.quantity, order.filled_quantity, order.average_price) == (10, 4, Decimal("170.125"))
    assert order.submitted_at == nanoseconds("2024-03-08T14:30:00.2Z")


@pytest.mark.parametrize("word", ["new", "accepted", "held", "done_for_day", "a word of next year"])
def test_a_status_we_have_no_word_for_leaves_the_order_working(word: str) -> None:
    order = wire.broker_order(ORDER | {"status": word})
    assert order.state is OrderState.ACKNOWLEDGED
    assert order.vendor_status == word


def test_the_exits_of_a_bracket_are_its_legs() -> None:
    leg = ORDER | {
        "id": "leg",
        "type": "stop",
        "stop_price": "160.5",
        "side": "sell",
        "status": "held",
        "time_in_force": "gtc",
    }
    [read] = wire.broker_order(ORDER | {"legs": [leg], "type": "limit", "limit_price": "171"}).legs
    assert (read.broker_order_id, read.type, read.stop_price) == ("leg", OrderType.STOP, Decimal("160.5"))
    assert read.time_in_force == "gtc"


def test_a_type_without_a_word_of_ours_stays_without_one() -> None:
    assert wire.broker_order(ORDER | {"type": "trailing_stop"}).type is None


def test_an_order_without_its_id_is_bad_data() -> None:
    with pytest.raises(BadData, match="id"):
        wire.broker_order({k: v for k, v in ORDER.items() if k != "id"})


def test_an_execution_carries_the_orders_cumulative_quantity() -> None:
    data = {
        "event": "partial_fill",
        "order": ORDER,
        "timestamp": "2024-03-08T14:30:01Z",
        "execution_id": "7d1f0a36-7d31-4f34-9a3f-8f6d2a3d2f10",
        "price": "170.13",
        "qty": "3",
        "event_id": "01HR" + "0" * 21 + "Z",
    }
    update = wire.broker_update(data, numbered=True)
    assert update.execution is not None
    assert update.execution.cumulative_quantity == 4
    assert update.execution.price == Decimal("170.13")
    assert update.sequence == 31  # Z is the 31st digit
    assert wire.broker_update(data, numbered=False).sequence == 0


def test_a_short_sale_in_the_activities_is_a_sale() -> None:
    fill = wire.broker_execution(
        {
            "id": "20240308093000123::7d1f0a36-7d31-4f34-9a3f-8f6d2a3d2f10",
            "order_id": ORDER["id"],
            "symbol": "AAPL",
            "side": "sell_short",
            "qty": "3",
            "price": "170.13",
            "cum_qty": "3",
            "transaction_time": "2024-03-08T14:30:01Z",
        }
    )
    assert fill.side is Side.SELL
    assert fill.execution_id == "7d1f0a36-7d31-4f34-9a3f-8f6d2a3d2f10"


def test_a_short_position_is_negative() -> None:
    assert wire.broker_position(
        {"symbol": "AAPL", "qty": "5", "side": "short", "avg_entry_price": "1"}
    ).quantity == Decimal(-5)


@given(st.integers(min_value=0, max_value=4_000_000_000 * SECOND))
def test_a_time_survives_its_text(at: int) -> None:
    assert nanoseconds(rfc3339(at)) == at


@pytest.mark.parametrize("text", ["", "yesterday", "2024-03-08T14:30:00"])
def test_a_text_that_is_no_instant_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        nanoseconds(text)


@pytest.mark.parametrize("status", [0, 408, 500, 502, 503, 504, 520, 522, 524, 599])
def test_what_a_proxy_answers_is_no_answer_of_the_brokers(status: int) -> None:
    error = SimpleNamespace(status_code=status)
    assert isinstance(wire.broker_failure(error, "liu-0-1-1"), BrokerUnreachable)


@pytest.mark.parametrize("status", [401, 403, 404, 422, 429])
def test_a_no_of_the_brokers_is_one(status: int) -> None:
    assert isinstance(wire.broker_failure(SimpleNamespace(status_code=status), "liu-0-1-1"), BrokerRefused)


ACCOUNT: dict[str, Any] = {
    "account_number": "PA3717PJAYWN",
    "status": "ACTIVE",
    "equity": "103820.56",
    "cash": "-23140.2",
    "buying_power": "262113.632",
    "last_equity": "103529.24",
    "shorting_enabled": True,
    "trading_blocked": False,
    "account_blocked": False,
}


@pytest.mark.parametrize("odd", [None, "", "NaN", "Infinity", "1e300", "1e999999999", [], {}, True, "null", ...])
@pytest.mark.parametrize("name", ["equity", "cash", "buying_power", "last_equity"])
def test_a_figure_that_the_account_does_not_state_is_unknown_and_the_others_stand(name: str, odd: Any) -> None:
    raw = {key: value for key, value in (ACCOUNT | {name: odd}).items() if value is not ...}
    account = wire.broker_account(raw)
    figures = {key: getattr(account, key) for key in ("equity", "cash", "buying_power", "last_equity")}
    assert figures == {key: None if key == name else Decimal(ACCOUNT[key]) for key in figures}


@pytest.mark.parametrize(
    ("trading", "account", "blocked"),
    [(False, False, False), (True, None, True), (False, "false", None), (None, False, None), ("true", False, None)],
)
def test_an_account_is_free_to_trade_only_where_the_broker_says_so(trading: Any, account: Any, blocked: Any) -> None:
    raw = ACCOUNT | {"trading_blocked": trading, "account_blocked": account}
    assert wire.broker_account(raw).trading_blocked is blocked


@pytest.mark.parametrize("number", [None, "", 12345678, []])
def test_an_account_that_does_not_say_which_it_is_is_unreadable(number: Any) -> None:
    with pytest.raises(BadData, match=r"Alpaca's account: account_number (is|\(not shown\) is not a text)"):
        wire.broker_account(ACCOUNT | {"account_number": number})
