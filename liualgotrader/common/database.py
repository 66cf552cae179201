"""The original's address of the program's database; for user code only, it is `models/connection.py`."""

from liualgotrader.models.connection import create_db_connection, fetch_as_dataframe

__all__ = ["create_db_connection", "fetch_as_dataframe"]
