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

if TYPE_CHECKING:
    import pandas as pd

GROUPS = """
    SELECT r.algo_name AS strategy, t.symbol, coalesce(t.exit_reason, 'not recorded') AS exit_reason,
           array_agg(t.gain_value::float8) AS gains,
           array_agg(t.r_units::float8) FILTER (WHERE t.r_units IS NOT NULL) AS units,
           sum(t.gain_value) AS gain, coalesce(sum(t.fees), 0) AS fees
    FROM trade_analysis t JOIN algo_run r USING (algo_run_id)
    WHERE r.batch_id = $1
    GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
# What closed shares of open positions gained is no round trip yet, and counts in the gain.
GAINS = """
    SELECT r.algo_name AS strategy, g.symbol, sum(g.gain_value) AS gain,
           count(*) FILTER (WHERE g.open_quantity <> 0) AS still
    FROM gain_loss g JOIN algo_run r USING (algo_run_id)
    WHERE r.batch_id = $1
    GROUP BY 1, 2
"""
FEES = """
    SELECT r.algo_name AS strategy, t.symbol, sum(t.trade_fee) AS fees
    FROM new_trades t JOIN algo_run r USING (algo_run_id)
    WHERE r.batch_id = $1
    GROUP BY 1, 2
"""
OPEN = """
    SELECT r.algo_name AS strategy, g.symbol, g.open_quantity AS shares, g.open_price AS "average price $"
    FROM gain_loss g JOIN algo_run r USING (algo_run_id)
    WHERE r.batch_id = $1 AND g.open_quantity <> 0
    ORDER BY 1, 2
"""
FILLS = """
    SELECT t.tstamp AS at, t.symbol, t.operation::text AS operation, t.qty, t.price, t.trade_fee AS fee,
           r.algo_name AS strategy, t.client_order_id
    FROM new_trades t JOIN algo_run r USING (algo_run_id)
    WHERE r.batch_id = $1 AND ($2::text IS NULL OR t.symbol = $2) AND ($3::text IS NULL OR r.algo_name = $3)
      AND t.tstamp BETWEEN $4 AND $5
    ORDER BY t.tstamp, t.trade_id LIMIT $6
"""
TRIPS = """
    SELECT t.trade_analysis_id AS id, r.algo_name AS strategy, t.symbol, t.side, t.quantity, t.start_tstamp AS entered,
           t.end_tstamp AS exited, t.entry_price, t.exit_price, t.gain_value AS gain, t.gain_percentage, t.r_units AS r,
           t.fees, t.stop, t.target, t.exit_reason
    FROM trade_analysis t JOIN algo_run r USING (algo_run_id)
    WHERE r.batch_id = $1
      AND (cardinality($2::text[]) = 0 OR r.algo_name = ANY($2))
      AND (cardinality($3::text[]) = 0 OR t.symbol = ANY($3))
      AND (cardinality($4::text[]) = 0 OR coalesce(t.exit_reason, 'not recorded') = ANY($4))
    ORDER BY t.end_tstamp, t.trade_analysis_id
    LIMIT $5 OFFSET $6
"""
SIGNALS = """
    SELECT s.at, s.action::text AS action, s.outcome, s.client_order_id, r.algo_name AS strategy
    FROM signals s JOIN algo_run r ON r.batch_id = s.batch_id AND r.slot = s.slot
    WHERE s.batch_id = $1 AND s.symbol = $2 AND s.at BETWEEN $3 AND $4
    ORDER BY s.at LIMIT $5
"""
EVENTS = """
    SELECT e.at, e.client_order_id, o.side, o.quantity, o.type, e.event, e.details::text AS details
    FROM order_events e JOIN orders o USING (client_order_id)
    WHERE o.batch_id = $1 AND o.symbol = $2 AND o.decided_at BETWEEN $3 AND $4
    ORDER BY e.at, e.client_order_id, e.number LIMIT $5
"""
REFUSED = """
    SELECT r.algo_name AS strategy, substr(s.outcome, 9) AS rule, count(*) AS orders, count(DISTINCT s.symbol) AS symbols,
           min(s.at) AS first, max(s.at) AS last
    FROM signals s JOIN algo_run r ON r.batch_id = s.batch_id AND r.slot = s.slot
    WHERE s.batch_id = $1 AND s.outcome LIKE 'refused:%'
    GROUP BY 1, 2 ORDER BY 3 DESC
"""
REFUSED_ORDERS = """
    SELECT s.at, r.algo_name AS strategy, s.symbol, substr(s.outcome, 9) AS rule, s.action::text AS action
    FROM signals s JOIN algo_run r ON r.batch_id = s.batch_id AND r.slot = s.slot
    WHERE s.batch_id = $1 AND s.outcome LIKE 'refused:%' AND ($2::text IS NULL OR substr(s.outcome, 9) = $2)
    ORDER BY s.at LIMIT $3
"""
PICKS = """
    SELECT create_tstamp AS at, symbol, scanner_name AS scanner, coalesce(nullif(strategy_name, ''), 'all') AS strategy
    FROM trending_tickers WHERE batch_id = $1 ORDER BY create_tstamp, trending_id
"""


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
        return frame(self._fetch(FILLS, symbol, strategy, first, last, most), zone="UTC")

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

    def picks(self) -> pd.DataFrame:
        """Return what scanners picked, by time."""
        return frame(self._fetch(PICKS))

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


def frame(rows: Sequence[Mapping[str, Any]], *, zone: str = "") -> pd.DataFrame:
    """Return rows as a frame: decimals as floats, instants in New York's time; `zone` is that of instants without one."""
    import pandas as pd

    found = pd.DataFrame([dict(row) for row in rows])
    for name in found.columns:
        known = found[name].dropna()
        kind = type(known.iloc[0]) if len(known) else None
        if kind is Decimal:
            found[name] = found[name].astype(float)
        elif kind is pd.Timestamp:
            times = found[name].dt.tz_localize(zone) if zone else found[name]
            found[name] = times.dt.tz_convert(NEW_YORK)
    return found
