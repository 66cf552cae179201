"""`minute_history`: a pandas frame on the engine's bars that builds only what is touched.

The frame and its columns are real `DataFrame` and `Series` objects to every caller; they are filled the
first time something asks for more than a column, a length or a single value. Memory is shared with the
engine and cannot be written to; `real_frames = true` in the tradeplan hands out copies instead.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt


class Table(Protocol):
    """Bars in columns, as the engine keeps them."""

    def rows(self, *, with_forming: bool) -> int: ...
    def column(self, name: str, rows: int) -> npt.NDArray[np.float64]: ...
    def starts(self, rows: int) -> npt.NDArray[np.int64]: ...


class Source:
    """Where one symbol's frames come from; keeps the index until a bar is added."""

    __slots__ = ("_index", "_last", "table")

    def __init__(self, table: Table) -> None:
        self.table = table
        self._index: Any = None
        self._last = -1

    def index(self, rows: int) -> Any:
        """Return the starts of the first `rows` bars as a New York time index."""
        starts = self.table.starts(rows)
        last = int(starts[-1]) if rows else 0
        if self._index is None or len(self._index) != rows or self._last != last:
            import pandas as pd

            self._index = pd.DatetimeIndex(starts.copy(), tz="UTC", name="timestamp").tz_convert("America/New_York")
            self._last = last
        return self._index


def lazy_frames(table: Table) -> Callable[[bool], Any]:
    """Return the maker of a symbol's frames; it is told whether the minute in the making is to be the last row."""
    source = Source(table)
    make: Any = None

    def frame(with_forming: bool) -> Any:
        nonlocal make
        make = make or _classes().LazyFrame
        return make(source, None if with_forming else table.rows(with_forming=False))

    return frame


def real_frames(table: Table) -> Callable[[bool], Any]:
    """Return a maker as `lazy_frames` does, of ordinary frames with memory of their own."""
    source = Source(table)

    def frame(with_forming: bool) -> Any:
        rows = table.rows(with_forming=with_forming)
        columns = {name: table.column(name, rows).copy() for name in _classes().COLUMNS}
        return _classes().PlacedFrame(columns, index=source.index(rows))

    return frame


@cache
def _classes() -> Any:
    from liualgotrader.strategies import frame_classes

    return frame_classes
