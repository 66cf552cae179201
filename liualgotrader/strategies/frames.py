"""`minute_history`: a pandas frame on the engine's bars that builds only what is touched.

The frame and its columns are real `DataFrame` and `Series` objects to every caller; they are filled the
first time something asks for more than a column, a length or a single value. A frame shows what was so when
it was first touched and never changes by itself. Columns taken out of it share the engine's memory and cannot
be written to; the filled frame has memory of its own. `real_frames = true` in the tradeplan fills at once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt


class BarColumns(Protocol):
    """Bars in columns as they were at one moment."""

    @property
    def rows(self) -> int: ...
    def column(self, name: str) -> npt.NDArray[np.float64]: ...
    def opened_at(self) -> npt.NDArray[np.int64]: ...


class BarTable(Protocol):
    """One symbol's bars, as the engine keeps them."""

    def seen(self, *, with_forming: bool) -> BarColumns: ...


class FrameSource:
    """Where one symbol's frames come from; keeps the newest index."""

    __slots__ = ("_index", "_starts", "table")

    def __init__(self, table: BarTable) -> None:
        self.table = table
        self._index: Any = None
        self._starts: npt.NDArray[np.int64] | None = None

    def index(self, seen: BarColumns) -> Any:
        """Return the starts of the bars as a New York time index."""
        starts = seen.opened_at()
        if self._starts is None or not np.array_equal(self._starts, starts):
            import pandas as pd

            self._starts = starts.copy()
            index = pd.DatetimeIndex(self._starts, tz="UTC", name="timestamp")
            self._index = index.tz_convert("America/New_York")
        return self._index


def lazy_frames(table: BarTable) -> Callable[[bool], Any]:
    """Return the maker of a symbol's frames; it is told whether the minute in the making is to be the last row."""
    source = FrameSource(table)
    make: Any = None

    def frame(with_forming: bool) -> Any:
        nonlocal make
        make = make or _classes().LazyFrame
        return make(source, None if with_forming else table.seen(with_forming=False))

    return frame


def real_frames(table: BarTable) -> Callable[[bool], Any]:
    """Return a maker as `lazy_frames` does, of ordinary frames with memory of their own."""
    source = FrameSource(table)

    def frame(with_forming: bool) -> Any:
        seen = table.seen(with_forming=with_forming)
        columns = {name: seen.column(name).copy() for name in _classes().COLUMNS}
        return _classes().PlacedFrame(columns, index=source.index(seen))

    return frame


@cache
def _classes() -> Any:
    from liualgotrader.strategies import frame_classes

    return frame_classes
