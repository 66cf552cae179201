"""Orders, updates and executions between the words of a broker's port and those of the in-process exchange."""

from __future__ import annotations

from collections.abc import Sequence

from liualgotrader.common.money import ZERO
from liualgotrader.common.orders import (
    BrokerExecution,
    BrokerOrder,
    BrokerPosition,
    BrokerUpdate,
    OrderIntent,
    OrderState,
    ReplaceIntent,
    word,
)
from liualgotrader.exchange.exchange_order import ExchangeOrder
from liualgotrader.exchange.exchange_values import (
    Activity,
    Execution,
    HeldPosition,
    OrderChanges,
    OrderRequest,
    OrderView,
    Update,
)
from liualgotrader.exchange.units import per_share, price, shares
from liualgotrader.trading.alpaca_orders import STATES, TYPES


def order_request(order: OrderIntent) -> OrderRequest:
    """Return an intent as the exchange asks for it."""
    exits = (order.take_profit is not None) + (order.stop_loss is not None)
    return OrderRequest(
        symbol=order.symbol,
        side=word(order.side),
        type=word(order.type),
        time_in_force=order.time_in_force,
        quantity=order.quantity,
        limit_price=order.limit_price,
        stop_price=order.stop_price,
        client_order_id=order.client_order_id,
        order_class=("simple", "oto", "bracket")[exits],
        take_profit_limit=order.take_profit,
        stop_loss_stop=order.stop_loss,
    )


def order_changes(terms: ReplaceIntent, client_order_id: str) -> OrderChanges:
    """Return new terms of an order as the exchange asks for them."""
    return OrderChanges(
        quantity=terms.quantity,
        limit_price=terms.limit_price,
        stop_price=terms.stop_price,
        client_order_id=client_order_id,
    )


def broker_order(view: OrderView) -> BrokerOrder:
    """Return the exchange's view of an order, with its legs, as a broker tells it."""
    return BrokerOrder(
        broker_order_id=view.id,
        client_order_id=view.client_order_id,
        symbol=view.symbol,
        side=view.side,
        quantity=view.quantity if view.quantity is not None else view.filled_quantity,
        filled_quantity=view.filled_quantity,
        average_price=view.filled_average_price,
        state=STATES.get(view.status, OrderState.ACKNOWLEDGED),
        vendor_status=view.status,
        submitted_at=view.submitted_at,
        updated_at=view.updated_at,
        replaced_by=view.replaced_by or "",
        replaces=view.replaces or "",
        legs=tuple(map(broker_order, view.legs)),
        type=TYPES.get(view.type),
        limit_price=view.limit_price,
        stop_price=view.stop_price,
        time_in_force=view.time_in_force,
    )


def order_now(order: ExchangeOrder, legs: Sequence[ExchangeOrder] = ()) -> BrokerOrder:
    """Return the exchange's own order as it stands, with its legs, as a broker tells it: `broker_order` of its view."""
    limit, stop, filled = order.limit, order.stop, shares(order.filled) if order.filled else ZERO
    return BrokerOrder(
        order.id,
        order.client_order_id,
        order.symbol,
        order.side,
        filled if order.quantity is None else shares(order.quantity),
        filled,
        per_share(order.filled_value, order.filled) if order.filled else None,
        STATES.get(order.status, OrderState.ACKNOWLEDGED),
        order.status,
        order.submitted_at,
        order.updated_at,
        order.replaced_by or "",
        order.replaces or "",
        tuple(map(order_now, legs)) if legs else (),
        TYPES.get(order.type),
        None if limit is None else price(limit),
        None if stop is None else price(stop),
        order.time_in_force,
    )


def broker_update(update: Update, *, sequence: int | None = None) -> BrokerUpdate:
    """Return one message of the exchange's order stream as a broker tells it, under its own number unless one is given."""
    execution = update.execution
    return BrokerUpdate(
        event=update.event,
        order=broker_order(update.order),
        at=update.at,
        execution=broker_execution(execution) if execution is not None else None,
        sequence=update.sequence if sequence is None else sequence,
    )


def broker_execution(fill: Execution | Activity) -> BrokerExecution:
    """Return an execution, or the account's record of it, as a broker tells it."""
    return BrokerExecution(
        execution_id=fill.execution_id,
        broker_order_id=fill.order_id,
        symbol=fill.symbol,
        side=fill.side,
        quantity=fill.quantity,
        price=fill.price,
        fee=fill.fee,
        at=fill.at,
        cumulative_quantity=fill.cumulative_quantity,
    )


def broker_position(held: HeldPosition) -> BrokerPosition:
    """Return what an account holds of a symbol as a broker tells it."""
    return BrokerPosition(held.symbol, held.quantity, held.average_entry_price, held.current_price, held.lastday_price)
