"""Reads one CSV or Parquet file into checked columns; what is wrong in it is one sentence with file, row, column."""

from __future__ import annotations

import csv as standard_csv
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from liualgotrader.common.calendar import day_of
from liualgotrader.common.clock import HOUR, MINUTE, SECOND
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.events import SYMBOL_RULE, is_symbol
from liualgotrader.common.money import LARGEST

SUFFIXES = (".csv", ".parquet")
MOST_PRICE = float(LARGEST)  # dollars
MOST_SHARES = 1e11  # more than all US exchanges together trade in a day

_EARLIEST = 631_152_000 * 10**9  # 1990-01-01, in ns
_LATEST = 4_102_444_800 * 10**9  # 2100-01-01
_LONGEST = 40  # characters of a cell that are shown
_YES_NO = {"true": True, "1": True, "false": False, "0": False}
_NOT_OF_ITS_KIND = (ValueError, TypeError, OverflowError, KeyError)
_OFFSET = re.compile(r"(Z|[+-]\d\d:?\d\d)$", re.IGNORECASE)

Column = NDArray[Any]


class Kind(Enum):
    """What a column holds, as an error states it."""

    SYMBOL = f"a symbol ({SYMBOL_RULE})"
    INSTANT = "a time: ISO 8601 with its offset, or ns since 1970 UTC"
    SECOND = "the beginning of a second: ISO 8601 with its offset, or ns since 1970 UTC"
    MINUTE = "the beginning of a minute: ISO 8601 with its offset, or ns since 1970 UTC"
    HOUR = "the beginning of an hour: ISO 8601 with its offset, or ns since 1970 UTC"
    DAY = "a day as YYYY-MM-DD"
    PRICE = f"a price above 0, {MOST_PRICE:,.0f} at most"
    SIDE_PRICE = f"a price, 0 without a quote, {MOST_PRICE:,.0f} at most"
    SIZE = f"a number from 0 to {MOST_SHARES:,.0f}"
    RATIO = "new shares per old one, such as 7 or 0.1"
    FLAGS = "a whole number from 0 to 7"
    YES_NO = "true or false"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Field:
    """One column of a file; without `default` it must be there."""

    name: str
    kind: Kind
    default: Any = None


def read_table(path: Path, fields: Sequence[Field], symbol: str | None = None) -> dict[str, Column]:
    """Return the columns named by `fields`, checked; other columns of the file are passed over.

    Times come as int64 ns UTC, days as `datetime.date`, numbers as float64. `symbol` stands for a symbol
    column that the file does not have.

    Raises:
        ConfigError: if the file cannot be read, lacks a column, or holds a value that cannot be.
    """
    import pyarrow as pa
    from pyarrow import parquet

    if path.suffix == ".csv":
        raw = _read_csv(path)
    else:
        try:
            table = parquet.read_table(path)
        except (OSError, pa.ArrowInvalid) as e:
            raise ConfigError(f"{path} is not a Parquet file: {str(e).rstrip('.')}.") from e
        raw = {n: _plain(path, n, table.column(n)) for n in _each_once(path, table.column_names)}
    rows = len(next(iter(raw.values()))) if raw else 0
    columns = {}
    for field in fields:
        if field.name in raw:
            columns[field.name] = _checked(path, field, raw[field.name])
        elif field.kind is Kind.SYMBOL and symbol is not None:
            columns[field.name] = np.full(rows, symbol, object)
        elif field.default is None:
            needed = ", ".join(f.name for f in fields if f.default is None)
            raise ConfigError(f"{path} has no column `{field.name}`; it needs {needed}.")
        else:
            columns[field.name] = np.full(rows, field.default)
    if "high" in columns:
        figures = [columns[n] for n in ("open", "high", "low", "close")]
        row = impossible_bar(*figures)
        if row is not None:
            raise ConfigError(f"{path}, {place(path, row)}: {bar_text(*(f[row] for f in figures))}.")
    return columns


def impossible_bar(opens: Column, highs: Column, lows: Column, closes: Column) -> int | None:
    """Return the first row whose open or close lies outside its low and high, None if there is none."""
    wrong = np.flatnonzero((np.minimum(opens, closes) < lows) | (np.maximum(opens, closes) > highs))
    return int(wrong[0]) if len(wrong) else None


def bar_text(opening: float, high: float, low: float, close: float) -> str:
    """Return what is wrong with an impossible bar."""
    return f"its open {opening:g} or its close {close:g} lies outside its low {low:g} and its high {high:g}"


