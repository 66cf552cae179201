"""The original's errors, at their address."""

from __future__ import annotations

from liualgotrader.common.errors import LiuError


class LiuException(LiuError):
    """What user code of the original raises and catches."""


class MarketClosedToday(LiuException):
    """The exchange has no session today."""
