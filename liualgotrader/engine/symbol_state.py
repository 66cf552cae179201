"""Everything the engine keeps about one symbol."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from liualgotrader.common.bar_builder import BarBuilder
from liualgotrader.common.clock import NEVER
from liualgotrader.common.events import Quote
from liualgotrader.common.orders import Side
from liualgotrader.engine.bars import Bars, BarsView
from liualgotrader.engine.voi import Imbalance
from liualgotrader.strategies.context import Context

if TYPE_CHECKING:
    from liualgotrader.engine.slot import StrategySlot

_WIDEST = 0.1  # of the middle; exchanges let stub quotes of any width stand

MakeFrame = Callable[[Bars], Callable[[bool], Any]]
"""Returns the maker of a symbol's `minute_history`; see `strategies.frames`."""

Acts = list[tuple["StrategySlot", Context, Callable[..., None]]]


class SymbolState:
    """Bars, newest prices, and who is to be called for what. The lists are made anew when any of that changes."""

    __slots__ = (
        "acts",
        "bars",
        "deadline_of",
        "frame",
        "gapped",
        "halted",
        "imbalance",
        "joined_at",
        "last_at",
        "last_price",
        "live",
        "on_bar",
        "on_minute_run",
        "on_quote",
        "on_quote_run",
        "on_second",
        "on_second_run",
        "on_trade",
        "on_trade_run",
        "quote",
        "seam",
        "second",
        "shortable",
        "symbol",
        "targets",
        "view",
        "wants_seconds",
        "wants_voi",
    )

    def __init__(
        self, symbol: str, session_starts: Sequence[int], make_frame: MakeFrame, *, shortable: bool = True
    ) -> None:
        self.symbol = symbol
        self.bars = Bars(symbol, session_starts)
        self.view = BarsView(self.bars)
        self.frame = make_frame(self.bars)
        self.live = False  # history is loaded
        self.gapped = False  # the stream was cut, and what it left out is being loaded
        self.joined_at = NEVER  # when history was joined to the stream
        self.seam = 0  # the newest bar of that history, until the minute after has been looked at
        self.targets: set[int] = set()  # slots that it was picked for
        self.last_price = 0.0
        self.last_at = 0
        self.quote: Quote | None = None
        self.halted = False
        self.shortable = shortable
        self.second: BarBuilder | None = None
        self.imbalance = Imbalance()
        self.deadline_of: BarBuilder | None = None  # the minute whose timer is set
        self.wire((), frozenset())

    def wire(self, slots: Sequence[StrategySlot], events: frozenset[str]) -> None:
        """State whom to call; `slots` are those that may be called for this symbol now."""
        self.on_bar: Acts = _acts(self, slots, "on_bar")
        self.on_second: Acts = _acts(self, slots, "on_second")
        self.on_quote: Acts = _acts(self, slots, "on_quote")
        self.on_trade: Acts = _acts(self, slots, "on_trade")
        runs = [slot for slot in slots if slot.forms.run is not None]
        self.on_minute_run = runs if "minute" in events else []
        self.on_second_run = runs if "second" in events else []
        self.on_trade_run = runs if "trade" in events else []
        self.on_quote_run = runs if "quote" in events else []
        self.wants_seconds = bool(self.on_second or self.on_second_run)
        self.wants_voi = bool(runs)

    def reference(self, side: Side) -> tuple[float, int] | None:
        """Return the price that an order is judged by, US dollars, and its instant.

        It is the side of a newer quote that the order would trade against, else the last trade or bar. A quote that
        is crossed, one-sided or wider than a tenth of its middle says nothing about the price.
        """
        quote = self.quote
        if quote is not None and quote.at > self.last_at and _is_market(quote):
            return (quote.ask if side is Side.BUY else quote.bid), quote.at
        return (self.last_price, self.last_at) if self.last_at else None


def _is_market(quote: Quote) -> bool:
    return 0 < quote.bid <= quote.ask and quote.ask - quote.bid <= _WIDEST * (quote.bid + quote.ask) / 2


def _acts(state: SymbolState, slots: Sequence[StrategySlot], name: str) -> Acts:
    return [(s, s.context(state), s.forms.events[name]) for s in slots if name in s.forms.events]
