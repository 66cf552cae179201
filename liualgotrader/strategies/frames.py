"""`minute_history`: a pandas frame on the engine's bars that builds only what is touched.

The frame and its columns are real `DataFrame` and `Series` objects to every caller; they are filled on the first
use of more than a column, a length or a single value. A frame shows the bars as they were when it was first touched
and never changes by itself. Columns taken out of it share the engine's memory and cannot be written to; the filled
frame has memory of its own. `real_frames = true` in the tradeplan fills at once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from liualgotrader.strategies.frame_classes import BarTable, FrameSource, LiveColumns


def lazy_frames(table: BarTable) -> Callable[[bool], Any]:
    """Return the maker of a symbol's frames; its argument says whether the unclosed minute is the last row."""
    make: Any = None

    def frame(with_forming: bool) -> Any:
        nonlocal make
        if make is None:
            from liualgotrader.strategies.frame_classes import FrameSource, LazyFrame

            make = partial(LazyFrame, FrameSource(table))
        return make(None if with_forming else table.seen(with_forming=False))

    return frame


def real_frames(table: BarTable) -> Callable[[bool], Any]:
    """Return a maker like that of `lazy_frames`, but of ordinary frames with memory of their own."""
    source: FrameSource | None = None

    def frame(with_forming: bool) -> Any:
        from liualgotrader.strategies.frame_classes import COLUMNS, FrameSource, PlacedFrame

        nonlocal source
        source = source or FrameSource(table)
        seen = table.seen(with_forming=with_forming)
        return PlacedFrame({name: seen.column(name).copy() for name in COLUMNS}, index=source.index(seen))

    return frame


def live_bars(table: BarTable, *, with_forming: bool) -> LiveColumns:
    """Return what a data loader reads a symbol's newest bars from."""
    from liualgotrader.strategies.frame_classes import LiveColumns

    return LiveColumns(table.seen(with_forming=with_forming))
