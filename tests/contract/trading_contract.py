"""What every simulated broker must do, whoever serves it: one suite, run through one small port.

The port gives access to an account with 100,000 dollars at 09:35 of the tape in `tests/fakes/tapes.py`, profile
`strict`, latency 1 ms, no fees. Requests and views are the exchange's own values; a refusal is `Refusal`.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Protocol

import pytest

from liualgotrader.exchange.exchange_values import OrderRequest, Refusal
from tests.fakes.tapes import at

D = Decimal


class SeenOrder(Protocol):
    """An order as the port shows it."""

    id: str
    client_order_id: str
    symbol: str
    side: str
    type: str
    order_class: str
    status: str
    quantity: Decimal | None
    filled_quantity: Decimal
    filled_average_price: Decimal | None
    limit_price: Decimal | None
    stop_price: Decimal | None
    replaces: str | None
    replaced_by: str | None

    @property
    def legs(self) -> Sequence[Any]: ...


class SeenPosition(Protocol):
    """A position as the port shows it."""

    symbol: str
    quantity: Decimal
    average_entry_price: Decimal


class SeenAccount(Protocol):
    """An account as the port shows it."""

    cash: Decimal
    equity: Decimal
    buying_power: Decimal


class SeenFill(Protocol):
    """A fill as the port shows it."""

    id: str
    order_id: str
    symbol: str
    price: Decimal
    quantity: Decimal
    cumulative_quantity: Decimal


class TradingPort(Protocol):
    """The broker under test, and the market's time."""

    def go_to(self, instant: int) -> None: ...
    def submit(self, request: OrderRequest) -> SeenOrder: ...
    def replace(self, order_id: str, **terms: Any) -> SeenOrder: ...
    def cancel(self, order_id: str) -> None: ...
    def cancel_all(self) -> int: ...
    def order(self, order_id: str) -> SeenOrder: ...
    def order_by_client_id(self, client_order_id: str) -> SeenOrder: ...
    def orders(self, status: str = "open") -> Sequence[SeenOrder]: ...
    def positions(self) -> Sequence[SeenPosition]: ...
    def account(self) -> SeenAccount: ...
    def fills(self) -> Sequence[SeenFill]: ...


def market(side: str, quantity: str, symbol: str = "ABC", **terms: Any) -> OrderRequest:
    return OrderRequest(symbol=symbol, side=side, type="market", quantity=D(quantity), **terms)


def limit(side: str, quantity: str, price: str, symbol: str = "ABC", **terms: Any) -> OrderRequest:
    terms = {"type": "limit"} | terms
    return OrderRequest(symbol=symbol, side=side, quantity=D(quantity), limit_price=D(price), **terms)


def stop(side: str, quantity: str, price: str, **terms: Any) -> OrderRequest:
    terms = {"type": "stop"} | terms
    return OrderRequest(symbol="ABC", side=side, quantity=D(quantity), stop_price=D(price), **terms)


def refused(broker: TradingPort, request: OrderRequest, status: int, code: int, words: str = "") -> Refusal:
    with pytest.raises(Refusal) as caught:
        broker.submit(request)
    assert (caught.value.status, caught.value.code) == (status, code)
    assert words in caught.value.message
    return caught.value


def held(broker: TradingPort) -> dict[str, Decimal]:
    return {p.symbol: p.quantity for p in broker.positions()}


