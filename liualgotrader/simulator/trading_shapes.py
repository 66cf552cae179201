"""Orders, positions, accounts and their like as Alpaca's trading API writes them.

Source: Alpaca trading API 2.0.1. Fields that alpaca-py 0.44 requires are always there; `fee` on fills is
the simulated market's own addition.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from liualgotrader.common.calendar import TradingSession
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
from liualgotrader.simulator.wire import (
    money,
    new_york_text,
    optional_rfc3339,
    optional_text,
    rfc3339,
    text_of,
)

_ULID_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_SEQUENCE_BITS = 80


def order_body(order: OrderView, *, nested: bool = True) -> dict[str, Any]:
    """Return an order object, with its legs unless they are listed on their own."""
    return {
        "id": order.id,
        "client_order_id": order.client_order_id,
        "created_at": rfc3339(order.created_at),
        "updated_at": rfc3339(order.updated_at),
        "submitted_at": rfc3339(order.submitted_at),
        "filled_at": optional_rfc3339(order.filled_at),
        "expired_at": optional_rfc3339(order.expired_at),
        "expires_at": optional_rfc3339(order.expires_at),
        "canceled_at": optional_rfc3339(order.canceled_at),
        "failed_at": optional_rfc3339(order.failed_at),
        "replaced_at": optional_rfc3339(order.replaced_at),
        "cancel_requested_at": optional_rfc3339(order.cancel_requested_at),
        "replaced_by": order.replaced_by,
        "replaces": order.replaces,
        "asset_id": str(asset_id(order.symbol)),
        "symbol": order.symbol,
        "asset_class": "us_equity",
        "notional": optional_text(order.notional),
        "qty": optional_text(order.quantity),
        "filled_qty": text_of(order.filled_quantity),
        "filled_avg_price": optional_text(order.filled_average_price),
        "order_class": order.order_class,
        "order_type": order.type,
        "type": order.type,
        "side": str(order.side),
        "position_intent": order.position_intent,
        "time_in_force": order.time_in_force,
        "limit_price": optional_text(order.limit_price),
        "stop_price": optional_text(order.stop_price),
        "status": order.status,
        "extended_hours": order.extended_hours,
        "legs": [order_body(leg) for leg in order.legs] if nested and order.legs else None,
        "trail_percent": optional_text(order.trail_percent),
        "trail_price": optional_text(order.trail_price),
        "hwm": optional_text(order.hwm),
        "subtag": None,
        "source": None,
    }


def position_body(position: HeldPosition) -> dict[str, Any]:
    """Return a position object; a short one has a negative quantity."""
    return {
        "asset_id": str(asset_id(position.symbol)),
        "symbol": position.symbol,
        "exchange": position.exchange,
        "asset_class": "us_equity",
        "asset_marginable": position.asset_marginable,
        "qty": text_of(position.quantity),
        "qty_available": text_of(position.quantity_available.copy_sign(position.quantity)),
        "avg_entry_price": text_of(position.average_entry_price),
        "side": position.side,
        "market_value": money(position.market_value),
        "cost_basis": money(position.cost_basis),
        "unrealized_pl": money(position.unrealized_pl),
        "unrealized_plpc": text_of(position.unrealized_plpc),
        "unrealized_intraday_pl": money(position.unrealized_intraday_pl),
        "unrealized_intraday_plpc": text_of(position.unrealized_intraday_plpc),
        "current_price": text_of(position.current_price),
        "lastday_price": optional_text(position.lastday_price),
        "change_today": text_of(position.change_today),
    }


def account_uuid(account_number: str) -> UUID:
    """Return the id of an account, the same in every session."""
    return uuid5(NAMESPACE_URL, f"simulated-market/accounts/{account_number}")


def account_body(account: AccountView) -> dict[str, Any]:
    """Return the account object."""
    return {
        "id": str(account_uuid(account.account_id)),
        "account_number": account.account_id,
        "status": "ACTIVE",
        "crypto_status": "INACTIVE",
        "currency": "USD",
        "cash": money(account.cash),
        "equity": money(account.equity),
        "last_equity": money(account.last_equity),
        "buying_power": money(account.buying_power),
        "regt_buying_power": money(account.regt_buying_power),
        "non_marginable_buying_power": money(account.non_marginable_buying_power),
        "portfolio_value": money(account.portfolio_value),
        "long_market_value": money(account.long_market_value),
        "short_market_value": money(account.short_market_value),
        "initial_margin": money(account.initial_margin),
        "maintenance_margin": money(account.maintenance_margin),
        "last_maintenance_margin": money(account.last_maintenance_margin),
        "sma": money(account.sma),
        "accrued_fees": money(account.accrued_fees),
        "options_buying_power": money(ZERO),
        "multiplier": account.multiplier,
        "trading_blocked": account.trading_blocked,
        "transfers_blocked": False,
        "account_blocked": False,
        "trade_suspended_by_user": account.trade_suspended_by_user,
        "shorting_enabled": account.shorting_enabled,
        "created_at": rfc3339(account.created_at),
    }


def configuration_body(settings: AccountSettings) -> dict[str, Any]:
    """Return the account's configuration."""
    return {
        "dtbp_check": "entry",
        "fractional_trading": settings.fractional_trading,
        "max_margin_multiplier": str(settings.max_margin_multiplier),
        "max_options_trading_level": None,
        "no_shorting": settings.no_shorting,
        "pdt_check": "entry",
        "ptp_no_exception_entry": False,
        "suspend_trade": settings.suspend_trade,
        "trade_confirm_email": "none",
    }


