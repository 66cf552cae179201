"""Reads the Lean data folder: one zip with one CSV per symbol, day and kind, into columns.

Clock columns are milliseconds since midnight in New York, prices dollars times 10,000, sizes shares; bars
without activity are left out. A quote tick states one side, the other side is 0 and means "as before".
Source: the data format of QuantConnect's Lean engine, and AlgoSeek's tick files in it.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, time
from pathlib import Path
from typing import Any

import numpy as np

from liualgotrader.common.calendar import TradingSession, new_york
from liualgotrader.common.clock import HOUR, MILLISECOND, MINUTE, SECOND
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.events import Counts
from liualgotrader.tapes.columns import Floats, Ints, QuoteColumns, TradeColumns
from liualgotrader.tapes.conditions import CLOSING_PRINT, OPENING_PRINT, counts_of
from liualgotrader.tapes.tables import MOST_PRICE, MOST_SHARES, bar_text, impossible_bar

PRICE_SCALE = 10_000.0
INTERVALS = {"second": SECOND, "minute": MINUTE}
AUCTION_SPAN = 30 * MINUTE  # after the bell in which an auction is looked for

_TICK_TRADE = ("ms", "price", "size", "exchange", "condition", "suspicious")
_TICK_QUOTE = ("ms", "bid", "bid_size", "ask", "ask_size", "exchange", "condition", "suspicious")
_BAR_TRADE = ("ms", "open", "high", "low", "close", "volume")
_BAR_QUOTE = (
    *("ms", "bid_open", "bid_high", "bid_low", "bid_close", "bid_size"),
    *("ask_open", "ask_high", "ask_low", "ask_close", "ask_size"),
)
_DAILY = ("start", "open", "high", "low", "close", "volume")
_TEXT = ("exchange", "condition", "start")
_SIZES = ("size", "volume", "bid_size", "ask_size")
_DAY_MS = 25 * HOUR // MILLISECOND  # on the longest day


@dataclass(frozen=True, slots=True)
class LeanBars:
    """Trade bars of one symbol over time."""

    opened_at: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats


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


def trade_bars(path: Path, day: date) -> LeanBars:
    """Return the trade bars of a day."""
    table = _read(path, _BAR_TRADE)
    opens, highs, lows, closes = (table[c] / PRICE_SCALE for c in _BAR_TRADE[1:5])
    return LeanBars(_instants(table["ms"], day), opens, highs, lows, closes, table["volume"])


def line_of_quote(path: Path, resolution: str, row: int) -> int:
    """Return the line that a quote comes from, of those that were read from the file."""
    if resolution != "tick":
        return row + 1
    return int(np.flatnonzero(_read(path, _TICK_QUOTE)["suspicious"] == 0)[row]) + 1


def daily_rows(path: Path) -> list[tuple[date, float, float, float, float, float]]:
    """Return (day, open, high, low, close, volume) of a daily file, oldest first."""
    table = _read(path, _DAILY)
    codes, texts = table["start"]
    try:
        days = [date(int(t[:4]), int(t[4:6]), int(t[6:8])) for t in texts]
    except ValueError as e:
        raise ConfigError(f"{path}: a row does not begin with a day as YYYYMMDD.") from e
    columns = [(table[c] / PRICE_SCALE).tolist() for c in _DAILY[1:5]]
    in_file = [days[i] for i in codes.tolist()]
    if len(in_file) > len(set(in_file)):
        line, day = next((n, d) for n, d in enumerate(in_file, 1) if d in in_file[: n - 1])
        raise ConfigError(f"{path}, line {line}: a second row for {day}; keep one of them.")
    rows = zip(in_file, *columns, table["volume"].tolist(), strict=True)
    return sorted(rows, key=lambda r: r[0])


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
