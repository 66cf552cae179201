"""Orders, positions, accounts and their like as Alpaca's trading API writes them.

Source: Alpaca trading API 2.0.1. Fields that alpaca-py 0.44 requires are always there; `fee` on fills is
the simulated market's own addition.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from liualgotrader.common.clock import MILLISECOND, as_datetime
from liualgotrader.common.money import ZERO
from liualgotrader.exchange.exchange_values import (
    AccountSettings,
    AccountView,
    Activity,
    AssetTerms,
    CashActivity,
    HeldPosition,
    OrderView,
    Update,
)
from liualgotrader.simulator.asset_codes import asset_id
from liualgotrader.simulator.wire import money, rfc3339, text_of

_ULID_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_SEQUENCE_BITS = 80


def _fields(source: object, names: str, write: Callable[[Any], object] = lambda value: value) -> dict[str, Any]:
    """Return fields of `source` under their own names, written as the wire has them; one that is None stays None."""
    values = {name: getattr(source, name) for name in names.split()}
    return {name: None if value is None else write(value) for name, value in values.items()}


def order_body(order: OrderView, *, nested: bool = True) -> dict[str, Any]:
    """Return an order object, with its legs unless they are listed on their own."""
    return {
        **_fields(order, "id client_order_id symbol order_class type position_intent time_in_force status"),
        **_fields(order, "extended_hours replaced_by replaces"),
        **_fields(order, "created_at updated_at submitted_at filled_at expired_at expires_at", rfc3339),
        **_fields(order, "canceled_at failed_at replaced_at cancel_requested_at", rfc3339),
        **_fields(order, "notional limit_price stop_price trail_percent trail_price hwm", text_of),
        "asset_id": str(asset_id(order.symbol)),
        "asset_class": "us_equity",
        "qty": None if order.quantity is None else text_of(order.quantity),
        "filled_qty": text_of(order.filled_quantity),
        "filled_avg_price": None if order.filled_average_price is None else text_of(order.filled_average_price),
        "order_type": order.type,
        "side": str(order.side),
        "legs": [order_body(leg) for leg in order.legs] if nested and order.legs else None,
        "subtag": None,
        "source": None,
    }


def position_body(position: HeldPosition) -> dict[str, Any]:
    """Return a position object; a short one has a negative quantity."""
    return {
        **_fields(position, "symbol exchange asset_marginable side"),
        **_fields(position, "market_value cost_basis unrealized_pl unrealized_intraday_pl", money),
        **_fields(
            position, "unrealized_plpc unrealized_intraday_plpc current_price lastday_price change_today", text_of
        ),
        "asset_id": str(asset_id(position.symbol)),
        "asset_class": "us_equity",
        "qty": text_of(position.quantity),
        "qty_available": text_of(position.quantity_available.copy_sign(position.quantity)),
        "avg_entry_price": text_of(position.average_entry_price),
    }


def account_body(account: AccountView) -> dict[str, Any]:
    """Return the account object; its id is the same in every session."""
    return {
        **_fields(account, "cash equity last_equity portfolio_value sma accrued_fees", money),
        **_fields(account, "buying_power regt_buying_power non_marginable_buying_power", money),
        **_fields(account, "long_market_value short_market_value", money),
        **_fields(account, "initial_margin maintenance_margin last_maintenance_margin", money),
        **_fields(account, "multiplier trading_blocked trade_suspended_by_user shorting_enabled"),
        "id": str(uuid5(NAMESPACE_URL, f"simulated-market/accounts/{account.account_id}")),
        "account_number": account.account_id,
        "status": "ACTIVE",
        "crypto_status": "INACTIVE",
        "currency": "USD",
        "options_buying_power": money(ZERO),
        "transfers_blocked": False,
        "account_blocked": False,
        "created_at": rfc3339(account.created_at),
    }


def configuration_body(settings: AccountSettings) -> dict[str, Any]:
    """Return the account's configuration."""
    return {
        **_fields(settings, "fractional_trading no_shorting suspend_trade"),
        "max_margin_multiplier": str(settings.max_margin_multiplier),
        "dtbp_check": "entry",
        "max_options_trading_level": None,
        "pdt_check": "entry",
        "ptp_no_exception_entry": False,
        "trade_confirm_email": "none",
    }


def asset_body(terms: AssetTerms) -> dict[str, Any]:
    """Return an asset object, with `easy_to_borrow` and with `borrow_status` that replaced it."""
    borrowing = "not_shortable"
    if terms.shortable:
        borrowing = "easy_to_borrow" if terms.easy_to_borrow else "hard_to_borrow"
    return {
        **_fields(terms, "exchange symbol tradable marginable shortable easy_to_borrow fractionable"),
        "id": str(asset_id(terms.symbol)),
        "class": "us_equity",
        "name": terms.name or terms.symbol,
        "status": "active",
        "borrow_status": borrowing,
        "maintenance_margin_requirement": 30,
        "attributes": [],
    }


def activity_body(activity: Activity | CashActivity) -> dict[str, Any]:
    """Return an activity; everything is text. One that is no trade has its day only."""
    if isinstance(activity, CashActivity):
        return {
            **_fields(activity, "id activity_type description"),
            "date": f"{as_datetime(activity.at):%Y-%m-%d}",
            "net_amount": money(activity.amount),
            "status": "executed",
            **({"symbol": activity.symbol} if activity.symbol else {}),
        }
    return {
        **_fields(activity, "id activity_type type symbol order_id order_status"),
        "transaction_time": rfc3339(activity.at),
        "side": str(activity.side),
        "price": text_of(activity.price),
        "qty": text_of(activity.quantity),
        "cum_qty": text_of(activity.cumulative_quantity),
        "leaves_qty": text_of(activity.leaves_quantity),
        "fee": money(activity.fee),
    }


def portfolio_body(points: list[tuple[int, Decimal]], base: Decimal, timeframe: str, base_day: str) -> dict[str, Any]:
    """Return equity over time: `points` are (epoch seconds, equity); gains are counted from `base`."""
    gains = [equity - base for _, equity in points]
    return {
        "timestamp": [second for second, _ in points],
        "equity": [float(round(equity, 2)) for _, equity in points],
        "profit_loss": [float(round(gain, 2)) for gain in gains],
        "profit_loss_pct": [float(round(gain / base, 6)) if base else 0.0 for gain in gains],
        "base_value": float(round(base, 2)),
        "base_value_asof": base_day,
        "timeframe": timeframe,
        "cashflow": {},
    }


def update_body(update: Update) -> dict[str, Any]:
    """Return the `data` of a trade_updates message; the order shows the state after the event."""
    body: dict[str, Any] = {
        "event": update.event,
        "event_id": ulid(update.at, update.sequence),
        "at": rfc3339(update.at),
        "timestamp": rfc3339(update.at),
        "order": order_body(update.order),
    }
    execution = update.execution
    if execution is not None:
        body |= {
            "execution_id": execution.execution_id,
            "price": text_of(execution.price),
            "qty": text_of(execution.quantity),
            "position_qty": text_of(execution.position_quantity),
            "fee": money(execution.fee),
        }
    return body


def ulid(at: int, sequence: int) -> str:
    """Return a ULID: 48 bits of market milliseconds, then the account's update number in 80 bits.

    >>> ulid(0, 33)
    '00000000000000000000000011'
    """
    number = at // MILLISECOND << _SEQUENCE_BITS | sequence
    return "".join(_ULID_DIGITS[number >> shift & 31] for shift in range(125, -1, -5))
