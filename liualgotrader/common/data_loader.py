"""The original's address of `DataLoader`; for user code only, the loader itself is `data/loader.py`."""

from typing import Any

from liualgotrader.common.clock import NEW_YORK as nyc
from liualgotrader.common.errors import ConfigError
from liualgotrader.data.loader import DataLoader, SymbolData

__all__ = ["DataLoader", "SymbolData", "nyc"]

_INSIDE = (
    *("convert_offset_to_datetime", "handle_slice_conversion", "load_item_by_offset", "get_item_by_offset"),
    *("fetch_data_range", "fetch_data_datetime", "getitem", "getitem_slice"),
)


def __getattr__(name: str) -> Any:
    if name in _INSIDE:
        raise ConfigError(
            f"{name} was inside the original's DataLoader: index one instead, as in loader['AAPL'].close[-5:]"
        )
    if name == "m_and_a_data":
        raise ConfigError(
            "m_and_a_data is not there: a vendor answers by a symbol's earlier names too, and a folder's `renames.csv` says"
            " them for its files"
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
