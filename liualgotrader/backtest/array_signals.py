"""Plays array signals: what `signals` says of a bar becomes orders as an event method makes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from liualgotrader.common.market_columns import Floats
from liualgotrader.common.orders import OrderType
from liualgotrader.engine.bars import BarsView
from liualgotrader.engine.slot import EVENT_METHODS
from liualgotrader.strategies.base import Strategy
from liualgotrader.strategies.context import Context


@dataclass(frozen=True, slots=True)
class WholeBars:
    """All bars of a symbol in a run, those to come too: how many, and a view of the first so many."""

    rows: int
    first: Callable[[int], BarsView]


InspectArrays = Callable[[Strategy, str, WholeBars], object]

COLUMNS = {"entry": 0.0, "exit": 0.0, "size": 0.0, "stop": np.nan, "target": np.nan}


def only_signals(strategy: Strategy | type[Strategy]) -> bool:
    """Whether a strategy, or a class of them, is written as array signals and in no other way."""
    kind = strategy if isinstance(strategy, type) else type(strategy)
    others = (callable(getattr(strategy, name, None)) for name in EVENT_METHODS)
    return callable(getattr(strategy, "signals", None)) and kind.run is Strategy.run and not any(others)


class ArraySignals:
    """One strategy's columns by symbol, worked out when its first bar of a symbol closes.

    A row acts on what is held at its bar's close. Flat: `entry` buys (1) or sells short (-1) `size` shares at market, with
    `stop` and `target`, where they are numbers, as orders that the exchange holds until the position is closed. In a
    position: `exit` or the opposite `entry` closes it at market. `inspect` is handed strategy, symbol and bars before
    the columns are worked out.
    """

    def __init__(
        self, strategy: Any, bars_of: Callable[[str], WholeBars], inspect: InspectArrays | None = None
    ) -> None:
        self._strategy, self._bars_of, self._inspect = strategy, bars_of, inspect
        self._rows: dict[str, tuple[list[bool], Mapping[str, Floats]]] = {}

    def forget(self, symbol: str) -> None:
        """Work the symbol's columns out again: its prices are restated."""
        self._rows.pop(symbol, None)

    def signals(self, ctx: Context, bar: Any) -> None:
        """Act on the row of the bar that has closed."""
        acts, columns = self._rows.get(ctx.symbol) or self._worked_out(ctx.symbol)
        row = len(ctx.bars) - 1
        if not acts[row]:
            return
        entry, held = int(columns["entry"][row]), ctx.position
        if held:
            under_way = any(o.type is OrderType.MARKET and o.side.sign * held < 0 for o in ctx.open_orders)
            if (columns["exit"][row] or entry * held < 0) and not under_way:
                (ctx.sell if held > 0 else ctx.buy)(abs(held), time_in_force="gtc")
        elif entry and not ctx.open_orders:
            stop, target = (None if np.isnan(p := columns[n][row]) else float(p) for n in ("stop", "target"))
            order = ctx.buy if entry > 0 else ctx.sell
            order(float(columns["size"][row]), take_profit=target, stop_loss=stop, time_in_force="gtc")

    def _worked_out(self, symbol: str) -> tuple[list[bool], Mapping[str, Floats]]:
        whole = self._bars_of(symbol)
        if self._inspect is not None:
            self._inspect(self._strategy, symbol, whole)
        columns = columns_of(self._strategy, whole.first(whole.rows))
        self._rows[symbol] = ((columns["entry"] != 0) | (columns["exit"] != 0)).tolist(), columns
        return self._rows[symbol]


def columns_of(strategy: Any, bars: BarsView) -> dict[str, Floats]:
    """Return the columns that `signals` answers to these bars with, those that it leaves out among them.

    Raises:
        ValueError: for an answer that is no such columns.
    """
    returned = returned_columns(strategy, bars)
    columns = {
        name: np.asarray(told, np.float64)
        if len(told) == len(bars)
        else np.full(len(bars), float(told[0]) if len(told) else COLUMNS[name])
        for name, told in returned.items()
    }
    if not np.isin(columns["entry"], (-1, 0, 1)).all():
        raise ValueError("signals returned an entry that is none of -1, 0 and 1")
    return columns


def returned_columns(strategy: Any, bars: BarsView) -> dict[str, Any]:
    """Return what `signals` says of bars, by column.

    Those that it leaves out have no length, and a size that is one number for all rows has the length 1.

    Raises:
        ValueError: in one sentence, if there are columns that are none.
    """
    returned, columns = strategy.signals(bars), {}
    if unknown := set(returned) - set(COLUMNS):
        raise ValueError(f"signals returned the column {min(unknown)!r}; it may return {', '.join(COLUMNS)}")
    if missing := {"entry", "size"} - set(returned):
        raise ValueError(f"signals returned no column {min(missing)!r}")
    for name in COLUMNS:
        told = returned.get(name, ())
        column = np.ascontiguousarray(told)
        if name in returned and column.shape != (len(bars),) and not (name == "size" and np.ndim(told) == 0):
            raise ValueError(f"signals returned {name!r} of shape {column.shape}; a row a bar is ({len(bars)},)")
        columns[name] = column
    return columns
