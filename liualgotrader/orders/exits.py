"""A strategy's exits: what stands in their way is taken back first, and they go out for what is still there.

In the way is what the broker would not let stand beside them: orders of the other side that they could trade
with (its rule for "wash trades" takes a market or stop order for one that trades with anything), and exits of the
same slot that already reserve the shares, as the legs of a bracket do. An exit that waits is stored as written and
sent as soon as those have ended. If they do not end in time, or end with the session, it is cancelled with a warning:
what was decided on old prices is not sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

from liualgotrader.common.clock import SECOND
from liualgotrader.common.money import ZERO, exact
from liualgotrader.common.orders import OrderIntent, OrderState, OrderType, Side
from liualgotrader.orders.closing import market_has_closed, want_cancel
from liualgotrader.orders.desk_books import bound_together, held_by_exits
from liualgotrader.orders.desk_parts import Due
from liualgotrader.orders.desk_state import DeskState
from liualgotrader.orders.order import DeskOrder, OrderStep, Origin, with_terms

NEAR = exact("0.005")  # part of the newest price; a limit within it is meant to trade now, not to rest
IN_THE_WAY = "it stands in the way of an exit"
LONGEST_WAIT = 60  # market seconds; what is in the way has been asked for five times by then
LAST_WAIT = 3  # machine seconds; shorter than a stopping gateway waits for exits under way
TOO_LONG = "it waited too long"
_LIMITED = (OrderType.LIMIT, OrderType.STOP_LIMIT)


def would_trade(one: OrderIntent, other: OrderIntent) -> bool:
    """Whether the broker takes two orders of one symbol for two that would trade with each other.

    Source: Alpaca, "user protection": refused if either is a market or stop order, and between limits if the
    buy's is not below the sell's.
    """
    if one.side is other.side:
        return False
    buy, sell = (one, other) if one.side is Side.BUY else (other, one)
    highest = buy.limit_price if buy.type in _LIMITED else None
    lowest = sell.limit_price if sell.type in _LIMITED else None
    return highest is None or lowest is None or highest >= lowest


def trades_now(intent: OrderIntent, newest: Decimal) -> bool:
    """Whether an exit is meant to trade at once; a stop or a limit away from the newest price rests."""
    if intent.type is OrderType.MARKET:
        return True
    if intent.type is not OrderType.LIMIT or intent.limit_price is None or newest <= 0:
        return False
    return (newest - intent.limit_price) * intent.side.sign <= newest * NEAR


def gives_way(order: DeskOrder, leaving: OrderIntent, newest: Decimal) -> bool:
    """Whether a working exit makes room for `leaving`: it ends already, or it rests while the other trades now."""
    if order.cancel_wanted or order.ending is not None or order.state is OrderState.PENDING_CANCEL:
        return True
    rests = order.is_leg or order.intent.type is not OrderType.MARKET
    return rests and order.origin is not Origin.DESK and trades_now(leaving, newest)


def staying(state: DeskState, leaving: DeskOrder) -> list[DeskOrder]:
    """Return the working orders of the symbol, but for exits of the same slot that make room for `leaving`."""
    newest = state.positions.valued_at(leaving.symbol)
    others = [o for o in state.orders.in_symbol(leaving.symbol) if o is not leaving]
    going: set[DeskOrder] = set()
    for together in bound_together([o for o in others if o.slot == leaving.slot], leaving.side):
        if all(gives_way(o, leaving.intent, newest) for o in together):
            going.update(together)
    return [o for o in others if o not in going] if going else others


def can_leave(state: DeskState, leaving: DeskOrder, beside: Sequence[DeskOrder]) -> Decimal:
    """Return how many shares an exit can trade while the orders `beside` it go on."""
    side = leaving.side
    free = -state.positions.held(leaving.slot, leaving.symbol) * side.sign
    if beside:
        free -= held_by_exits([o for o in beside if o.slot == leaving.slot], side)
    if state.lacking(leaving.symbol):
        free = min(free, -state.there(leaving.symbol) * side.sign - held_by_exits(beside, side))
    return max(ZERO, min(free, leaving.quantity))


def send(state: DeskState, order: DeskOrder) -> None:
    """Send an approved exit, cut to what is still there, as soon as nothing stands in its way; not if that is too late."""
    if order.client_order_id in state.orders.waiting and (
        market_has_closed(state) or state.now >= order.written_at + LONGEST_WAIT * SECOND
    ):
        give_up(state, order)
        return
    others = [o for o in state.orders.in_symbol(order.symbol) if o is not order]
    shares = can_leave(state, order, staying(state, order) if others else others)
    blocking = _in_the_way(state, order, others, shares) if others and shares else ()
    if blocking:
        _wait(state, order, blocking)
        return
    state.orders.wait_no_more(order)
    if not shares:
        state.move(order, OrderStep.CANCELED, reason="nothing is left to close")
        return
    if shares < order.quantity:
        details = {"asked": str(order.quantity), "quantity": str(shares)}
        order.intent = with_terms(order.intent, quantity=shares)
        order.quantity = shares
        state.orders.keep(order)
        state.note(order, "cut", details)
    state.send(order)


def follow_waiting(state: DeskState, symbol: str) -> None:
    """Something in the symbol has ended or filled: go on with the exits that wait."""
    for order in [o for o in state.orders.waiting.values() if o.symbol == symbol]:
        if order.state is OrderState.WRITTEN:
            send(state, order)
        else:  # it was taken back while it waited
            state.orders.wait_no_more(order)


def give_up(state: DeskState, order: DeskOrder) -> None:
    """Cancel an exit that still waits, with a warning: the strategy has to decide again."""
    state.orders.wait_no_more(order)
    if order.state is OrderState.WRITTEN:
        state.move(order, OrderStep.CANCELED, reason=TOO_LONG)
        state.exit_failed(order, TOO_LONG, "taken back: it waited too long for orders in its way to end")


def on_leave(state: DeskState) -> None:
    """The gateway leaves soon: an exit that waits has a last moment to go out, and is not left behind as written."""
    for name in state.orders.waiting:
        state.machine_alarms.set(state.machine + LAST_WAIT * SECOND, Due.WAITED, name)


def _in_the_way(state: DeskState, order: DeskOrder, others: Sequence[DeskOrder], shares: Decimal) -> list[DeskOrder]:
    """Return what must have ended before `shares` can leave: of the exits that give way as few as needed, oldest first."""
    found = [o for o in others if not o.is_leg and would_trade(order.intent, o.intent)]
    needed = shares - can_leave(state, order, others)
    newest = state.positions.valued_at(order.symbol)
    for together in bound_together([o for o in others if o.slot == order.slot], order.side):
        if needed <= 0:
            break
        if all(gives_way(o, order.intent, newest) for o in together):
            needed -= max(o.remaining for o in together)
            found += together
    return found


def _wait(state: DeskState, order: DeskOrder, blocking: Iterable[DeskOrder]) -> None:
    if order.client_order_id not in state.orders.waiting:
        state.orders.wait(order)
        state.market.set(order.written_at + LONGEST_WAIT * SECOND, Due.WAITED, order.client_order_id)
        state.note(order, "waiting", {"for": [o.client_order_id for o in blocking]})
    for other in blocking:
        if other.origin is not Origin.DESK:  # it closes a position, and ends by itself
            want_cancel(state, other, IN_THE_WAY)