class TradingContract:
    """The suite."""

    # --- market orders, the account

    @pytest.mark.parity(36)
    def test_a_market_order_waits_for_its_latency_and_fills_at_the_far_side(self, broker: TradingPort) -> None:
        order = broker.submit(market("buy", "100", client_order_id="one"))
        assert (order.status, order.filled_quantity) == ("pending_new", 0)
        broker.go_to(at("09:35:01"))
        order = broker.order(order.id)
        assert (order.status, order.filled_quantity, order.filled_average_price) == ("filled", 100, D("100.01"))
        assert held(broker) == {"ABC": 100}
        assert broker.account().cash == D("100000") - 100 * D("100.01")

    def test_equity_is_cash_and_the_position_at_the_last_price(self, broker: TradingPort) -> None:
        broker.submit(market("buy", "100"))
        broker.go_to(at("09:41"))
        account = broker.account()
        assert account.equity == account.cash + 100 * D("97")

    def test_more_than_the_displayed_size_is_filled_in_parts(self, broker: TradingPort) -> None:
        order = broker.submit(market("buy", "700"))
        broker.go_to(at("09:35:00.500000"))
        assert (broker.order(order.id).status, broker.order(order.id).filled_quantity) == ("partially_filled", 500)
        broker.go_to(at("09:41"))
        assert broker.order(order.id).status == "filled"
        fills = [f for f in broker.fills() if f.order_id == order.id]
        assert [(f.quantity, f.cumulative_quantity) for f in fills] == [(500, 500), (200, 700)]

    def test_a_round_trip_leaves_the_difference_in_cash(self, broker: TradingPort) -> None:
        broker.submit(market("buy", "100"))
        broker.go_to(at("09:55"))
        broker.submit(market("sell", "100"))
        broker.go_to(at("09:55:01"))
        assert held(broker) == {}
        assert broker.account().cash == D("100000") + 100 * (D("103.99") - D("100.01"))

    def test_shares_are_sold_short_and_bought_back(self, broker: TradingPort) -> None:
        broker.submit(market("sell", "100"))
        broker.go_to(at("09:41"))
        assert held(broker) == {"ABC": -100}
        broker.submit(market("buy", "100"))
        broker.go_to(at("09:41:01"))
        assert held(broker) == {}
        assert broker.account().cash == D("100000") + 100 * (D("99.99") - D("97.01"))

    def test_parts_of_shares_are_bought_by_quantity_and_by_value(self, broker: TradingPort) -> None:
        broker.submit(market("buy", "1.5"))
        value = broker.submit(OrderRequest(symbol="XYZ", side="buy", type="market", notional=D("600.02")))
        assert value.quantity is None
        broker.go_to(at("09:35:30"))
        assert held(broker) == {"ABC": D("1.5"), "XYZ": D("2")}

    # --- limits, stops, trails

    def test_a_limit_order_rests_until_the_market_comes_to_it(self, broker: TradingPort) -> None:
        order = broker.submit(limit("buy", "100", "98.00"))
        broker.go_to(at("09:39:59"))
        assert broker.order(order.id).status == "new"
        broker.go_to(at("09:40:01"))
        order = broker.order(order.id)
        assert (order.status, order.filled_average_price) == ("filled", D("97.01"))

    def test_a_stop_sells_when_a_print_goes_through_it(self, broker: TradingPort) -> None:
        broker.submit(market("buy", "100"))
        broker.go_to(at("09:36"))
        order = broker.submit(stop("sell", "100", "98.50"))
        broker.go_to(at("09:39:59"))
        assert broker.order(order.id).status == "new"
        broker.go_to(at("09:40:02"))
        assert broker.order(order.id).filled_average_price == D("96.99")
        assert held(broker) == {}

    def test_a_stop_limit_rests_at_its_limit_after_it_was_elected(self, broker: TradingPort) -> None:
        broker.submit(market("buy", "100"))
        broker.go_to(at("09:36"))
        order = broker.submit(stop("sell", "100", "98.50", type="stop_limit", limit_price=D("98.00")))
        broker.go_to(at("09:49"))
        assert (broker.order(order.id).status, broker.order(order.id).filled_quantity) == ("new", 0)
        broker.go_to(at("09:51"))
        assert broker.order(order.id).status == "filled"

    def test_a_trailing_stop_follows_the_price_up_and_sells_on_the_way_down(self, broker: TradingPort) -> None:
        broker.go_to(at("09:45"))
        broker.submit(market("buy", "100"))
        broker.go_to(at("09:46"))
        request = OrderRequest(symbol="ABC", side="sell", type="trailing_stop", quantity=D(100), trail_price=D("2"))
        order = broker.submit(request)
        broker.go_to(at("09:59"))
        assert (broker.order(order.id).status, broker.order(order.id).stop_price) == ("new", D("102"))
        broker.go_to(at("10:00:02"))
        assert broker.order(order.id).status == "filled"

    # --- time in force

    def test_ioc_fills_what_it_can_and_fok_all_or_nothing(self, broker: TradingPort) -> None:
        ioc = broker.submit(limit("buy", "700", "100.01", time_in_force="ioc"))
        broker.go_to(at("09:35:10"))
        assert (broker.order(ioc.id).status, broker.order(ioc.id).filled_quantity) == ("canceled", 500)
        fok = broker.submit(limit("buy", "700", "100.01", time_in_force="fok"))
        broker.go_to(at("09:35:20"))
        assert (broker.order(fok.id).status, broker.order(fok.id).filled_quantity) == ("canceled", 0)

    def test_gtc_is_accepted_and_opg_is_refused_during_the_day(self, broker: TradingPort) -> None:
        order = broker.submit(limit("buy", "1", "90", time_in_force="gtc"))
        broker.go_to(at("09:35:01"))
        assert broker.order(order.id).status == "new"
        stop_day = stop("buy", "1", "110", time_in_force="ioc")
        refused(broker, stop_day, 422, 42210000)

    # --- classes

    def test_the_target_of_a_bracket_fills_and_its_stop_is_canceled(self, broker: TradingPort) -> None:
        entry = broker.submit(
            market("buy", "100", order_class="bracket", take_profit_limit=D("103"), stop_loss_stop=D("90"))
        )
        assert [leg.status for leg in entry.legs] == ["held", "held"]
        broker.go_to(at("09:36"))
        entry = broker.order(entry.id)
        assert (entry.status, entry.order_class) == ("filled", "bracket")
        assert sorted((leg.type, leg.status) for leg in entry.legs) == [("limit", "new"), ("stop", "new")]
        broker.go_to(at("09:51"))
        ends = {leg.type: leg.status for leg in broker.order(entry.id).legs}
        assert ends == {"limit": "filled", "stop": "canceled"}
        assert held(broker) == {}

    def test_the_stop_of_a_bracket_fills_and_its_target_is_canceled(self, broker: TradingPort) -> None:
        entry = broker.submit(
            market("buy", "100", order_class="bracket", take_profit_limit=D("110"), stop_loss_stop=D("98"))
        )
        broker.go_to(at("09:41"))
        assert {leg.type: leg.status for leg in broker.order(entry.id).legs} == {"limit": "canceled", "stop": "filled"}

    def test_an_oco_pair_closes_a_position_once(self, broker: TradingPort) -> None:
        broker.submit(market("buy", "100"))
        broker.go_to(at("09:36"))
        request = OrderRequest(
            symbol="ABC",
            side="sell",
            type="limit",
            quantity=D(100),
            order_class="oco",
            take_profit_limit=D("103"),
            stop_loss_stop=D("90"),
        )
        target = broker.submit(request)
        broker.go_to(at("09:51"))
        target = broker.order(target.id)
        assert (target.status, [leg.status for leg in target.legs]) == ("filled", ["canceled"])
        assert held(broker) == {}

    def test_an_oto_sends_its_exit_after_the_entry(self, broker: TradingPort) -> None:
        entry = broker.submit(market("buy", "100", order_class="oto", stop_loss_stop=D("98")))
        broker.go_to(at("09:41"))
        assert [leg.status for leg in broker.order(entry.id).legs] == ["filled"]
        assert held(broker) == {}

    # --- cancel and replace

    def test_a_canceled_order_trades_no_more(self, broker: TradingPort) -> None:
        order = broker.submit(limit("buy", "100", "98"))
        broker.go_to(at("09:35:01"))
        broker.cancel(order.id)
        broker.go_to(at("09:41"))
        assert (broker.order(order.id).status, broker.order(order.id).filled_quantity) == ("canceled", 0)

    def test_a_filled_order_cannot_be_canceled(self, broker: TradingPort) -> None:
        order = broker.submit(market("buy", "1"))
        broker.go_to(at("09:36"))
        with pytest.raises(Refusal) as caught:
            broker.cancel(order.id)
        assert (caught.value.status, caught.value.code) == (422, 42210000)

    def test_all_open_orders_are_canceled_at_once(self, broker: TradingPort) -> None:
        for price in ("90", "91"):
            broker.submit(limit("buy", "1", price))
        broker.go_to(at("09:35:01"))
        assert broker.cancel_all() == 2
        broker.go_to(at("09:35:02"))
        assert list(broker.orders("open")) == []
        assert [o.status for o in broker.orders("closed")] == ["canceled", "canceled"]

    def test_a_replacement_is_a_new_order_that_names_the_old_one(self, broker: TradingPort) -> None:
        old = broker.submit(limit("buy", "100", "90"))
        broker.go_to(at("09:35:01"))
        new = broker.replace(old.id, limit_price=D("98"), client_order_id="again")
        assert (new.replaces, new.client_order_id) == (old.id, "again")
        broker.go_to(at("09:41"))
        old, new = broker.order(old.id), broker.order(new.id)
        assert (old.status, old.replaced_by) == ("replaced", new.id)
        assert (new.status, new.limit_price) == ("filled", D("98"))

    # --- looking things up

    @pytest.mark.parity(36)
    def test_an_order_is_found_by_both_of_its_ids(self, broker: TradingPort) -> None:
        order = broker.submit(limit("buy", "1", "90", client_order_id="mine"))
        assert broker.order_by_client_id("mine").id == order.id
        for look in (broker.order_by_client_id, broker.order):
            with pytest.raises(Refusal) as caught:
                look("00000000-0000-4000-8000-000000000000")
            assert (caught.value.status, caught.value.code) == (404, 40410000)

    def test_the_same_client_order_id_gives_one_order_and_one_refusal(self, broker: TradingPort) -> None:
        broker.submit(market("buy", "1", client_order_id="twice"))
        refused(broker, market("buy", "1", client_order_id="twice"), 422, 40010001, "client_order_id must be unique")
        broker.go_to(at("09:36"))
        assert held(broker) == {"ABC": 1}

    # --- refusals

    def test_an_order_beyond_the_buying_power_is_refused(self, broker: TradingPort) -> None:
        refused(broker, market("buy", "2500"), 403, 40310000, "insufficient buying power")

    def test_no_more_is_sold_than_is_held(self, broker: TradingPort) -> None:
        broker.submit(market("buy", "10"))
        broker.go_to(at("09:36"))
        refusal = refused(broker, market("sell", "11"), 403, 40310000, "insufficient qty available")
        assert D(str(refusal.extra["available"])) == 10

    def test_a_price_between_the_ticks_is_refused(self, broker: TradingPort) -> None:
        refused(broker, limit("buy", "1", "99.123"), 422, 42210000, "sub-penny")
        cheap = broker.submit(limit("buy", "1", "0.4321", symbol="PENY"))
        assert cheap.limit_price == D("0.4321")

    def test_what_cannot_be_borrowed_is_not_sold_short(self, broker: TradingPort) -> None:
        refused(broker, market("sell", "10", symbol="PENY"), 422, 42210000, "cannot be sold short")

    def test_whole_shares_only_where_a_symbol_has_no_parts(self, broker: TradingPort) -> None:
        refused(broker, market("buy", "1.5", symbol="PENY"), 422, 42210000, "not fractionable")

    def test_an_unknown_symbol_is_refused(self, broker: TradingPort) -> None:
        refused(broker, market("buy", "1", symbol="NOPE"), 422, 42210000, 'asset "NOPE" not found')

    def test_the_account_does_not_trade_with_itself(self, broker: TradingPort) -> None:
        broker.submit(market("buy", "10"))
        broker.go_to(at("09:36"))
        broker.submit(limit("sell", "10", "105"))
        refused(broker, limit("buy", "10", "105"), 403, 40310000, "wash trade")

    def test_a_stop_on_the_wrong_side_of_the_market_is_refused(self, broker: TradingPort) -> None:
        broker.submit(market("buy", "10"))
        broker.go_to(at("09:36"))
        refused(broker, stop("sell", "10", "105"), 422, 42210000, "stop price")

    # --- fills

    def test_fills_are_listed_once_each_in_order(self, broker: TradingPort) -> None:
        broker.submit(market("buy", "10"))
        broker.go_to(at("09:36"))
        broker.submit(market("sell", "10"))
        broker.go_to(at("09:37"))
        fills = broker.fills()
        assert [(f.symbol, f.price, f.quantity) for f in fills] == [("ABC", D("100.01"), 10), ("ABC", D("99.99"), 10)]
        assert len({f.id for f in fills}) == 2
