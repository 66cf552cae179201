"""What goes in and out of the exchange. Money and quantities are `Decimal`, instants ns UTC by the market clock.

Words for type, time in force, class, status and event are the vendor's (Alpaca), so that the simulator
hands them on as they are.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from liualgotrader.common.errors import BrokerRefused
from liualgotrader.common.money import ZERO
from liualgotrader.common.orders import Side

FINAL_STATUSES = frozenset({"filled", "canceled", "expired", "replaced", "rejected"})


class AssetTerms(msgspec.Struct, frozen=True):
    """What one symbol is and what may be done with it."""

    symbol: str
    name: str = ""
    exchange: str = "NASDAQ"
    shortable: bool = True
    easy_to_borrow: bool = True
    fractionable: bool = True
    tradable: bool = True
    marginable: bool = True


class OrderRequest(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An order as a caller asks for it; nothing is checked before `Exchange.submit` does.

    Exactly one of `quantity` (shares) and `notional` (US dollars) is given. For class `oco` the
    `take_profit_limit` is the price of the order itself. `client_order_id` None lets the exchange choose.
    """

    symbol: str
    side: str  # buy, sell
    type: str  # market, limit, stop, stop_limit, trailing_stop
    time_in_force: str = "day"  # day, gtc, opg, cls, ioc, fok
    quantity: Decimal | None = None
    notional: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_price: Decimal | None = None
    trail_percent: Decimal | None = None
    extended_hours: bool = False
    client_order_id: str | None = None
    order_class: str = "simple"  # simple (or empty), bracket, oco, oto
    take_profit_limit: Decimal | None = None
    stop_loss_stop: Decimal | None = None
    stop_loss_limit: Decimal | None = None
    position_intent: str | None = None  # buy_to_open, buy_to_close, sell_to_open, sell_to_close


class OrderChanges(msgspec.Struct, frozen=True, kw_only=True):
    """New terms for a working order; None leaves a term as it is.

    `quantity` is the total with what has been filled. `trail` is in the unit of the order's trail.
    """

    quantity: Decimal | None = None
    time_in_force: str | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail: Decimal | None = None
    client_order_id: str | None = None


