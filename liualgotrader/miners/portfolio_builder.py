"""A portfolio picked by momentum, sized by risk."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from liualgotrader.common.errors import ConfigError
from liualgotrader.data.constituents import constituents
from liualgotrader.miners.base import Miner, number, texts
from liualgotrader.models.portfolio import Portfolio
from liualgotrader.models.ticker_data import TickerData

if TYPE_CHECKING:
    import pandas as pd

_CALENDAR_DAYS = 300  # hold 200 sessions
_MOVED_DAYS, _MOST_MOVED = 90, 1.15  # closes that high over low in so many sessions are left out


class RankedHolding(NamedTuple):
    """A position that the portfolio is to hold."""

    symbol: str
    slope: float  # of the daily returns, a day
    r: float  # correlation of the returns with time
    ranked_slope: float  # slope x r, what the ranking is by
    atr: float  # dollars
    qty: int
    est: float  # dollars at the newest close


class PortfolioBuilder(Miner):
    """Ranks symbols by the trend of their daily returns and makes a portfolio of the best ones.

    Left out are those that fall, close below an average of `indicators` (`SMA100`), or have moved by more than 15 % in
    90 sessions. Each is bought so that its average true range costs `risk_factor` of `portfolio_size`, from the top
    of the ranking down until the money is used up. The holdings stand in the portfolio's `parameters`.

    Average true range: J. Welles Wilder, New Concepts in Technical Trading Systems (1978), smoothed over `atr_days`.
    """

    def __init__(self, data: dict[str, Any], debug: bool = False) -> None:
        super().__init__("portfolio")
        self.debug = debug
        self.rank_days, self.atr_days = int(number(data, "rank_days", least=2)), int(number(data, "atr_days"))
        self.portfolio_size, self.risk_factor = number(data, "portfolio_size"), number(data, "risk_factor")
        self.index = str(data.get("index", ""))
        self.symbols = [symbol.upper() for symbol in texts(data, "symbols")]
        self.averages = [_average(name) for name in texts(data, "indicators")]
        if self.index not in ("", "SP500"):
            raise ConfigError(f"`index = {self.index!r}` is not known: SP500, or name `symbols`")

    async def run(self) -> bool:
        services = self.services
        loader, today = services.loader(), services.today
        symbols = await self.universe()
        loader.pre_fetch(symbols, today - timedelta(days=_CALENDAR_DAYS), today - timedelta(days=1))
        found = [self.holding(symbol, loader[symbol].symbol_data) for symbol in services.progress(symbols)]
        chosen = self.affordable([holding for holding in found if holding is not None])
        if not chosen:
            services.say("no symbol passes the filters: no portfolio was made")
            return True
        portfolio_id = str(uuid.uuid4())
        await Portfolio.save(
            portfolio_id, self.portfolio_size, 0.0, {"holdings": [holding._asdict() for holding in chosen]}
        )
        invested = sum(holding.est for holding in chosen)
        services.say(f"portfolio {portfolio_id}: {len(chosen)} of {len(symbols)} symbols, {invested:,.2f} $ to invest")
        return True

    async def universe(self) -> Sequence[str]:
        """Return the symbols to rank."""
        today = self.services.today
        if self.symbols or not self.index:
            return self.symbols or await TickerData.load_symbols()
        return constituents(self.services.market, self.index, today).on(today)

    async def would_do(self) -> str:
        today, symbols = self.services.today, await self.universe()
        days = f"daily bars from {today - timedelta(days=_CALENDAR_DAYS)} to {today - timedelta(days=1)}"
        return (
            f"ranks {len(symbols)} symbols by {days}, and makes one portfolio of {self.portfolio_size:,.2f} $ at most"
        )

    def holding(self, symbol: str, bars: pd.DataFrame) -> RankedHolding | None:
        """Return what to hold of a symbol, None if it is left out or has too few bars."""
        closes = bars["close"].to_numpy(dtype=float)
        if len(closes) <= max(self.rank_days, self.atr_days, *self.averages):
            return None
        returns = np.diff(closes)[-self.rank_days :] / closes[-self.rank_days - 1 : -1]
        days = np.arange(len(returns), dtype=float)
        if np.ptp(returns) == 0:
            return None
        slope = float(np.polyfit(days, returns, 1)[0])
        r = float(np.corrcoef(days, returns)[0, 1])
        newest = closes[-_MOVED_DAYS:]
        below = any(closes[-1] < closes[-length:].mean() for length in self.averages)
        if slope <= 0 or below or newest.max() / newest.min() > _MOST_MOVED:
            return None
        atr = average_true_range(bars, self.atr_days)
        qty = int(self.portfolio_size * self.risk_factor // atr) if atr > 0 else 0
        return RankedHolding(symbol, slope, r, slope * r, atr, qty, qty * float(closes[-1])) if qty else None

    def affordable(self, holdings: Sequence[RankedHolding]) -> list[RankedHolding]:
        """Return the best ranked that the portfolio's money buys; the first that it does not buy ends the list."""
        chosen: list[RankedHolding] = []
        left = self.portfolio_size
        for holding in sorted(holdings, key=lambda h: (-h.ranked_slope, h.symbol)):
            if (left := left - holding.est) < 0:
                break
            chosen.append(holding)
        return chosen


def average_true_range(bars: pd.DataFrame, days: int) -> float:
    """Return Wilder's average true range at the last bar: the mean of the first `days` true ranges, then smoothed."""
    high, low, close = (bars[name].to_numpy(dtype=float) for name in ("high", "low", "close"))
    before = close[:-1]
    ranges = np.maximum(high[1:], before) - np.minimum(low[1:], before)
    average = float(ranges[:days].mean())
    for true_range in ranges[days:].tolist():
        average += (true_range - average) / days
    return average


def _average(name: str) -> int:
    if (found := re.fullmatch(r"(?i)sma_?(\d+)", name)) is None or not int(found[1]):
        raise ConfigError(f"indicator {name!r}: the portfolio miner knows averages such as SMA100")
    return int(found[1])
