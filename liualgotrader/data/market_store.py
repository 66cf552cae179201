"""The market-data store: bars, trades and quotes of each symbol in memory-mapped Arrow files, with what is complete.

`bars/minute/BRK.B.arrow` and the like hold a whole series; `bars/second`, `trades` and `quotes` have a folder for each
symbol and a file for each day of New York, `quotes/BTC_USD/2024-03-12.arrow`. `actions/BRK.B.json` holds splits and
dividends. Prices are kept raw, and adjusted when they are read. A file is replaced as a whole by one process at a time, so
readers need no lock, and a process that is killed while it writes leaves the old file.

Source of the format: Apache Arrow, IPC file, uncompressed, one record batch.
"""

from __future__ import annotations

import fcntl
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass
from datetime import date, time, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from liualgotrader.common.calendar import day_of, new_york, sessions
from liualgotrader.common.clock import DAY, HOUR, MINUTE, SECOND
from liualgotrader.common.errors import ConfigError, OutsideError
from liualgotrader.common.events import SYMBOL_RULE, is_symbol
from liualgotrader.common.files import replace_file
from liualgotrader.common.market_columns import (
    BarColumns,
    Columns,
    Ints,
    QuoteColumns,
    TradeColumns,
    between,
    day_numbers,
    joined,
    no_quotes,
    no_trades,
    take,
    times_of,
)
from liualgotrader.data.data_base import SIMULATED
from liualgotrader.tapes.splits import Change, Dividend, Split, adjusted

PERIODS = {"second": SECOND, "minute": MINUTE, "hour": HOUR, "day": DAY}
_KINDS: dict[str, Any] = {"bars": BarColumns, "trades": TradeColumns, "quotes": QuoteColumns}
_NOTE = b"liu"

Span = tuple[int, int]
"""start <= at < end, ns UTC."""
Known = tuple[int, int, str]
"""A span of which everything is stored, and where it comes from."""


class _Note(msgspec.Struct):
    """What a series file says of itself."""

    known: list[Known]
    checksum: int


