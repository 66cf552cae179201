"""Orders on their way: intents go to the broker, news comes back.

Money is `Decimal` here. Instants are ns UTC by the market clock unless the name says machine.
A *slot* is one strategy in one consumer of one batch: the row of `algo_run` that its orders belong to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Any

import msgspec


class Side(StrEnum):
    """Which way an order trades."""

    BUY = "buy"
    SELL = "sell"

    sign: int  # +1 for a buy, -1 for a sell

    def __init__(self, word: str) -> None:
        self.sign = 1 if word == "buy" else -1

    @property
    def opposite(self) -> Side:
        """The other side."""
        return Side.SELL if self is Side.BUY else Side.BUY


class OrderType(StrEnum):
    """How an order finds its price."""

    MARKET = "market"
    LIMIT = "limit"
    STOP = "stop"
    STOP_LIMIT = "stop_limit"


class OrderState(StrEnum):
    """The state of one of our orders.

    `REFUSED` is by our own risk rules, `REJECTED` by the broker; `UNKNOWN` means that sending ended
    without an answer and the broker is being asked by client order id.
    """

    WRITTEN = "written"  # in the journal, not yet handed to the broker
    SENT = "sent"
    UNKNOWN = "unknown"
    ACKNOWLEDGED = "acknowledged"  # the broker knows it; it may be waiting for the open
    PARTIALLY_FILLED = "partially_filled"
    PENDING_CANCEL = "pending_cancel"
    PENDING_REPLACE = "pending_replace"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REPLACED = "replaced"
    REJECTED = "rejected"
    REFUSED = "refused"

    is_final: bool  # whether the order has ended (a late fill is still booked)

    def __init__(self, word: str) -> None:
        self.is_final = word in ("filled", "canceled", "expired", "replaced", "rejected", "refused")


word = lru_cache(64)(str)
"""Returns the text of a side, a type or a state, the same object each time."""

FINAL_STATES = frozenset(state for state in OrderState if state.is_final)


# --- from a consumer to the order gateway -------------------------------------------------------


class OrderIntent(msgspec.Struct, frozen=True, gc=False, tag_field="kind", tag="order"):
    """A strategy wants this order. The id is fixed here, before anything is sent anywhere."""

    client_order_id: str
    slot: int
    strategy: str
    symbol: str
    side: Side
    quantity: Decimal  # shares, > 0
    type: OrderType
    decided_at: int
    valid_until: int  # machine ns (CLOCK_MONOTONIC); later it is refused as `intent_too_old`
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    time_in_force: str = "day"
    take_profit: Decimal | None = None  # bracket legs held by the broker
    stop_loss: Decimal | None = None
    cancel_after: int = 0  # ns of market time after acknowledgement; 0 keeps it working
    reference_price: Decimal | None = None  # newest price the strategy's consumer had seen
    reference_at: int = 0
    planned_stop: Decimal | None = None  # the strategy's own stop and target for the position
    planned_target: Decimal | None = None
    indicators: dict[str, Any] = {}
    reason: str = ""


class CancelIntent(msgspec.Struct, frozen=True, gc=False, tag_field="kind", tag="cancel"):
    """A strategy cancels an order."""

    client_order_id: str
    slot: int
    decided_at: int
    reason: str = ""


class ReplaceIntent(msgspec.Struct, frozen=True, gc=False, tag_field="kind", tag="replace"):
    """A strategy wants other terms for a working order; `None` leaves a term as it is."""

    client_order_id: str
    slot: int
    decided_at: int
    quantity: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None


class Protect(msgspec.Struct, frozen=True, gc=False, tag_field="kind", tag="protect"):
    """A strategy moved the stop or the target of a position it holds."""

    slot: int
    symbol: str
    decided_at: int
    planned_stop: Decimal | None = None
    planned_target: Decimal | None = None


class Declare(msgspec.Struct, frozen=True, tag_field="kind", tag="declare"):
    """A consumer starts (again): what runs in a slot, and the newest news number it has acted on.

    The gateway answers with every item of news of that slot after `last_seq`, in order. A consumer that
    lost its memory sends 0 and rebuilds its books from all of them.
    """

    slot: int
    strategy: str
    day_trade: bool
    last_seq: int = 0


Intent = OrderIntent | CancelIntent | ReplaceIntent | Protect | Declare


# --- from the order gateway to a consumer -------------------------------------------------------


class OrderNews(msgspec.Struct, frozen=True, gc=False, tag_field="kind", tag="state"):
    """An order of a slot changed its state. `seq` counts the news of the slot, 1 upwards, without holes."""

    seq: int
    slot: int
    client_order_id: str
    symbol: str
    side: Side
    state: OrderState
    at: int
    quantity: Decimal
    filled_quantity: Decimal
    reason: str = ""  # for refusals and rejections: the rule, or the broker's words
    chain: str = ""  # client id of the order that it goes back to through replacements, empty if it replaces none
    type: OrderType | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None


class Fill(msgspec.Struct, frozen=True, gc=False, tag_field="kind", tag="fill"):
    """Shares changed hands. Booked once: by execution id, and by cumulative quantity of the order."""

    seq: int
    slot: int
    client_order_id: str
    execution_id: str
    symbol: str
    side: Side
    quantity: Decimal  # shares of this execution, > 0
    price: Decimal  # US dollars per share
    fee: Decimal  # US dollars, >= 0
    at: int
    cumulative_quantity: Decimal  # of the order, this execution included
    remaining_quantity: Decimal
    position: Decimal  # of this slot in this symbol after the fill, signed
    planned_stop: Decimal | None = None
    planned_target: Decimal | None = None
    indicators: dict[str, Any] = {}
    liquidation: bool = False


class Protection(msgspec.Struct, frozen=True, gc=False, tag_field="kind", tag="protection"):
    """The stored stop and target of a position, sent when a slot's books are rebuilt."""

    seq: int
    slot: int
    symbol: str
    at: int
    planned_stop: Decimal | None = None
    planned_target: Decimal | None = None


