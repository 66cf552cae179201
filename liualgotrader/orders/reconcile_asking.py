"""When the broker's books are asked for: one question at a time, and again if something came up meanwhile."""

from __future__ import annotations

from liualgotrader.common.clock import HOUR, MINUTE, SECOND
from liualgotrader.orders.alarms import Due
from liualgotrader.orders.desk_messages import Reconcile
from liualgotrader.orders.desk_state import DeskState

FIRST_LOOK_BACK = 24 * HOUR
LOOK_BACK = MINUTE  # market time that questions overlap
LONGEST_WAIT = 30  # machine seconds between two attempts


def ask_reconcile(ledger: DeskState) -> None:
    """Ask for the broker's books, once the question that is out has been answered.

    Not before everything that earlier batches left has been taken up: what is not ours by then would be foreign.
    """
    state = ledger.reconciling
    if not state.opened and not state.attached:  # the order stream's connection asks
        return
    if state.out:
        state.again = True
        return
    state.out, state.again, state.fills_then = True, False, ledger.fills
    state.connections_then = state.connections
    ledger.decide(Reconcile(_since(ledger)))


def next_reconcile(ledger: DeskState, *, ok: bool) -> None:
    """Set the alarm for the next question: by market time after an answer, by machine time after a failure."""
    state = ledger.reconciling
    state.out = False
    if not ok:
        state.failures += 1
        wait = min(2**state.failures, LONGEST_WAIT) * SECOND
        ledger.machine_alarms.set(ledger.machine + wait, Due.RECONCILE, "")
        return
    state.failures, state.done_at = 0, ledger.now
    wait = SECOND if state.suspects else int(ledger.terms.timings.reconcile_seconds * SECOND)
    ledger.market.set(ledger.now + wait, Due.RECONCILE, "")
    if not state.again:
        return
    if any(o.misses for o in ledger.orders.all_working()):  # the vendor's record may need a moment
        ledger.machine_alarms.set(ledger.machine + SECOND, Due.RECONCILE, "")
    else:
        ask_reconcile(ledger)


def _since(ledger: DeskState) -> int:
    if not ledger.reconciling.done_at:
        opens_at = ledger.terms.hours.opens_at
        return (min(ledger.now, opens_at) if opens_at > 0 else ledger.now) - FIRST_LOOK_BACK
    oldest = min((o.written_at for o in ledger.orders.all_working()), default=ledger.now)
    return min(oldest, ledger.reconciling.done_at) - LOOK_BACK
