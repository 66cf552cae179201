"""The pandas classes of `minute_history`. Importing this module imports pandas, so `frames` does it on first use."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from liualgotrader.common.clock import NEW_YORK

COLUMNS = ("open", "high", "low", "close", "volume", "vwap", "average", "count")


class BarsSnapshot(Protocol):
    """Bars in columns as they were at one moment."""

    @property
    def rows(self) -> int: ...
    def column(self, name: str) -> npt.NDArray[np.float64]: ...
    def opened_at(self) -> npt.NDArray[np.int64]: ...


class BarTable(Protocol):
    """One symbol's bars, as the engine keeps them."""

    def seen(self, *, with_forming: bool) -> BarsSnapshot: ...


class FrameSource:
    """Where one symbol's frames come from; keeps the newest index."""

    __slots__ = ("_index", "_starts", "table")

    def __init__(self, table: BarTable) -> None:
        self.table = table
        self._index: Any = None
        self._starts: npt.NDArray[np.int64] | None = None

    def index(self, seen: BarsSnapshot) -> Any:
        """Return the starts of the bars as a New York time index."""
        starts = seen.opened_at()
        if self._starts is None or not np.array_equal(self._starts, starts):
            self._starts = starts.copy()
            self._index = index_of(self._starts)
        return self._index


_NEW_YORK = pd.DatetimeTZDtype("ns", NEW_YORK)  # pandas 2 would take another class of zone by its name


def index_of(starts: npt.NDArray[np.int64]) -> Any:
    """Return instants, ns UTC, as a New York time index that shares their memory."""
    return pd.DatetimeIndex(starts, dtype=_NEW_YORK, name="timestamp", copy=False)


class FilledOnDemand:
    """An attribute that fills its frame or series when it is first asked for."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, owner: Any, kind: type) -> Any:
        if owner is None:
            return self
        owner._fill()
        return owner.__dict__[self.name]


class PlacedSeries(pd.Series):
    """A series by time in which a whole number is a place, as in the pandas the original was written for."""

    @property
    def _constructor(self) -> Any:
        return PlacedSeries

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, (int, np.integer)) and isinstance(self.index, pd.DatetimeIndex):
            return self.iloc[key]
        return super().__getitem__(key)


class PlacedFrame(pd.DataFrame):
    """A frame whose columns are `PlacedSeries`."""

    @property
    def _constructor(self) -> Any:
        return PlacedFrame

    @property
    def _constructor_sliced(self) -> Any:
        return PlacedSeries


class LiveColumns:
    """A symbol's bars at one moment, as a data loader reads them: what is asked for is copied, and nothing else."""

    __slots__ = ("_seen", "at", "count")

    def __init__(self, seen: BarsSnapshot) -> None:
        self._seen, self.count, self.at = seen, seen.rows, seen.opened_at()

    def values(self, name: str) -> npt.NDArray[np.float64]:
        """Return a column: a read-only view."""
        return self._seen.column(name)

    def series(self, name: str, span: slice) -> PlacedSeries:
        """Return some places of a column by time."""
        return PlacedSeries(self.values(name)[span].copy(), index=index_of(self.at[span].copy()), name=name, copy=False)

    def bars(self, place: int | slice) -> Any:
        """Return one bar as a series, or some as a frame."""
        span = place if isinstance(place, slice) else slice(place, place + 1 or None)
        columns = {name: self.values(name)[span].copy() for name in COLUMNS}
        frame = PlacedFrame(columns, index=index_of(self.at[span].copy()))
        return frame if isinstance(place, slice) else frame.iloc[0]


