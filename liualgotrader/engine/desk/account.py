"""The account as a whole: its equity, the day's loss, and the operator's switches."""

from __future__ import annotations

from decimal import Decimal

from liualgotrader.common.money import exact
from liualgotrader.common.orders import BrokerAccount
from liualgotrader.engine.desk.cancels import take_back_everything
from liualgotrader.engine.desk.closing import flatten
from liualgotrader.engine.desk.ledger import KILL_SWITCH, Ledger
from liualgotrader.engine.desk.settling import close_foreign
from liualgotrader.engine.desk.values import Announce, KillSwitch

DAILY_LOSS = "daily_loss"
BLOCKED = "account"
ACCOUNT_UNKNOWN = "account_unknown"


def on_account(ledger: Ledger, account: BrokerAccount) -> None:
    """Take in the account's figures; stop entries, and then flatten, when the day has lost too much.

    While a figure that entries depend on is unknown, entries wait; nothing else follows from it.
    """
    if ledger.day_began_with is None:
        new = account.last_equity is not None and account.last_equity <= 0
        ledger.day_began_with = account.equity if new else account.last_equity
    ledger.account = account
    blocked = "the broker has blocked the account for trading" if account.trading_blocked else ""
    ledger.condition(BLOCKED, blocked)
    needed = {
        "equity": account.equity,
        "last_equity": ledger.day_began_with,
        "trading_blocked": account.trading_blocked,
    }
    unknown = [name for name, value in needed.items() if value is None]
    ledger.condition(
        ACCOUNT_UNKNOWN, f"the broker does not state {' and '.join(unknown)} of the account" if unknown else ""
    )
    if ledger.day_began_with is not None and account.equity is not None:
        _weigh_loss(ledger, ledger.day_began_with, account.equity)
    ledger.decide(Announce(ledger.account_news()))


def _weigh_loss(ledger: Ledger, began_with: Decimal, equity: Decimal) -> None:
    lost = began_with - equity
    limits = ledger.terms.limits
    text = f"the day has lost {lost:.2f} $ of {began_with:.2f} $"
    if lost > exact(limits.daily_loss_stop_fraction) * began_with and DAILY_LOSS not in ledger.conditions:
        ledger.condition(DAILY_LOSS, text)
    if lost > exact(limits.daily_loss_flatten_fraction) * began_with and None not in ledger.flattening:
        ledger.warn("ERROR", f"{text}: closing everything of ours")
        flatten(ledger, None, "daily loss")


def kill(ledger: Ledger, order: KillSwitch) -> None:
    """Take back everything of ours, of other batches too, and open nothing more; close positions if told so."""
    ledger.condition(KILL_SWITCH, order.reason)
    take_back_everything(ledger, order.reason, whole_account=order.whole_account)
    if order.flatten:
        flatten(ledger, None, order.reason)
        if order.whole_account:
            close_foreign(ledger, order.reason)


def resume(ledger: Ledger) -> None:
    """Go on as an operator says: the loss counts from here."""
    ledger.condition(KILL_SWITCH, "")
    ledger.condition(DAILY_LOSS, "")
    ledger.flattening.clear()
    if ledger.account is not None and ledger.account.equity is not None:
        ledger.day_began_with = ledger.account.equity
