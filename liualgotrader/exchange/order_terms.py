"""The checks of an order request by itself: words, amounts, prices, their combination, the asset.

Source: Alpaca's documents on orders, fractional trading and order classes (as of 2026-09).
"""

from __future__ import annotations

from decimal import Decimal
from itertools import product

import msgspec

from liualgotrader.common.money import ONE, ZERO
from liualgotrader.exchange.exchange_values import AssetTerms, OrderRequest, Refusal
from liualgotrader.exchange.rules import Rules
from liualgotrader.exchange.units import SHARE, step_of, value_units

TYPES = ("market", "limit", "stop", "stop_limit", "trailing_stop")
TIMES_IN_FORCE = ("day", "gtc", "opg", "cls", "ioc", "fok")
CLASSES = ("simple", "bracket", "oco", "oto")
INTENTS = ("buy_to_open", "buy_to_close", "sell_to_open", "sell_to_close")
_WORDS = {
    "side": ("buy", "sell"),
    "type": TYPES,
    "time_in_force": TIMES_IN_FORCE,
    "order_class": CLASSES,
    "position_intent": INTENTS,
}
_KNOWN = frozenset(product(*_WORDS.values()))
PLACES, CENT = Decimal("1e-9"), Decimal("0.01")
LONGEST_ID = 128
LARGEST = 1_000_000_000  # of any price, quantity or notional


class OrderTerms(msgspec.Struct, frozen=True, gc=False):
    """An order request in the exchange's integers, well formed."""

    symbol: str
    sign: int
    type: str
    time_in_force: str
    order_class: str
    quantity: int | None
    notional: int | None = None
    limit: int | None = None
    stop: int | None = None
    trail: int | None = None
    trail_percent: Decimal | None = None
    extended: bool = False
    target_limit: int | None = None
    protection_stop: int | None = None
    protection_limit: int | None = None
    intent: str | None = None

    @property
    def is_fractional(self) -> bool:
        """Whether it is for parts of shares."""
        return self.quantity is None or self.quantity % SHARE != 0


def read(request: OrderRequest, asset: AssetTerms | None, rules: Rules) -> OrderTerms:
    """Return the request in integers. Raises `Refusal`: 422 for what is wrong in itself."""
    _check_fields(request)
    quantity = request.quantity
    is_plain = (
        request.type == "market"
        and request.time_in_force in ("day", "gtc")
        and request.order_class in (None, "simple")
        and request.limit_price is request.stop_price is request.trail_price is request.trail_percent is None
        and request.take_profit_limit is request.stop_loss_stop is request.stop_loss_limit is None
        and not request.extended_hours
        and (quantity is not None and quantity.same_quantum(ONE))
    )
    if not is_plain:
        _check_prices(request)
        _check_class(request)
        _check_combination(request, rules)
    if asset is None:
        raise Refusal.invalid(f'asset "{request.symbol}" not found')
    if not asset.tradable:
        raise Refusal.invalid(f'asset "{request.symbol}" is not active')
    sign = 1 if request.side == "buy" else -1
    if is_plain and quantity is not None:
        shares, word = int(quantity) * SHARE, request.position_intent
        return OrderTerms(request.symbol, sign, "market", request.time_in_force, "simple", shares, intent=word)
    trail = request.trail_price
    if trail is not None and trail.scaleb(4) % 1:
        raise _sub_penny("trail_price", trail)
    limit, stop, target = request.limit_price, request.stop_price, request.take_profit_limit
    loss_stop, loss_limit = request.stop_loss_stop, request.stop_loss_limit
    terms = OrderTerms(
        symbol=request.symbol,
        sign=sign,
        type=request.type,
        time_in_force=request.time_in_force,
        order_class=request.order_class or "simple",
        quantity=None if quantity is None else int(quantity.scaleb(9)),
        notional=None if request.notional is None else value_units(request.notional),
        trail=None if trail is None else int(trail.scaleb(6)),
        trail_percent=request.trail_percent,
        extended=request.extended_hours,
        intent=request.position_intent,
        limit=None if limit is None else tick(limit, "limit_price"),
        stop=None if stop is None else tick(stop, "stop_price"),
        target_limit=None if target is None else tick(target, "take_profit.limit_price"),
        protection_stop=None if loss_stop is None else tick(loss_stop, "stop_loss.stop_price"),
        protection_limit=None if loss_limit is None else tick(loss_limit, "stop_loss.limit_price"),
    )
    if not asset.fractionable and terms.is_fractional:
        raise Refusal.invalid(f'requested asset "{asset.symbol}" is not fractionable')
    return terms


