"""The built-in scanner: symbols that gap up, trade in size, and cost neither too little nor too much."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta
from typing import Any

from liualgotrader.common.clock import instant
from liualgotrader.common.errors import LiuError
from liualgotrader.common.ports import SymbolSnapshot
from liualgotrader.common.tlog import some_of
from liualgotrader.scanners.base import Scanner

_NAMED = 5  # symbols in one line


class Momentum(Scanner, built_in="momentum"):
    """Picks the symbols with the largest gap over yesterday's close.

    A symbol passes if its last price lies between `min_share_price` and `max_share_price`, it traded more than
    `min_last_dv` dollars yesterday and more than `min_volume` shares today, and today's open lies at least
    `today_change_percent` above yesterday's close (older plans call that `min_gap`), whatever the price has done since.
    A symbol that has not traded in this session has no gap yet; one without a known earlier session never has one, and
    the first run says which those are. Nothing is picked before `from_market_open` minutes after the open; the
    `max_symbols` largest gaps win. Percentages are of 100, volumes shares. Without a `recurrence` it picks once, at
    `from_market_open`.

    `trading_api` and `provider` are accepted for older plans and have no effect.
    """

    sees_today = True

    def __init__(
        self,
        data_loader: Any,
        min_last_dv: float,
        min_share_price: float,
        max_share_price: float,
        min_volume: float,
        from_market_open: float,
        today_change_percent: float | None = None,
        min_gap: float | None = None,
        recurrence: timedelta | None = None,
        target_strategy_name: str | None = None,
        max_symbols: int = 100,
        trading_api: object = None,
        data_source: object = None,
        provider: str | None = None,
    ) -> None:
        self._once = recurrence is None and from_market_open > 0
        super().__init__(
            name="momentum",
            data_loader=data_loader,
            recurrence=timedelta(minutes=from_market_open) if self._once else recurrence,
            target_strategy_name=target_strategy_name,
            data_source=data_source,
        )
        change = today_change_percent if today_change_percent is not None else min_gap
        if change is None:
            raise ValueError("the momentum scanner needs today_change_percent (older plans say min_gap)")
        self.min_last_dv = min_last_dv
        self.min_share_price = min_share_price
        self.max_share_price = max_share_price
        self.min_volume = min_volume
        self.from_market_open = from_market_open
        self.today_change_percent = change
        self.max_symbols = int(max_symbols)
        self._done_in = 0  # the open of the session in which it has picked
        self._lacking_shown = False

    async def run(self, back_time: datetime | None = None) -> list[str]:
        """Return the symbols that pass now, largest gap first; ties by symbol.

        Raises:
            ValueError: `back_time` is not the session's time; snapshots show no other.
        """
        if back_time is not None and (self._now is None or instant(back_time) != self._now()):
            raise ValueError(f"the momentum scanner sees the market as it is now, not as it was at {back_time}")
        if self.minutes_from_open() < self.from_market_open or self._done_in == self._opens_at:
            return []
        symbols = sorted(await self.data_api.tradable_symbols())
        snapshots = await self.data_api.snapshots(symbols)
        self._done_in = self._opens_at if self._once else 0
        lacking = sorted(
            s.symbol for s in snapshots.values() if s.previous_daily_bar is None or s.previous_daily_bar.close <= 0
        )
        if lacking and not self._lacking_shown:
            self._lacking_shown = True
            self.tell(
                f"cannot pick {len(lacking)} of {len(snapshots)} symbols, whose previous close is unknown, so that they"
                f" have no gap: {some_of(lacking, _NAMED)}"
            )
        return self.filtered(snapshots.values())

    async def apply_filter_on_market_snapshot(
        self, filter_func: Callable[[SymbolSnapshot], bool] | None = None
    ) -> list[str]:
        """Return the symbols whose snapshot `filter_func` accepts, all without one, in alphabetical order."""
        found = await self.data_api.snapshots(sorted(await self.data_api.tradable_symbols()))
        return sorted(s.symbol for s in found.values() if filter_func is None or filter_func(s))

    def momentum_filter(self, snapshot: SymbolSnapshot) -> bool:
        """Say whether a symbol passes; `run` asks this of each."""
        return self.gap_of(snapshot) is not None

    async def load_from_db(self, back_time: datetime) -> list[str]:
        """Refuse: in a backtest the scanner itself looks at the bars until then.

        Raises:
            LiuError: always, with this advice.
        """
        raise LiuError("`backtester from` runs the scanner on past bars, and `backtester batch` plays what was picked")

    async def add_stock_data_for_date(self, symbol: str, when: date) -> None:
        """Refuse: a miner keeps daily bars.

        Raises:
            LiuError: always, with this advice.
        """
        raise LiuError(f"rows of stock_ohlc, for {symbol} too, are written by the miner DailyOHLC: `market_miner`")

    def alpaca_snapshot_details(self, snapshot: SymbolSnapshot) -> tuple[bool, float, float, float, float]:
        """Return what the filter looks at, NaN where unknown.

        That is: can be traded, last price, dollars traded yesterday, gap of today's open in percent, shares traded today.
        """
        today, before, price = snapshot.daily_bar, snapshot.previous_daily_bar, snapshot.last_price
        gap = (today.open - before.close) / before.close * 100 if today and before and before.close > 0 else math.nan
        worth = before.close * before.volume if before else math.nan
        return True, math.nan if price is None else price, worth, gap, today.volume if today else math.nan

    polygon_snapshot_details = alpaca_snapshot_details  # a snapshot has one form, whoever sent it

    def filtered(self, snapshots: Iterable[SymbolSnapshot]) -> list[str]:
        """Return the symbols among `snapshots` that pass, largest gap first; ties by symbol."""
        gaps = {s.symbol: self.gap_of(s) for s in snapshots if self.momentum_filter(s)}
        passed = [(-math.inf if gap is None else gap, symbol) for symbol, gap in gaps.items()]
        return [symbol for _, symbol in sorted(passed, key=lambda one: (-one[0], one[1]))][: self.max_symbols]

    def gap_of(self, snapshot: SymbolSnapshot) -> float | None:
        """Return the symbol's gap in percent if it passes, else None; only inside a session."""
        today, before, price = snapshot.daily_bar, snapshot.previous_daily_bar, snapshot.last_price
        if today is None or before is None or price is None or before.close <= 0:
            return None
        if today.closed_at <= self._opens_at:  # the vendor's newest day is one before this session
            return None
        gap = (today.open - before.close) / before.close * 100
        passes = (
            self.min_share_price <= price <= self.max_share_price
            and before.close * before.volume > self.min_last_dv
            and today.volume > self.min_volume
            and gap >= self.today_change_percent
        )
        return gap if passes else None
