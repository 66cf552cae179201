"""The original's address of Alpaca's data; for user code only. `AlpacaData()` takes keys and addresses from the environment."""

from liualgotrader.data.alpaca_data import AlpacaData
from liualgotrader.data.alpaca_stream import AlpacaStream

__all__ = ["AlpacaData", "AlpacaStream"]