class AccountNews(msgspec.Struct, frozen=True, gc=False, tag_field="kind", tag="account"):
    """The account's figures as the broker has them. Not numbered: only the newest counts."""

    at: int
    equity: Decimal | None  # None: unknown, as in `BrokerAccount`
    cash: Decimal | None
    buying_power: Decimal | None
    entries_stopped: str = ""  # why no new positions are opened, empty while they are


class CaughtUp(msgspec.Struct, frozen=True, tag_field="kind", tag="caught_up"):
    """Everything a `Declare` asked for has been sent; what follows is new."""

    slot: int
    seq: int
    next_order_number: int  # the lowest n that no order of this slot has used


News = OrderNews | Fill | Protection | AccountNews | CaughtUp
SlotNews = OrderNews | Fill | Protection


# --- between the gateway and the broker's adapter -----------------------------------------------


class BrokerOrder(msgspec.Struct, frozen=True, gc=False, tag_field="kind", tag="broker_order"):
    """An order as the broker reports it, in our words.

    `legs` are the exits of a bracket, where the answer names them: they trade for their parent's position.
    """

    broker_order_id: str
    client_order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    filled_quantity: Decimal
    average_price: Decimal | None
    state: OrderState
    vendor_status: str
    submitted_at: int
    updated_at: int
    replaced_by: str = ""  # the broker's ids of the orders after and before it in a chain of replacements
    replaces: str = ""
    legs: tuple[BrokerOrder, ...] = ()
    type: OrderType | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    time_in_force: str = ""  # not told


def with_legs(orders: Iterable[BrokerOrder]) -> Iterator[BrokerOrder]:
    """Yield each order, followed by its exits."""
    for order in orders:
        yield order
        yield from order.legs


class BrokerExecution(msgspec.Struct, frozen=True, gc=False, tag_field="kind", tag="execution"):
    """One execution as the broker reports it; `cumulative_quantity` is the order's, this one included."""

    execution_id: str
    broker_order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    fee: Decimal
    at: int
    cumulative_quantity: Decimal


class BrokerUpdate(msgspec.Struct, frozen=True, gc=False, tag_field="kind", tag="update"):
    """A message of the broker's order stream: the order after the event, and the execution if it was one.

    `sequence` is the stream's own running number where the vendor gives one, else 0.
    """

    event: str
    order: BrokerOrder
    at: int
    execution: BrokerExecution | None = None
    sequence: int = 0


class BrokerPosition(msgspec.Struct, frozen=True, gc=False):
    """What the account holds in one symbol: `quantity` signed shares at `average_price` dollars.

    `last_price` is the newest, `previous_close` the official close of the session before, both in dollars per share;
    None: not known.
    """

    symbol: str
    quantity: Decimal
    average_price: Decimal
    last_price: Decimal | None = None
    previous_close: Decimal | None = None


class UnreadRow(msgspec.Struct, frozen=True):
    """What a row of the broker's that cannot be used is about, as far as it says so; empty: not known."""

    symbol: str = ""
    broker_order_id: str = ""
    client_order_id: str = ""


class BrokerActivity(msgspec.Struct, frozen=True):
    """What changed the account and is no execution: a deposit, a withdrawal, a dividend, a fee.

    `kind` is the vendor's word for it, `amount` in signed dollars (None: not known or no cash); `at` is its instant, or
    the beginning of its day in New York where only that is known.
    """

    activity_id: str
    kind: str
    at: int
    amount: Decimal | None = None
    symbol: str = ""
    description: str = ""

    @property
    def text(self) -> str:
        """What it is in words, like `withdrawal of 6,000.00 $`."""
        word = ACTIVITIES.get(self.kind) or next((w for k, w in ACTIVITIES.items() if self.kind.startswith(k)), "")
        said = word or f"{self.description or 'activity'} ({self.kind})"
        if self.amount is None:
            cash = "" if self.symbol else " of an unknown amount"
        elif word in UNSIGNED:
            cash = f" of {abs(self.amount):,.2f} $"
        else:
            cash = f" of {self.amount:+,.2f} $"
        return f"{said}{cash}" + (f" for {self.symbol}" if self.symbol else "")


# Alpaca's kinds; of those that only begin like one the beginning counts (DIVNRA is a tax on a dividend).
ACTIVITIES = {
    "CSD": "deposit",
    "CSW": "withdrawal",
    "DIV": "dividend",
    "INT": "interest",
    "FEE": "fee of the broker",
    "CFEE": "fee of the broker",
    "JNLC": "cash moved between accounts",
    "JNLS": "shares moved between accounts",
    "ACATC": "cash moved from another broker",
    "ACATS": "shares moved from another broker",
    "SPLIT": "split",
    "SPIN": "spin-off",
    "MA": "merger",
    "NC": "name change",
    "REORG": "reorganisation",
    "PTC": "charge",
}
UNSIGNED = frozenset({"deposit", "withdrawal"})


class BrokerAccount(msgspec.Struct, frozen=True, tag_field="kind", tag="broker_account"):
    """The account as the broker reports it, in US dollars; None is unknown, which is not zero."""

    account_number: str
    status: str
    equity: Decimal | None
    cash: Decimal | None
    buying_power: Decimal | None
    last_equity: Decimal | None
    shorting_enabled: bool | None
    trading_blocked: bool | None
