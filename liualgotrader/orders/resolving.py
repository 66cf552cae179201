"""What an operator says of shares in which our books and the account differ: adopt, flatten or ignore them.

Until then nothing is opened in the symbol, and no more leaves it than the account holds. Shares that no
strategy owns are closed for slot 0, which belongs to nobody: its fills are no strategy's trades.
"""

from __future__ import annotations

from decimal import Decimal

from liualgotrader.common.clock import NEVER
from liualgotrader.common.money import ZERO, plain
from liualgotrader.common.orders import BrokerExecution, OrderIntent, OrderType, Side
from liualgotrader.common.rows import ForeignRow
from liualgotrader.orders.closing import want_flat
from liualgotrader.orders.desk_messages import Missing, Resolution, Resolve
from liualgotrader.orders.desk_state import DeskState
from liualgotrader.orders.order import DeskOrder, Origin
from liualgotrader.orders.reconcile_asking import ask_reconcile
from liualgotrader.orders.states import OrderStep

NOBODY = 0  # the slot of what an operator wants closed although no strategy holds it
HOW_TO_SETTLE = "say what became of them by `liu positions adopt`, `flatten` or `ignore`, and the symbol"


def on_missing(ledger: DeskState, told: Missing) -> None:
    """Set a symbol apart in which a strategy should hold more than there is; the strategy starts without it."""
    symbol, strategy = told.symbol, ledger.slot(told.slot).strategy
    ledger.books.missing[told.slot, symbol] = told
    said = (
        f"{strategy} held {plain(told.quantity)} {symbol} after its last session, the account holds {plain(told.there)}"
    )
    ledger.books.set_apart(told.slot, symbol, said)
    ledger.warn(
        "WARNING", f"{said}: it starts without them, and nothing is opened in {symbol} until you {HOW_TO_SETTLE}"
    )


def on_settle(ledger: DeskState, told: Resolve) -> None:
    """Do what the operator says of a symbol that is set apart, and look at the broker's books again."""
    books, symbol = ledger.books, told.symbol
    if symbol not in books.quarantined and books.foreign.get(symbol):
        _settle_foreign(ledger, told, books.foreign[symbol])
        return
    difference = books.differences.get(symbol, ZERO)
    problem = _problem(ledger, told, difference)
    if problem:
        ledger.warn("WARNING", f"{symbol}: {problem}")
        return
    why = books.quarantined.pop(symbol)
    books.apart = {place: text for place, text in books.apart.items() if place[1] != symbol}
    for (slot, _), lost in [(key, m) for key, m in books.missing.items() if key[1] == symbol]:
        del books.missing[slot, symbol]
        _settle_missing(ledger, told, lost)
    books.differences.pop(symbol, None)
    ledger.reconciling.suspects.pop(symbol, None)
    if difference:
        _settle_difference(ledger, told, difference)
    ledger.warn("INFO", f"{symbol}: settled by `{told.how}` ({why})")
    ask_reconcile(ledger)


def close_foreign(ledger: DeskState, reason: str) -> None:
    """Close what the account holds and nobody of us owns; only an operator who named the account asks for this."""
    for symbol, shares in list(ledger.books.foreign.items()):
        if shares:
            _set_foreign(ledger, symbol, ZERO)
            _close_for_nobody(ledger, symbol, shares, reason)


def _settle_foreign(ledger: DeskState, told: Resolve, shares: Decimal) -> None:
    """Take over, or close, what the account holds and nobody of us owns."""
    symbol, heir = told.symbol, _heir(ledger, told)
    if told.how is Resolution.IGNORE:
        ledger.warn("INFO", f"{symbol}: {plain(shares)} shares are not ours, and stay so")
        return
    if problem := _lacking(ledger, told, shares):
        ledger.warn("WARNING", f"{symbol}: {problem}")
        return
    _set_foreign(ledger, symbol, ZERO)
    if told.how is Resolution.FLATTEN:
        _close_for_nobody(ledger, symbol, shares, "an operator said so")
    elif heir is not None:
        _book(ledger, told, heir, shares, _price(ledger, told))
    ledger.warn("INFO", f"{symbol}: {plain(shares)} shares that were not ours are settled by `{told.how}`")
    ask_reconcile(ledger)


def _problem(ledger: DeskState, told: Resolve, difference: Decimal) -> str:
    if told.symbol not in ledger.books.quarantined:
        return "our books and the account's agree, there is nothing to settle"
    if not difference:
        return ""
    surplus = difference - _shortfall(ledger, told.symbol, difference)
    if told.how is Resolution.IGNORE and surplus != difference:
        return "the account lacks shares that our books have, so they cannot be ignored: adopt or flatten"
    return _lacking(ledger, told, surplus)


def _lacking(ledger: DeskState, told: Resolve, surplus: Decimal) -> str:
    """Return what has to be known before shares can be adopted or closed, `surplus` of which are nobody's yet."""
    if told.how is Resolution.ADOPT and surplus and _heir(ledger, told) is None:
        return "several strategies could take the shares: name one with --strategy"
    return "" if told.how is Resolution.IGNORE or _price(ledger, told) > 0 else "no price of it is known; ask again"


# --- what a strategy held before the session ---------------------------------------------------------


