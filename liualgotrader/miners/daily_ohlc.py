"""`stock_ohlc`: the daily bars of symbols, with indicators."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from liualgotrader.common.calendar import previous_sessions, sessions
from liualgotrader.common.errors import ConfigError
from liualgotrader.miners.base import Miner, number, texts
from liualgotrader.models.ticker_data import StockOhlc, TickerData

if TYPE_CHECKING:
    import pandas as pd

_WARM_UP_DAYS = 400  # before the first day, for indicators that look back
_AT_ONCE = 100  # symbols in one request
_INDICATOR = re.compile(r"([A-Za-z_]+?)_?(\d*)")


class DailyOHLC(Miner):
    """Keeps the daily bars of the last `days` days; of a symbol that has some, those that are missing since.

    `symbols` are those of the table, else all that `ticker_data` names. Those whose newest close lies outside
    `min_price` and `max_price` are left out. Bars of days that are not over are not kept.
    """

    def __init__(self, data: dict[str, Any], debug: bool = False) -> None:
        super().__init__("DailyOHLC")
        self.days, self.debug = int(number(data, "days")), debug
        self.min_price = number(data, "min_price", "min_share_price", "min_stock_price", default=0.0)
        self.max_price = number(data, "max_price", "max_share_price", "max_stock_price", default=float("inf"))
        self.symbols = [symbol.upper() for symbol in texts(data, "symbols")]
        self.indicators = {name: indicator(name) for name in texts(data, "indicators")}

    async def run(self) -> bool:
        services = self.services
        loader = services.loader()
        earliest, last = self.span()
        symbols = self.symbols or await TickerData.load_symbols()
        kept = without = 0
        for place, symbol in enumerate(services.progress(symbols)):
            if place % _AT_ONCE == 0:
                loader.pre_fetch(symbols[place : place + _AT_ONCE], earliest - timedelta(days=_WARM_UP_DAYS), last)
            newest = await StockOhlc.get_latest_date(symbol)
            first = earliest if newest is None else newest + timedelta(days=1)
            if first <= last:
                rows = self._rows(symbol, loader[symbol].symbol_data, first, last)
                for row in rows:
                    await row.save()
                kept, without = kept + len(rows), without + (not rows)
        services.say(f"{kept} daily bars kept" + (f"; {without} symbols had none" if without else ""))
        return True

    def span(self) -> tuple[date, date]:
        """Return the first and the last day to keep: the last one is over."""
        last = previous_sessions(self.services.today, 1)[-1].day
        return last - timedelta(days=self.days - 1), last

    async def would_do(self) -> str:
        earliest, last = self.span()
        symbols = self.symbols or await TickerData.load_symbols()
        rows = whole = 0
        for symbol in symbols:
            newest = await StockOhlc.get_latest_date(symbol)
            first = earliest if newest is None else newest + timedelta(days=1)
            lacking = len(sessions(first, last)) if first <= last else 0
            rows, whole = rows + lacking, whole + (not lacking)
        return f"{len(symbols)} symbols, {earliest} to {last}: at most {rows:,} rows of stock_ohlc; {whole} symbols lack none"

    def _rows(self, symbol: str, bars: pd.DataFrame, first: date, last: date) -> list[StockOhlc]:
        if bars.empty or not self.min_price <= float(bars["close"].iloc[-1]) <= self.max_price:
            return []
        columns = {name: column for made in self.indicators.values() for name, column in made(bars).items()}
        rows = []
        figures = bars[["open", "high", "low", "close", "volume"]].to_numpy(dtype=float).tolist()
        for place, (at, (opened, high, low, close, volume)) in enumerate(zip(bars.index, figures, strict=True)):
            if first <= (day := at.date()) <= last:
                known = {n: float(c[place]) if np.isfinite(c[place]) else None for n, c in columns.items()}
                rows.append(StockOhlc(symbol, day, opened, high, low, close, int(volume), known))
        return rows


class Indicator:
    """A function of TA-Lib over daily bars, by its name: `SMA100`, `RSI_14`, `mama`, `MACD`."""

    def __init__(self, name: str, function: Any, period: int | None) -> None:
        self.name, self._function, self._period = name, function, period

    def __call__(self, bars: pd.DataFrame) -> Mapping[str, np.ndarray[Any, np.dtype[np.float64]]]:
        """Return its lines, NaN where there are too few bars before: one under its own name, several under theirs."""
        given = {name: bars[name].to_numpy(dtype=float) for name in ("open", "high", "low", "close", "volume")}
        keywords = {} if self._period is None else {"timeperiod": self._period}
        found = self._function(given, **keywords)
        lines: Sequence[Any] = found if isinstance(found, list | tuple) else [found]
        names = [self.name] if len(lines) == 1 else self._function.output_names
        return dict(zip(names, lines, strict=True))


def indicator(name: str) -> Indicator:
    """Return the indicator that a name stands for.

    Raises:
        ConfigError: if TA-Lib is not installed, or knows no such function.
    """
    try:
        from talib import abstract
    except ImportError:
        raise ConfigError("indicators need TA-Lib: pip install 'liualgotrader[original]'") from None
    parts = _INDICATOR.fullmatch(name)
    try:
        function: Any = abstract.Function(parts[1].upper() if parts else name)  # type: ignore[attr-defined]
    except Exception as error:
        raise ConfigError(f"indicator {name!r} is none of TA-Lib's functions, such as SMA100, RSI14, MAMA") from error
    period = int(parts[2]) if parts and parts[2] else None
    if period is not None and "timeperiod" not in function.parameters:
        raise ConfigError(f"indicator {name!r}: TA-Lib's {function.info['name']} takes no period")
    return Indicator(name, function, period)
