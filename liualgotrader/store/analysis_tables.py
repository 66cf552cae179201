"""Results of batches, and portfolios with their cash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import msgspec

from liualgotrader.common.clock import SECOND
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.rows import (
    EquityRow,
    GainLossRow,
    HonestyCheck,
    OptimizerRow,
    OptimizerSession,
    PortfolioAccount,
    TradeAnalysisRow,
    TradePlanRow,
)
from liualgotrader.common.secret import without_secrets
from liualgotrader.store.column_values import (
    clean_text,
    columns_of,
    from_json,
    insert_into,
    json_text,
    row_from,
    utc_aware,
)
from liualgotrader.store.database import Tables

GAIN_COLUMNS = GainLossRow.__struct_fields__
_RENAMED = {"started_at": "start_tstamp", "ended_at": "end_tstamp", "gain": "gain_value"}
TRIP_COLUMNS = tuple(_RENAMED.get(name, name) for name in TradeAnalysisRow.__struct_fields__)
UPSERT_GAIN_LOSS = f"""
    {insert_into("gain_loss", GAIN_COLUMNS)}
    ON CONFLICT (symbol, algo_run_id) DO UPDATE SET
        gain_percentage = excluded.gain_percentage,
        gain_value = excluded.gain_value,
        open_quantity = excluded.open_quantity,
        open_price = excluded.open_price,
        tstamp = now()
"""
UPSERT_TRADE_ANALYSIS = f"""
    {insert_into("trade_analysis", TRIP_COLUMNS)}
    ON CONFLICT (symbol, algo_run_id, start_tstamp) DO UPDATE SET
        {", ".join(f"{name} = excluded.{name}" for name in TRIP_COLUMNS[3:])}, tstamp = now()
"""
# A late execution may remove a round trip, whose row would then count twice.
CLEAR_GAIN_LOSS = "DELETE FROM gain_loss WHERE algo_run_id = ANY($1::int[])"
CLEAR_TRADE_ANALYSIS = "DELETE FROM trade_analysis WHERE algo_run_id = ANY($1::int[])"
SAVE_CHECK = f"""
    {insert_into("honesty_check", ("batch_id", *HonestyCheck.__struct_fields__))}
    ON CONFLICT (batch_id, name) DO UPDATE SET
        ran_at = excluded.ran_at,
        verdict = excluded.verdict,
        findings = excluded.findings,
        recorded_at = now()
"""
HONESTY_CHECKS = """
    SELECT DISTINCT ON (c.name) c.name, c.ran_at, c.verdict, c.findings::text AS findings
    FROM honesty_check c LEFT JOIN batch b ON b.batch_id = c.batch_id
    WHERE c.batch_id = $1
       OR b.configuration ->> 'plan' = (SELECT configuration ->> 'plan' FROM batch WHERE batch_id = $1)
    ORDER BY c.name, c.batch_id <> $1, c.ran_at DESC
"""
# A gateway that was started again knows the minutes since then only.
SAVE_EQUITY = """
    INSERT INTO equity (batch_id, session_date, opened_at, step_seconds, amounts) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (batch_id, session_date) DO UPDATE SET
        amounts = ARRAY(
            SELECT coalesce(fresh, stored)
            FROM unnest(excluded.amounts, equity.amounts) WITH ORDINALITY AS pair (fresh, stored, place)
            ORDER BY place
        ),
        recorded_at = now()
"""
EQUITY = """
    SELECT batch_id, session_date, opened_at, step_seconds, amounts
    FROM equity WHERE batch_id = ANY($1::text[])
    ORDER BY session_date, batch_id
"""
_SESSION = ("optimizer_session_id", "started_at", "configuration")
BEGIN_OPTIMIZER = f"""
    {insert_into("optimizer_session", _SESSION)}
    ON CONFLICT (optimizer_session_id) DO NOTHING
"""
END_OPTIMIZER = """
    UPDATE optimizer_session SET ended_at = $2, end_reason = $3, result = $4::text::jsonb
    WHERE optimizer_session_id = $1
