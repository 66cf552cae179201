"""Fill models: how much of an order trades, and at what price. They read the market and change only queue positions.

strict  An order takes what is displayed at the far side and not yet taken; the rest of it waits for that side's
        next quote. With an impact set, the rest trades at once instead, each further displayed size that many
        basis points worse, all of it at the price of the last one (rounded against the order). A resting limit
        trades at the quote when the opposite side comes to it, at its own price when a print goes through it
        (as many shares as the print had; at the far side, where its price lies beyond that), and at its price by its place in the queue: shares displayed there
        before it must print first.
paper   The vendor's paper environment: displayed size does not count; one in ten fills takes only a part.
touch   The whole order at the touch, at once; stops are set off by the opposite side and fill at their own price.
siis    The same: it is how SiiS fills on paper (first level, whole quantity), for results that are to be compared.

On bars: an order trades at the open of the first bar that begins after it came in, else at its own price if the bar
goes through it (`touches`: or to it); our orders share `bar_part` of the bar's volume. See matching.py.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from math import ceil, floor

import msgspec

from liualgotrader.common.tradeplan import FillProfile
from liualgotrader.exchange.exchange_order import ExchangeOrder
from liualgotrader.exchange.market import MarketBook
from liualgotrader.exchange.rules import Rules
from liualgotrader.exchange.units import step_of


class Offer(msgspec.Struct, frozen=True, gc=False):
    """So many shares can trade at this price now."""

    price: int
    quantity: int


def reached(order: ExchangeOrder, price: int) -> bool:
    """Whether a price is at or through the order's stop."""
    return order.stop is not None and order.sign * (price - order.stop) >= 0


class FillModel(ABC):
    """What a profile decides; by default no print fills an order, and there is no queue."""

    touches = True  # a bar that goes to a limit and not through it fills it
    elects_by_quote = False  # quotes set off stops, and not prints
    bar_part: tuple[int, int] | None = None  # of a bar's volume that our orders may take; None: all they want

    @abstractmethod
    def at_quote(self, order: ExchangeOrder, market: MarketBook) -> Sequence[Offer]:
        """Return what the order gets from the standing quote."""

    def at_print(self, market: MarketBook, price: int, size: int) -> Sequence[tuple[ExchangeOrder, Offer]]:
        """Return what resting orders get from a print, and move their queues on."""
        return ()

    def elects(self, order: ExchangeOrder, market: MarketBook, printed: int | None) -> bool:
        """Whether a print (or, with None, the quote) elects the stop order; by default a print inside the NBBO."""
        return printed is not None and market.touch[0] <= printed <= market.touch[1] and reached(order, printed)

    def rest(self, order: ExchangeOrder, market: MarketBook) -> None:  # noqa: B027 - most profiles have no queue
        """The order rests in the book, or the quote moved: update its place in the queue."""