class _Actions(msgspec.Struct):
    known: list[Known] = []
    splits: list[tuple[date, float]] = []
    dividends: list[tuple[date, float, float]] = []


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file of the store as it is on disk; `period` is 0 for trades and quotes."""

    path: Path
    symbol: str
    kind: str
    period: int
    columns: Any
    known: Sequence[Known]
    checksum: int

    @property
    def is_as_written(self) -> bool:
        """Whether no byte of the columns has changed; reads all of them."""
        values = [getattr(self.columns, name) for name in self.columns.__slots__]
        return _checksum(value for value in values if not isinstance(value, str)) == self.checksum

    def check(self) -> None:
        """Check that no byte of the columns has changed; reads all of them.

        Raises:
            OutsideError: if one has.
        """
        if not self.is_as_written:
            raise _damaged(self.path, self.symbol, ValueError("its bytes have changed since they were written"))


class MarketStore:
    """The market data below a folder, usually `LIU_HOME/market`. Symbols fold their case.

    What is written survives the loss of the machine, unless `durable` is False. Every method that reads raises OutsideError where a file is damaged: one sentence that says what to do.
    """

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        self.folder, self._durable = folder, durable

    def read(self, symbol: str, period: int, start: int, end: int, as_of: date | None = None) -> BarColumns:
        """Return the bars with start <= opened_at < end: raw, or with `as_of` at the prices of that day.

        The columns are views of the file where it is one and nothing is adjusted.
        """
        symbol = symbol.upper()
        files = self._files(symbol, "bars", period, start, end)
        bars: BarColumns = _rows([one.columns for one in files] or [BarColumns.of(symbol, ())], start, end)
        if as_of is None:
            return bars
        splits, dividends = self.actions(symbol)
        return adjusted(bars, splits, as_of, dividends)

    def trades(self, symbol: str, start: int, end: int) -> TradeColumns:
        """Return the prints with start <= at < end."""
        files = self._files(symbol.upper(), "trades", 0, start, end)
        trades: TradeColumns = _rows([one.columns for one in files] or [no_trades()], start, end)
        return trades

    def quotes(self, symbol: str, start: int, end: int) -> QuoteColumns:
        """Return the quotes with start <= at < end."""
        files = self._files(symbol.upper(), "quotes", 0, start, end)
        quotes: QuoteColumns = _rows([one.columns for one in files] or [no_quotes()], start, end)
        return quotes

    def actions(self, symbol: str) -> tuple[list[Split], list[Dividend]]:
        """Return the splits and dividends of a symbol that are known, oldest first."""
        found = self._actions(symbol.upper())
        return [Split(*row) for row in found.splits], [Dividend(*row) for row in found.dividends]

    def missing(self, symbol: str, kind: str, period: int, start: int, end: int) -> list[Span]:
        """Return the parts of start <= at < end of which not everything is stored.

        `kind` is bars, trades, quotes or actions; all but bars have the period 0.
        """
        symbol = symbol.upper()
        if kind == "actions":
            return uncovered((start, end), self._actions(symbol).known)
        files = self._files(symbol, kind, period, start, end)
        return uncovered((start, end), [known for one in files for known in one.known])

    def files(self) -> Iterator[Path]:
        """Yield the files of all series, by kind, period, symbol and day."""
        for series in (*(f"bars/{name}" for name in PERIODS), "trades", "quotes"):
            yield from sorted((self.folder / series).rglob("*.arrow"))

    def series_of(self, path: Path) -> tuple[str, str, int]:
        """Return symbol, kind and period of a file; the period of trades and quotes is 0."""
        kind, *inner = path.relative_to(self.folder).parts
        period = PERIODS[inner.pop(0)] if kind == "bars" else 0
        return (path.stem if len(inner) == 1 else inner[0]).replace("_", "/"), kind, period

    def open(self, path: Path) -> StoredFile:
        """Return a file of the store, its columns as views of it."""
        import pyarrow as pa
        from pyarrow import ipc

        symbol, kind, period = self.series_of(path)
        try:
            batch = ipc.open_file(pa.memory_map(str(path))).get_batch(0)
            batch.validate()
            note = msgspec.json.decode(batch.schema.metadata[_NOTE], type=_Note)
            names = [name for name in _KINDS[kind].__slots__ if name != "symbol"]
            arrays = [np.from_dlpack(batch.column(name)) for name in names]
            if any(array.dtype != _dtype(name) for name, array in zip(names, arrays, strict=True)):
                raise ValueError("its columns are of another kind")
        except FileNotFoundError:
            raise
        except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as e:
            raise _damaged(path, symbol, e) from e
        columns = _KINDS[kind](*([symbol] if kind == "bars" else []), *arrays)
        return StoredFile(path, symbol, kind, period, columns, note.known, note.checksum)

    # --- writing ---------------------------------------------------------------------------------------

    def write(
        self,
        symbol: str,
        period: int,
        columns: BarColumns | TradeColumns | QuoteColumns,
        complete: Sequence[Span],
        source: str,
    ) -> None:
        """Store raw rows of a symbol in place of all that is stored in the spans `complete`; they lie in no other place.

        Bars have a period, trades and quotes 0. Spans without rows are known to be empty afterwards.

        Raises:
            OutsideError: if a file there is damaged, or the disk does not take it; what was there stays.
            ConfigError: if simulated data would stand beside what really happened.
        """
        symbol, kind = symbol.upper(), next(kind for kind, made in _KINDS.items() if isinstance(columns, made))
        times = times_of(columns)
        if np.any(np.diff(times) < (1 if kind == "bars" else 0)) or not np.all(_inside(times, complete)):
            raise ValueError(f"the {kind} of {symbol} do not ascend, or lie outside the spans that they complete")
        place = self._place(symbol, kind, period)
        if period >= MINUTE:
            self._replace(place, symbol, columns, complete, source)
            return
        for day in sorted({day for start, end in complete for day in _days(start, end)}):
            midnight, following = (new_york(d, time()) for d in (day, day + timedelta(days=1)))
            parts = [(max(start, midnight), min(end, following)) for start, end in complete]
            rows: Any = columns
            self._replace(
                place / f"{day}.arrow",
                symbol,
                between(rows, midnight, following),
                [p for p in parts if p[0] < p[1]],
                source,
            )

    def write_actions(
        self, symbol: str, splits: Iterable[Split], dividends: Iterable[Dividend], complete: Sequence[Span], source: str
    ) -> None:
        """Store splits and dividends of a symbol in place of those that are stored in the spans.

        Raises:
            OutsideError: as `write`.
        """
        symbol = symbol.upper()
        path = self._path("actions", symbol, ".json")
        with self._writing(path):
            old = self._actions(symbol)
            known = with_known(old.known, complete, source)
            _check_source(path, symbol, known)
            found = _Actions(
                known,
                _merged([Split(*row) for row in old.splits], splits, complete),
                _merged([Dividend(*row) for row in old.dividends], dividends, complete),
            )
            replace_file(path, msgspec.json.encode(found), durable=self._durable)

    def _replace(self, path: Path, symbol: str, new: Any, complete: Sequence[Span], source: str) -> None:
        """Put rows in place of those of a file that lie in the spans."""
        with self._writing(path):
            known: Sequence[Known] = ()
            if path.exists():
                old = self.open(path)
                known = old.known
                kept = take(old.columns, ~_inside(times_of(old.columns), complete))
                if len(times_of(kept)):
                    new = joined([kept, new])
                    new = take(new, np.argsort(times_of(new), kind="stable"))
            known = with_known(known, complete, source)
            _check_source(path, symbol, known)
            replace_file(path, _encoded(new, known), durable=self._durable)

    @contextmanager
    def _writing(self, path: Path) -> Iterator[None]:
        """Hold the store for one writer, of whatever process."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with (self.folder / "lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                try:
                    yield
                except OSError:
                    with suppress(OSError):
                        path.with_suffix(".new").unlink()
                    raise
        except OSError as e:
            raise OutsideError(f"{path} cannot be written ({e.strerror}): what was there stays; make room.") from e

    # --- files -----------------------------------------------------------------------------------------

    def _path(self, folder: str, symbol: str, suffix: str) -> Path:
        """Return where a symbol's file or folder lies; what stands for its slash is in no symbol.

        Raises:
            ConfigError: if it is no symbol, so that no text leads out of the store.
        """
        if not is_symbol(symbol):
            raise ConfigError(f"`{symbol}` is not a symbol: {SYMBOL_RULE}.")
        return self.folder / folder / f"{symbol.replace('/', '_')}{suffix}"

    def _place(self, symbol: str, kind: str, period: int) -> Path:
        """Return the file of a series, or the folder with a file for each of its days."""
        if kind != "bars":
            return self._path(kind, symbol, "")
        name = next(name for name, length in PERIODS.items() if length == period)
        return self._path(f"bars/{name}", symbol, ".arrow" if period >= MINUTE else "")

    def _files(self, symbol: str, kind: str, period: int, start: int, end: int) -> list[StoredFile]:
        """Return the files that may hold rows with start <= time < end, by time."""
        place = self._place(symbol, kind, period)
        if period >= MINUTE:
            return [self.open(place)] if place.exists() else []
        first, last = f"{day_of(start)}", f"{day_of(max(end, start + 1) - 1)}"
        return [self.open(path) for path in sorted(place.glob("*.arrow")) if first <= path.stem <= last]

    def _actions(self, symbol: str) -> _Actions:
        path = self._path("actions", symbol, ".json")
        try:
            return msgspec.json.decode(path.read_bytes(), type=_Actions) if path.exists() else _Actions()
        except (OSError, ValueError) as e:
            raise _damaged(path, symbol, e) from e