"""
OPTIMIZER_SESSIONS = """
    SELECT optimizer_session_id, started_at, configuration::text AS configuration, end_reason, result::text AS result
    FROM optimizer_session WHERE starts_with(optimizer_session_id, $1)
    ORDER BY recorded_at DESC LIMIT $2
"""
SAVE_OPTIMIZER_ROWS = f"""
    {insert_into("optimizer_run", ("parameters", *OptimizerRow.__struct_fields__))}
    ON CONFLICT (optimizer_session_id, fold, out_of_sample, number) WHERE number IS NOT NULL DO NOTHING
"""
OPTIMIZER_ROWS = """
    SELECT optimizer_session_id, number, batch_id, point::text AS point, objective, figures::text AS figures, equity,
           seconds, failure, fold, out_of_sample, played_by
    FROM optimizer_run WHERE optimizer_session_id = $1 AND number IS NOT NULL
    ORDER BY fold, out_of_sample, number
"""
PORTFOLIO_ACCOUNT = """
    SELECT accounts.account_id, accounts.balance, CASE WHEN allow_negative THEN credit_line ELSE 0 END AS credit,
        portfolio.external_account_id
    FROM portfolio JOIN accounts ON accounts.account_id = portfolio.account_id
    WHERE portfolio.portfolio_id = $1
"""
# Which executions (t, of runs r) are a portfolio's: a batch may trade for several, and beside them for the whole account.
# Where any run of it says for which, those count that say so; in a batch of the original none does, and all count.
OF_PORTFOLIO = """
    coalesce(r.parameters ->> 'portfolio_id', CASE WHEN NOT EXISTS (
        SELECT FROM algo_run said WHERE said.batch_id = r.batch_id AND said.parameters ->> 'portfolio_id' IS NOT NULL
    ) THEN $1 END) = $1
    AND r.batch_id IN (SELECT batch_id FROM portfolio_batch_ids WHERE portfolio_id = $1)
"""
# Each execution moves what the order gateway books for it.
BOOK_AGAIN = f"""
    INSERT INTO account_transactions (account_id, amount, tstamp, details)
    SELECT $2, CASE WHEN t.operation IN ('sell', 'sell_short') THEN abs(t.qty) ELSE -t.qty END * t.price - t.trade_fee,
        t.tstamp AT TIME ZONE 'UTC',
        jsonb_strip_nulls(jsonb_build_object('symbol', t.symbol, 'operation', t.operation::text,
            'execution_id', t.execution_id, 'client_order_id', t.client_order_id))
    FROM new_trades t JOIN algo_run r ON r.algo_run_id = t.algo_run_id
    WHERE t.expire_tstamp IS NULL AND t.price > 0 AND {OF_PORTFOLIO}
    ORDER BY t.tstamp, t.trade_id
    RETURNING 1
"""
# The table has no unique key (the original may have repeated rows), so the portfolio's row is locked.
LOCK_PORTFOLIO = "SELECT portfolio_id FROM portfolio WHERE portfolio_id = $1 FOR UPDATE"
ASSOCIATE_PORTFOLIO = """
    INSERT INTO portfolio_batch_ids (portfolio_id, batch_id)
    SELECT $1, $2
    WHERE NOT EXISTS (SELECT FROM portfolio_batch_ids WHERE portfolio_id = $1 AND batch_id = $2)
"""
TRADE_PLANS = """
    SELECT p.trade_plan_id::text AS trade_plan_id, p.portfolio_id, p.strategy_name, p.parameters::text AS parameters,
           coalesce((
               SELECT a.details ->> 'strategy' FROM trade_plan_execution_audit a
               WHERE a.trade_plan_id = p.trade_plan_id AND a.details ? 'batch_id'
               ORDER BY a.execution_id DESC LIMIT 1
           ), '') AS ran_as
    FROM trade_plan p
    WHERE start_date <= current_date AND (expire_tstamp IS NULL OR expire_tstamp > now())
        AND ($1::timestamptz IS NULL OR create_tstamp > $1)
    ORDER BY p.create_tstamp, p.trade_plan_id
