"""The original's address of `DataLoader`; for user code only, the loader itself is `data/loader.py`."""

from liualgotrader.data.loader import DataLoader, SymbolData

__all__ = ["DataLoader", "SymbolData"]
