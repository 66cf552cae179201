"""The account as a whole: its equity, the day's loss, what moves it without us, and the operator's switches."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from liualgotrader.common.clock import as_datetime
from liualgotrader.common.money import exact
from liualgotrader.common.orders import BrokerAccount, BrokerActivity
from liualgotrader.common.rows import ActivityRow
from liualgotrader.orders.closing import flatten, guard_stopped, take_back_everything
from liualgotrader.orders.desk_messages import KillSwitch, Prices
from liualgotrader.orders.desk_state import KILL_SWITCH, DeskState
from liualgotrader.orders.resolving import close_foreign

DAILY_LOSS = "daily_loss"
BLOCKED = "account"
ACCOUNT_UNKNOWN = "account_unknown"
ACCOUNT_SECONDS = 20  # market time between two questions about the account
PRICES_SECONDS = 5  # market time between two questions about prices while positions of stopped strategies need them


def on_account(state: DeskState, account: BrokerAccount) -> None:
    """Take in the account's figures: while one that entries depend on is unknown, they wait, and nothing else follows."""
    if state.day.began_with is None:
        new = account.last_equity is not None and account.last_equity <= 0
        state.day.began_with = account.equity if new else account.last_equity
    state.broker_view.account, state.broker_view.gain_then = account, state.gain()
    blocked = "the broker has blocked the account for trading" if account.trading_blocked else ""
    state.condition(BLOCKED, blocked)
    needed = {
        "equity": account.equity,
        "last_equity": state.day.began_with,
        "trading_blocked": account.trading_blocked,
    }
    unknown = [name for name, value in needed.items() if value is None]
    state.condition(
        ACCOUNT_UNKNOWN, f"the broker does not state {' and '.join(unknown)} of the account" if unknown else ""
    )
    _check_loss(state)
    state.outputs.announce(state.account_news())


def on_prices(state: DeskState, message: Prices) -> None:
    """Take in newest prices and previous closes of what is held; a stopped strategy's stops and targets are honoured."""
    for symbol in {**message.prices, **message.closes}:
        price, close = message.prices.get(symbol), message.closes.get(symbol)
        if price is not None:
            state.positions.see(symbol, price)
        if symbol not in state.day.symbols:
            continue
        part = state.day.of(symbol)
        part.look(state.now, price, close)
        if part.held and symbol not in state.positions.marks:
            unknown = "its price is not known, so the day's loss is counted without it"
        elif part.opening and part.close is None and part.uses_close:
            unknown = f"its previous close is not known, so the day's loss counts it from {part.first} $, the first price seen"
        else:
            continue
        if symbol not in state.day.unknown:
            state.day.unknown[symbol] = unknown
            state.outputs.warn("WARNING", f"{symbol}: {unknown}")
    guard_stopped(state, message.prices)
    _check_loss(state)


def _check_loss(state: DeskState) -> None:
    """Stop entries, and then flatten, when our positions have lost too much of the equity that the day began with.

    Entries stop at the newest figures. Positions are closed only when a second answer, `LOOKS_APART` later, shows the loss.
    """
    day, limits, marks = state.day, state.terms.limits, state.positions.marks
    began_with = day.began_with
    if began_with is None or began_with <= 0:  # entries wait for it; nothing is closed on a guess
        return
    lost = -day.gain(marks)
    text = f"our positions have lost {lost:.2f} $ today, the account began with {began_with:.2f} $"
    if lost > exact(limits.daily_loss_stop_fraction) * began_with and DAILY_LOSS not in state.conditions:
        state.condition(DAILY_LOSS, text)
    most = exact(limits.daily_loss_flatten_fraction) * began_with
    if lost > most and -day.confirmed_gain(marks) > most and None not in state.closings.flattening:
        state.outputs.warn("ERROR", f"{text}: closing everything of ours")
        flatten(state, None, "daily loss")


def equity_floor(state: DeskState) -> Decimal | None:
    """Return the equity at which `_check_loss` would act next, if nothing but our positions moves it; None: never."""
    began_with, limits = state.day.began_with, state.terms.limits
    if began_with is None or began_with <= 0 or None in state.closings.flattening:
        return None
    is_stopped = DAILY_LOSS in state.conditions
    return began_with * (
        1 - exact(limits.daily_loss_flatten_fraction if is_stopped else limits.daily_loss_stop_fraction)
    )


def on_activities(state: DeskState, seen: Iterable[BrokerActivity], *, first: bool) -> None:
    """Store what moved the account and is no trade of ours, and name what has come up since the day began."""
    for activity in seen:
        if activity.activity_id in state.broker_view.activities:
            continue
        named = not first or f"{as_datetime(activity.at):%Y-%m-%d}" >= state.terms.hours.day
        state.broker_view.take_activity(activity, named=named)
        state.outputs.write(
            ActivityRow(
                activity_id=activity.activity_id,
                batch_id=state.terms.batch_id,
                activity_type=activity.kind,
                symbol=activity.symbol,
                amount=activity.amount,
                at=activity.at,
                description=activity.description,
            )
        )
        if named:
            state.outputs.warn("INFO", f"{activity.text}: it is no gain or loss of ours")


def kill(state: DeskState, order: KillSwitch) -> None:
    """Cancel all orders of ours, of other batches too, and stop entries; close positions if `flatten` says so."""
    state.condition(KILL_SWITCH, order.reason)
    take_back_everything(state, order.reason, whole_account=order.whole_account)
    if order.flatten:
        flatten(state, None, order.reason)
        if order.whole_account:
            close_foreign(state, order.reason)


def resume(state: DeskState) -> None:
    """Go on as an operator says: the loss counts from here."""
    state.condition(KILL_SWITCH, "")
    state.condition(DAILY_LOSS, "")
    state.closings.allow()
    state.day.restart(
        state.positions.marks, state.broker_view.account.equity if state.broker_view.account is not None else None
    )