class LazySeries(PlacedSeries):
    """A column that answers its length and single places before it is filled."""

    _mgr = FilledOnDemand("_mgr")
    _flags = FilledOnDemand("_flags")
    _attrs = FilledOnDemand("_attrs")
    _item_cache = FilledOnDemand("_item_cache")

    def __init__(self, source: FrameSource, name: str, seen: BarsSnapshot) -> None:
        own = self.__dict__
        own["_source"], own["_seen"], own["_values_seen"], own["_name"] = source, seen, seen.column(name), name

    def _fill(self) -> None:
        own = self.__dict__
        index = own["_source"].index(own["_seen"])
        whole = pd.Series(own["_values_seen"], index=index, name=own["_name"], copy=False)
        _copy_inside(whole, own)

    def __reduce__(self) -> Any:  # pickled as what it holds: whoever reads it has no source
        return PlacedSeries, (pd.Series(self),)

    def __len__(self) -> int:
        return len(self.__dict__["_values_seen"]) if "_mgr" not in self.__dict__ else super().__len__()

    @property
    def iloc(self) -> Any:
        return _At(self) if "_mgr" not in self.__dict__ else super().iloc

    @property
    def values(self) -> Any:
        return self.__dict__["_values_seen"] if "_mgr" not in self.__dict__ else super().values

    def to_numpy(self, dtype: Any = None, copy: bool = False, *na_value: Any, **more: Any) -> Any:
        if dtype is None and not (copy or na_value or more or "_mgr" in self.__dict__):
            return self.__dict__["_values_seen"]
        return super().to_numpy(dtype, copy, *na_value, **more)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.array(self.values, dtype=dtype, copy=copy)

    def __getitem__(self, key: Any) -> Any:
        if "_mgr" not in self.__dict__ and isinstance(key, (int, np.integer)):
            return self.__dict__["_values_seen"][key]
        return super().__getitem__(key)


class _At:
    """`series.iloc` that answers a single place without filling the series."""

    __slots__ = ("_series",)

    def __init__(self, series: Any) -> None:
        self._series = series

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, (int, np.integer)):
            return self._series.__dict__["_values_seen"][key]
        self._series._fill()
        return self._series.iloc[key]

    def __getattr__(self, name: str) -> Any:
        self._series._fill()
        return getattr(self._series.iloc, name)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._series._fill()
        self._series.iloc[key] = value


class LazyFrame(PlacedFrame):
    """A frame that answers its length and its columns before it is filled.

    `seen` is None for all there is when it is first asked for anything, the minute in the making included.
    """

    _mgr = FilledOnDemand("_mgr")
    _flags = FilledOnDemand("_flags")
    _attrs = FilledOnDemand("_attrs")
    _item_cache = FilledOnDemand("_item_cache")

    def __init__(self, source: FrameSource, seen: BarsSnapshot | None) -> None:
        own = self.__dict__
        own["_source"], own["_seen"] = source, seen

    def _fill(self) -> None:
        own = self.__dict__
        seen = self._look()
        columns = {name: seen.column(name) for name in COLUMNS}
        _copy_inside(pd.DataFrame(columns, index=own["_source"].index(seen), copy=True), own)

    def __reduce__(self) -> Any:  # as in `LazySeries`
        return PlacedFrame, (pd.DataFrame(self),)

    def _look(self) -> BarsSnapshot:
        own = self.__dict__
        if own["_seen"] is None:
            own["_seen"] = own["_source"].table.seen(with_forming=True)
        seen: BarsSnapshot = own["_seen"]
        return seen

    def __len__(self) -> int:
        return self._look().rows if "_mgr" not in self.__dict__ else super().__len__()

    def __getitem__(self, key: Any) -> Any:
        own = self.__dict__
        if "_mgr" not in own and isinstance(key, str) and key in COLUMNS:
            return LazySeries(own["_source"], key, self._look())
        return super().__getitem__(key)

    def __getattr__(self, name: str) -> Any:  # type: ignore[misc] # columns before they are filled
        if "_mgr" not in self.__dict__ and name in COLUMNS:
            return self[name]
        return super().__getattr__(name)


def _copy_inside(whole: Any, own: dict[str, Any]) -> None:
    """Take over what makes a frame or series one."""
    for name in ("_mgr", "_flags", "_attrs", "_item_cache"):
        if name in whole.__dict__:
            own[name] = whole.__dict__[name]
