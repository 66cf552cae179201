"""Reads the Lean data folder: one zip with one CSV per symbol, day and kind, into columns.

Clock columns are milliseconds since midnight in New York, prices dollars times 10,000, sizes shares; bars
without activity are left out. A quote tick states one side, the other side is 0 and means "as before".
Source: the data format of QuantConnect's Lean engine, and AlgoSeek's tick files in it.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import date, time, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from liualgotrader.common.calendar import FIRST_DAY, LAST_DAY, TradingSession, day_of, new_york, sessions
from liualgotrader.common.clock import DAY, HOUR, MILLISECOND, MINUTE, NEVER, SECOND
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.events import SYMBOL_RULE, Counts, is_symbol
from liualgotrader.common.market_columns import (
    BarColumns,
    Floats,
    Ints,
    QuoteColumns,
    TradeColumns,
    between,
    joined,
    mean_price,
    take,
)
from liualgotrader.tapes.conditions import CLOSING_PRINT, OPENING_PRINT, counts_of
from liualgotrader.tapes.minute_bars import session_bars
from liualgotrader.tapes.splits import Dividend, Split, lean_dividends, lean_splits
from liualgotrader.tapes.tables import MOST_PRICE, MOST_SHARES, bar_text, impossible_bar

PRICE_SCALE = 10_000.0
INTERVALS = {"second": SECOND, "minute": MINUTE}
_FOLDERS = {0: "tick", SECOND: "second", MINUTE: "minute", HOUR: "hour", DAY: "daily"}
AUCTION_SPAN = 30 * MINUTE  # after the bell in which an auction is looked for

_TICK_TRADE = ("ms", "price", "size", "exchange", "condition", "suspicious")
_TICK_QUOTE = ("ms", "bid", "bid_size", "ask", "ask_size", "exchange", "condition", "suspicious")
_BAR_TRADE = ("ms", "open", "high", "low", "close", "volume")
_BAR_QUOTE = (
    *("ms", "bid_open", "bid_high", "bid_low", "bid_close", "bid_size"),
    *("ask_open", "ask_high", "ask_low", "ask_close", "ask_size"),
)
_LONG_BAR = ("start", "open", "high", "low", "close", "volume")
_TEXT = ("exchange", "condition", "start")
_SIZES = ("size", "volume", "bid_size", "ask_size")
_MAP_DAY = re.compile(r"(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])")
_DAY_MS = 25 * HOUR // MILLISECOND  # on the longest day


def path_of(folder: Path, resolution: str, symbol: str, day: date, kind: str) -> Path:
    """Return where a day's file lies; `resolution` is tick, second or minute, `kind` trade or quote."""
    return folder / resolution / symbol.lower() / f"{day:%Y%m%d}_{kind}.zip"


def tick_trades(path: Path, session: TradingSession) -> TradeColumns:
    """Return the prints of a day without the suspicious ones."""
    table = _read(path, _TICK_TRADE)
    keep = table["suspicious"] == 0
    at = _instants(table["ms"][keep], session.day)
    regular = (at >= session.opens_at) & (at < session.closes_at)
    codes, texts = table["condition"][0][keep], table["condition"][1]
    try:
        masks = [int(t, 16) for t in texts]
    except ValueError as e:
        raise ConfigError(f"{path}: a trade condition is not a hexadecimal number.") from e
    inside, outside = (
        np.array([int(counts_of(mask, regular_hours=hours)) for mask in masks], np.int64) for hours in (True, False)
    )
    flags: Ints = np.where(regular, inside[codes], outside[codes])
    size = table["size"][keep]
    for bit, bell, mark in (
        (OPENING_PRINT, session.opens_at, Counts.OPENING_CROSS),
        (CLOSING_PRINT, session.closes_at, Counts.CLOSING_CROSS),
    ):
        is_one = np.array([bool(mask & bit) for mask in masks], bool)
        rows = np.flatnonzero(is_one[codes] & (at >= bell) & (at < bell + AUCTION_SPAN))
        if len(rows):  # each exchange prints its own auction; that of the primary one is the largest
            flags[rows[np.argmax(size[rows])]] |= int(mark)
    return TradeColumns(at, table["price"][keep] / PRICE_SCALE, size, flags)


