"""What is wrong with the data in the store: each finding names symbol, time and what it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from liualgotrader.common.calendar import FIRST_DAY, LAST_DAY, TradingSession, day_of, sessions
from liualgotrader.common.clock import MINUTE, as_datetime
from liualgotrader.common.errors import OutsideError
from liualgotrader.common.market_columns import BarColumns, QuoteColumns, day_numbers, times_of
from liualgotrader.common.tlog import some_of
from liualgotrader.data.market_store import PERIODS, Known, MarketStore, StoredFile, with_known
from liualgotrader.tapes.splits import Split, ratio_text, split_like

_LONG_HOLE = 30  # minutes without a bar in a session that otherwise has bars in most minutes
_MOST_DAYS = 5  # missing days that are named


class Finding(msgspec.Struct):
    """Something wrong in one file of the store; of many alike the first, with how many there are."""

    file: str
    symbol: str
    at: str
    what: str
    count: int


class StoredSeries(msgspec.Struct):
    """What the store holds of one symbol and period; `spans` are those of which everything is there."""

    symbol: str
    data: str
    rows: int = 0
    first: str = ""
    last: str = ""
    spans: int = 0
    sources: str = ""
    mb: float = 0.0


def stored_series(
    store: MarketStore, paths: Iterable[Path], damaged: Callable[[OutsideError], object]
) -> list[StoredSeries]:
    """Return what these files hold, by symbol and period; of a file that cannot be read `damaged` is told."""
    rows: dict[tuple[str, str], StoredSeries] = {}
    known: dict[tuple[str, str], list[Known]] = {}
    for path in paths:
        try:
            one = store.open(path)
        except OutsideError as error:
            damaged(error)
            continue
        data = next(name for name, length in PERIODS.items() if length == one.period) if one.period else one.kind
        row = rows.setdefault((one.symbol, data), StoredSeries(one.symbol, data))
        times, spans = times_of(one.columns), known.setdefault((one.symbol, data), [])
        if len(times):
            first, last = (f"{day_of(at)}" for at in times[[0, -1]].tolist())
            row.first, row.last = min(row.first or first, first), max(row.last, last)
        row.rows += len(times)
        row.mb = round(row.mb + path.stat().st_size / 1e6, 3)
        for start, end, source in one.known:
            spans[:] = with_known(spans, [(start, end)], source)
        row.spans, row.sources = len(spans), ", ".join(sorted({source for *_, source in spans}))
    return [rows[key] for key in sorted(rows)]


def checked(store: MarketStore, path: Path) -> list[Finding]:
    """Return what is wrong with a file of the store, that it cannot be read among it."""
    symbol = store.series_of(path)[0]
    try:
        return list(findings(store.open(path), store.actions(symbol)[0]))
    except OutsideError as error:
        return [Finding(f"{path}", symbol, "", f"{error}", 1)]


def findings(stored: StoredFile, splits: Sequence[Split] = ()) -> Iterator[Finding]:
    """Yield what is wrong in a file; `splits` are those that are known of the symbol."""
    columns = stored.columns

    def found(rows: Any, what: str) -> Iterator[Finding]:
        wrong = np.flatnonzero(rows)
        if len(wrong):
            at = as_datetime(int(times_of(columns)[wrong[0]])).isoformat(sep=" ")
            yield Finding(f"{stored.path}", stored.symbol, at, what, len(wrong))

    if not stored.is_as_written:
        yield Finding(
            f"{stored.path}", stored.symbol, "", "the file was changed after it was written: load it again", 1
        )
    steps = np.diff(times_of(columns), prepend=times_of(columns)[:1] - 1)
    yield from found(steps < 0, "its time lies before that of the row before")
    if isinstance(columns, BarColumns):
        yield from found(steps == 0, "a second bar for one time")
        prices = (columns.open, columns.high, columns.low, columns.close)
        yield from found(~(np.minimum.reduce(prices) > 0), "a price that is not above zero")
        yield from found(columns.high < columns.low, "its high lies below its low")
        for name in ("open", "close"):
            price = getattr(columns, name)
            yield from found((price < columns.low) | (price > columns.high), f"its {name} lies outside low and high")
        yield from _jumps(stored, columns, splits)
        yield from _gaps(stored, columns)
    elif isinstance(columns, QuoteColumns):
        yield from found((columns.bid > columns.ask) & (columns.ask > 0), "crossed: its bid lies above its ask")
        yield from found(~((columns.bid >= 0) & (columns.ask >= 0)), "a price below zero")
    else:
        yield from found(~(columns.price > 0), "a price that is not above zero")


def _jumps(stored: StoredFile, bars: BarColumns, splits: Sequence[Split]) -> Iterator[Finding]:
    """Yield overnight jumps as over a split that nobody told, and splits over which the price did not jump."""
    days = day_numbers(bars.opened_at)
    opening = np.flatnonzero(np.diff(days))  # the last row of each day but the last
    told = {split.day.toordinal(): split for split in splits}
    for row in opening.tolist():
        before, after = float(bars.close[row]), float(bars.open[row + 1])
        if not (before > 0 and after > 0):
            continue
        due = [told[day] for day in range(int(days[row]) + 1, int(days[row + 1]) + 1) if day in told]
        ratio, what = split_like(before, after), ""
        if ratio is not None and not due:
            what = f"opens at {after:g} after {before:g}, as over a {ratio_text(ratio)} split that is not known"
        elif due and abs(np.log(after * due[0].ratio / before)) > abs(np.log(after / before)):
            what = f"opens at {after:g} after {before:g}, although it was split {due[0]}: is it adjusted already?"
        if what:
            at = as_datetime(int(bars.opened_at[row + 1])).isoformat(sep=" ")
            yield Finding(f"{stored.path}", stored.symbol, at, what, 1)


def _gaps(stored: StoredFile, bars: BarColumns) -> Iterator[Finding]:
    """Yield sessions without a bar between the first and the last one, and long holes inside sessions."""
    if not len(bars.opened_at) or stored.period < MINUTE:
        return
    days = day_numbers(bars.opened_at)
    first, last = (max(FIRST_DAY, min(LAST_DAY, date.fromordinal(int(day)))) for day in days[[0, -1]])
    there = set(np.unique(days).tolist())
    expected = sessions(first, last)
    missing = [session for session in expected if session.day.toordinal() not in there]
    if missing:
        shown = some_of([f"{session.day}" for session in missing], _MOST_DAYS)
        at = as_datetime(missing[0].opens_at).isoformat(sep=" ")
        yield Finding(f"{stored.path}", stored.symbol, at, f"no bar of the session of {shown}", len(missing))
    for session in expected if stored.period == MINUTE else ():
        yield from _holes(stored, session, bars)


def _holes(stored: StoredFile, session: TradingSession, bars: BarColumns) -> Iterator[Finding]:
    start, end = np.searchsorted(bars.opened_at, [session.opens_at, session.closes_at])
    minutes = np.concatenate([[session.opens_at - MINUTE], bars.opened_at[start:end], [session.closes_at]])
    silent = np.diff(minutes) // MINUTE - 1
    if end - start > session.minutes // 2 and silent.max() >= _LONG_HOLE:
        row = int(silent.argmax())
        at = as_datetime(int(minutes[row]) + MINUTE).isoformat(sep=" ")
        yield Finding(f"{stored.path}", stored.symbol, at, f"no bar for {silent[row]} minutes of a session", 1)