def place(path: Path, row: int) -> str:
    """Return where row 0, 1, … of the data stands in the file; blank lines of CSV are no rows."""
    if path.suffix != ".csv":
        return f"row {row + 1}"
    with path.open("rb") as lines:
        filled = (number for number, line in enumerate(lines, 1) if line.strip(b"\r\n"))
        return f"line {next(islice(filled, row + 1, None), row + 2)}"


def days_in(path: Path, column: str) -> Iterator[set[date]]:
    """Yield the days of New York in a column of times, a part of the file at a time.

    Raises:
        ValueError: if the file cannot be read so; reading it whole says what is wrong.
    """
    import pyarrow as pa
    from pyarrow import csv, parquet

    try:
        if path.suffix == ".csv":
            batches: Any = csv.open_csv(
                path,
                read_options=csv.ReadOptions(column_names=_header(path), skip_rows=1, use_threads=False),
                convert_options=csv.ConvertOptions(include_columns=[column], column_types={column: pa.string()}),
            )
        else:
            batches = parquet.ParquetFile(path).iter_batches(columns=[column])
        for batch in batches:
            hours = np.unique(_instants(_plain(path, column, batch.column(0)).to_pylist()) // HOUR)
            yield {day_of(hour * HOUR) for hour in hours.tolist()}
    except (pa.ArrowException, KeyError, OSError, TypeError, OverflowError) as e:
        raise ValueError(f"{path}: {e}") from e


def _checked(path: Path, field: Field, cells: Any) -> Column:
    """Return a column's values as their kind; the fast way first, one by one only to find what is wrong."""
    import pyarrow as pa

    with suppress(pa.ArrowException, *_NOT_OF_ITS_KIND):
        return _converted(field, cells)
    values = cells.to_pylist()
    if field.default is not None:
        values = [field.default if v is None or v == "" else v for v in values]
    try:
        return _CONVERSIONS[field.kind](values)
    except _NOT_OF_ITS_KIND as e:
        for row, value in enumerate(values):  # noqa: B007 - the row is told
            try:
                _CONVERSIONS[field.kind]([value])
            except _NOT_OF_ITS_KIND:
                break
        else:
            raise ConfigError(
                f"{path}, column {field.name}: its cells are in different formats; each must be {field.kind.value}."
            ) from e
        shown = "nothing"
        if values[row] not in ("", None):
            text = str(values[row])
            text = text if text.isprintable() else ascii(text)[1:-1]
            shown = f"`{text}`" if len(text) <= _LONGEST else f"`{text[:_LONGEST]}…`"
        raise ConfigError(f"{path}, {place(path, row)}, column {field.name}: {shown} is not {field.kind.value}.") from e


def _converted(field: Field, cells: Any) -> Column:
    """Return a column of Arrow's as its kind, without a Python value for each cell.

    Raises:
        ValueError: if it cannot be done so; the values may be good all the same.
    """
    import pyarrow as pa
    from pyarrow import compute

    cells = cells.combine_chunks()
    if field.kind in _PERIODS:
        if pa.types.is_string(cells.type):
            if not compute.all(compute.match_substring_regex(cells, r"^[0-9]+$")).as_py():
                if not compute.all(compute.match_substring_regex(cells, _OFFSET.pattern, ignore_case=True)).as_py():
                    raise ValueError("a time without an offset")
                cells = cells.cast(pa.timestamp("ns", tz="UTC"))
        elif not pa.types.is_integer(cells.type):
            raise ValueError("not a time")
        return _timely(np.asarray(cells.cast(pa.int64()).to_numpy()), _PERIODS[field.kind])
    if field.kind in _BOUNDS:
        if field.default is not None and pa.types.is_string(cells.type):
            cells = compute.if_else(compute.equal(cells, ""), str(field.default), cells)
        return _bounded(np.asarray(cells.cast(pa.float64()).to_numpy()), *_BOUNDS[field.kind])
    encoded = cells.dictionary_encode()
    values = [field.default if v == "" and field.default is not None else v for v in encoded.dictionary.to_pylist()]
    distinct: Column = _CONVERSIONS[field.kind](values)
    return np.asarray(distinct[encoded.indices.to_numpy()])


def _symbols(values: list[Any]) -> Column:
    if not all(isinstance(v, str) for v in set(values)):
        raise TypeError("not text")
    upper = {v: v.strip().upper() for v in set(values)}
    if not all(is_symbol(symbol) for symbol in upper.values()):
        raise ValueError("no symbol")
    return np.array([upper[v] for v in values], object)


def _numbers(values: list[Any], least: float, most: float) -> Column:
    numbers = np.array(values, np.float64)
    if numbers.ndim != 1:
        raise ValueError("lists, not numbers")
    return _bounded(numbers, least, most)


def _bounded(numbers: Column, least: float, most: float) -> Column:
    if not np.all((numbers >= least) & (numbers <= most)):  # neither holds of NaN
        raise ValueError("number out of bounds")
    return numbers


def _flags(values: list[Any]) -> Column:
    numbers = _numbers(values, 0, 7)
    if np.any(numbers != np.floor(numbers)):
        raise ValueError("no flags")
    return numbers.astype(np.int64)


def _days(values: list[Any]) -> Column:
    known: dict[Any, date] = {}
    for value in set(values):
        if isinstance(value, datetime) or not isinstance(value, date | str):
            raise TypeError("neither a day nor text")
        known[value] = value if isinstance(value, date) else date.fromisoformat(value.strip())
    return np.array([known[v] for v in values], object)


def _instants(values: list[Any], period: int = 1) -> Column:
    try:
        instants = np.array([int(v) for v in values], np.int64)
    except ValueError:
        import pyarrow as pa

        if any(not isinstance(v, str) or not _OFFSET.search(v) for v in values):
            raise ValueError("a time without an offset") from None
        moments = pa.array(values, pa.string()).cast(pa.timestamp("ns", tz="UTC"))
        instants = np.asarray(moments.cast(pa.int64()).to_numpy(), np.int64)
    return _timely(instants, period)


def _timely(instants: Column, period: int = 1) -> Column:
    if np.any(instants < _EARLIEST) or np.any(instants > _LATEST):
        raise ValueError("not in this age, so probably not in ns")
    if np.any(instants % period):
        raise ValueError("not where a bar begins")
    return instants


_PERIODS = {Kind.INSTANT: 1, Kind.SECOND: SECOND, Kind.MINUTE: MINUTE, Kind.HOUR: HOUR}
_BOUNDS = {
    Kind.PRICE: (1e-9, MOST_PRICE),
    Kind.SIDE_PRICE: (0.0, MOST_PRICE),
    Kind.SIZE: (0.0, MOST_SHARES),
    Kind.RATIO: (1e-6, 1e6),
}
_CONVERSIONS: dict[Kind, Callable[[list[Any]], Column]] = {
    Kind.SYMBOL: _symbols,
    Kind.DAY: _days,
    Kind.FLAGS: _flags,
    Kind.YES_NO: lambda values: np.array([_YES_NO[str(v).strip().lower()] for v in values], np.bool_),
    Kind.TEXT: lambda values: np.array(["" if v is None else str(v) for v in values], object),
}
_CONVERSIONS |= {kind: partial(_instants, period=period) for kind, period in _PERIODS.items()}
_CONVERSIONS |= {kind: partial(_numbers, least=least, most=most) for kind, (least, most) in _BOUNDS.items()}


def _read_csv(path: Path) -> dict[str, Any]:
    """Return the cells of a CSV file as text, by the name in its first line."""
    import pyarrow as pa
    from pyarrow import csv

    ragged: list[Any] = []

    def remember(row: Any) -> str:
        ragged.append(row)
        return "error"

    try:
        names = _header(path)
        table = csv.read_csv(
            path,
            read_options=csv.ReadOptions(column_names=names, skip_rows=1, use_threads=False),
            parse_options=csv.ParseOptions(invalid_row_handler=remember),
            convert_options=csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
        )
    except (OSError, UnicodeDecodeError, pa.ArrowInvalid) as e:
        if ragged:
            row = ragged[0]
            cells = f"{row.actual_columns} cells where the header names {row.expected_columns} columns"
            raise ConfigError(f"{path}, line {row.number}: {cells}.") from e
        raise ConfigError(f"{path} is not a CSV file with a header line: {e}.") from e
    return {n: table.column(n) for n in names}


def _header(path: Path) -> list[str]:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        return _each_once(path, [n.strip() for n in next(standard_csv.reader(lines), [])])


def _each_once(path: Path, names: list[str]) -> list[str]:
    """Return the names of a file's columns, if none of them stands there twice."""
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"{path} has more than one column `{twice}`; keep one of them.")
    return names


def _plain(path: Path, name: str, column: Any) -> Any:
    """Return a column, timestamps as ns UTC."""
    import pyarrow as pa

    if not pa.types.is_timestamp(column.type):
        return column
    if column.type.tz is None:
        raise ConfigError(f"{path}, column {name}: its times have no time zone; store them in UTC.")
    return column.cast(pa.timestamp("ns", tz="UTC")).cast(pa.int64())
