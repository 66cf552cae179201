"""Faults: those of a script, which come at their time, and those on demand, switched by `POST /_sim/faults/{name}`.

A request fault is named `<target>_<fault>` and replaces the next `count` answers of its target. Others act at once.
"""

from __future__ import annotations

import datetime as dt
from collections import deque
from collections.abc import Sequence
from enum import StrEnum
from math import prod
from operator import itemgetter

import numpy as np

from liualgotrader.common.clock import NEVER
from liualgotrader.common.events import Bar, Status
from liualgotrader.common.fault_script import ScriptedFault
from liualgotrader.common.market_columns import BarColumns, Floats, QuoteColumns, TradeColumns
from liualgotrader.tapes.base import ColumnTape
from liualgotrader.tapes.columns import SymbolColumns
from liualgotrader.tapes.splits import Dividend, Split, adjusted


class Fault(StrEnum):
    """What happens to a request instead of its answer."""

    ERROR_500 = "500"  # nothing is executed, the answer is 500
    TIMEOUT_504_AFTER = "504_after"  # the request is executed, the answer is 504
    NEVER = "never"  # nothing is executed and no answer comes
    NEVER_AFTER = "never_after"  # the request is executed and no answer comes


TARGETS = {"POST": "order", "PATCH": "replace", "DELETE": "cancel", "GET": "read"}  # of the trading requests
REQUEST_FAULTS = {f"{target}_{fault}": (target, fault) for target in TARGETS.values() for fault in Fault}
DROP_WEBSOCKETS = "drop_websockets"  # every websocket breaks without a close frame
MUTES = ("mute", "mute_data", "mute_updates")  # {"on": true | false}: websockets stay open and send nothing
NAMES = (*REQUEST_FAULTS, DROP_WEBSOCKETS, *MUTES)


class Faults:
    """The request faults still to come, first in first out, and those of a script for the day, from `start` on."""

    def __init__(self, script: Sequence[ScriptedFault] = (), day: dt.date = dt.date.min, start: int = 0) -> None:
        self._pending: dict[str, deque[Fault]] = {target: deque() for target in TARGETS.values()}
        moments = [(at, True, f) for f in script if (at := f.begins_at(day)) < NEVER and not f.halt]
        moments += [(at, False, f) for f in script if (at := f.ends_at(day)) < NEVER and not f.halt]
        self._moments = deque(sorted((m for m in moments if m[0] >= start), key=itemgetter(0)))

    @property
    def due_at(self) -> int:
        """When the next fault of the script begins or ends, ns UTC."""
        return self._moments[0][0] if self._moments else NEVER

    def take_due(self) -> tuple[ScriptedFault, bool]:
        """Take the next one off the script, and whether it begins."""
        _, begins, fault = self._moments.popleft()
        return fault, begins

    def add(self, name: str, count: int) -> None:
        """Schedule the fault for `count` more requests; 0 takes back all of it."""
        target, fault = REQUEST_FAULTS[name]
        coming = self._pending[target]
        if count <= 0:
            self._pending[target] = deque(f for f in coming if f is not fault)
        coming.extend([fault] * count)

    def next_for(self, method: str) -> Fault | None:
        """Return the fault of the present trading request, None without one."""
        coming = self._pending.get(TARGETS.get(method, ""))
        return coming.popleft() if coming else None

    def pending(self) -> dict[str, int]:
        """Return how often each request fault is still to come."""
        return {
            name: self._pending[target].count(fault)
            for name, (target, fault) in REQUEST_FAULTS.items()
            if fault in self._pending[target]
        }


class FaultyTape(ColumnTape):
    """A tape with the halts and splits of a script: from a split on all its prices are per new share."""

    def __init__(self, whole: ColumnTape, script: Sequence[ScriptedFault]) -> None:
        super().__init__(whole.session, whole.assets())
        self._whole, self._script = whole, script

    def _ratio(self, symbol: str) -> float:
        return prod(f.ratio for f in self._script if f.split == symbol and f.day <= self.day.isoformat())

    def _load(self, symbol: str) -> SymbolColumns:
        whole, ratio = self._whole.columns(symbol), self._ratio(symbol)
        quotes, trades, statuses = whole.quotes, whole.trades, list(whole.statuses)
        for fault in self._script:
            if fault.halt == symbol and (at := fault.begins_at(self.day)) < NEVER:
                statuses.append(Status(symbol, at, True, "H", "T1"))
                if (end := fault.ends_at(self.day)) < NEVER:
                    statuses.append(Status(symbol, end, False, "T"))
        if ratio != 1:
            bid, ask = (np.round(side / ratio, 2) for side in (quotes.bid, quotes.ask))
            sizes = quotes.bid_size * ratio, quotes.ask_size * ratio
            quotes = QuoteColumns(quotes.at, bid, sizes[0], ask, sizes[1], quotes.flags)
            price: Floats = np.round(trades.price / ratio, 2)
            trades = TradeColumns(trades.at, price, np.maximum(np.rint(trades.size * ratio), 1), trades.flags)
        statuses.sort(key=lambda status: status.at)
        return SymbolColumns(symbol, quotes, trades, tuple(statuses))

    def history(self, symbol: str, period: int) -> list[Bar]:
        bars, ratio = self._whole.history(symbol, period), self._ratio(symbol)
        return bars if ratio == 1 else adjusted(BarColumns.of(symbol, bars), [Split(self.day, ratio)], self.day).bars()

    def notes(self) -> list[str]:
        return self._whole.notes()

    def dividends(self, symbol: str) -> Sequence[Dividend]:
        return self._whole.dividends(symbol)

    def splits(self, symbol: str) -> Sequence[Split]:
        scripted = [Split(dt.date.fromisoformat(f.day), f.ratio) for f in self._script if f.split == symbol]
        return sorted([*self._whole.splits(symbol), *scripted])