def tick_quotes(path: Path, session: TradingSession) -> QuoteColumns:
    """Return the best bid and offer of a day, each side carried forward, without suspicious rows."""
    table = _read(path, _TICK_QUOTE)
    keep = table["suspicious"] == 0
    bid, bid_size = _carried(table["bid"][keep], table["bid_size"][keep])
    ask, ask_size = _carried(table["ask"][keep], table["ask_size"][keep])
    at = _instants(table["ms"][keep], session.day)
    return QuoteColumns(at, bid / PRICE_SCALE, bid_size, ask / PRICE_SCALE, ask_size, np.zeros(len(at), np.int64))


def bar_quotes(path: Path, session: TradingSession, interval: int) -> QuoteColumns:
    """Return the closing quotes of quote bars, each valid from the end of its interval."""
    table = _read(path, _BAR_QUOTE)
    bid, bid_size = _carried(table["bid_close"], table["bid_size"])
    ask, ask_size = _carried(table["ask_close"], table["ask_size"])
    at = _instants(table["ms"], session.day) + interval
    return QuoteColumns(at, bid / PRICE_SCALE, bid_size, ask / PRICE_SCALE, ask_size, np.zeros(len(at), np.int64))


def trade_bars(path: Path, symbol: str, day: date, interval: int) -> BarColumns:
    """Return the trade bars of a day."""
    table = _read(path, _BAR_TRADE)
    opened_at = _instants(table["ms"], day)
    return _bars(symbol, opened_at, opened_at + interval, table)


def long_bars(path: Path, symbol: str, period: int) -> BarColumns:
    """Return the bars of an hourly or daily file, oldest first, without days that had no session.

    A daily bar spans its session.
    """
    table = _read(path, _LONG_BAR)
    codes, texts = table["start"]
    spans = {session.day: session for session in sessions(FIRST_DAY, LAST_DAY)}
    try:
        days = [date(int(t[:4]), int(t[4:6]), int(t[6:8])) for t in texts]
        if period == DAY:
            starts = [spans[day].opens_at if day in spans else day.toordinal() for day in days]
        else:
            clocks = (time(int(t[9:11]), int(t[12:14])) for t in texts)
            starts = [new_york(day, clock) for day, clock in zip(days, clocks, strict=True)]
    except ValueError as e:
        form = "a day as YYYYMMDD" if period == DAY else "a time as YYYYMMDD HH:MM"
        raise ConfigError(f"{path}: a row does not begin with {form}.") from e
    opened_at = np.array(starts, np.int64)[codes]
    order = np.argsort(opened_at, kind="stable")
    again = np.flatnonzero(np.diff(opened_at[order]) == 0)
    if len(again):
        row = int(order[again[0] + 1])
        start = days[codes[row]] if period == DAY else texts[codes[row]]
        raise ConfigError(f"{path}, line {row + 1}: a second row for {start}; keep one of them.")
    ends = np.array([spans[day].closes_at if day in spans else 0 for day in days], np.int64)[codes]
    bars = _bars(symbol, opened_at, ends if period == DAY else opened_at + period, table)
    return take(bars, order[ends[order] > 0])


def _bars(symbol: str, opened_at: Ints, closed_at: Ints, table: dict[str, Any]) -> BarColumns:
    opens, highs, lows, closes = prices = tuple(table[name] / PRICE_SCALE for name in _BAR_TRADE[1:5])
    count = np.zeros(len(opened_at))
    return BarColumns(
        symbol, opened_at, closed_at, opens, highs, lows, closes, table["volume"], mean_price(prices), count
    )


def line_of_quote(path: Path, resolution: str, row: int) -> int:
    """Return the line that a quote comes from, of those that were read from the file."""
    if resolution != "tick":
        return row + 1
    return int(np.flatnonzero(_read(path, _TICK_QUOTE)["suspicious"] == 0)[row]) + 1


def symbols_at(places: Iterable[Path]) -> list[str]:
    """Return the symbols that files and folders are named after, in alphabetical order.

    Raises:
        ConfigError: if one has a name that is no symbol.
    """
    names = {place.name.removesuffix(".zip").upper(): place for place in places}
    wrong = next((place for name, place in names.items() if not is_symbol(name)), None)
    if wrong is not None:
        raise ConfigError(f"The name of {wrong} is not a symbol: {SYMBOL_RULE}.")
    return sorted(names)


def days_named(paths: Iterable[Path]) -> set[date]:
    """Return the days that begin the names of files, as far as the calendar knows them."""
    found = set()
    for name in {p.name[:8] for p in paths}:
        with suppress(ValueError):
            found.add(date.fromisoformat(name))
    return {day for day in found if FIRST_DAY <= day <= LAST_DAY}


