"""What the pages ask of the record; the server sums up."""

from __future__ import annotations

from liualgotrader.store.analysis_tables import OF_PORTFOLIO
from liualgotrader.store.column_values import SIGNED

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
    WHERE r.batch_id = $1 AND t.qty > 0 AND t.expire_tstamp IS NULL
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
    WHERE r.batch_id = $1 AND t.qty > 0 AND t.expire_tstamp IS NULL AND ($2::text IS NULL OR t.symbol = $2) AND ($3::text IS NULL OR r.algo_name = $3)
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
    SELECT s.at, r.algo_name AS strategy, s.symbol, substr(s.outcome, 9) AS rule, s.action::text AS action,
           s.client_order_id
    FROM signals s JOIN algo_run r ON r.batch_id = s.batch_id AND r.slot = s.slot
    WHERE s.batch_id = $1 AND s.outcome LIKE 'refused:%' AND ($2::text IS NULL OR substr(s.outcome, 9) = $2)
    ORDER BY s.at LIMIT $3
"""

OPERATOR_ACTIONS = """
    SELECT at, recorded_at AS "by the machine's clock", action, arguments::text AS arguments, done, answer, asked_by AS "asked by",
           through
    FROM operator_action WHERE batch_id = $1 ORDER BY recorded_at DESC, at DESC LIMIT $2
"""

LAGS = """
    SELECT process, sum(events)::bigint AS events, sum(stale)::bigint AS "too old to act on",
           sum(dropped)::bigint AS "left out, as it was behind", max(lag_ms) AS "greatest lag, ms"
    FROM event_lag WHERE batch_id = $1 GROUP BY 1 ORDER BY 1
"""

LATE_MINUTES = """
    SELECT at, process, events, stale AS "too old to act on", dropped AS "left out, as it was behind",
           lag_p50_ms AS "median lag, ms", lag_ms AS "greatest lag, ms"
    FROM event_lag WHERE batch_id = $1 AND (stale > 0 OR dropped > 0) ORDER BY stale + dropped DESC, at LIMIT $2
"""

PICKS = """
    SELECT create_tstamp AS at, symbol, scanner_name AS scanner, coalesce(nullif(strategy_name, ''), 'all') AS strategy
    FROM trending_tickers WHERE batch_id = $1 ORDER BY create_tstamp, trending_id
"""

GAINS_BY_DAY = """
    SELECT (t.end_tstamp AT TIME ZONE 'America/New_York')::date AS day, r.batch_id,
           sum(t.gain_value) AS gain, count(*) AS trades
    FROM trade_analysis t JOIN algo_run r USING (algo_run_id)
    WHERE r.algo_env = $1 AND r.batch_id = ANY($2::text[])
    GROUP BY 1, 2 ORDER BY 1
"""

GAINS_BY = """
    SELECT {by} AS place, sum(t.gain_value) AS gain, count(*) AS trades
    FROM trade_analysis t JOIN algo_run r USING (algo_run_id)
    WHERE r.algo_env = $1 AND r.batch_id = ANY($2::text[])
    GROUP BY 1 ORDER BY 1
"""

PORTFOLIOS = """
    SELECT p.portfolio_id, p.size, a.balance, p.assets::text AS assets
    FROM portfolio p LEFT JOIN accounts a ON a.account_id = p.account_id
    WHERE p.expire_tstamp IS NULL ORDER BY p.tstamp DESC, p.portfolio_id
"""

POSITIONS = f"""
    SELECT t.symbol, sum({SIGNED}) AS shares,
           max(t.tstamp) AS "newest trade (UTC)"
    FROM new_trades t JOIN algo_run r USING (algo_run_id)
    WHERE t.expire_tstamp IS NULL AND {OF_PORTFOLIO}
    GROUP BY 1 HAVING sum({SIGNED}) <> 0 ORDER BY 1
"""

# What its account began with is what is there less all that has moved since.
PORTFOLIO_MONEY = """
    SELECT p.portfolio_id, coalesce(a.balance - coalesce(sum(t.amount), 0), p.size) AS began, coalesce(sum(t.amount), 0) AS moved
    FROM portfolio p LEFT JOIN accounts a ON a.account_id = p.account_id
        LEFT JOIN account_transactions t ON t.account_id = p.account_id
    WHERE starts_with(p.portfolio_id, $1)
    GROUP BY p.portfolio_id, p.size, a.balance LIMIT 2
"""

PORTFOLIO_BATCHES = "SELECT DISTINCT batch_id FROM portfolio_batch_ids WHERE portfolio_id = $1 ORDER BY 1"

MOVEMENTS = """
    SELECT t.tstamp AS at, t.amount
    FROM account_transactions t JOIN portfolio p ON p.account_id = t.account_id
    WHERE p.portfolio_id = $1 ORDER BY t.tstamp, t.transaction_id
"""

DATABASES = "SELECT datname FROM pg_database WHERE NOT datistemplate ORDER BY datname"

JOURNAL = """
    SELECT r.algo_name AS strategy, t.symbol, t.side, t.start_tstamp AS entered, t.end_tstamp AS exited, t.gain_value AS gain,
           t.r_units AS r, t.exit_reason, coalesce(n.tags, '{}') AS tags, coalesce(n.note, '') AS note, t.algo_run_id
    FROM trade_analysis t JOIN algo_run r USING (algo_run_id)
    LEFT JOIN journal_note n
        ON n.batch_id = r.batch_id AND n.algo_run_id = t.algo_run_id AND n.symbol = t.symbol AND n.started_at = t.start_tstamp
    WHERE r.batch_id = $1
      AND (cardinality($2::text[]) = 0 OR n.tags && $2)
      AND ($3::float8 IS NULL OR t.r_units >= $3) AND ($4::float8 IS NULL OR t.r_units <= $4)
    ORDER BY t.end_tstamp, t.trade_analysis_id LIMIT $5
"""

TAGS = "SELECT DISTINCT unnest(tags) AS tag FROM journal_note WHERE batch_id = $1 ORDER BY 1"

DAY_NOTE = "SELECT tags, note FROM journal_note WHERE batch_id = $1 AND algo_run_id = 0 AND symbol = ''"

WRITE_NOTE = """
    INSERT INTO journal_note (batch_id, algo_run_id, symbol, started_at, tags, note)
    VALUES ($1, $2, $3, coalesce($4::timestamptz, (SELECT started_at FROM batch WHERE batch_id = $1)), $5, $6)
    ON CONFLICT (batch_id, algo_run_id, symbol, started_at)
    DO UPDATE SET tags = excluded.tags, note = excluded.note, written_at = now()
    RETURNING 1
"""
