"""What the record has of one batch, summed up by the server: the same rows as the report's, and the same formulas."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from liualgotrader.analytics.summary import TradingFigures, figures_of
from liualgotrader.common.clock import NEW_YORK
from liualgotrader.common.money import ZERO
from liualgotrader.pages.record_reader import RecordReader
from liualgotrader.store.column_values import clean_text
from liualgotrader.store.page_queries import (
    DAY_NOTE,
    EVENTS,
    FEES,
    FILLS,
    GAINS,
    GROUPS,
    JOURNAL,
    LAGS,
    LATE_MINUTES,
    OPEN,
    OPERATOR_ACTIONS,
    PICKS,
    REFUSED,
    REFUSED_ORDERS,
    SIGNALS,
    TAGS,
    TRIPS,
    WRITE_NOTE,
)

if TYPE_CHECKING:
    import pandas as pd


class BatchRows:
    """The rows of one batch. Money is `Decimal` dollars, times in frames are New York's."""

    def __init__(self, reader: RecordReader, database: str, batch_id: str) -> None:
        self.batch_id = batch_id
        self._reader = reader
        self._database = database

    def figures(self) -> dict[str, list[TradingFigures]]:
        """Return the figures by `strategy`, `symbol`, `exit reason`, all three, and of all (`total`).

        Those by exit reason are of closed round trips alone; what open positions have gained so far has no exit yet.
        """
        groups = self._fetch(GROUPS)
        gains = {(row["strategy"], row["symbol"]): row for row in self._fetch(GAINS)}
        fees = {(row["strategy"], row["symbol"]): row["fees"] for row in self._fetch(FEES)}

        def summed(name: str, keys: set[tuple[str, str]]) -> TradingFigures:
            one = [row for row in groups if (row["strategy"], row["symbol"]) in keys]
            gain = sum((gains[key]["gain"] for key in keys if key in gains), ZERO)
            fee = sum((fees.get(key, ZERO) for key in keys), ZERO)
            still = sum(gains[key]["still"] for key in keys if key in gains)
            return _figures(name, one, gain, fee, still)

        every = gains.keys() | fees.keys()
        found = {
            "strategy": [summed(n, {k for k in every if k[0] == n}) for n in sorted({k[0] for k in every})],
            "symbol": [summed(n, {k for k in every if k[1] == n}) for n in sorted({k[1] for k in every})],
            "total": [summed("total", set(every))],
        }
        found["exit reason"] = _closed(groups, lambda row: str(row["exit_reason"]))
        found["all three"] = _closed(
            groups, lambda row: " · ".join((row["strategy"], row["symbol"], row["exit_reason"]))
        )
        return found

    def open_positions(self) -> pd.DataFrame:
        """Return the open positions with their average price."""
        return frame(self._fetch(OPEN))

    def fills(
        self, first: Any, last: Any, *, symbol: str | None = None, strategy: str | None = None, most: int
    ) -> pd.DataFrame:
        """Return executions between two instants (UTC, without zone) by time, so many at most."""
        return frame(self._fetch(FILLS, symbol, strategy, first, last, most))

    def trips(
        self, strategies: Sequence[str], symbols: Sequence[str], exits: Sequence[str], *, most: int, skip: int = 0
    ) -> pd.DataFrame:
        """Return round trips by their end, those of all strategies, symbols and exits where none are named."""
        return frame(self._fetch(TRIPS, list(strategies), list(symbols), list(exits), most, skip))

    def signals(self, symbol: str, first: Any, last: Any, *, most: int) -> pd.DataFrame:
        """Return what strategies wanted in a symbol between two instants, carried out or not."""
        return frame(self._fetch(SIGNALS, symbol, first, last, most))

    def order_events(self, symbol: str, first: Any, last: Any, *, most: int) -> pd.DataFrame:
        """Return the life of the orders that were decided between two instants, step by step."""
        return frame(self._fetch(EVENTS, symbol, first, last, most))

    def refused(self) -> pd.DataFrame:
        """Return how many orders each rule refused."""
        return frame(self._fetch(REFUSED))

    def refused_orders(self, rule: str | None, *, most: int) -> pd.DataFrame:
        """Return the refused orders, of one rule if it is named."""
        return frame(self._fetch(REFUSED_ORDERS, rule, most))

    def operator_actions(self, *, most: int = 200) -> pd.DataFrame:
        """Return what operators asked of the session, the newest first."""
        return frame(self._fetch(OPERATOR_ACTIONS, most))

    def lags(self) -> pd.DataFrame:
        """Return by process how late market data was, and how much of it was left out."""
        return frame(self._fetch(LAGS))

    def late_minutes(self, *, most: int) -> pd.DataFrame:
        """Return when that was, the worst first."""
        return frame(self._fetch(LATE_MINUTES, most))

    def picks(self) -> pd.DataFrame:
        """Return what scanners picked, by time."""
        return frame(self._fetch(PICKS))

    def journal(self, tags: Sequence[str], least_r: float | None, most_r: float | None, *, most: int) -> pd.DataFrame:
        """Return round trips with their tags and notes: those that have one of the tags, and an R between."""
        return frame(self._fetch(JOURNAL, list(tags), least_r, most_r, most))

    def tags(self) -> list[str]:
        """Return the tags of the batch's notes in alphabetical order."""
        return [row["tag"] for row in self._fetch(TAGS)]

    def day_note(self) -> tuple[list[str], str]:
        """Return tags and note of the whole batch."""
        return next(((list(row["tags"]), row["note"]) for row in self._fetch(DAY_NOTE)), ([], ""))

    def write_note(self, tags: Sequence[str], note: str, trip: tuple[int, str, Any] | None = None) -> None:
        """Keep what a person writes of a round trip (run, symbol, start), or of the whole batch, in place of what was there."""
        run, symbol, started_at = trip or (0, "", None)
        kept = [clean_text(tag) for tag in tags], clean_text(note)
        self._reader.write(self._database, WRITE_NOTE, self.batch_id, run, symbol, started_at, *kept)

    def _fetch(self, query: str, *args: Any) -> Sequence[Mapping[str, Any]]:
        return self._reader.fetch(self._database, query, self.batch_id, *args)


def _closed(groups: Iterable[Mapping[str, Any]], key: Callable[[Mapping[str, Any]], str]) -> list[TradingFigures]:
    named: dict[str, list[Mapping[str, Any]]] = {}
    for row in groups:
        named.setdefault(key(row), []).append(row)
    return [
        _figures(name, rows, sum((r["gain"] for r in rows), ZERO), sum((r["fees"] for r in rows), ZERO), 0)
        for name, rows in sorted(named.items())
    ]


def _figures(
    name: str, groups: Sequence[Mapping[str, Any]], gain: Decimal, fees: Decimal, still: int
) -> TradingFigures:
    gains = np.concatenate([np.zeros(0), *(row["gains"] for row in groups)])
    units = np.concatenate([np.zeros(0), *(row["units"] for row in groups if row["units"])])
    return figures_of(name, gains, units, gain, None if still else ZERO, fees, still)


def frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return rows as a frame: decimals as floats, instants in New York's time; those without a zone are UTC."""
    import pandas as pd

    found = pd.DataFrame([dict(row) for row in rows])
    for name in found.columns:
        known = found[name].dropna()
        kind = type(known.iloc[0]) if len(known) else None
        if kind is Decimal:
            found[name] = found[name].astype(float)
        elif kind is pd.Timestamp:
            times = found[name] if known.iloc[0].tzinfo else found[name].dt.tz_localize("UTC")
            found[name] = times.dt.tz_convert(NEW_YORK)
    return found
