"""What the gateway watches: free disk space, the difference between the broker's clock and ours, newest prices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Protocol

from liualgotrader.common.clock import MINUTE, SECOND
from liualgotrader.common.money import exact
from liualgotrader.common.ports import MarketHistory

WARN_BELOW = 2_000_000_000  # bytes free
STOP_BELOW = 500_000_000
SKEW_WINDOW = 10 * MINUTE
SKEW_AGAIN = MINUTE
SKEW_WARN, SKEW_STOP = SECOND, 3 * SECOND
_SAMPLES = 3  # updates in a window; fewer say nothing


class LatestPrices(Protocol):
    """Newest prices of symbols for which the broker has none."""

    async def latest(self, symbols: Iterable[str]) -> Mapping[str, Decimal]:
        """Return the newest price, dollars per share, of those symbols that have one."""


class SnapshotPrices:
    """Newest prices from a data vendor's snapshots."""

    def __init__(self, data: MarketHistory) -> None:
        self._data = data

    async def latest(self, symbols: Iterable[str]) -> Mapping[str, Decimal]:
        found = await self._data.snapshots(list(symbols))
        return {symbol: exact(s.last_price) for symbol, s in found.items() if s.last_price}


def disk_text(free: int) -> str:
    """Return why no position may be opened with so many bytes free, empty if there are enough."""
    if free >= STOP_BELOW:
        return ""
    return f"only {free // 1_000_000} MB are free for the journal, {STOP_BELOW // 1_000_000} are needed: make room"


class ClockWatch:
    """Estimates how far the broker's clock and ours are apart, from its clock's answers and its order updates.

    An answer was given between the question and its arrival, which bounds the difference from both sides. An
    update's lag (its arrival less the broker's time of it) is at least the difference: an upper bound, and the best
    guess while there is no answer. Only what is certain is reported.
    """

    def __init__(self, say: Callable[[str], object], warn: Callable[[str], object]) -> None:
        self._say, self._warn = say, warn
        self._least: int | None = None  # the broker's newest answer: ours less theirs is at least this, ns
        self._most: int | None = None  # and at most this
        self._lags: list[int] = []
        self._until = 0
        self._stops: bool | None = None  # reported last; a desk that was rebuilt may know something else
        self._warned = False

    @property
    def asks_again_after(self) -> int:
        """How long to wait before the next question, ns: less while the clocks stop entries."""
        return SKEW_AGAIN if self._stops else SKEW_WINDOW

    def answered(self, asked_at: int, theirs: int, now: int) -> None:
        """Take in the broker's time, which was asked for at `asked_at` and arrived at `now`, ns UTC of our clock."""
        self._least, self._most = asked_at - theirs, now - theirs
        self._lags, self._until = [], now + SKEW_WINDOW
        self._judge(min(max(self._least, 0), self._most))

    def update(self, at: int, now: int) -> None:
        """Take in an update that the broker dated `at` and that arrived at `now`, ns UTC."""
        lag = now - at
        if self._most is not None and self._least is not None:
            self._most = min(self._most, lag)
            self._least = min(self._least, self._most)  # an update from our future: a clock was set since the answer
            self._judge(min(max(self._least, 0), self._most))
            return
        self._lags.append(lag)
        self._until = self._until or now + SKEW_WINDOW
        if len(self._lags) == _SAMPLES or now >= self._until:
            if len(self._lags) >= _SAMPLES:
                self._judge(min(self._lags, key=abs))
            if now >= self._until:
                self._lags, self._until = [], now + SKEW_WINDOW

    def _judge(self, skew: int) -> None:
        far, stops = abs(skew) > SKEW_WARN, abs(skew) > SKEW_STOP
        text = f"the broker's clock and ours are {skew / SECOND:+.1f} s apart: synchronise this machine by NTP"
        if stops != self._stops:
            self._stops = stops
            self._say(text if stops else "")
        if far and not stops and not self._warned:
            self._warn(text)
        self._warned = far