"""
LOCK_BATCH = "SELECT FROM batch WHERE batch_id = $1 FOR UPDATE"
START_TRADE_PLAN = """
    INSERT INTO trade_plan_execution_audit (trade_plan_id, details, started_on, ended_on)
    SELECT $2::text::uuid, $3::text::jsonb, now(), NULL
    WHERE NOT EXISTS (
        SELECT FROM trade_plan_execution_audit
        WHERE trade_plan_id = $2::text::uuid AND details ->> 'batch_id' = $1
    )
    RETURNING execution_id
"""
JOIN_BATCH = """
    UPDATE batch SET layout = $2::text::jsonb,
        configuration = jsonb_set(configuration, ARRAY['tradeplan', 'strategies', $3], $4::text::jsonb)
    WHERE batch_id = $1
"""


class AnalysisTables(Tables):
    """`gain_loss`, `trade_analysis`, `honesty_check`, `equity`, `optimizer_session`, `optimizer_run`, `portfolio`, `accounts`,
    `portfolio_batch_ids`, `trade_plan` and its audit."""

    async def save_analysis(self, gains: Sequence[GainLossRow], trades: Sequence[TradeAnalysisRow]) -> None:
        """Write results, in place of what an earlier analysis of the same runs wrote; both tables or none.

        Raises:
            BadData: if a row names an algo_run that is not there, or a number is too large for its column.
        """
        results = {(g.symbol, g.algo_run_id): g for g in gains}  # the last one counts
        trips: dict[tuple[str, int, int], dict[str, object]] = {}
        for trip in trades:
            start = trip.started_at // 1000
            while (trip.symbol, trip.algo_run_id, start) in trips:  # two trips that began in the same microsecond
                start += 1
            stored = msgspec.structs.replace(trip, started_at=start * 1000, ended_at=max(trip.ended_at, start * 1000))
            values = columns_of(stored).values()
            trips[trip.symbol, trip.algo_run_id, start] = dict(zip(TRIP_COLUMNS, values, strict=True))
        runs = sorted({g.algo_run_id for g in gains} | {t.algo_run_id for t in trades})
        async with self._database.transaction() as connection:
            await connection.execute(CLEAR_GAIN_LOSS, runs)
            await connection.execute(CLEAR_TRADE_ANALYSIS, runs)
            await connection.execute(UPSERT_GAIN_LOSS, json_text([columns_of(gain) for gain in results.values()]))
            await connection.execute(UPSERT_TRADE_ANALYSIS, json_text(list(trips.values())))

    async def save_check(self, batch_id: str, check: HonestyCheck) -> None:
        """Write what a check of the batch found, in place of what the same check found before."""
        await self._database.execute(SAVE_CHECK, json_text([{"batch_id": batch_id, **columns_of(check)}]))

    async def honesty_checks(self, batch_id: str) -> Sequence[HonestyCheck]:
        """Return what was found by checks of the batch, or else of others of the same plan, by name."""
        rows = await self._database.fetch(HONESTY_CHECKS, batch_id)
        return [row_from(HonestyCheck, row, findings=tuple(from_json(row["findings"]))) for row in rows]

    async def save_equity(self, rows: Sequence[EquityRow]) -> None:
        """Write the account's value over sessions; what was stored stays where the new rows know nothing."""
        values = [
            (r.batch_id, date.fromisoformat(r.session_date), utc_aware(r.opened_at), r.step // SECOND, r.amounts)
            for r in rows
        ]
        async with self._database.transaction() as connection:
            await connection.executemany(SAVE_EQUITY, values)

    async def equity(self, batch_ids: Sequence[str]) -> Sequence[EquityRow]:
        """Return the account's value over the sessions of these batches, by day and batch."""
        return [
            row_from(EquityRow, row, step=row["step_seconds"] * SECOND, amounts=tuple(row["amounts"]))
            for row in await self._database.fetch(EQUITY, list(batch_ids))
        ]

    async def begin_optimizer(self, session: OptimizerSession) -> None:
        """Write a search, unless it is there."""
        row = {name: value for name, value in columns_of(session).items() if name in _SESSION}
        row["configuration"] = without_secrets(session.configuration)
        await self._database.execute(BEGIN_OPTIMIZER, json_text([row]))

    async def end_optimizer(self, session_id: str, at: int, reason: str, result: Mapping[str, Any]) -> None:
        """Write why a search ended and what it came to, in place of what was written before."""
        told = utc_aware(at), clean_text(reason), json_text(result)
        await self._database.execute(END_OPTIMIZER, session_id, *told)

    async def optimizer_sessions(self, most: int, beginning: str = "") -> Sequence[OptimizerSession]:
        """Return the searches whose id begins so, the newest first, so many at most."""
        return [
            row_from(OptimizerSession, row, **{name: from_json(row[name]) for name in ("configuration", "result")})
            for row in await self._database.fetch(OPTIMIZER_SESSIONS, beginning, most)
        ]

    async def save_optimizer_rows(self, rows: Sequence[OptimizerRow]) -> None:
        """Write combinations, each once: the first counts."""
        found = [{"parameters": row.parameters, **columns_of(row)} for row in rows]
        await self._database.execute(SAVE_OPTIMIZER_ROWS, json_text(found))

    async def optimizer_rows(self, session_id: str) -> Sequence[OptimizerRow]:
        """Return the combinations of a search by fold and number; those of the original's are left out."""
        return [
            row_from(
                OptimizerRow,
                row,
                point=from_json(row["point"]),
                figures=from_json(row["figures"]),
                equity=tuple(row["equity"]),
            )
            for row in await self._database.fetch(OPTIMIZER_ROWS, session_id)
        ]

    async def portfolio_account(self, portfolio_id: str) -> PortfolioAccount | None:
        """Return the account of a portfolio, None if it is unknown or has no account."""
        row = await self._database.fetchrow(PORTFOLIO_ACCOUNT, portfolio_id)
        return None if row is None else row_from(PortfolioAccount, row)

    async def trade_plans(self) -> Sequence[TradePlanRow]:
        """Return the rows of the original's table `trade_plan` that have begun and not expired, oldest first."""
        rows = await self._database.fetch(TRADE_PLANS, None)
        return [row_from(TradePlanRow, row, parameters=from_json(row["parameters"]) or {}) for row in rows]

    async def start_trade_plan(
        self,
        batch_id: str,
        trade_plan_id: str,
        layout: Mapping[str, Any],
        details: Mapping[str, Any],
        table: Mapping[str, Any],
    ) -> None:
        """Write that a trade plan runs in a batch, once, and what the batch is with it; all or nothing.

        `details` name the `strategy` and are kept with the plan; `table` is what it is made from.
        """
        made_from = json_text(without_secrets(table))
        told = json_text({**details, "batch_id": batch_id})
        async with self._database.transaction() as connection:
            await connection.execute(LOCK_BATCH, batch_id)
            if await connection.fetchval(START_TRADE_PLAN, batch_id, trade_plan_id, told) is not None:
                await connection.execute(JOIN_BATCH, batch_id, json_text(layout), details["strategy"], made_from)

    async def associate_portfolio(self, portfolio_id: str, batch_id: str) -> None:
        """Write that the batch trades for the portfolio, unless it is written.

        Raises:
            ConfigError: if there is no such portfolio.
        """
        async with self._database.transaction() as connection:
            if await connection.fetchval(LOCK_PORTFOLIO, portfolio_id) is None:
                raise ConfigError(f"There is no portfolio {portfolio_id}: `portfolio list` shows those there are.")
            await connection.execute(ASSOCIATE_PORTFOLIO, portfolio_id, batch_id)