def asset_body(terms: AssetTerms) -> dict[str, Any]:
    """Return an asset object, with `easy_to_borrow` and with `borrow_status` that replaced it."""
    borrowing = "not_shortable"
    if terms.shortable:
        borrowing = "easy_to_borrow" if terms.easy_to_borrow else "hard_to_borrow"
    return {
        "id": str(asset_id(terms.symbol)),
        "class": "us_equity",
        "exchange": terms.exchange,
        "symbol": terms.symbol,
        "name": terms.name or terms.symbol,
        "status": "active",
        "tradable": terms.tradable,
        "marginable": terms.marginable,
        "shortable": terms.shortable,
        "easy_to_borrow": terms.easy_to_borrow,
        "borrow_status": borrowing,
        "fractionable": terms.fractionable,
        "maintenance_margin_requirement": 30,
        "attributes": [],
    }


def activity_body(activity: Activity | CashActivity) -> dict[str, Any]:
    """Return an activity; everything is text. One that is no trade has its day only."""
    if isinstance(activity, CashActivity):
        return {
            "id": activity.id,
            "activity_type": activity.activity_type,
            "date": f"{as_datetime(activity.at):%Y-%m-%d}",
            "net_amount": money(activity.amount),
            "description": activity.description,
            "status": "executed",
            **({"symbol": activity.symbol} if activity.symbol else {}),
        }
    return {
        "id": activity.id,
        "activity_type": activity.activity_type,
        "type": activity.type,
        "transaction_time": rfc3339(activity.at),
        "symbol": activity.symbol,
        "side": str(activity.side),
        "price": text_of(activity.price),
        "qty": text_of(activity.quantity),
        "cum_qty": text_of(activity.cumulative_quantity),
        "leaves_qty": text_of(activity.leaves_quantity),
        "order_id": activity.order_id,
        "order_status": activity.order_status,
        "fee": money(activity.fee),
    }


def clock_body(at: int, *, is_open: bool, next_open: int, next_close: int) -> dict[str, Any]:
    """Return the market's clock, with New York's offset."""
    return {
        "timestamp": new_york_text(at),
        "is_open": is_open,
        "next_open": new_york_text(next_open),
        "next_close": new_york_text(next_close),
    }


def calendar_body(session: TradingSession, settles_on: str) -> dict[str, str]:
    """Return one day of the calendar, in New York's time of day."""
    return {
        "date": session.day.isoformat(),
        "open": f"{as_datetime(session.opens_at):%H:%M}",
        "close": f"{as_datetime(session.closes_at):%H:%M}",
        "session_open": f"{as_datetime(session.pre_opens_at):%H%M}",
        "session_close": f"{as_datetime(session.post_closes_at):%H%M}",
        "settlement_date": settles_on,
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