# --- spans ---------------------------------------------------------------------------------------------


def uncovered(span: Span, known: Iterable[Known]) -> list[Span]:
    """Return the parts of a span that lie in none of the known ones, by time.

    >>> uncovered((0, 10), [(2, 4, "a"), (3, 6, "b"), (9, 20, "a")])
    [(0, 2), (6, 9)]
    """
    found, (at, end) = [], span
    for start, stop, _ in sorted(known):
        if at < min(start, end):
            found.append((at, min(start, end)))
        at = max(at, stop)
    return [*found, (at, end)] if at < end else found


def with_known(known: Sequence[Known], complete: Sequence[Span], source: str) -> list[Known]:
    """Return the known spans once others are complete from a source, by time, none over another.

    >>> with_known([(0, 10, "a"), (20, 30, "b")], [(5, 20)], "b")
    [(0, 5, 'a'), (5, 30, 'b')]
    """
    taken = [(start, end, source) for start, end in complete]
    kept = [(*part, one[2]) for one in known for part in uncovered(one[:2], taken)]
    found: list[Known] = []
    for start, end, of in sorted([*kept, *taken]):
        if found and found[-1][1] >= start and found[-1][2] == of:
            found[-1] = (found[-1][0], max(end, found[-1][1]), of)
        elif start < end:
            found.append((start, end, of))
    return found


