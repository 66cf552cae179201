"""A small tape with prices that can be worked out by hand.

Friday 2024-03-08, regular trading 09:30 to 16:00 New York, events from 09:30 to 10:30:

* ABC: each second on the second a quote of 500 x 500 around a middle, bid 0.01 below, ask 0.01 above; half a second
  later a print of 200 shares at the middle. The middle is 100.00 until 09:40, 97.00 until 09:50, 104.00 until
  10:00 and 100.00 after that.
* XYZ: the same every ten seconds around 300.00; at 09:36:03 an odd lot of 7 shares at 301.00 (volume only).
* PENY: the same every ten seconds around 0.5000, half a cent wide; it cannot be sold short or split into parts.
* HLT: like XYZ around 50.00, halted from 09:45 to 09:46.

The session before, Thursday 2024-03-07, has minute bars from 09:30 to 09:40: minute n of ABC opens at 90 + n,
closes 0.5 higher, range 1 each way, volume 1000 + n. Daily bars of ABC: 03-04 to 03-07 (Monday to Thursday)
close at 91, 92, 93, 94 and have a volume of 10,000 each; there are older ones of 02-29 (close 80) and 03-01 (81).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, time

from liualgotrader.common.calendar import TradingSession, new_york, session_of
from liualgotrader.common.clock import MINUTE, SECOND
from liualgotrader.common.events import Bar, BarSource, Counts, MarketEvent, Quote, Status, TradeTick
from liualgotrader.common.ports import Asset

DAY = date(2024, 3, 8)
YESTERDAY = date(2024, 3, 7)
DAILY_CLOSES = {
    date(2024, 2, 29): 80.0,
    date(2024, 3, 1): 81.0,
    date(2024, 3, 4): 91.0,
    date(2024, 3, 5): 92.0,
    date(2024, 3, 6): 93.0,
    date(2024, 3, 7): 94.0,
}


def at(text: str) -> int:
    """Return the instant of a time of day in New York on the tape's day, `09:35` or `09:35:10`."""
    return new_york(DAY, time.fromisoformat(text))


class HandTape:
    """The tape described above."""

    def __init__(self) -> None:
        session = session_of(DAY)
        assert session is not None
        self._session: TradingSession = session
        self._events = sorted([*_abc(), *_xyz(), *_peny(), *_hlt()], key=lambda e: e.at)

    @property
    def day(self) -> date:
        return DAY

    @property
    def opens_at(self) -> int:
        return self._session.opens_at

    @property
    def closes_at(self) -> int:
        return self._session.closes_at

    def assets(self) -> Sequence[Asset]:
        return (
            Asset("ABC", "Alphabet Soup", "NASDAQ"),
            Asset("HLT", "Halting Problems", "NYSE"),
            Asset("PENY", "Penny Lane", "AMEX", shortable=False, fractionable=False),
            Asset("XYZ", "Last Letters", "NYSE"),
        )

    def events(self, start: int, end: int) -> Iterator[MarketEvent]:
        return (e for e in self._events if start <= e.at < end)

    def minute_bars(self, symbol: str, start: int, end: int) -> Sequence[Bar]:
        if symbol != "ABC":
            return []
        first = new_york(YESTERDAY, time(9, 30))
        bars = [_minute(first + n * MINUTE, 90.0 + n, 1000.0 + n) for n in range(10)]
        return [b for b in bars if start <= b.opened_at < end]

    def daily_bars(self, symbol: str, start: date, end: date) -> Sequence[Bar]:
        if symbol != "ABC":
            return []
        return [_daily(day, close) for day, close in DAILY_CLOSES.items() if start <= day <= end]


def _minute(opened_at: int, open_: float, volume: float) -> Bar:
    close = open_ + 0.5
    return Bar(
        "ABC",
        opened_at,
        opened_at + MINUTE,
        open_,
        open_ + 1,
        open_ - 1,
        close,
        volume,
        open_,
        5,
        int(BarSource.HISTORY),
    )


def _daily(day: date, close: float) -> Bar:
    session = session_of(day)
    assert session is not None
    return Bar(
        "ABC",
        session.opens_at,
        session.closes_at,
        close - 1,
        close + 1,
        close - 2,
        close,
        10_000.0,
        close,
        50,
        int(BarSource.HISTORY),
    )


def _middle_of_abc(instant: int) -> float:
    for until, price in ((at("09:40"), 100.0), (at("09:50"), 97.0), (at("10:00"), 104.0)):
        if instant < until:
            return price
    return 100.0


def _ticks(symbol: str, step: int, half: float, middle: float | None = None) -> list[Quote | TradeTick]:
    events: list[Quote | TradeTick] = []
    for instant in range(at("09:30"), at("10:30"), step * SECOND):
        price = _middle_of_abc(instant) if middle is None else middle
        events.append(Quote(symbol, instant, round(price - half, 4), 500.0, round(price + half, 4), 500.0))
        events.append(TradeTick(symbol, instant + SECOND // 2, price, 200.0))
    return events


def _abc() -> list[Quote | TradeTick]:
    return _ticks("ABC", 1, 0.01)


def _xyz() -> list[Quote | TradeTick]:
    odd_lot = TradeTick("XYZ", at("09:36:03"), 301.0, 7.0, int(Counts.VOLUME))
    return [*_ticks("XYZ", 10, 0.01, 300.0), odd_lot]


def _peny() -> list[Quote | TradeTick]:
    return _ticks("PENY", 10, 0.0025, 0.5)


def _hlt() -> list[Quote | TradeTick | Status]:
    halted = [Status("HLT", at("09:45"), True, "H", "T1"), Status("HLT", at("09:46"), False, "T", "")]
    ticks = [e for e in _ticks("HLT", 10, 0.01, 50.0) if not at("09:45") <= e.at < at("09:46")]
    return [*ticks, *halted]
