"""All bars of a run as columns, handed out by the time they close; what has not closed is in no strategy's view."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from math import inf
from operator import itemgetter
from typing import Any

import numpy as np

from liualgotrader.common.clock import NEVER
from liualgotrader.common.events import Bar, BarSource
from liualgotrader.common.market_columns import BarColumns
from liualgotrader.engine.bars import COLUMNS, ROW, Column, Instants

_BLOCK = 8192  # bars that are made into Python numbers at a time
_HISTORY = int(BarSource.HISTORY)
_TOLD = ("open", "high", "low", "close", "volume", "average")

LoadedRow = tuple[int, Any, int, int, float, float, float, float, float, float, int]
"""Place in the block, owner of the symbol, opened_at, closed_at, open, high, low, close, volume, average, count."""


class BarTape:
    """Bars of several symbols by `closed_at`, at equal times in the order of `columns`; `last_at` is the newest taken.

    What closes by `since` is history. At each of `session_starts` the session's volume-weighted price begins anew.
    With `hidden` the columns that are handed out hold no figure of a bar that has not been taken.
    """

    def __init__(
        self, columns: Sequence[BarColumns], since: int, session_starts: Sequence[int], *, hidden: bool = False
    ) -> None:
        self._coming: dict[int, tuple[Column, Column]] | None = {} if hidden else None  # all figures, and those shown
        self.symbols = [c.symbol for c in columns]
        bounds = np.cumsum([0, *(len(c.opened_at) for c in columns)])
        self._bounds = bounds.tolist()
        self._opened = np.concatenate([c.opened_at for c in columns])
        self._closed = np.concatenate([c.closed_at for c in columns])
        self._block = np.empty((len(COLUMNS), len(self._opened)))
        for name in COLUMNS:
            if name != "vwap":
                np.concatenate([getattr(c, name) for c in columns], out=self._block[ROW[name]])
        self.known = []
        codes = []
        for start, end in pairwise(self._bounds):
            self._fill_vwap(start, end, session_starts)
            known = int(np.searchsorted(self._closed[start:end], since, side="right"))
            self.known.append(known)
            codes.append(np.arange(start + known, end, dtype=np.int32))
        waiting = np.concatenate(codes)
        self._order = waiting[np.argsort(self._closed[waiting], kind="stable")]
        self._rank = np.empty(len(self._opened), np.int32)
        self._rank[self._order] = np.arange(len(self._order), dtype=np.int32)
        self._next_block = self._place = 0
        self._closes: list[int] = []  # closed_at of the block's bars
        self._columns: list[list[Any]] = []  # all of them as `LoadedRow` has them, from opened_at on
        self._rows: Iterator[LoadedRow] = iter(())
        self._owners: list[Any] = list(self.symbols)
        self.since = self.last_at = since

    def __len__(self) -> int:
        """Return how many bars there are to be taken in all."""
        return len(self._order)

    def columns_of(self, number: int) -> tuple[Column, Instants]:
        """Return all columns and starts of a symbol, by its place in `symbols`: views of the tape's memory."""
        mine = slice(self._bounds[number], self._bounds[number + 1])
        return self.as_shown(number, self._block[:, mine], self.known[number]), self._opened[mine]

    def as_shown(self, number: int, block: Column, closed: int) -> Column:
        """Return columns of a symbol, of which so many bars have closed, as they are to be handed out."""
        if self._coming is None:
            return block
        shown = block.copy()
        shown[:, closed:] = np.nan
        self._coming[number] = block, shown
        return shown

    def belong_to(self, owners: Sequence[Any]) -> None:
        """Hand out these objects as the owners of the symbols."""
        self._owners = list(owners)

    def next_at(self) -> int:
        """Return when the next bar closes, NEVER if there is none."""
        if self._place == len(self._closes) and not self._load_block():
            return NEVER
        return self._closes[self._place]

    @property
    def taken(self) -> int:
        """How many bars have been taken."""
        return self._next_block - len(self._closes) + self._place

    def take(self, until: int) -> Iterator[LoadedRow] | None:
        """Return bars that close by `until`, None if there are none left; call again for more.

        Whoever does not take all of them says so by `took`.
        """
        if self.next_at() > until:
            return None
        first, self._place = self._place, bisect_right(self._closes, until, self._place)
        self.last_at = self._closes[self._place - 1]
        return islice(self._rows, self._place - first)

    def took(self, place: int) -> None:
        """Only the bars up to the one at this place have been taken."""
        self._place = place + 1
        self.last_at = self._closes[place]

    def next_of(self, number: int, row: int) -> Bar | None:
        """Return the bar of a symbol that follows its first `row` bars if it closes at `next_at`, else None."""
        code = self._bounds[number] + row
        if code >= self._bounds[number + 1] or self._closed[code] != self.next_at():
            return None
        place = int(self._rank[code]) - self._next_block + len(self._closes)
        told: Any = (*map(itemgetter(place), self._columns), _HISTORY)
        return Bar(self.symbols[number], *told)

    def extremes(self, number: int, since: int, until: int) -> tuple[float, float]:
        """Return the lowest and the highest close of a symbol's bars that close after `since` and by `until`.

        Without such bars they are infinite, the lowest above all.
        """
        mine = slice(self._bounds[number], self._bounds[number + 1])
        first, last = np.searchsorted(self._closed[mine], (since, until), side="right").tolist()
        closes = self._block[ROW["close"], mine][first:last]
        return float(closes.min(initial=inf)), float(closes.max(initial=-inf))

    def _load_block(self) -> bool:
        end = min(self._next_block + _BLOCK, len(self))
        while end < len(self) and self._closed[self._order[end]] == self._closed[self._order[end - 1]]:
            end += 1  # an instant's bars stay together
        codes = self._order[self._next_block : end]
        self._next_block = end
        self._place = 0
        numbers = np.searchsorted(self._bounds, codes, side="right") - 1
        self._closes = self._closed[codes].tolist()
        self._columns = [
            self._opened[codes].tolist(),
            self._closes,
            *(self._block[ROW[name]][codes].tolist() for name in _TOLD),
            self._block[ROW["count"]][codes].astype(np.int64).tolist(),
        ]
        owners = map(self._owners.__getitem__, numbers.tolist())
        self._rows = zip(range(len(codes)), owners, *self._columns, strict=True)
        if self._coming is not None:
            self._rows = self._showing(self._rows, numbers.tolist(), codes.tolist())
        return bool(self._closes)

    def _showing(self, rows: Iterator[LoadedRow], numbers: list[int], codes: list[int]) -> Iterator[LoadedRow]:
        """Yield rows, the figures of each shown just before."""
        assert self._coming is not None
        for row, number, code in zip(rows, numbers, codes, strict=True):
            block, shown = self._coming[number]
            place = code - self._bounds[number]
            shown[:, place] = block[:, place]
            yield row

    def _fill_vwap(self, start: int, end: int, session_starts: Sequence[int]) -> None:
        """Work out the session's volume-weighted price of a symbol, by the same sums in the same order as `Bars`."""
        volume, average, close, vwap = (self._block[ROW[n], start:end] for n in ("volume", "average", "close", "vwap"))
        session = np.searchsorted(session_starts, self._opened[start:end], side="right")
        edges = np.flatnonzero(np.diff(session)) + 1
        for first, last in pairwise([0, *edges.tolist(), end - start]):
            part = slice(first, last)
            shares = np.cumsum(volume[part])
            traded = np.cumsum(volume[part] * average[part])
            np.divide(traded, shares, out=vwap[part], where=shares > 0)
            vwap[part] = np.where(shares > 0, vwap[part], close[part])
