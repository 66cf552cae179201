"""What one strategy writes for itself, by symbol: stops, targets, indicators, and the other names it owns."""

from __future__ import annotations

from collections.abc import MutableMapping
from decimal import Decimal
from typing import Any

from liualgotrader.common.money import LARGEST, exact
from liualgotrader.common.orders import Protect, Protection, Side
from liualgotrader.common.trading_data import OWNED
from liualgotrader.engine.actions import storable

_PRICE_STEP = Decimal("0.0001")
_PLAN = ("stop_prices", "target_prices")
_INDICATORS = {Side.BUY: "buy_indicators", Side.SELL: "sell_indicators"}
_ENDS_WITH_THE_POSITION = (*_PLAN, "latest_cost_basis", "buy_time")

Plan = tuple[Decimal | None, Decimal | None]  # stop, target


class Notes:
    """The strategy's own values, and which of them the gateway has not heard of yet.

    Stop and target of a position are kept by the gateway too. What the strategy has written counts from when it
    writes it; once the gateway has echoed that, what the gateway says counts as well.
    """

    def __init__(self) -> None:
        self.moved: set[str] = set()  # symbols whose stop or target was written since the last look
        self._unheard: dict[str, Plan] = {}  # told to the gateway, and not echoed yet
        self._values: dict[str, dict[str, Any]] = {name: {} for name in OWNED}
        for name in _PLAN:
            self._values[name] = _Watched(self.moved)
        self._unused: dict[Side, set[str]] = {side: set() for side in Side}  # indicators written since the last order
        self._used: dict[tuple[Side, str], Any] = {}  # indicators as the last order took them
        for side, name in _INDICATORS.items():
            self._values[name] = _Watched(self._unused[side], also_equal=True)

    def owned(self, name: str) -> MutableMapping[str, Any]:
        """Return the values of a name, by upper-case symbol."""
        return self._values[name]

    # --- stop and target --------------------------------------------------------------------------------

    def planned(self, symbol: str, name: str) -> Decimal | None:
        """Return the stop (`stop_prices`) or target (`target_prices`), None if there is none, or none that is a price."""
        value = self._values[name].get(symbol)
        if value is None:
            return None
        try:
            price = exact(value)
        except ValueError:
            return None
        return price.quantize(_PRICE_STEP) if 0 < price <= LARGEST else None

    def plan(self, symbol: str, stop: Decimal | None, target: Decimal | None) -> None:
        """Store a stop, a target or both as the strategy's own; None leaves one as it is."""
        for name, price in zip(_PLAN, (stop, target), strict=True):
            if price is not None:
                self._values[name][symbol] = float(price)

    def told(self, protect: Protect) -> None:
        """The gateway is being told of a moved stop or target."""
        self._unheard[protect.symbol] = protect.planned_stop, protect.planned_target

    def hear(self, echo: Protection, *, rebuilding: bool) -> None:
        """Take what the gateway says it stores: all of it while the books are rebuilt, else as the echo of a move.

        The echo of an older move answers nothing.
        """
        stored = echo.planned_stop, echo.planned_target
        if rebuilding:
            for name, price in zip(_PLAN, stored, strict=True):
                dict.pop(self._values[name], echo.symbol, None)
                self._take(name, echo.symbol, price)
        elif self._unheard.get(echo.symbol) == stored:
            del self._unheard[echo.symbol]

    def filled(self, symbol: str, stop: Decimal | None, target: Decimal | None) -> None:
        """Take the plan that a fill has left in force, unless the strategy has written a newer one."""
        if symbol in self.moved or symbol in self._unheard:
            return
        for name, price in zip(_PLAN, (stop, target), strict=True):
            self._take(name, symbol, price)

    def given(self, symbol: str, stop: Decimal | None, target: Decimal | None) -> None:
        """Shares came that no order of the strategy bought, with this plan: what it wrote before, the gateway is told."""
        self.filled(symbol, stop, target)
        for name, price in zip(_PLAN, (stop, target), strict=True):
            if price is None and self.planned(symbol, name) is not None:
                self.moved.add(symbol)

    def _take(self, name: str, symbol: str, price: Decimal | None) -> None:
        if price is not None and price != self.planned(symbol, name):
            dict.__setitem__(self._values[name], symbol, float(price))  # it is no move of the strategy's

    # --- indicators ---------------------------------------------------------------------------------------

    def indicators(self, symbol: str, side: Side) -> dict[str, Any]:
        """Return what is to be stored with an order, as the original stores it: {"buy": ..., "sell": ...}.

        What one order has taken no later one takes, unless the strategy has written it again or changed it.
        """
        name = _INDICATORS[side]
        value = self._values[name].get(symbol)
        if value is None:
            return {}
        kept = storable(value)
        if symbol not in self._unused[side] and kept == self._used.get((side, symbol)):
            return {}
        self._unused[side].discard(symbol)
        self._used[side, symbol] = kept
        return {side.value: kept}

    # --- the position -------------------------------------------------------------------------------------

    def forget(self, symbol: str) -> None:
        """A position has ended: what was planned for it, and noted about it, belongs to no later one."""
        for name in _ENDS_WITH_THE_POSITION:
            dict.pop(self._values[name], symbol, None)
        self.moved.discard(symbol)
        self._unheard.pop(symbol, None)
        for side in Side:
            self.indicators(symbol, side)


class _Watched(dict[str, Any]):
    """Values that remember in `written` for which symbols they were written; with `also_equal` every writing counts."""

    def __init__(self, written: set[str], *, also_equal: bool = False) -> None:
        super().__init__()
        self._written, self._also_equal = written, also_equal

    def __setitem__(self, symbol: str, value: Any) -> None:
        if self._also_equal or self.get(symbol) != value:
            self._written.add(symbol)
        super().__setitem__(symbol, value)

    def __delitem__(self, symbol: str) -> None:
        super().__delitem__(symbol)
        self._written.add(symbol)