class OrderView(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An order as it stands. `status` is the vendor's word; None instants have not happened.

    `quantity` is None for orders by notional. `legs` are the exits of a bracket or oto, the stop of an oco.
    """

    id: str
    client_order_id: str
    account_id: str
    symbol: str
    side: Side
    type: str
    time_in_force: str
    order_class: str
    status: str
    quantity: Decimal | None
    notional: Decimal | None
    filled_quantity: Decimal
    filled_average_price: Decimal | None  # US dollars per share, to 10 decimals
    limit_price: Decimal | None
    stop_price: Decimal | None
    trail_price: Decimal | None
    trail_percent: Decimal | None
    hwm: Decimal | None
    extended_hours: bool
    position_intent: str
    created_at: int
    submitted_at: int
    updated_at: int
    filled_at: int | None = None
    expired_at: int | None = None
    expires_at: int | None = None
    canceled_at: int | None = None
    failed_at: int | None = None
    replaced_at: int | None = None
    cancel_requested_at: int | None = None
    replaced_by: str | None = None
    replaces: str | None = None
    parent_id: str | None = None
    legs: tuple[OrderView, ...] = ()
    reason: str = ""  # why it was rejected or canceled without a request

    @property
    def is_open(self) -> bool:
        """Whether the order can still trade."""
        return self.status not in FINAL_STATUSES


class Execution(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Shares changed hands. `position_quantity` is the account's signed position after it."""

    execution_id: str  # a UUID
    order_id: str
    client_order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    fee: Decimal  # US dollars, whole cents, >= 0; see fees.py for the rounding
    at: int
    cumulative_quantity: Decimal  # of the order, this execution included
    leaves_quantity: Decimal  # of an order by notional: what the rest buys at this price
    position_quantity: Decimal
    order_status: str  # filled, partially_filled
    synthetic: bool = False  # priced without a quote: last trade plus or minus half a tick


class Update(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One message of an account's order stream; `order` is the state after the event.

    `sequence` counts the account's updates, 1 upwards, without holes. `event` is the vendor's word:
    pending_new, accepted, new, partial_fill, fill, canceled, expired, pending_cancel, pending_replace,
    replaced, rejected, restated, order_cancel_rejected, order_replace_rejected.
    """

    sequence: int
    account_id: str
    event: str
    at: int
    order: OrderView
    execution: Execution | None = None


class HeldPosition(msgspec.Struct, frozen=True, kw_only=True):
    """What an account holds in one symbol, marked at the last trade (else the quote's middle, else the last close)."""

    symbol: str
    exchange: str
    side: str  # long, short
    quantity: Decimal  # signed
    quantity_available: Decimal  # not held by open closing orders, >= 0, unsigned
    average_entry_price: Decimal
    cost_basis: Decimal  # signed like the quantity
    market_value: Decimal  # signed like the quantity
    current_price: Decimal
    lastday_price: Decimal | None  # adjusted for today's splits; None: not known
    change_today: Decimal  # fraction of lastday_price
    unrealized_pl: Decimal
    unrealized_plpc: Decimal
    unrealized_intraday_pl: Decimal
    unrealized_intraday_plpc: Decimal
    asset_marginable: bool
    realized_pl: Decimal  # of this symbol since the account was opened, before fees


class AccountView(msgspec.Struct, frozen=True, kw_only=True):
    """An account's figures in US dollars, exact (round for display)."""

    account_id: str
    cash: Decimal
    equity: Decimal
    last_equity: Decimal
    buying_power: Decimal
    regt_buying_power: Decimal
    non_marginable_buying_power: Decimal
    portfolio_value: Decimal
    long_market_value: Decimal
    short_market_value: Decimal  # <= 0
    initial_margin: Decimal
    maintenance_margin: Decimal
    last_maintenance_margin: Decimal
    sma: Decimal
    multiplier: str  # "1", "2" or "4"
    shorting_enabled: bool
    trading_blocked: bool
    trade_suspended_by_user: bool
    created_at: int
    accrued_fees: Decimal = ZERO  # fees are taken from cash with each execution
    reserved: Decimal = ZERO  # buying power held by open orders
    realized_pl: Decimal = ZERO  # before fees
    fees_paid: Decimal = ZERO


class AccountSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What an account's owner may switch; a multiplier above the exchange's own has no effect."""

    no_shorting: bool = False
    suspend_trade: bool = False
    fractional_trading: bool = True
    max_margin_multiplier: int = 4


class Activity(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A FILL record of an account; ids sort by time. `id` is `YYYYMMDDHHMMSSmmm::uuid` (UTC)."""

    id: str
    at: int
    type: str  # fill, partial_fill
    symbol: str
    side: Side
    price: Decimal
    quantity: Decimal
    cumulative_quantity: Decimal
    leaves_quantity: Decimal
    order_id: str
    order_status: str
    execution_id: str
    fee: Decimal
    activity_type: str = "FILL"

    @classmethod
    def of(cls, execution: Execution, event: str, activity_id: str) -> Activity:
        """Return the record of an execution."""
        return cls(
            id=activity_id,
            at=execution.at,
            type=event,
            symbol=execution.symbol,
            side=execution.side,
            price=execution.price,
            quantity=execution.quantity,
            cumulative_quantity=execution.cumulative_quantity,
            leaves_quantity=execution.leaves_quantity,
            order_id=execution.order_id,
            order_status=execution.order_status,
            execution_id=execution.execution_id,
            fee=execution.fee,
        )


class CashActivity(msgspec.Struct, frozen=True, kw_only=True):
    """Cash that moved without an execution: CSD (deposit), CSW (withdrawal), DIV, INT, FEE …; `amount` is signed dollars."""

    id: str
    at: int
    activity_type: str
    amount: Decimal
    symbol: str = ""
    description: str = ""


class CancelResult(msgspec.Struct, frozen=True):
    """What became of one order of a bulk cancel: `status` 200 means that the request was taken."""

    order_id: str
    status: int


class Refusal(BrokerRefused):
    """A refusal of the exchange. `status` is the HTTP status, `code` the vendor's number, `extra` further body fields.

    Source: Alpaca's trading API, observed answers. Its sentences change; status and number are stable.
    """

    def __init__(self, status: int, code: int, message: str, **extra: Any) -> None:
        super().__init__(message, status=status, code=code)
        self.message = message
        self.extra = extra

    @classmethod
    def malformed(cls, message: str) -> Refusal:
        """The request itself is wrong."""
        return cls(422, 40010001, message)

    @classmethod
    def invalid(cls, message: str, **extra: Any) -> Refusal:
        """The order breaks a rule of the market."""
        return cls(422, 42210000, message, **extra)

    @classmethod
    def forbidden(cls, message: str, *, code: int = 40310000, **extra: Any) -> Refusal:
        """The account may not do this."""
        return cls(403, code, message, **extra)

    @classmethod
    def not_found(cls, message: str) -> Refusal:
        """There is no such thing."""
        return cls(404, 40410000, message)
