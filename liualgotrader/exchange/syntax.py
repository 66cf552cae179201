"""The first acceptance checks: is this an order at all, for an asset we have, at prices a market takes?

Source: Alpaca's documents on orders, fractional trading and order classes (as of 2026-09).
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from liualgotrader.common.money import ZERO
from liualgotrader.exchange.exchange_values import AssetTerms, OrderRequest, Refusal
from liualgotrader.exchange.refusals import forbidden, invalid, malformed
from liualgotrader.exchange.rules import Rules
from liualgotrader.exchange.units import CENT_STEP, DOLLAR, SHARE, value_units

TYPES = ("market", "limit", "stop", "stop_limit", "trailing_stop")
TIMES_IN_FORCE = ("day", "gtc", "opg", "cls", "ioc", "fok")
CLASSES = ("simple", "bracket", "oco", "oto")
INTENTS = ("buy_to_open", "buy_to_close", "sell_to_open", "sell_to_close")
PLACES = Decimal("1e-9")
LONGEST_ID = 128
LARGEST = 1_000_000_000  # of any price, quantity or notional


class OrderTerms(msgspec.Struct, frozen=True, kw_only=True):
    """An order request in the exchange's integers, well formed."""

    symbol: str
    sign: int
    type: str
    time_in_force: str
    order_class: str
    quantity: int | None
    notional: int | None
    limit: int | None
    stop: int | None
    trail: int | None
    trail_percent: Decimal | None
    extended: bool
    target_limit: int | None
    protection_stop: int | None
    protection_limit: int | None
    intent: str | None

    @property
    def is_fractional(self) -> bool:
        """Whether it is for parts of shares."""
        return self.quantity is None or self.quantity % SHARE != 0


def read(request: OrderRequest, asset: AssetTerms | None, rules: Rules) -> OrderTerms:
    """Return the request in integers. Raises `Refusal`: 422 for what is wrong in itself."""
    _check_words(request)
    _check_amount(request)
    _check_prices_present(request)
    _check_class(request)
    _check_combination(request, rules)
    _check_asset(request, asset)
    terms = _terms(request)
    if terms.is_fractional and asset is not None and not asset.fractionable:
        raise invalid(f'requested asset "{asset.symbol}" is not fractionable')
    return terms


def _check_words(request: OrderRequest) -> None:
    words = (
        ("side", request.side, ("buy", "sell")),
        ("type", request.type, TYPES),
        ("time_in_force", request.time_in_force, TIMES_IN_FORCE),
        ("order_class", request.order_class or "simple", CLASSES),
        ("position_intent", request.position_intent or INTENTS[0], INTENTS),
    )
    if not request.symbol:
        raise malformed("symbol is required")
    for name, word, allowed in words:
        if word not in allowed:
            raise malformed(f"invalid {name}: {word}")
    if request.client_order_id is not None and not 0 < len(request.client_order_id) <= LONGEST_ID:
        raise malformed(f"client_order_id must be 1 to {LONGEST_ID} characters")


def _check_amount(request: OrderRequest) -> None:
    given = [(n, v) for n, v in (("qty", request.quantity), ("notional", request.notional)) if v is not None]
    if len(given) != 1:
        raise malformed("exactly one of qty and notional is required")
    name, amount = given[0]
    if not amount.is_finite() or amount <= 0:
        raise invalid(f"{name} must be > 0")
    if amount > LARGEST:
        raise invalid(f"{name} must be at most {LARGEST}")
    if amount != amount.quantize(PLACES):
        raise invalid(f"{name} must have at most 9 decimals")


def _check_prices_present(request: OrderRequest) -> None:
    kind = request.type
    limit_wanted = kind in ("limit", "stop_limit") and request.order_class != "oco"
    stop_wanted = kind in ("stop", "stop_limit")
    if kind == "market" and (request.limit_price is not None or request.stop_price is not None):
        raise invalid("market orders require no stop or limit price")
    for name, wanted, value in (
        ("limit_price", limit_wanted, request.limit_price),
        ("stop_price", stop_wanted, request.stop_price),
    ):
        if wanted and value is None:
            raise invalid(f"{kind} orders require {name}")
        if not wanted and value is not None:
            raise invalid(f"{kind} orders of this class take no {name}")
    trails = [t for t in (request.trail_price, request.trail_percent) if t is not None]
    if kind == "trailing_stop":
        if len(trails) != 1:
            raise invalid("trailing stop orders must specify one of trail_price or trail_percent")
        if (
            not trails[0].is_finite()
            or not 0 < trails[0] < LARGEST
            or (trails[0] is request.trail_percent and trails[0] >= 100)
        ):
            raise invalid("trail must be > 0, and trail_percent < 100")
    elif trails:
        raise invalid(f"{kind} orders take no trail")


