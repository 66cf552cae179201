"""Which symbols an index holds on a day: from a file that was imported, or the newest list that a library ships."""

from __future__ import annotations

import csv
from datetime import date
from itertools import pairwise
from pathlib import Path

from liualgotrader.common.errors import ConfigError
from liualgotrader.common.files import replace_file

_FOREVER = date.max
_INDICES = {"SP500": "S&P 500"}  # and pytickersymbols' name
_HOW = "import a file that has them: liu data import-constituents FILE"


class Constituents:
    """The members of an index over time, and from which day to which it is known."""

    def __init__(self, index: str, members: list[tuple[str, date, date]], first: date, last: date, origin: str) -> None:
        self.index, self.members, self.first, self.last, self.origin = index, members, first, last, origin

    def on(self, day: date) -> list[str]:
        """Return the members of a day, in order.

        Raises:
            ConfigError: if that day is not known.
        """
        if not self.first <= day <= self.last:
            known = f"from {self.first}" + (f" to {self.last}" if self.last < _FOREVER else "")
            raise ConfigError(
                f"the constituents of {self.index} on {day} are not known; {self.origin} has them {known}"
            )
        return sorted(symbol for symbol, joined, left in self.members if joined <= day < left)


def constituents(market: Path, index: str, today: date) -> Constituents:
    """Return the members of an index: those imported into the market-data store, else those that pytickersymbols ships.

    The latter are of no stated day: they are given for `today` and no other.

    Raises:
        ConfigError: if there are none.
    """
    if index not in _INDICES:
        raise ConfigError(f"the index {index} is not known: {', '.join(_INDICES)}")
    if (path := _place(market, index)).exists():
        return read_constituents(path, index)
    try:
        from pytickersymbols import PyTickerSymbols
    except ImportError:
        raise ConfigError(
            f"the constituents of {index} are not known: {_HOW}, or pip install 'liualgotrader[original]'"
        ) from None
    stocks = PyTickerSymbols().get_stocks_by_index(_INDICES[index])
    members = [(stock["symbol"], today, _FOREVER) for stock in stocks]
    return Constituents(index, members, today, today, "pytickersymbols, which knows today's alone,")


def import_constituents(file: Path, market: Path, index: str) -> Constituents:
    """Check a file and keep it in the market-data store.

    Raises:
        ConfigError: if it is no such file.
    """
    found = read_constituents(file, index)
    place = _place(market, index)
    place.parent.mkdir(parents=True, exist_ok=True)
    replace_file(place, file.read_bytes())
    return found


def read_constituents(path: Path, index: str) -> Constituents:
    """Return what a CSV file says: `date,tickers` (the members from that day on), or `symbol,from,to` (to: the first day out).

    Raises:
        ConfigError: naming file and line.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            names = [name.strip().lower() for name in reader.fieldnames or ()]
            reader.fieldnames = names
            lines = [(reader.line_num, line) for line in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if {"date", "tickers"} <= {*names}:
        return _of_snapshots(path, index, lines)
    if {"symbol", "from"} <= {*names}:
        members = [
            (_symbol(path, n, line["symbol"]), _day(path, n, line["from"]), _day(path, n, line.get("to"), _FOREVER))
            for n, line in lines
        ]
        if members:
            return Constituents(index, members, min(joined for _, joined, _ in members), _FOREVER, path.name)
    raise ConfigError(f"{path} has no constituents: its columns must be `date,tickers` or `symbol,from,to`")


def _of_snapshots(path: Path, index: str, lines: list[tuple[int, dict[str, str | None]]]) -> Constituents:
    """Return members out of lines that each name all members of a day."""
    days = [(_day(path, n, line["date"]), n, (line["tickers"] or "").split(",")) for n, line in lines]
    if not days or any(before[0] >= after[0] for before, after in pairwise(days)):
        raise ConfigError(f"{path} must name days in order, each once")
    members: list[tuple[str, date, date]] = []
    for place, (day, n, symbols) in enumerate(days):
        until = days[place + 1][0] if place + 1 < len(days) else _FOREVER
        members += [(symbol, day, until) for symbol in {_symbol(path, n, symbol) for symbol in symbols}]
    return Constituents(index, members, days[0][0], _FOREVER, path.name)


def _symbol(path: Path, line: int, text: str | None) -> str:
    if not (symbol := (text or "").strip().upper()):
        raise ConfigError(f"{path}:{line} has no symbol")
    return symbol


def _day(path: Path, line: int, text: str | None, otherwise: date | None = None) -> date:
    text = (text or "").strip()
    if not text and otherwise is not None:
        return otherwise
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{path}:{line}: '{text}' is no day such as 2024-06-03") from None


def _place(market: Path, index: str) -> Path:
    return market / "constituents" / f"{index}.csv"