def complete_days(columns: BarColumns | TradeColumns | QuoteColumns) -> list[Span]:
    """Return the days of New York on which there are rows, as spans, with the days without a session between them."""
    runs: list[list[date]] = []
    for day in map(date.fromordinal, np.unique(day_numbers(times_of(columns))).tolist()):
        if runs and not any(sessions(runs[-1][1] + timedelta(days=1), day - timedelta(days=1))):
            runs[-1][1] = day
        else:
            runs.append([day, day])
    return [(new_york(first, time()), new_york(last + timedelta(days=1), time())) for first, last in runs]


def _inside(times: Ints, spans: Sequence[Span]) -> NDArray[np.bool_]:
    """Return which times lie in one of the spans."""
    inside = np.zeros(len(times), np.bool_)
    for start, end in spans:
        inside |= (times >= start) & (times < end)
    return inside


def _days(start: int, end: int) -> Iterator[date]:
    """Yield the days of New York that a span touches."""
    day = day_of(start)
    while new_york(day, time()) < end:
        yield day
        day += timedelta(days=1)


# --- contents --------------------------------------------------------------------------------------------


def _dtype(name: str) -> type:
    return np.int64 if name in ("opened_at", "closed_at", "at", "flags") else np.float64


def _checksum(arrays: Iterable[NDArray[Any]]) -> int:
    total = 0
    for array in arrays:
        total = zlib.crc32(array.data, total)
    return total


def _encoded(columns: Any, known: list[Known]) -> memoryview:
    """Return the bytes of a file."""
    import pyarrow as pa
    from pyarrow import ipc

    names = [name for name in columns.__slots__ if name != "symbol"]
    arrays: dict[str, NDArray[Any]] = {n: np.ascontiguousarray(getattr(columns, n), _dtype(n)) for n in names}
    note = msgspec.json.encode(_Note(known, _checksum(arrays.values())))
    batch = pa.RecordBatch.from_pydict({name: pa.array(array) for name, array in arrays.items()})
    batch = batch.replace_schema_metadata({_NOTE: note})
    sink = pa.BufferOutputStream()
    with ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return memoryview(sink.getvalue())


def _rows(parts: Sequence[Columns], start: int, end: int) -> Columns:
    return between(joined(parts) if len(parts) > 1 else parts[0], start, end)


def _merged(old: Iterable[Change], new: Iterable[Change], complete: Sequence[Span]) -> list[tuple[Any, ...]]:
    """Return the new changes, and the old ones of other days outside the spans, as rows."""
    found = {c.day: c for c in old if not _inside(np.array([c.at]), complete)[0]} | {c.day: c for c in new}
    return [astuple(found[day]) for day in sorted(found)]


def _check_source(path: Path, symbol: str, known: Sequence[Known]) -> None:
    invented = {source == SIMULATED for _, _, source in known}
    if len(invented) > 1:
        raise ConfigError(
            f"{symbol}: data of the simulated market and of the real one cannot stand in one file; delete {path}, or keep"
            " them in data folders of their own (LIU_HOME)."
        )


def _damaged(path: Path, symbol: str, why: Exception) -> OutsideError:
    reason = " ".join(str(why).split())[:120]
    return OutsideError(f"{symbol}: {path} is damaged ({reason}): delete it, and import or fetch {symbol} again.")
