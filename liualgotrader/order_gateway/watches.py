"""What the gateway looks at by itself: the disk, the broker's clock, the account's figures, prices for the caretaker."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Protocol

from liualgotrader.common.clock import MINUTE, SECOND
from liualgotrader.common.money import exact
from liualgotrader.common.ports import DataAPI

WARN_BELOW = 2_000_000_000  # bytes free
STOP_BELOW = 500_000_000
SKEW_WINDOW = 10 * MINUTE
SKEW_WARN, SKEW_STOP = SECOND, 3 * SECOND
_SAMPLES = 3  # updates in a window, without which nothing is said


class LatestPrices(Protocol):
    """Newest prices for positions whose strategy has stopped."""

    async def latest(self, symbols: Iterable[str]) -> Mapping[str, Decimal]:
        """Return the newest price, dollars per share, of those symbols that have one."""
        ...


class SnapshotPrices:
    """The newest prices as a data provider's snapshots tell them. Implements `LatestPrices`."""

    def __init__(self, data: DataAPI) -> None:
        self._data = data

    async def latest(self, symbols: Iterable[str]) -> Mapping[str, Decimal]:
        """Return the newest price, dollars per share, of those symbols that have one."""
        found = await self._data.snapshots(list(symbols))
        return {symbol: exact(s.last_price) for symbol, s in found.items() if s.last_price}


def disk_text(free: int) -> str:
    """Return why nothing may be opened with so many bytes free, empty if there are enough."""
    if free >= STOP_BELOW:
        return ""
    return f"only {free // 1_000_000} MB are free for the journal, {STOP_BELOW // 1_000_000} are needed: make room"


def free_bytes(folder: Path) -> int:
    """Return the bytes free on the disk of `folder`."""
    return shutil.disk_usage(folder).free


class ClockWatch:
    """Compares the broker's clock with ours by the smallest lag of its order updates.

    A lag is what lies between the broker's time of an update and ours when it arrives: transport makes it
    larger, never smaller, so the smallest of some minutes shows how far the clocks are apart.
    """

    def __init__(self, say: Callable[[str], None], warn: Callable[[str], None]) -> None:
        self._say, self._warn = say, warn
        self._lags: list[int] = []
        self._until = 0

    def update(self, at: int, now: int) -> None:
        """Take in an update that the broker dated `at` and that arrived at `now`, ns UTC."""
        self._lags.append(now - at)
        self._until = self._until or now + SKEW_WINDOW
        if len(self._lags) == _SAMPLES or now >= self._until:
            self._judge(now)

    def _judge(self, now: int) -> None:
        skew = min(self._lags, key=abs)
        if len(self._lags) >= _SAMPLES:
            text = f"the broker's clock and ours are {skew / SECOND:+.1f} s apart: synchronise this machine by NTP"
            self._say(text if abs(skew) > SKEW_STOP else "")
            if SKEW_WARN < abs(skew) <= SKEW_STOP:
                self._warn(text)
        if now >= self._until:
            self._lags, self._until = [], now + SKEW_WINDOW
