"""Positions of earlier sessions that are not what they were: split, or gone. Adjusting rows keep the record true.

An adjusting row moves no cash and makes no gain: what was held leaves at its cost.
"""

from __future__ import annotations

from decimal import Decimal

from liualgotrader.common.money import ZERO, plain
from liualgotrader.common.rows import PlanRow, TradeRow
from liualgotrader.orders.desk_messages import Restated
from liualgotrader.orders.desk_state import DeskState


def on_restated(ledger: DeskState, told: Restated) -> None:
    """Carry a position on in the account's terms, without stop and target, and call a person."""
    slot, symbol = told.slot, told.symbol
    position = ledger.carry(slot, symbol, told.new_quantity, told.new_price, restated=True)
    if (told.quantity, told.average_price) != (told.new_quantity, told.new_price):
        _adjust(ledger, slot, symbol, -told.quantity, told.average_price, "restated:before")
        _adjust(ledger, slot, symbol, told.new_quantity, told.new_price, "restated:now")
    plan = ledger.slot(slot).plan
    if plan is not None:
        ledger.write(PlanRow(plan.algo_run_id, symbol, ledger.now, None, None))
    ledger.tell_protection(slot, symbol, position)
    ledger.books.set_apart(slot, symbol, told.text)
    ledger.warn("ERROR", f"{symbol}: {told.text}")


def found_again(ledger: DeskState, slot: int, symbol: str) -> None:
    """Forget that a slot's position was missing: a later look at the account, before its books were opened, shows it."""
    books = ledger.books
    if books.missing.pop((slot, symbol), None) is None:
        return
    del books.apart[slot, symbol]
    if why := books.why_apart(symbol):
        books.quarantined[symbol] = why
    else:
        del books.quarantined[symbol]
        ledger.warn(
            "WARNING", f"{symbol}: the account shows what {ledger.slot(slot).strategy} held; entries are allowed"
        )


def write_off(ledger: DeskState) -> None:
    """Write down as gone what the session began without and nobody settled, so that no later one looks for it.

    What the account shows after all stays in the record, and so does everything if it was never compared.
    """
    if not ledger.reconciling.opened:
        return
    beyond: dict[str, Decimal] = {}
    for place, lost in list(ledger.books.missing.items()):
        symbol = lost.symbol
        there = beyond.setdefault(symbol, _beyond_our_books(ledger, symbol))
        kept = min(abs(there), abs(lost.quantity)).copy_sign(there) if there * lost.quantity > 0 else ZERO
        beyond[symbol] -= kept
        gone = lost.quantity - kept
        if gone:
            del ledger.books.missing[place]
            _adjust(ledger, lost.slot, symbol, -gone, lost.average_price, "gone")
            text = (
                f"{plain(gone)} shares that are not in the account are written down as gone, at {lost.average_price} $"
            )
            ledger.warn("WARNING", f"{symbol}: {text}; what they brought in is not known here")


def _beyond_our_books(ledger: DeskState, symbol: str) -> Decimal:
    """Return the signed shares that the newest comparison saw in the account and no slot holds."""
    seen = ledger.reconciling.suspects.get(symbol, ledger.books.differences.get(symbol, ZERO))
    return ledger.books.foreign.get(symbol, ZERO) + seen


def _adjust(ledger: DeskState, slot: int, symbol: str, signed: Decimal, price: Decimal, why: str) -> None:
    """Write an execution that never was, under a name that no batch writes twice."""
    plan = ledger.slot(slot).plan
    if plan is None or not signed:
        return
    name = f"{why}:{ledger.terms.batch_id}:{slot}:{symbol}"
    ledger.write(
        TradeRow(
            execution_id=name,
            client_order_id=name,
            algo_run_id=plan.algo_run_id,
            symbol=symbol,
            operation="buy" if signed > 0 else "sell",
            quantity=abs(signed),
            price=price,
            fee=ZERO,
            at=ledger.now,
            indicators={"adjusted": why},
            planned_stop=None,
            planned_target=None,
        )
    )