def _settle_missing(ledger: DeskState, told: Resolve, lost: Missing) -> None:
    """Give the strategy what it held, and book what is gone as traded: at its cost if it is ignored."""
    symbol, foreign = told.symbol, ledger.books.foreign.get(told.symbol, ZERO)
    kept = ZERO
    if told.how is not Resolution.IGNORE and foreign * lost.quantity > 0:
        kept = min(abs(foreign), abs(lost.quantity)).copy_sign(lost.quantity)
        _set_foreign(ledger, symbol, foreign - kept)
    ledger.carry(lost.slot, symbol, lost.quantity, lost.average_price, "missing")
    price = lost.average_price if told.how is Resolution.IGNORE else _price(ledger, told)
    _book(ledger, told, lost.slot, kept - lost.quantity, price or lost.average_price)
    if told.how is Resolution.FLATTEN:
        _flatten(ledger, lost.slot, symbol)


# --- what came up during the session -----------------------------------------------------------------


def _settle_difference(ledger: DeskState, told: Resolve, difference: Decimal) -> None:
    symbol = told.symbol
    gone = _shortfall(ledger, symbol, difference)
    surplus = difference - gone
    for slot, _, position in [p for p in ledger.books.open() if p[1] == symbol and p[2].quantity * gone < 0]:
        part = min(abs(position.quantity), abs(gone)).copy_sign(gone)
        gone -= part
        _book(ledger, told, slot, part, _price(ledger, told))
        if told.how is Resolution.FLATTEN:
            _flatten(ledger, slot, symbol)
    if not surplus:
        return
    if told.how is Resolution.IGNORE:
        _set_foreign(ledger, symbol, ledger.books.foreign.get(symbol, ZERO) + surplus)
    elif told.how is Resolution.FLATTEN:
        _close_for_nobody(ledger, symbol, surplus, "an operator said so")
    else:
        heir = _heir(ledger, told)
        assert heir is not None  # `_problem` has seen to it
        _book(ledger, told, heir, surplus, _price(ledger, told))


def _shortfall(ledger: DeskState, symbol: str, difference: Decimal) -> Decimal:
    """Return the part of a difference by which the account holds less than our books say, signed like it."""
    ours = ledger.books.ours(symbol)
    return min(abs(ours), abs(difference)).copy_sign(difference) if ours * difference < 0 else ZERO


def _heir(ledger: DeskState, told: Resolve) -> int | None:
    """Return the slot that takes shares over: the one named, the only one that holds some, or the only one there is."""
    planned = {plan.slot: plan.strategy for plan in ledger.terms.slots}
    named = [slot for slot, strategy in planned.items() if strategy == told.strategy]
    if told.strategy:
        return named[0] if named else None
    holding = [slot for slot, symbol, _ in ledger.books.open() if symbol == told.symbol and slot in planned]
    candidates = holding or list(planned)
    return candidates[0] if len(candidates) == 1 else None


# --- hands ---------------------------------------------------------------------------------------------


def _price(ledger: DeskState, told: Resolve) -> Decimal:
    return told.price or ledger.books.valued_at(told.symbol)


def _set_foreign(ledger: DeskState, symbol: str, shares: Decimal) -> None:
    ledger.books.foreign[symbol] = shares
    ledger.write(ForeignRow(ledger.terms.batch_id, symbol, shares, ledger.now))


def _flatten(ledger: DeskState, slot: int, symbol: str) -> None:
    want_flat(ledger, slot, symbol, "an operator said so", {"settled": "flatten"})


def _close_for_nobody(ledger: DeskState, symbol: str, shares: Decimal, reason: str) -> None:
    ledger.books.take(NOBODY, symbol, shares, ledger.books.valued_at(symbol), traded=False)
    ledger.books.touch(symbol)
    want_flat(ledger, NOBODY, symbol, reason, {"settled": "flatten"})


def _book(ledger: DeskState, told: Resolve, slot_number: int, signed: Decimal, price: Decimal) -> None:
    """Book shares that changed hands without an order of ours, as an order that filled at `price`."""
    if not signed:
        return
    slot = ledger.slot(slot_number)
    side = Side.BUY if signed > 0 else Side.SELL
    intent = OrderIntent(
        client_order_id=ledger.desk_order_id(slot),
        slot=slot_number,
        strategy=slot.strategy,
        symbol=told.symbol,
        side=side,
        quantity=abs(signed),
        type=OrderType.MARKET,
        decided_at=ledger.now,
        valid_until=NEVER,
        indicators={"settled": str(told.how)},
        reason=f"settled: {told.how}",
    )
    order = DeskOrder(intent, origin=Origin.ADOPTED, opening=False, generation=ledger.generation, at=ledger.now)
    ledger.enter(order, {"settled": str(told.how)})
    ledger.move(order, OrderStep.SENT)
    execution = BrokerExecution(
        execution_id=f"settled:{order.client_order_id}",
        broker_order_id="",
        symbol=told.symbol,
        side=side,
        quantity=abs(signed),
        price=price,
        fee=ZERO,
        at=ledger.now,
        cumulative_quantity=abs(signed),
    )
    ledger.book(order, execution)
    ledger.move(order, OrderStep.FILLED)