def _check_fields(request: OrderRequest) -> None:
    words = (
        request.side,
        request.type,
        request.time_in_force,
        request.order_class or "simple",
        request.position_intent or INTENTS[0],
    )
    if not request.symbol:
        raise Refusal.malformed("symbol is required")
    if words not in _KNOWN:
        name, word = next((n, w) for (n, allowed), w in zip(_WORDS.items(), words, strict=True) if w not in allowed)
        raise Refusal.malformed(f"invalid {name}: {word}")
    if request.client_order_id is not None and not 0 < len(request.client_order_id) <= LONGEST_ID:
        raise Refusal.malformed(f"client_order_id must be 1 to {LONGEST_ID} characters")
    name, amount = ("qty", request.quantity) if request.notional is None else ("notional", request.notional)
    if amount is None or (name == "notional" and request.quantity is not None):
        raise Refusal.malformed("exactly one of qty and notional is required")
    if not amount.is_finite() or amount <= 0:
        raise Refusal.invalid(f"{name} must be > 0")
    if amount > LARGEST:
        raise Refusal.invalid(f"{name} must be at most {LARGEST}")
    if not amount.same_quantum(ONE) and amount != amount.quantize(PLACES):
        raise Refusal.invalid(f"{name} must have at most 9 decimals")
    if name == "notional" and amount != amount.quantize(CENT):
        raise Refusal.invalid("notional must have at most 2 decimals")


def _check_prices(request: OrderRequest) -> None:
    kind = request.type
    if kind == "market" and (request.limit_price is not None or request.stop_price is not None):
        raise Refusal.invalid("market orders require no stop or limit price")
    if kind == "market" and request.trail_price is None and request.trail_percent is None:
        return
    for name, is_wanted, value in (
        ("limit_price", kind in ("limit", "stop_limit") and request.order_class != "oco", request.limit_price),
        ("stop_price", kind in ("stop", "stop_limit"), request.stop_price),
    ):
        if is_wanted and value is None:
            raise Refusal.invalid(f"{kind} orders require {name}")
        if not is_wanted and value is not None:
            raise Refusal.invalid(f"{kind} orders of this class take no {name}")
    trail, percent = request.trail_price, request.trail_percent
    if kind != "trailing_stop":
        if trail is not None or percent is not None:
            raise Refusal.invalid(f"{kind} orders take no trail")
        return
    one = trail if percent is None else percent if trail is None else None
    if one is None:
        raise Refusal.invalid("trailing stop orders must specify one of trail_price or trail_percent")
    check_trail(one, is_percent=trail is None)


def check_trail(trail: Decimal, *, is_percent: bool) -> None:
    """Raise `Refusal` for a trail that is none."""
    if not trail.is_finite() or not 0 < trail < LARGEST or (is_percent and trail >= 100):
        raise Refusal.invalid("trail must be > 0, and trail_percent < 100")


def _check_class(request: OrderRequest) -> None:
    target = request.take_profit_limit is not None
    protection = request.stop_loss_stop is not None
    name = request.order_class or "simple"
    if name == "simple" and not (target or protection or request.stop_loss_limit is not None):
        return
    if request.stop_loss_limit is not None and not protection:
        raise Refusal.invalid("stop_loss.stop_price is required")
    if name == "simple" and (target or protection):
        raise Refusal.invalid("simple orders take no take_profit or stop_loss")
    if name in ("bracket", "oco") and not (target and protection):
        raise Refusal.invalid(f"{name} orders require take_profit.limit_price and stop_loss.stop_price")
    if name == "oto" and target == protection:
        raise Refusal.invalid("oto orders require either take_profit or stop_loss")
    if name == "oco" and request.type != "limit":
        raise Refusal.invalid("oco orders must be limit orders")
    if name in ("bracket", "oto") and request.type == "trailing_stop":
        raise Refusal.invalid("trailing stop orders must be simple orders")


def _check_combination(request: OrderRequest, rules: Rules) -> None:
    kind, tif = request.type, request.time_in_force
    simple = (request.order_class or "simple") == "simple"
    if tif not in ("day", "gtc") and (not simple or kind not in ("market", "limit")):
        raise Refusal.invalid(f"order type {kind} of class {request.order_class} cannot be {tif}")
    if request.extended_hours and (kind != "limit" or tif not in ("day", "gtc") or not simple):
        raise Refusal.invalid("extended hours order must be DAY or GTC limit orders")
    quantity = request.quantity
    if quantity is not None and (
        rules.divisible or quantity.same_quantum(ONE) or quantity == quantity.to_integral_value()
    ):
        return
    if tif != "day" and not rules.divisible:
        raise Refusal.invalid("fractional orders must be DAY orders")
    if not simple:
        raise Refusal.invalid("fractional orders must be simple orders")
    if kind not in rules.fractional_types:
        raise Refusal.invalid(f"fractional orders must be one of: {', '.join(rules.fractional_types)}")
    if request.notional is not None and request.notional < rules.minimum_notional:
        raise Refusal.malformed(f"notional must be >= {rules.minimum_notional:.2f}")


def tick(price: Decimal, name: str) -> int:
    """Return a price in 1e-6 dollars. Raises `Refusal` if it breaks the sub-penny rule (NMS rule 612)."""
    if not price.is_finite() or not ZERO < price < LARGEST:
        raise Refusal.invalid(f"{name} must be > 0 and < {LARGEST}")
    units = price.scaleb(6)
    whole = int(units)
    if units != whole or whole % step_of(whole):
        raise _sub_penny(name, price)
    return whole


def _sub_penny(name: str, price: Decimal) -> Refusal:
    return Refusal.invalid(f"invalid {name} {price}. sub-penny increment does not fulfill minimum pricing criteria")
