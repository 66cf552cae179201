"""Scanners: the market's snapshots in, the symbols worth trading out."""

from liualgotrader.scanners import momentum as _momentum  # noqa: F401 - a built-in scanner is one that was imported