def _check_class(request: OrderRequest) -> None:
    target = request.take_profit_limit is not None
    protection = request.stop_loss_stop is not None
    name = request.order_class or "simple"
    if request.stop_loss_limit is not None and not protection:
        raise invalid("stop_loss.stop_price is required")
    if name == "simple" and (target or protection):
        raise invalid("simple orders take no take_profit or stop_loss")
    if name in ("bracket", "oco") and not (target and protection):
        raise invalid(f"{name} orders require take_profit.limit_price and stop_loss.stop_price")
    if name == "oto" and target == protection:
        raise invalid("oto orders require either take_profit or stop_loss")
    if name == "oco" and request.type != "limit":
        raise invalid("oco orders must be limit orders")
    if name in ("bracket", "oto") and request.type == "trailing_stop":
        raise invalid("trailing stop orders must be simple orders")


def _check_combination(request: OrderRequest, rules: Rules) -> None:
    kind, tif = request.type, request.time_in_force
    simple = (request.order_class or "simple") == "simple"
    if tif not in ("day", "gtc") and (not simple or kind not in ("market", "limit")):
        raise invalid(f"order type {kind} of class {request.order_class} cannot be {tif}")
    if request.extended_hours and (kind != "limit" or tif not in ("day", "gtc") or not simple):
        raise invalid("extended hours order must be DAY or GTC limit orders")
    whole = request.quantity is not None and request.quantity == request.quantity.to_integral_value()
    if whole:
        return
    if tif != "day":
        raise invalid("fractional orders must be DAY orders")
    if not simple:
        raise invalid("fractional orders must be simple orders")
    if kind not in rules.fractional_types:
        raise invalid(f"fractional orders must be one of: {', '.join(rules.fractional_types)}")
    if request.notional is not None and request.notional < rules.minimum_notional:
        raise malformed(f"notional must be >= {rules.minimum_notional:.2f}")


def _check_asset(request: OrderRequest, asset: AssetTerms | None) -> None:
    if asset is None:
        raise invalid(f'asset "{request.symbol}" not found')
    if not asset.tradable:
        raise invalid(f'asset "{request.symbol}" is not active')


def _terms(request: OrderRequest) -> OrderTerms:
    quantity = request.quantity
    trail = request.trail_price
    return OrderTerms(
        symbol=request.symbol,
        sign=1 if request.side == "buy" else -1,
        type=request.type,
        time_in_force=request.time_in_force,
        order_class=request.order_class or "simple",
        quantity=None if quantity is None else int(quantity.scaleb(9)),
        notional=None if request.notional is None else value_units(request.notional),
        limit=tick(request.limit_price, "limit_price"),
        stop=tick(request.stop_price, "stop_price"),
        trail=None if trail is None else _fine(trail, "trail_price"),
        trail_percent=request.trail_percent,
        extended=request.extended_hours,
        target_limit=tick(request.take_profit_limit, "take_profit.limit_price"),
        protection_stop=tick(request.stop_loss_stop, "stop_loss.stop_price"),
        protection_limit=tick(request.stop_loss_limit, "stop_loss.limit_price"),
        intent=request.position_intent,
    )


def tick(price: Decimal | None, name: str) -> int | None:
    """Return a price in 1e-4 dollars. Raises `Refusal` if it breaks the sub-penny rule (NMS rule 612)."""
    if price is None:
        return None
    if not price.is_finite() or not ZERO < price < LARGEST:
        raise invalid(f"{name} must be > 0 and < {LARGEST}")
    units = price.scaleb(4)
    whole = int(units)
    if units != whole or (whole >= DOLLAR and whole % CENT_STEP):
        raise _sub_penny(name, price)
    return whole


def _fine(price: Decimal, name: str) -> int:
    units = price.scaleb(4)
    if units != int(units):
        raise _sub_penny(name, price)
    return int(units)


def _sub_penny(name: str, price: Decimal) -> Refusal:
    return invalid(f"invalid {name} {price}. sub-penny increment does not fulfill minimum pricing criteria")


def fractional_not_allowed() -> Refusal:
    """The account's owner has switched fractions off."""
    return forbidden("account is not allowed to trade fractional shares")
