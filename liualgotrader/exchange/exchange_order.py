"""An order inside the exchange: integers, changing, and only through the steps the vendor's life cycle allows."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from liualgotrader.common.money import ZERO
from liualgotrader.common.orders import Side
from liualgotrader.exchange.exchange_values import FINAL_STATUSES, OrderView
from liualgotrader.exchange.units import SHARE, dollars, per_share, price, shares

_ENDS = {"filled", "canceled", "expired"}
_INSTANTS = {
    "filled": "filled_at",
    "canceled": "canceled_at",
    "expired": "expired_at",
    "rejected": "failed_at",
    "replaced": "replaced_at",
}
_WORKING = {"partially_filled", "pending_cancel", "pending_replace", "replaced", *_ENDS}

# From the vendor's descriptions of its order states. `pending_cancel` and `pending_replace` may also go back to
# where they came from, see `back`.
LEGAL: dict[str, frozenset[str]] = {
    "pending_new": frozenset({"accepted", "new", "rejected", "canceled"}),
    "accepted": frozenset({"new", "canceled", "expired", "rejected"}),
    "held": frozenset({"new", "canceled", "expired"}),
    "new": frozenset(_WORKING | {"rejected"}),
    "partially_filled": frozenset(_WORKING),
    "pending_cancel": frozenset({"canceled", "filled", "partially_filled"}),
    "pending_replace": frozenset({"replaced", "filled"}),
}


class ExchangeOrder(msgspec.Struct, kw_only=True, eq=False, gc=False):
    """Prices in 1e-6 dollars, quantities in 1e-9 shares, values in 1e-15 dollars, instants ns UTC."""

    id: str
    account_id: str
    client_order_id: str
    symbol: str
    sign: int  # +1 buys, -1 sells
    type: str = "limit"
    time_in_force: str = "day"
    order_class: str = "simple"
    role: str = "simple"  # simple, entry, target, protection
    quantity: int | None = None
    notional: int | None = None
    limit: int | None = None
    stop: int | None = None
    trail: int | None = None
    trail_percent: Decimal | None = None
    extended: bool = False
    divisible: bool = False  # a whole quantity, too, trades in parts
    opening: bool = False  # opens or adds to a position; else it reduces one
    status: str = "pending_new"
    created_at: int
    submitted_at: int
    updated_at: int
    arrives_at: int
    arrived: bool = False
    working_at: int = 0
    collar: int | None = None  # limit that an elected buy stop gets
    elected: bool = False
    hwm: int | None = None
    queue_ahead: int | None = None  # shares before us at our price, None while it is unknown
    check_price: int = 0  # what a share reserves in buying power
    before_pending: str = ""
    filled: int = 0
    filled_value: int = 0
    fee: int = 0  # value units
    executions: int = 0
    draws: int = 0
    parent_id: str | None = None
    sibling_id: str | None = None
    child_ids: list[str] = []
    replaces: str | None = None
    replaced_by: str | None = None
    successor_id: str | None = None  # the replacement under way
    new_total: int | None = None  # of a replacement: the quantity asked for, what the old order filled included
    filled_at: int | None = None
    expired_at: int | None = None
    expires_at: int | None = None
    canceled_at: int | None = None
    failed_at: int | None = None
    replaced_at: int | None = None
    cancel_requested_at: int | None = None
    reason: str = ""

    @property
    def side(self) -> Side:
        """Buy or sell."""
        return Side.BUY if self.sign > 0 else Side.SELL

    @property
    def is_open(self) -> bool:
        """Whether the order can still trade."""
        return self.status not in FINAL_STATUSES

    @property
    def is_whole(self) -> bool:
        """Whether it trades whole shares only."""
        return not self.divisible and self.quantity is not None and self.quantity % SHARE == 0

    @property
    def is_dormant_stop(self) -> bool:
        """Whether it waits for its stop price."""
        return not self.elected and self.type in ("stop", "stop_limit", "trailing_stop")

    @property
    def is_auction(self) -> bool:
        """Whether it trades in the opening or closing auction only."""
        return self.time_in_force in ("opg", "cls")

    @property
    def match_limit(self) -> int | None:
        """The worst price it may trade at, None for any."""
        return self.limit if self.limit is not None else self.collar

    def accepts(self, at_price: int) -> bool:
        """Whether it may trade at a price."""
        limit = self.limit if self.limit is not None else self.collar
        return limit is None or self.sign * (limit - at_price) >= 0

    def wanted(self, at_price: int, *, spent: int = 0, spent_value: int = 0) -> int:
        """Return what it still wants at a price, beyond `spent` shares worth `spent_value`."""
        if self.quantity is not None:
            return self.quantity - self.filled - spent
        assert self.notional is not None
        return max(self.notional - self.filled_value - spent_value, 0) // at_price

    def lot(self, quantity: int) -> int:
        """Return as much of a quantity as the order can take: whole shares, if it is for whole shares."""
        part = quantity % SHARE
        return quantity - part if part and self.is_whole else quantity

    def leaves(self) -> int:
        """Return the shares that are left; of an order by value, at its check price."""
        if self.quantity is not None:
            return self.quantity - self.filled
        return -(-self.leaves_value() // self.check_price)

    def leaves_value(self) -> int:
        """Return the value of what is left at its check price."""
        if self.notional is not None:
            return max(self.notional - self.filled_value, 0)
        assert self.quantity is not None
        return (self.quantity - self.filled) * self.check_price

    def become(self, status: str, at: int) -> None:
        """Go to the next status."""
        assert status in LEGAL.get(self.status, ()), f"order {self.id}: {self.status} cannot become {status}"
        if status in ("pending_cancel", "pending_replace"):
            self.before_pending = self.status
        self.status = status
        self.updated_at = at
        if instant := _INSTANTS.get(status):
            setattr(self, instant, at)

    def back(self, at: int) -> None:
        """Return from a pending cancel or replace to the status before."""
        assert self.status in ("pending_cancel", "pending_replace"), f"order {self.id} is {self.status}"
        self.status = "partially_filled" if self.filled else self.before_pending
        self.updated_at = at


ANY_PRICE = {1: 2**62, -1: 0}
"""What a buy and a sell reach that take any price."""


def reach_of(order: ExchangeOrder) -> int | None:
    """Return the worst price an order would take, None if it cannot wash: exits and trailing stops do not."""
    if order.order_class != "simple" or order.type == "trailing_stop":
        return None
    return reach(order.type, order.sign, order.limit)


def reach(order_type: str, sign: int, limit: int | None) -> int:
    """Return the worst price that an order on these terms would take; stops count as market orders."""
    return ANY_PRICE[sign] if limit is None or order_type in ("market", "stop") else limit


def stop_of_trail(order: ExchangeOrder) -> int | None:
    """Return the stop price of a trailing stop: its best price minus (sells) or plus (buys) the trail, on the tick."""
    if order.hwm is None:
        return None
    trail = order.trail
    if trail is None:
        assert order.trail_percent is not None
        trail = int(order.hwm * order.trail_percent / 100)
    return max(order.hwm + order.sign * trail, 1)


def view(order: ExchangeOrder, legs: tuple[OrderView, ...] = ()) -> OrderView:
    """Return the order as its owner sees it."""
    side, limit, stop = Side.BUY if order.sign > 0 else Side.SELL, order.limit, order.stop
    intent = f"{side}_to_{'open' if order.opening else 'close'}"
    return OrderView(
        id=order.id,
        client_order_id=order.client_order_id,
        account_id=order.account_id,
        symbol=order.symbol,
        side=side,
        type=order.type,
        time_in_force=order.time_in_force,
        order_class=order.order_class,
        status=order.status,
        quantity=None if order.quantity is None else shares(order.quantity),
        notional=None if order.notional is None else dollars(order.notional),
        filled_quantity=shares(order.filled) if order.filled else ZERO,
        filled_average_price=per_share(order.filled_value, order.filled) if order.filled else None,
        limit_price=None if limit is None else price(limit),
        stop_price=None if stop is None else price(stop),
        trail_price=None if order.trail is None else price(order.trail),
        trail_percent=order.trail_percent,
        hwm=None if order.hwm is None else price(order.hwm),
        extended_hours=order.extended,
        position_intent=intent,
        created_at=order.created_at,
        submitted_at=order.submitted_at,
        updated_at=order.updated_at,
        filled_at=order.filled_at,
        expired_at=order.expired_at,
        expires_at=order.expires_at,
        canceled_at=order.canceled_at,
        failed_at=order.failed_at,
        replaced_at=order.replaced_at,
        cancel_requested_at=order.cancel_requested_at,
        replaced_by=order.replaced_by,
        replaces=order.replaces,
        parent_id=order.parent_id,
        legs=legs,
        reason=order.reason,
    )
