"""Minute bars of one symbol: closed ones in columns, the newest still forming.

A minute closes once: at the vendor's bar, else at the first event one second past its end, else at a timer
two seconds past it. The vendor's bar replaces ours; an updated bar corrects history.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

from liualgotrader.common.bar_builder import OUR_RULES, BarBuilder
from liualgotrader.common.clock import MINUTE, NEVER, SECOND
from liualgotrader.common.events import ALL, Bar, BarSource, Correction

Column = npt.NDArray[np.float64]
Instants = npt.NDArray[np.int64]
_Array = TypeVar("_Array", "np.ndarray[Any, np.dtype[np.float64]]", "np.ndarray[Any, np.dtype[np.int64]]")

COLUMNS = ("open", "high", "low", "close", "volume", "average", "count", "vwap")
ROW = {name: row for row, name in enumerate(COLUMNS)}

_TRADED_SUM, _VOLUME_SUM, _ROWS = 8, 9, 10  # hidden rows: sums since the session's open, for vwap
_VOLUME, _AVERAGE, _CLOSE, _VWAP = ROW["volume"], ROW["average"], ROW["close"], ROW["vwap"]
_FIRST_ROOM = 512
_MOST_PENDING = 4096
_UPDATE = int(BarSource.VENDOR_UPDATE)


class BarMemory:
    """The memory that bars are kept in. Rows of closed bars never change on it: a correction begins new memory."""

    __slots__ = ("frozen", "opened")

    def __init__(self, frozen: Column, opened: Instants) -> None:
        self.frozen, self.opened = frozen, opened


class BarsMoment:
    """Bars as they were at one moment, `rows` of them; they never change."""

    __slots__ = ("_bars", "_closed", "_memory", "_tail", "_tail_opened", "rows")

    def __init__(
        self, bars: Bars, memory: BarMemory, closed: int, tail: Column | None, tail_opened: Instants | None
    ) -> None:
        self._bars, self._memory, self._closed = bars, memory, closed
        self._tail, self._tail_opened = tail, tail_opened
        self.rows = closed if tail is None else closed + tail.shape[1]

    def column(self, name: str) -> Column:
        """Return a column, oldest first: read-only."""
        closed = self._bars.column_on(self._memory, name, self._closed)
        return closed if self._tail is None else _locked(np.concatenate((closed, self._tail[ROW[name]])))

    def opened_at(self) -> Instants:
        """Return the starts, ns UTC: read-only."""
        closed = self._bars.starts_on(self._memory, self._closed)
        return closed if self._tail_opened is None else _locked(np.concatenate((closed, self._tail_opened)))


class Bars:
    """The bars of one symbol. `due` is the instant of an event at which the oldest unclosed minute closes.

    `session_starts` are the instants, ascending, at which the session's volume-weighted price begins anew.
    """

    __slots__ = (  # two per cent of what an event costs
        "_block",
        "_closing",
        "_flat",
        "_frozen",
        "_memory",
        "_opened",
        "_ours",
        "_pending",
        "_room",
        "_rows",
        "_starts",
        "_vwap_rows",
        "due",
        "forming",
        "late",
        "newest",
        "symbol",
    )

    def __init__(self, symbol: str, session_starts: Sequence[int] = ()) -> None:
        self.symbol = symbol
        self.forming: BarBuilder | None = None
        self._closing: BarBuilder | None = None
        self.due = NEVER
        self.newest = -1  # opened_at of the newest closed bar
        self.late = 0  # trades too old for any unclosed minute
        self._starts = list(session_starts)
        self._ours: set[int] = set()  # starts of closed bars that no vendor has confirmed
        self._pending: list[Bar] = []  # closed, not yet in the columns
        self._rows = 0
        self._vwap_rows = 0
        self._block: Column = np.zeros((_ROWS, 0))
        self._opened: Instants = np.zeros(0, dtype=np.int64)
        self._memory = BarMemory(self._block, self._opened)
        self._make_room(_FIRST_ROOM)

    def __len__(self) -> int:
        return self._rows + len(self._pending)

    # --- trades ------------------------------------------------------------------------------------

    def fold(self, at: int, price: float, size: float, flags: int) -> None:
        """Take a trade into the minute it belongs to. A minute that is due must have been closed before."""
        minute = self.forming
        if minute is None or at >= minute.closed_at:
            if at < self.newest + MINUTE:  # the vendor's bar has closed that minute; an updated bar will correct it
                self.late += 1
                return
            minute = self._begin(at)
        elif at < minute.opened_at:
            closing = self._closing
            if closing is not None and at >= closing.opened_at:
                closing.add(at, price, size, flags)
            else:
                self.late += 1
            return
        if flags == ALL:
            if price > minute.high:  # noqa: PLR1730 - three times as quick as max()
                minute.high = price
            if price < minute.low:  # noqa: PLR1730
                minute.low = price
            if at >= minute.last_at:
                minute.last_at = at
                minute.close = price
            if at < minute.first_at:
                minute.first_at = at
                minute.open = price
            minute.volume += size
            minute.traded += price * size
            minute.count += 1
        else:
            minute.add(at, price, size, flags)

    def fold_bar(self, bar: Bar) -> None:
        """Take a bar shorter than a minute into the minute it belongs to."""
        minute = self.forming
        if minute is None or bar.opened_at >= minute.closed_at:
            if bar.opened_at < self.newest + MINUTE:
                self.late += 1
                return
            minute = self._begin(bar.opened_at)
        for one in (minute, self._closing):
            if one is not None and one.opened_at <= bar.opened_at < one.closed_at:
                one.merge(bar)
                return
        self.late += 1

    def correct_trade(self, event: Correction) -> None:
        """Take a corrected or cancelled print into an unclosed minute; closed ones wait for the vendor's update."""
        for minute in (self.forming, self._closing):
            if minute is not None and minute.opened_at <= event.at < minute.closed_at:
                minute.correct((event.original_price, event.original_size), event.price, event.size)

    def _begin(self, at: int) -> BarBuilder:
        opened_at = at - at % MINUTE
        self._closing, self.forming = self.forming, BarBuilder(opened_at, opened_at + MINUTE, OUR_RULES)
        oldest = self._closing or self.forming
        self.due = oldest.closed_at + SECOND
        return self.forming

    # --- closing -----------------------------------------------------------------------------------

    def close_oldest(self) -> Bar | None:
        """Close the oldest unclosed minute and return its bar; None if it had no price, and so makes no bar."""
        minute = self._closing or self.forming
        if minute is None:
            return None
        self._drop_oldest()
        if not minute.has_price or minute.opened_at <= self.newest:
            return None
        bar = minute.bar(self.symbol)
        self.append(bar)
        self._ours.add(bar.opened_at)
        return bar

    def take(self, bar: Bar) -> list[Bar]:
        """Take a vendor's minute bar and return the bars that close now, oldest first, for strategies to see."""
        if bar.source & _UPDATE:
            self.correct(bar)
            return []
        closed: list[Bar] = []
        while (minute := self._closing or self.forming) is not None and minute.opened_at <= bar.opened_at:
            if minute.opened_at == bar.opened_at:
                self._drop_oldest()
            else:
                before = self.close_oldest()
                closed += [before] if before is not None else []
        if bar.opened_at > self.newest:
            self.append(bar)
            closed.append(bar)
        else:
            self.correct(bar)
        return closed

    def append(self, bar: Bar) -> None:
        """Take a bar that is newer than all others while nothing is forming; `take` does the same for any bar."""
        self.newest = bar.opened_at
        self._pending.append(bar)
        if len(self._pending) >= _MOST_PENDING:
            self._flush()

    def _drop_oldest(self) -> None:
        if self._closing is not None:
            self._closing = None
        else:
            self.forming = None
        self.due = self.forming.closed_at + SECOND if self.forming is not None else NEVER

    # --- history -----------------------------------------------------------------------------------

    def load_ahead(self, block: Column, opened: Instants, known: int) -> None:
        """Take all bars of a run at once, `vwap` included (see `BarTape`); the first `known` have closed."""
        self._block, self._opened, self._room = block, opened, 0  # whatever else is written moves to memory of its own
        self._frozen = block.view()
        self._frozen.flags.writeable = False
        self._memory.frozen, self._memory.opened = self._frozen, opened
        self._rows, self._vwap_rows = known, block.shape[1]
        self.newest = int(opened[known - 1]) if known else self.newest

    def restate(self, block: Column, opened: Instants) -> None:
        """Go on with the same bars at other prices; whoever has seen the old ones keeps them."""
        self._memory = BarMemory(self._frozen, self._opened)
        self.load_ahead(block, opened, self._rows)

    def close_loaded(self, opened_at: int) -> None:
        """Close the next of the bars that were loaded ahead."""
        self._rows += 1
        self.newest = opened_at

    def preload(self, bars: Sequence[Bar]) -> None:
        """Take history, which may overlap what is here: it replaces bars of our own making, never the vendor's."""
        if not bars:
            return
        self._flush()
        rows = self._block[: ROW["vwap"], : self._rows].T.tolist()
        merged = {
            at: Bar(self.symbol, at, at + MINUTE, o, h, low, c, v, average, int(count), int(BarSource.HISTORY))
            for at, (o, h, low, c, v, average, count) in zip(self._opened[: self._rows].tolist(), rows, strict=True)
        }
        for bar in bars:
            if bar.opened_at not in merged or bar.opened_at in self._ours:
                merged[bar.opened_at] = bar
                self._ours.discard(bar.opened_at)
        minute = self._closing or self.forming
        before = NEVER if minute is None else minute.opened_at
        self._renew_memory()
        self._rows = self._vwap_rows = 0
        self._pending = [merged[at] for at in sorted(merged) if at < before]
        if self._pending:
            self.newest = max(self.newest, self._pending[-1].opened_at)
        self._flush()

    def close_past(self, now: int) -> None:
        """Close every minute that has ended by `now`, whether its own bar may still come or not."""
        while (minute := self._closing or self.forming) is not None and minute.closed_at <= now:
            self.close_oldest()

    def is_whole(self, since: int, joined_at: int) -> bool:
        """Whether the bars from the one of `since` on follow each other without a hole.

        One of our own making that began before `joined_at`, since when the stream is complete, is a hole as well.
        """
        self._flush()
        first = int(np.searchsorted(self._opened[: self._rows], since))
        follow = bool(np.all(np.diff(self._opened[first : self._rows]) == MINUTE))
        return follow and not any(since < at < joined_at for at in self._ours)

    def correct(self, bar: Bar) -> None:
        """Put a bar of the past in its place, replacing what is there."""
        minute = self._closing or self.forming
        if minute is not None and bar.opened_at >= minute.opened_at:
            return  # that minute has not closed; its own bar will come
        self._renew_memory()
        at = int(np.searchsorted(self._opened[: self._rows], bar.opened_at))
        if at == self._rows or self._opened[at] != bar.opened_at:
            self._fit(self._rows + 1)
            end = self._rows
            self._block[:, at + 1 : end + 1] = self._block[:, at:end].copy()
            self._opened[at + 1 : end + 1] = self._opened[at:end].copy()
            self._rows += 1
        self._write(at, bar)
        self._ours.discard(bar.opened_at)
        self.newest = max(self.newest, bar.opened_at)
        self._vwap_rows = min(self._vwap_rows, at)

    # --- columns -----------------------------------------------------------------------------------

    def closed(self, name: str) -> Column:
        """Return a column of the closed bars, oldest first: a read-only view that shares memory."""
        if self._pending:
            self._flush()
        row = ROW[name]
        if row == _VWAP:
            self._fill_vwap(self._rows)
        return self._frozen[row, : self._rows]

    def opened_at(self) -> Instants:
        """Return the starts of the closed bars, ns UTC: a read-only view."""
        return self.starts_on(self._memory, len(self))

    def seen(self, *, with_forming: bool) -> BarsMoment:
        """Return the bars as they are now, the unclosed minutes with them or not."""
        closed = rows = len(self)
        if with_forming and self._pending:
            self._flush()
        for minute in (self._closing, self.forming) if with_forming else ():
            if minute is not None and minute.has_price:
                self._fit(rows + 1)
                self._write(rows, minute.bar(self.symbol))
                rows += 1
        if rows == closed:
            return BarsMoment(self, self._memory, closed, None, None)
        self._fill_vwap(rows)
        tail, tail_opened = self._block[:, closed:rows].copy(), self._opened[closed:rows].copy()
        return BarsMoment(self, self._memory, closed, tail, tail_opened)

    def column_on(self, memory: BarMemory, name: str, rows: int) -> Column:
        """Return the first `rows` rows of a column of closed bars in a memory: a read-only view."""
        if memory is self._memory:
            if self._pending:
                self._flush()
            if name == "vwap":
                self._fill_vwap(rows)
        return memory.frozen[ROW[name], :rows]

    def starts_on(self, memory: BarMemory, rows: int) -> Instants:
        """Return the starts of the first `rows` closed bars in a memory, ns UTC: a read-only view."""
        if memory is self._memory and self._pending:
            self._flush()
        return _locked(memory.opened[:rows])

    def _renew_memory(self) -> None:
        """Move to new memory before closed bars change; whoever has seen the old one keeps it, complete."""
        self._flush()
        if self._rows:
            self._fill_vwap(self._rows)
            self._memory = BarMemory(self._frozen, self._opened)
            self._make_room(self._room)

    def _flush(self) -> None:
        """Move pending bars into the columns."""
        pending = self._pending
        self._fit(self._rows + len(pending) + 2)
        for bar in pending:
            self._write(self._rows, bar)
            self._rows += 1
        pending.clear()

    def _write(self, row: int, bar: Bar) -> None:
        flat, room = self._flat, self._room
        self._opened[row] = bar.opened_at
        flat[row] = bar.open
        flat[row + room] = bar.high
        flat[row + 2 * room] = bar.low
        flat[row + 3 * room] = bar.close
        flat[row + 4 * room] = bar.volume
        flat[row + 5 * room] = bar.vwap
        flat[row + 6 * room] = bar.count

    def _fit(self, rows: int) -> None:
        if rows > self._room:
            self._make_room(max(rows, 2 * self._room))

    def _make_room(self, room: int) -> None:
        rows = self._rows
        block = np.zeros((_ROWS, room))
        opened = np.zeros(room, dtype=np.int64)
        if rows:
            block[: len(self._block), :rows] = self._block[:, :rows]  # bars that were loaded ahead have no sums
            opened[:rows] = self._opened[:rows]
        self._block, self._opened, self._room = block, opened, room
        self._frozen = block.view()
        self._frozen.flags.writeable = False
        self._memory.frozen, self._memory.opened = self._frozen, opened  # whoever holds it sees the bars that follow
        self._flat: Any = memoryview(cast(Any, block)).cast("B").cast("d")

    def _fill_vwap(self, rows: int) -> None:
        """Bring the session's volume-weighted price up to `rows`; rows beyond the closed ones are always redone."""
        if rows <= self._vwap_rows:  # `load_ahead` brings those of all rows
            return
        first = min(self._vwap_rows, self._rows)
        flat, room, starts, opened = self._flat, self._room, self._starts, self._opened
        for row in range(first, rows):
            volume, average = flat[row + _VOLUME * room], flat[row + _AVERAGE * room]
            traded = volume * average
            if row and bisect_right(starts, int(opened[row - 1])) == bisect_right(starts, int(opened[row])):
                volume += flat[row - 1 + _VOLUME_SUM * room]
                traded += flat[row - 1 + _TRADED_SUM * room]
            flat[row + _VOLUME_SUM * room], flat[row + _TRADED_SUM * room] = volume, traded
            flat[row + _VWAP * room] = traded / volume if volume > 0 else flat[row + _CLOSE * room]
        self._vwap_rows = max(first, min(rows, self._rows))


def _locked(array: _Array) -> _Array:
    array.flags.writeable = False
    return array


def _column(name: str) -> property:
    return property(lambda view: view._bars.closed(name))


class BarsView:
    """The closed bars as strategies see them: `bars.close[-1]` is the newest close. See `context.BarsLike`."""

    __slots__ = ("_bars",)

    def __init__(self, bars: Bars) -> None:
        self._bars = bars

    def __len__(self) -> int:
        return len(self._bars)

    open = _column("open")
    high = _column("high")
    low = _column("low")
    close = _column("close")
    volume = _column("volume")
    average = _column("average")
    vwap = _column("vwap")
    count = _column("count")

    @property
    def opened_at(self) -> Instants:
        return self._bars.opened_at()