def map_rows(folder: Path, symbol: str) -> list[list[str]]:
    """Return the rows of a symbol's map file, oldest first: last day, symbol until then, letter of the exchange if known.

    Raises:
        ConfigError: if a row does not begin with a day and a symbol.
    """
    path = folder / "map_files" / f"{symbol.lower()}.csv"
    rows = [line.split(",") for line in path.read_text().split()] if path.exists() else []
    for number, row in enumerate(rows, 1):
        if not _MAP_DAY.fullmatch(row[0]) or len(row) < 2 or not is_symbol(row[1].upper()):
            raise ConfigError(
                f"{path}, line {number}: a row is a day as YYYYMMDD, a symbol, the letter of its exchange."
            )
    return sorted(rows)


class LeanFiles:
    """The bars, splits and dividends of a Lean data folder; nothing is kept in memory.

    What a symbol's map file says it was called before is read from the files of that name.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def symbols(self, period: int) -> list[str]:
        """Return the symbols that have bars of a period, or with 0 trades or quotes, in alphabetical order.

        Raises:
            ConfigError: if a file or folder has a name that is no symbol.
        """
        files = "*/*_trade.zip" if period else "*/*_*.zip"
        places = {p.parent for p in (self.folder / _FOLDERS[period]).glob(files)}
        if period in (HOUR, DAY):
            places.update((self.folder / _FOLDERS[period]).glob("*.zip"))
        if period == DAY:
            places.update(p.parent for p in (self.folder / "minute").glob("*/*_trade.zip"))
        return symbols_at(places)

    def names(self, symbol: str, start: int = 0, end: int = NEVER) -> list[tuple[str, int, int]]:
        """Return what the symbol was called in start <= at < end, oldest first: name, from when, until when."""
        rows = map_rows(self.folder, symbol)
        lasts = [min(date.fromisoformat(row[0]), LAST_DAY) for row in rows[:-1]]
        ends = [*(new_york(last + timedelta(days=1), time()) for last in lasts), NEVER]
        called = [row[1].upper() for row in rows] or [symbol]
        spans = zip(called, (max(start, at) for at in [0, *ends]), (min(end, at) for at in ends), strict=False)
        return [(name, since, until) for name, since, until in spans if since < until]

    def bars(self, symbol: str, period: int, start: int = 0, end: int = NEVER) -> BarColumns:
        """Return the bars with start <= opened_at < end at their raw prices.

        Daily bars come from the daily file; days that it lacks are summed from regular minutes, if there are any.
        """
        parts = [self._under(name, symbol, period, *span) for name, *span in self.names(symbol, start, end)]
        return joined(parts) if parts else BarColumns.of(symbol, ())

    def _under(self, name: str, symbol: str, period: int, start: int, end: int) -> BarColumns:
        """Return the bars of `symbol` in the files of a name that it had."""
        long = self.folder / _FOLDERS[period] / f"{name.lower()}.zip"
        parts = [long_bars(long, symbol, period)] if period in (HOUR, DAY) and long.exists() else []
        if period != HOUR:
            interval = MINUTE if period == DAY else period
            days = {session.day for session in self._sessions(name, interval, "trade", start, end)}
            if parts:
                days -= {day_of(at) for at in parts[0].opened_at.tolist()}
            paths = [path_of(self.folder, _FOLDERS[interval], name, day, "trade") for day in sorted(days)]
            found = [trade_bars(path, symbol, day, interval) for path, day in zip(paths, sorted(days), strict=True)]
            parts += [session_bars(joined(found))] if found and period == DAY else found
        if not parts:
            return BarColumns.of(symbol, ())
        bars = joined(parts)
        return between(take(bars, np.argsort(bars.opened_at)) if period == DAY else bars, start, end)

    def ticks(self, symbol: str, start: int, end: int) -> Iterator[TradeColumns | QuoteColumns]:
        """Yield the prints and the quotes of a symbol with start <= at < end, a day of one kind at a time."""
        for kind, read in (("trade", tick_trades), ("quote", tick_quotes)):
            for name, *span in self.names(symbol, start, end):
                for session in self._sessions(name, 0, kind, *span):
                    rows: Any = read(path_of(self.folder, "tick", name, session.day, kind), session)
                    yield between(rows, *span)

    def splits(self, symbol: str) -> Sequence[Split]:
        """Return the splits of the symbol's factor file, oldest first."""
        return lean_splits(self.factor_file(symbol))

    def dividends(self, symbol: str) -> Sequence[Dividend]:
        """Return the dividends of the symbol's factor file, oldest first."""
        return lean_dividends(self.factor_file(symbol))

    def factor_file(self, symbol: str) -> Path:
        """Return where splits and dividends stand."""
        return self.folder / "factor_files" / f"{symbol.lower()}.csv"

    def _sessions(self, symbol: str, interval: int, kind: str, start: int, end: int) -> list[TradingSession]:
        """Return the sessions of which there are files that may hold rows with start <= time < end, in order."""
        found = days_named((self.folder / _FOLDERS[interval] / symbol.lower()).glob(f"*_{kind}.zip"))
        found = {day for day in found if day_of(start) <= day <= day_of(end - 1)}
        return [session for session in sessions(min(found), max(found)) if session.day in found] if found else []


