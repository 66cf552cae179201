"""The original's address of Polygon's data; for user code only. `PolygonData()` takes key and address from the environment."""

from liualgotrader.data.polygon_data import PolygonData
from liualgotrader.data.polygon_stream import PolygonStream

__all__ = ["PolygonData", "PolygonStream"]
