"""Hypothesis strategies of market events and requests for the exchange, and how they are acted out."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from liualgotrader.common.events import Quote, Status, TradeTick
from liualgotrader.common.tradeplan import FillProfile
from liualgotrader.exchange.exchange import Exchange
from liualgotrader.exchange.exchange_values import OrderChanges, OrderRequest
from liualgotrader.exchange.fees import RegulatoryFees
from liualgotrader.exchange.rules import Rules
from tests.fakes.exchange import ASSETS, OPEN, SESSION

SYMBOLS = ("X", "Y")
cents = st.integers(980, 1020).map(lambda c: Decimal(c) / 100)
sizes = st.sampled_from([1, 10, 50, 100, 300])
symbols = st.sampled_from(SYMBOLS)
maybe_price = st.one_of(st.none(), cents)


@st.composite
def quotes(draw: st.DrawFn) -> tuple[str, Any]:
    bid = draw(st.integers(985, 1015))
    spread = draw(st.sampled_from([1, 2, 2, 3, 10, 0, -1]))
    return ("quote", (draw(symbols), bid / 100, draw(sizes), (bid + spread) / 100, draw(sizes)))


@st.composite
def orders(draw: st.DrawFn) -> tuple[str, Any]:
    type_ = draw(st.sampled_from(["market", "limit", "limit", "stop", "stop_limit", "trailing_stop"]))
    fields: dict[str, Any] = {"symbol": draw(symbols), "side": draw(st.sampled_from(["buy", "sell"])), "type": type_}
    if draw(st.integers(0, 9)) == 0:
        fields["notional"] = Decimal(draw(st.integers(1, 5000)))
    else:
        fields["quantity"] = Decimal(draw(st.integers(1, 500))) / draw(st.sampled_from([1, 1, 1, 8]))
    if type_ in ("limit", "stop_limit"):
        fields["limit_price"] = draw(cents)
    if type_ in ("stop", "stop_limit"):
        fields["stop_price"] = draw(cents)
    if type_ == "trailing_stop":
        fields["trail_percent"] = Decimal(draw(st.integers(1, 5)))
    fields["time_in_force"] = draw(st.sampled_from(["day", "day", "gtc", "ioc", "fok"]))
    if draw(st.integers(0, 3)) == 0:
        with_exits(draw, fields)
    return ("order", fields)


def with_exits(draw: st.DrawFn, fields: dict[str, Any]) -> None:
    """Make the order a bracket, oto or oco whose exits lie on the right sides of the market."""
    fields["order_class"] = draw(st.sampled_from(["bracket", "oto", "oco"]))
    fields["time_in_force"] = "day"
    exits_sell = (fields["side"] == "buy") != (fields["order_class"] == "oco")
    high, low = Decimal(draw(st.integers(1005, 1025))) / 100, Decimal(draw(st.integers(975, 995))) / 100
    target, stop = (high, low) if exits_sell else (low, high)
    fields["take_profit_limit"], fields["stop_loss_stop"] = target, stop
    if fields["order_class"] == "oto":
        fields[draw(st.sampled_from(["take_profit_limit", "stop_loss_stop"]))] = None
    if fields["order_class"] == "oco":
        fields["type"] = "limit"
        for name in ("limit_price", "stop_price", "trail_percent"):
            fields.pop(name, None)
    if draw(st.booleans()) and fields["stop_loss_stop"] is not None:
        fields["stop_loss_limit"] = stop


steps = st.one_of(
    quotes(),
    quotes(),
    st.tuples(st.just("trade"), st.tuples(symbols, st.integers(985, 1015).map(lambda c: c / 100), sizes)),
    orders(),
    orders(),
    orders(),
    st.tuples(st.just("cancel"), st.integers(0, 30)),
    st.tuples(st.just("replace"), st.tuples(st.integers(0, 30), cents, st.one_of(st.none(), st.integers(1, 500)))),
    st.tuples(st.just("halt"), st.tuples(symbols, st.sampled_from([True, False, False]))),
    st.tuples(st.just("wait"), st.one_of(st.integers(1, 9), st.integers(1, 8000))),
)
opening = [("quote", (symbol, 9.99, 300, 10.01, 300)) for symbol in SYMBOLS]
plots = st.lists(steps, min_size=15, max_size=80).map(lambda steps: opening + steps)
rule_sets = st.builds(
    Rules,
    profile=st.sampled_from([FillProfile.STRICT, *FillProfile]),
    latency_ns=st.sampled_from([0, 500_000_000, 3_000_000_000]),
    impact_bps=st.sampled_from([None, None, Decimal(5)]),
    fees=st.just(RegulatoryFees()),
)
CASH = Decimal(50_000)


def fresh(rules: Rules) -> Exchange:
    """Return an exchange at the open, with the account `me`."""
    exchange = Exchange(ASSETS, session=SESSION, rules=rules, seed=3)
    exchange.open_account("me", CASH)
    exchange.advance(OPEN)
    return exchange


def step(exchange: Exchange, made: list[str], verb: str, what: Any, at: int, account: str = "me") -> None:
    """Act out one step of a plot; `made` collects the ids of orders."""
    if verb == "quote":
        exchange.on_event(Quote(what[0], at, *what[1:]))
    elif verb == "trade":
        exchange.on_event(TradeTick(what[0], at, *what[1:]))
    elif verb == "halt":
        exchange.on_event(Status(what[0], at, what[1]))
    elif verb == "order":
        view = exchange.submit(account, OrderRequest(client_order_id=f"o{len(made)}", **what), at)
        made += [view.id, *(leg.id for leg in view.legs)]
    elif verb == "cancel" and made:
        exchange.cancel(account, made[what % len(made)], at)
    elif verb == "replace" and made:
        quantity = None if what[2] is None else Decimal(what[2])
        made.append(
            exchange.replace(
                account, made[what[0] % len(made)], at, OrderChanges(limit_price=what[1], quantity=quantity)
            ).id
        )
