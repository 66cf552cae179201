"""What is refused, with the status, number and words of the vendor's documents (wire facts of 2026-09)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liualgotrader.exchange.exchange_values import AccountSettings, AssetTerms, OrderRequest, Refusal
from liualgotrader.exchange.order_terms import CLASSES, TYPES, read
from liualgotrader.exchange.rules import Rules
from tests.fakes.exchange import CLOSE, OPEN, SECOND, SESSION, Floor, refusal_of


def floor_at_ten(**options: Any) -> Floor:
    floor = Floor(**options)
    floor.trade(10.00)
    floor.quote(9.99, 100000, 10.01, 100000)
    return floor


def order(side: str = "buy", quantity: str | None = "10", type_: str = "market", **more: Any) -> dict[str, Any]:
    return {"side": side, "quantity": quantity, "type_": type_, **more}


BRACKET = {"order_class": "bracket", "take_profit_limit": "11", "stop_loss_stop": "9"}

WRONG_IN_ITSELF = [
    ("neither quantity nor notional", order(quantity=None), 40010001, "exactly one of qty and notional"),
    ("both quantity and notional", order(notional="50"), 40010001, "exactly one of qty and notional"),
    ("no quantity", order(quantity="0"), 42210000, "qty must be > 0"),
    ("a negative quantity", order(quantity="-5"), 42210000, "qty must be > 0"),
    ("more than nine decimals", order(quantity="1.0000000001"), 42210000, "9 decimals"),
    ("an unknown side", order("hold"), 40010001, "invalid side"),
    ("an unknown type", order(type_="iceberg"), 40010001, "invalid type"),
    ("an unknown life", order(time_in_force="gtd"), 40010001, "invalid time_in_force"),
    ("a market order with a price", order(limit_price="10"), 42210000, "market orders require no stop or limit price"),
    ("a limit order without one", order(type_="limit"), 42210000, "require limit_price"),
    ("two trails", order(type_="trailing_stop", trail_price="1", trail_percent="1"), 42210000, "one of trail_price"),
    ("a stop that is immediate", order(type_="stop", stop_price="11", time_in_force="ioc"), 42210000, "cannot be ioc"),
    ("a bracket without a target", order(order_class="bracket", stop_loss_stop="9"), 42210000, "take_profit"),
    ("an oto with both exits", order(**{**BRACKET, "order_class": "oto"}), 42210000, "either"),
    ("a fractional bracket", order(quantity="1.5", **BRACKET), 42210000, "fractional orders must be simple orders"),
    ("a fraction good till canceled", order(quantity="1.5", time_in_force="gtc"), 42210000, "must be DAY orders"),
    ("a notional below a dollar", order(quantity=None, notional="0.99"), 40010001, "notional must be >= 1.00"),
    ("an extended market order", order(extended_hours=True), 42210000, "extended hours order must be DAY or GTC limit"),
    ("a symbol nobody lists", order(symbol="NIX"), 42210000, 'asset "NIX" not found'),
    ("a symbol that is dead", order(symbol="DEAD"), 42210000, 'asset "DEAD" is not active'),
    ("a fraction of a whole-share asset", order(quantity="1.5", symbol="WHOLE"), 42210000, "not fractionable"),
    ("a sub-penny limit", order(type_="limit", limit_price="9.993"), 42210000, "invalid limit_price 9.993. sub-penny"),
    ("a fifth decimal", order(type_="limit", limit_price="0.99991"), 42210000, "invalid limit_price 0.99991. sub-penny"),
    ("a sub-penny exit", order(**{**BRACKET, "stop_loss_stop": "9.001"}), 42210000, "invalid stop_loss.stop_price"),
    ("a number beyond reason", order(type_="limit", limit_price="1e999999"), 42210000, "limit_price must be"),
    ("a buy stop below the market", order(type_="stop", stop_price="9.50"), 42210000, "stop price must be greater"),
    ("a bracket's stop at the market", order(**{**BRACKET, "stop_loss_stop": "10"}), 42210000, "<= base_price - 0.01"),
    ("a bracket's target at the market", order(**{**BRACKET, "take_profit_limit": "10"}), 42210000, ">= base_price + 0.01"),
    ("an opening auction after 09:28", order(time_in_force="opg"), 42210000, "opg orders are not accepted"),
    ("an id too long", order(client_order_id="x" * 129), 40010001, "client_order_id"),
    ("the wrong intent", order(position_intent="buy_to_close"), 42210000, "inferred: buy_to_open"),
    ("an oco without a position", order("sell", "10", "limit", **{**BRACKET, "order_class": "oco"}), 42210000, "exit orders"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("request_", "code", "words"), [c[1:] for c in WRONG_IN_ITSELF], ids=[c[0] for c in WRONG_IN_ITSELF]
)
def test_an_order_is_refused_as_422_for(request_: dict[str, Any], code: int, words: str) -> None:
    refusal = refusal_of(floor_at_ten(), **request_)
    assert (refusal.status, refusal.code) == (422, code)
    assert words in refusal.message


@pytest.mark.parametrize("limit", ["1.00", "9.99", "0.9999", "0.0001"])
def test_prices_of_whole_cents_or_four_decimals_below_a_dollar_are_taken(limit: str) -> None:
    assert floor_at_ten().send("buy", "10", "limit", limit_price=limit).limit_price == Decimal(limit)


def test_a_client_order_id_is_never_taken_twice_even_after_the_order_is_dead() -> None:
    floor = floor_at_ten()
    floor.send("buy", "10", "limit", limit_price="9", client_order_id="once")
    floor.cancel("once")
    refusal = refusal_of(floor, "buy", "10", client_order_id="once")
    assert (refusal.status, refusal.code, refusal.message) == (422, 40010001, "client_order_id must be unique")


def test_a_sale_beyond_what_is_available_is_refused_with_the_figures() -> None:
    floor = floor_at_ten()
    floor.send("buy", "100")
    floor.send("sell", "60", "limit", limit_price="11", client_order_id="target")
    refusal = refusal_of(floor, "sell", "50", "limit", limit_price="12")
    assert (refusal.status, refusal.code) == (403, 40310000)
    assert refusal.message == "insufficient qty available for order (requested: 50, available: 40)"
    assert (refusal.extra["existing_qty"], refusal.extra["held_for_orders"]) == (100, 60)
    assert refusal.extra["related_orders"] == [floor.order("target").id]
    floor.send("sell", "40", "limit", limit_price="12")


def test_one_order_never_turns_a_position_round() -> None:
    floor = floor_at_ten()
    floor.send("buy", "100")
    assert "insufficient qty" in refusal_of(floor, "sell", "101").message
    floor.send("sell", "100")
    floor.send("sell", "50")
    assert floor.exchange.position("me", "X").quantity == -50
    assert "insufficient qty" in refusal_of(floor, "buy", "51").message


SHORTS = [
    ("a symbol that cannot be borrowed", order("sell", symbol="NOSHORT"), 422, 'asset "NOSHORT" cannot be sold short'),
    ("a fraction", order("sell", "1.5"), 422, "fractional orders cannot be sold short"),
    ("a hard-to-borrow symbol overnight", order("sell", type_="limit", limit_price="20", symbol="HARD", time_in_force="gtc"), 422, "only day orders"),
]  # fmt: skip


@pytest.mark.parametrize(("request_", "status", "words"), [c[1:] for c in SHORTS], ids=[c[0] for c in SHORTS])
def test_a_short_sale_is_refused_for(request_: dict[str, Any], status: int, words: str) -> None:
    refusal = refusal_of(floor_at_ten(), **request_)
    assert refusal.status == status
    assert words in refusal.message


@pytest.mark.parametrize(("cash", "allowed"), [("2000", True), ("1999.99", False)])
def test_shorts_need_two_thousand_dollars_of_equity(cash: str, allowed: bool) -> None:
    floor = floor_at_ten(cash=cash)
    if allowed:
        floor.send("sell", "10")
        assert floor.exchange.position("me", "X").side == "short"
    else:
        assert refusal_of(floor, "sell", "10").message == "account is not allowed to short"


def test_a_flat_symbol_is_opened_from_one_side_only() -> None:
    floor = floor_at_ten()
    floor.send("buy", "10", "limit", limit_price="9")
    assert "while a long buy order is open" in refusal_of(floor, "sell", "10", "limit", limit_price="11").message
    other = floor_at_ten()
    other.send("sell", "10", "limit", limit_price="11")
    assert "while a short sell order is open" in refusal_of(other, "buy", "10", "limit", limit_price="9").message


WASHES = [
    ("market against limit", ("limit", {"limit_price": "11"}), ("market", {}), "opposite side market order exists"),
    ("limit against stop", ("stop", {"stop_price": "9"}), ("limit", {"limit_price": "8"}), "opposite side stop order exists"),
    ("limits that cross", ("limit", {"limit_price": "11"}), ("limit", {"limit_price": "11"}), "opposite side limit order exists"),
    ("limits that do not", ("limit", {"limit_price": "11"}), ("limit", {"limit_price": "10.99"}), ""),
    ("a trailing stop", ("trailing_stop", {"trail_percent": "5"}), ("market", {}), ""),
]  # fmt: skip


@pytest.mark.parametrize(("resting", "new", "reason"), [c[1:] for c in WASHES], ids=[c[0] for c in WASHES])
def test_orders_that_could_trade_with_each_other_are_refused(
    resting: tuple[str, dict[str, str]], new: tuple[str, dict[str, str]], reason: str
) -> None:
    floor = floor_at_ten()
    floor.send("buy", "100")
    existing = floor.send("sell", "50", resting[0], **resting[1])
    if reason:
        refusal = refusal_of(floor, "buy", "10", new[0], **new[1])
        assert refusal.message == "potential wash trade detected. use complex orders"
        assert refusal.extra == {"existing_order_id": existing.id, "reject_reason": reason}
    else:
        floor.send("buy", "10", new[0], **new[1])


MONEY = [
    # what, cash, rules, quantity that is refused, quantity that is taken; the ask is 10.01
    ("a cash account spends its cash", "10000", {"margin_multiplier": 1}, "1000", "999"),
    ("Reg T doubles it", "10000", {}, "1999", "1998"),
    ("but not below 2,000 dollars", "1999", {}, "200", "199"),
]


@pytest.mark.parametrize(("cash", "rules", "too_many", "enough"), [c[1:] for c in MONEY], ids=[c[0] for c in MONEY])
def test_buying_power(cash: str, rules: dict[str, Any], too_many: str, enough: str) -> None:
    floor = floor_at_ten(cash=cash, rules=Rules(latency_ns=0, **rules))
    refusal = refusal_of(floor, "buy", too_many)
    assert (refusal.status, refusal.message) == (403, "insufficient buying power")
    floor.send("buy", enough)


def test_open_buys_reserve_buying_power_until_they_end() -> None:
    floor = floor_at_ten(cash="10000", rules=Rules(latency_ns=0, margin_multiplier=1))
    floor.send("buy", "800", "limit", limit_price="9.00", client_order_id="a")
    assert floor.exchange.account("me").buying_power == 2800
    refusal = refusal_of(floor, "buy", "312", "limit", limit_price="9.00")
    assert refusal.extra == {"buying_power": Decimal(2800), "cost_basis": Decimal(2808), "symbol": "X"}
    floor.cancel("a")
    assert floor.exchange.account("me").buying_power == 10000


def test_a_short_sale_reserves_three_percent_above_the_ask() -> None:
    floor = floor_at_ten()
    floor.submit("sell", "100", "limit", limit_price="10.05")
    # max(10.05, 1.03 x 10.01 = 10.3103) x 100
    assert floor.exchange.account("me").buying_power == Decimal("198968.97")


def test_what_is_not_marginable_needs_its_whole_price() -> None:
    floor = Floor(cash="10000")
    floor.quote(9.99, 10000, 10.00, 10000, symbol="CASHONLY")
    assert refusal_of(floor, "buy", "1001", symbol="CASHONLY").message == "insufficient buying power"
    floor.send("buy", "1000", symbol="CASHONLY")
    assert floor.exchange.account("me").initial_margin == Decimal("9995")  # marked at the middle of the quote


def test_a_market_order_in_a_halt_is_refused() -> None:
    floor = floor_at_ten()
    floor.halt(halted=True)
    assert refusal_of(floor, "buy", "10").message == "market order rejected due to trading halt on symbol"


def test_an_opening_order_for_a_symbol_without_any_price_is_refused() -> None:
    assert "no market price" in refusal_of(Floor(), "buy", "10", symbol="Y").message


def test_the_owner_may_switch_trading_shorts_and_fractions_off() -> None:
    floor = floor_at_ten()
    floor.exchange.configure("me", AccountSettings(no_shorting=True, fractional_trading=False))
    assert refusal_of(floor, "sell", "1").status == 403
    assert refusal_of(floor, "buy", "1.5").status == 403
    floor.exchange.configure("me", AccountSettings(suspend_trade=True))
    assert refusal_of(floor, "buy", "1").status == 403


@pytest.mark.parametrize(
    ("tif", "at", "accepted"),
    [
        ("opg", OPEN - 121 * SECOND, True),
        ("opg", OPEN - 120 * SECOND, False),
        ("opg", CLOSE + 3 * 3600 * SECOND, True),
        ("cls", CLOSE - 601 * SECOND, True),
        ("cls", CLOSE - 600 * SECOND, False),
    ],
)
def test_auction_orders_are_taken_until_two_minutes_before_the_open_and_ten_before_the_close(
    tif: str, at: int, accepted: bool
) -> None:
    floor = Floor(start=(at - OPEN) / SECOND - 1)
    request: dict[str, Any] = order(type_="limit", limit_price="10", time_in_force=tif)
    if accepted:
        floor.submit(**request)
    else:
        assert f"{tif} orders are not accepted" in refusal_of(floor, **request).message


def test_the_retired_pattern_day_trading_rule_can_be_switched_on() -> None:
    floor = floor_at_ten(rules=Rules(latency_ns=0, pattern_day_trading=True), cash="20000")
    for _ in range(3):
        floor.send("buy", "10")
        floor.send("sell", "10")
    floor.send("buy", "10")
    assert refusal_of(floor, "sell", "10").code == 40310100


def test_unknown_orders_positions_and_accounts_are_404() -> None:
    exchange = floor_at_ten().exchange
    for ask in (
        lambda: exchange.order("me", "nope"),
        lambda: exchange.order_by_client_id("me", "nope"),
        lambda: exchange.position("me", "X"),
        lambda: exchange.account("you"),
    ):
        with pytest.raises(Refusal) as caught:
            ask()
        assert (caught.value.status, caught.value.code) == (404, 40410000)


EXTREMES = [
    Decimal(t) for t in ("1e9999999", "1e-9999999", "-1e999999999", "NaN", "sNaN", "Infinity", "0e-99", "1e-10")
]
ANY_NUMBER = st.none() | st.decimals() | st.sampled_from(EXTREMES) | st.sampled_from([Decimal(1), Decimal("99.5")])
PRICES = ("limit_price", "stop_price", "trail_price", "trail_percent")
LEGS = ("take_profit_limit", "stop_loss_stop", "stop_loss_limit")


@given(
    st.sampled_from(TYPES),
    st.sampled_from(CLASSES),
    st.dictionaries(st.sampled_from(["quantity", "notional"]), ANY_NUMBER, min_size=1, max_size=1),
    st.dictionaries(st.sampled_from([*PRICES, *LEGS]), ANY_NUMBER, max_size=3),
)
def test_any_number_in_an_order_is_read_or_refused_in_a_sentence(
    kind: str, order_class: str, amount: dict[str, Any], prices: dict[str, Any]
) -> None:
    request = OrderRequest(symbol="ABC", side="buy", type=kind, order_class=order_class, **amount, **prices)
    try:
        terms = read(request, AssetTerms("ABC"), Rules())
    except Refusal as refusal:
        assert len(refusal.message) < 200
    else:
        assert (terms.quantity or terms.notional or 0) > 0


@pytest.mark.parametrize(
    ("symbol", "listed", "tif", "refused"),
    [
        ("X", "none", "day", 'asset "X" cannot be sold short'),
        ("X", "hard", "gtc", 'only day orders are allowed for hard-to-borrow asset "X"'),
        ("X", "hard", "day", ""),
        ("HARD", "easy", "gtc", ""),
        ("NOSHORT", "easy", "day", ""),
    ],
)
def test_the_list_of_a_day_says_what_can_be_borrowed_before_the_asset_does(
    symbol: str, listed: str, tif: str, refused: str
) -> None:
    floor = Floor(session=msgspec.structs.replace(SESSION, borrow={symbol: listed}))
    floor.quote(9.99, 300, 10.01, 300, symbol)
    if not refused:
        assert floor.submit("sell", "1", "limit", symbol=symbol, time_in_force=tif, limit_price="10.50").side == "sell"
        return
    with pytest.raises(Refusal, match=refused):
        floor.submit("sell", "1", "limit", symbol=symbol, time_in_force=tif, limit_price="10.50")