class Strict(FillModel):
    """Displayed size, a queue, optional impact."""

    touches = False

    def __init__(self, impact_bps: Decimal | None, bar_participation: Decimal) -> None:
        self._impact = None if impact_bps is None else Fraction(impact_bps) / 10_000
        self.bar_part = bar_participation.as_integer_ratio()

    def at_quote(self, order: ExchangeOrder, market: MarketBook) -> Sequence[Offer]:
        """Return the displayed part, and the walked part where impact is set."""
        side = 1 if order.sign > 0 else 0
        price, displayed, taken = market.touch[side], market.shown[side], market.taken[side]
        wanted = order.wanted(price) if order.accepts(price) else 0
        if not wanted:
            return ()
        shown = order.lot(min(wanted, max(displayed - taken, 0)))
        if shown == wanted:
            return (Offer(price, shown),)
        offers = [Offer(price, shown)] if shown else []
        rest = order.wanted(price, spent=shown, spent_value=shown * price)
        if self._impact is not None and displayed and rest:
            levels = -(-(taken + shown + rest) // displayed) - 1
            step = step_of(price)
            worse = price * (1 + order.sign * levels * self._impact) / step
            walked = max((ceil(worse) if order.sign > 0 else floor(worse)) * step, 1)
            quantity = order.lot(order.wanted(walked, spent=shown, spent_value=shown * price))
            if quantity and order.accepts(walked):
                offers.append(Offer(walked, quantity))
        return offers

    def at_print(self, market: MarketBook, price: int, size: int) -> Sequence[tuple[ExchangeOrder, Offer]]:
        """Share the print among resting limits, best price first; those at its price after the shares queued before them."""
        found = []
        left = size
        for order in market.resting():
            limit = order.match_limit
            if limit is None or order.sign * (limit - price) < 0 or left <= 0:
                continue
            free = left
            if limit == price:
                if order.queue_ahead is None:
                    continue
                free = max(left - order.queue_ahead, 0)
                order.queue_ahead = max(order.queue_ahead - left, 0)
            # Of an order whose limit lies beyond a far side that is used up: never worse than that side and the print.
            at = order.sign * min(order.sign * limit, max(order.sign * market.far(order.sign), order.sign * price))
            quantity = order.lot(min(order.wanted(at), free))
            if quantity:
                found.append((order, Offer(at, quantity)))
                left -= quantity
        return found

    def rest(self, order: ExchangeOrder, market: MarketBook) -> None:
        """Stand behind what is displayed at our price; alone where our price is the best."""
        limit, near = order.match_limit, market.near(order.sign)
        if limit is None or not near:
            return
        ahead = order.sign * (near - limit)
        if ahead < 0:
            order.queue_ahead = 0
        elif ahead == 0:
            shown = market.shown[0 if order.sign > 0 else 1]
            order.queue_ahead = shown if order.queue_ahead is None else min(order.queue_ahead, shown)


class Paper(FillModel):
    """Fills whatever is marketable, now and then only in part. Draws depend on the seed and on what is ordered when."""

    def __init__(self, probability: float, seed: int) -> None:
        self._probability = probability
        self._seed = seed

    def at_quote(self, order: ExchangeOrder, market: MarketBook) -> Sequence[Offer]:
        """Return the whole order, or (drawn) a part between a tenth and nine tenths."""
        price = market.far(order.sign)
        if not order.accepts(price):
            return ()
        wanted = order.wanted(price)
        order.draws += 1
        if order.time_in_force != "fok" and self._draw(order, "partial") < self._probability:
            part = order.lot(int(wanted * (0.1 + 0.8 * self._draw(order, "size"))))
            wanted = part or wanted
        return (Offer(price, wanted),) if wanted else ()

    def _draw(self, order: ExchangeOrder, what: str) -> float:
        # Not by id, which names the batch: the same orders of two runs are to be filled alike.
        terms = f"{order.symbol}:{order.submitted_at}:{order.sign}:{order.role}:{order.quantity}:{order.limit}"
        text = f"{self._seed}:{terms}:{order.draws}:{what}".encode()
        return int.from_bytes(hashlib.blake2b(text, digest_size=6).digest()) / 2**48


class Touch(FillModel):
    """Everything whole at the touch."""

    elects_by_quote = True

    def at_quote(self, order: ExchangeOrder, market: MarketBook) -> Sequence[Offer]:
        """Return the whole order at the quote, or at its own price if it was a plain stop."""
        price = market.far(order.sign)
        if order.type == "stop":
            assert order.stop is not None
            return (Offer(order.stop, order.wanted(order.stop)),)
        wanted = order.wanted(price) if order.accepts(price) else 0
        return (Offer(price, wanted),) if wanted else ()

    def elects(self, order: ExchangeOrder, market: MarketBook, printed: int | None) -> bool:
        """Whether the opposite side of the quote is at or through the stop."""
        return reached(order, market.far(order.sign))


def fill_model(rules: Rules, seed: int) -> FillModel:
    """Return the model of the rules' profile."""
    if rules.profile == FillProfile.STRICT:
        return Strict(rules.impact_bps, rules.bar_participation)
    return Paper(rules.partial_probability, seed) if rules.profile == FillProfile.PAPER else Touch()
