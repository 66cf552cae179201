"""The original's address of `DataLoader`; for user code only, the loader itself is `data/loader.py`."""

from liualgotrader.data.loader import DataLoader as DataLoader
from liualgotrader.data.loader import SymbolData as SymbolData