def _carried(price: Floats, size: Floats) -> tuple[Floats, Floats]:
    """Return one side of the quotes with "as before" rows filled in; 0.0 before the first statement."""
    stated = np.where(price > 0, np.arange(len(price)), -1)
    row = np.maximum.accumulate(stated)
    known = row >= 0
    return np.where(known, price[row], 0.0), np.where(known, size[row], 0.0)


def _instants(ms: Floats, day: date) -> Ints:
    """Return ns UTC; reckoned from noon, as a clock may be changed in the night before."""
    midnight = new_york(day, time(12, 0)) - 12 * HOUR
    instants: Ints = ms.astype(np.int64) * MILLISECOND + midnight
    return instants


def _read(path: Path, names: Sequence[str]) -> dict[str, Any]:
    """Return the columns of a zipped CSV: floats, and (codes, distinct values) for columns of text."""
    import pyarrow as pa
    from pyarrow import csv

    text = pa.dictionary(pa.int32(), pa.string())
    types = {n: text if n in _TEXT else pa.float64() for n in names}
    try:
        with zipfile.ZipFile(path) as archive:
            content = archive.read(archive.namelist()[0])
        table = csv.read_csv(
            io.BytesIO(content),
            read_options=csv.ReadOptions(column_names=list(names)),
            convert_options=csv.ConvertOptions(column_types=types),
        ).combine_chunks()
    except (OSError, IndexError, zipfile.BadZipFile, pa.ArrowInvalid) as e:
        raise ConfigError(f"{path} is not a Lean data file with {len(names)} columns: {e}.") from e
    columns: dict[str, Any] = {}
    for name in names:
        column = table.column(name)
        if name in _TEXT:
            whole = column.unify_dictionaries().combine_chunks()
            parts = whole.chunks if hasattr(whole, "chunks") else [whole]
            codes = np.concatenate([p.indices.to_numpy() for p in parts])
            columns[name] = codes, parts[0].dictionary.to_pylist()
        else:
            columns[name] = column.to_numpy()
    _check_figures(path, columns)
    return columns


def _check_figures(path: Path, columns: dict[str, Any]) -> None:
    """Check the figures of a file; rows that the vendor marked as suspicious are left out, so they may be anything.

    Raises:
        ConfigError: about the first row of a column that cannot be.
    """
    passed_over = columns["suspicious"] != 0 if "suspicious" in columns else False
    for name, values in columns.items():
        if name in _TEXT or name == "suspicious":
            continue
        side = name.startswith(("bid", "ask"))  # 0 and an empty cell mean "as before"
        most = _DAY_MS - 1 if name == "ms" else MOST_SHARES if name in _SIZES else MOST_PRICE * PRICE_SCALE
        least = 0 if side or name == "ms" or name in _SIZES else 1e-5
        good = (values >= least) & (values <= most) | passed_over
        wrong = np.flatnonzero(~(good | np.isnan(values) if side else good))
        if len(wrong):
            row, value = int(wrong[0]), float(values[wrong[0]])
            bound = f"{least:g} or more" if value < least else f"{most:.15g} or less"
            what = "is not a number" if np.isnan(value) else f"is {value:.15g}, but must be {bound}"
            raise ConfigError(f"{path}, line {row + 1}: its {name} {what}.")
    if "open" in columns and (bar := impossible_bar(*(columns[n] for n in _BAR_TRADE[1:5]))) is not None:
        prices = (float(columns[n][bar]) / PRICE_SCALE for n in _BAR_TRADE[1:5])
        raise ConfigError(f"{path}, line {bar + 1}: {bar_text(*prices)}.")
    if "ms" in columns:
        back = np.flatnonzero(np.diff(columns["ms"]) < (0 if "suspicious" in columns else 1))
        if len(back):
            what = "its time is not after that of the line before; rows must ascend, one for each bar"
            raise ConfigError(f"{path}, line {int(back[0]) + 2}: {what}.")
