"""The account as a whole: its equity, the day's loss, what moves it without us, and the operator's switches."""

from __future__ import annotations

from collections.abc import Iterable

from liualgotrader.common.clock import as_datetime
from liualgotrader.common.money import exact
from liualgotrader.common.orders import BrokerAccount, BrokerActivity
from liualgotrader.common.rows import ActivityRow, TradedBefore
from liualgotrader.orders.cancels import take_back_everything
from liualgotrader.orders.closing import flatten, guard_stopped
from liualgotrader.orders.desk_messages import Announce, KillSwitch, Prices
from liualgotrader.orders.desk_state import KILL_SWITCH, DeskState
from liualgotrader.orders.resolving import close_foreign

DAILY_LOSS = "daily_loss"
BLOCKED = "account"
ACCOUNT_UNKNOWN = "account_unknown"


def on_account(ledger: DeskState, account: BrokerAccount) -> None:
    """Take in the account's figures: while one that entries depend on is unknown, they wait, and nothing else follows."""
    if ledger.day.began_with is None:
        new = account.last_equity is not None and account.last_equity <= 0
        ledger.day.began_with = account.equity if new else account.last_equity
    ledger.account = account
    ledger.gain_then = ledger.gain()
    blocked = "the broker has blocked the account for trading" if account.trading_blocked else ""
    ledger.condition(BLOCKED, blocked)
    needed = {
        "equity": account.equity,
        "last_equity": ledger.day.began_with,
        "trading_blocked": account.trading_blocked,
    }
    unknown = [name for name, value in needed.items() if value is None]
    ledger.condition(
        ACCOUNT_UNKNOWN, f"the broker does not state {' and '.join(unknown)} of the account" if unknown else ""
    )
    _weigh_loss(ledger)
    ledger.decide(Announce(ledger.account_news()))


def on_prices(ledger: DeskState, told: Prices) -> None:
    """Take in newest prices and previous closes of what is held; a stopped strategy's stops and targets are honoured."""
    for symbol in {**told.prices, **told.closes}:
        price, close = told.prices.get(symbol), told.closes.get(symbol)
        if price is not None:
            ledger.books.see(symbol, price)
        if symbol in ledger.day.symbols:
            ledger.day.of(symbol).look(ledger.now, price, close)
            _say_unknown(ledger, symbol)
    guard_stopped(ledger, told.prices)
    _weigh_loss(ledger)


def _say_unknown(ledger: DeskState, symbol: str) -> None:
    part = ledger.day.of(symbol)
    if part.held and symbol not in ledger.books.marks:
        text = "its price is not known, so the day's loss is counted without it"
    elif part.opening and part.close is None and part.uses_close:
        text = f"its previous close is not known, so the day's loss counts it from {part.first} $, the first price seen"
    else:
        return
    if symbol not in ledger.day.unknown:
        ledger.day.unknown[symbol] = text
        ledger.warn("WARNING", f"{symbol}: {text}")


def on_traded_before(ledger: DeskState, told: TradedBefore) -> None:
    """Count what this session's strategies have traded today in earlier batches."""
    ledger.day.traded_before(told)


def _weigh_loss(ledger: DeskState) -> None:
    """Stop entries, and then flatten, when our positions have lost too much of the equity that the day began with.

    Entries stop at the newest figures. Positions are closed only when a second answer, `LOOKS_APART` later, shows the loss.
    """
    day, limits, marks = ledger.day, ledger.terms.limits, ledger.books.marks
    began_with = day.began_with
    if began_with is None or began_with <= 0:  # entries wait for it; nothing is closed on a guess
        return
    lost = -day.gain(marks)
    text = f"our positions have lost {lost:.2f} $ today, the account began with {began_with:.2f} $"
    if lost > exact(limits.daily_loss_stop_fraction) * began_with and DAILY_LOSS not in ledger.conditions:
        ledger.condition(DAILY_LOSS, text)
    most = exact(limits.daily_loss_flatten_fraction) * began_with
    if lost > most and -day.confirmed_gain(marks) > most and None not in ledger.flattening:
        ledger.warn("ERROR", f"{text}: closing everything of ours")
        flatten(ledger, None, "daily loss")


def on_activities(ledger: DeskState, seen: Iterable[BrokerActivity], *, first: bool) -> None:
    """Store what moved the account and is no trade of ours, and name what has come up since the day began."""
    for activity in seen:
        if activity.activity_id in ledger.activities:
            continue
        ledger.activities[activity.activity_id] = activity
        ledger.write(
            ActivityRow(
                activity_id=activity.activity_id,
                batch_id=ledger.terms.batch_id,
                activity_type=activity.kind,
                symbol=activity.symbol,
                amount=activity.amount,
                at=activity.at,
                description=activity.description,
            )
        )
        if not first or f"{as_datetime(activity.at):%Y-%m-%d}" >= ledger.terms.hours.day:
            ledger.named.append(activity.text)
            ledger.warn("INFO", f"{activity.text}: it is no gain or loss of ours")


def kill(ledger: DeskState, order: KillSwitch) -> None:
    """Take back everything of ours, of other batches too, and open nothing more; close positions if told so."""
    ledger.condition(KILL_SWITCH, order.reason)
    take_back_everything(ledger, order.reason, whole_account=order.whole_account)
    if order.flatten:
        flatten(ledger, None, order.reason)
        if order.whole_account:
            close_foreign(ledger, order.reason)


def resume(ledger: DeskState) -> None:
    """Go on as an operator says: the loss counts from here."""
    ledger.condition(KILL_SWITCH, "")
    ledger.condition(DAILY_LOSS, "")
    ledger.flattening.clear()
    ledger.day.restart(ledger.books.marks, ledger.account.equity if ledger.account is not None else None)


def facts(ledger: DeskState) -> dict[str, object]:
    """Return the account's figures of this moment: as the broker told them last, and what our positions did since."""
    told, day = ledger.account, ledger.day
    equity = last = None
    if told is not None and told.equity is not None:
        equity, last = told.equity + ledger.gain() - ledger.gain_then, told.last_equity
    return {
        "equity": f"{equity:.2f}" if equity is not None else None,
        "account_gain": f"{equity - last:.2f}" if equity is not None and last is not None else None,
        "day_gain": f"{day.gain(ledger.books.marks):.2f}",
        "day_began_with": f"{day.began_with:.2f}" if day.began_with is not None else None,
        "day_unknown": dict(day.unknown),
        "activities": list(ledger.named),
    }
