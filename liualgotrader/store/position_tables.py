"""The positions that a strategy carries from one session into the next: the sum of its executions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import msgspec

from liualgotrader.common.money import ZERO, plain
from liualgotrader.common.orders import FINAL_STATES
from liualgotrader.common.position import after_execution
from liualgotrader.common.rows import CarriedPosition
from liualgotrader.store.column_values import SIGNED, row_from
from liualgotrader.store.database import Tables

# Which runs of a strategy count. Ids say what came earlier: they grow whatever the clocks say.
BEFORE_BATCH = """r.batch_id <> $3
      AND r.algo_run_id < coalesce((SELECT min(algo_run_id) FROM algo_run WHERE batch_id = $3), 2147483647)"""
UP_TO_BATCH = """r.batch_id IS NOT NULL
      AND r.algo_run_id <= coalesce((SELECT max(algo_run_id) FROM algo_run WHERE batch_id = $3), 2147483647)"""
IN_BATCH = "r.batch_id = $3"

POSITIONS = f"""
    SELECT t.symbol
    FROM new_trades t JOIN algo_run r ON r.algo_run_id = t.algo_run_id
    WHERE r.algo_env = $1 AND r.algo_name = $2 AND t.expire_tstamp IS NULL AND {{runs}}
    GROUP BY t.symbol
    HAVING sum({SIGNED}) <> 0
    ORDER BY t.symbol
"""
# The executions behind POSITIONS, for the symbols that it finds, and the stops and targets moved since.
TRADES_OF_POSITIONS = f"""
    SELECT t.symbol, t.tstamp AS at, {SIGNED} AS signed, t.price, t.stop_price AS stop, t.target_price AS target
    FROM new_trades t JOIN algo_run r ON r.algo_run_id = t.algo_run_id
    WHERE r.algo_env = $1 AND r.algo_name = $2 AND t.expire_tstamp IS NULL AND {{runs}}
      AND t.qty > 0 AND t.symbol = ANY($4)
    ORDER BY t.trade_id
"""
PLANS_OF_POSITIONS = """
    SELECT p.symbol, p.at, 0::numeric AS signed, 0::numeric AS price, p.planned_stop AS stop, p.planned_target AS target
    FROM position_plans p JOIN algo_run r ON r.algo_run_id = p.algo_run_id
    WHERE r.algo_env = $1 AND r.algo_name = $2 AND {runs} AND p.symbol = ANY($4)
    ORDER BY p.algo_run_id
"""
# Stop orders at the broker protect a position for which the strategy has planned no stop. Of several the one that the
# price reaches first counts: the highest that sells, the lowest that buys a short position back.
RESTING_STOPS = """
    SELECT o.symbol, o.side, CASE o.side WHEN 'buy' THEN min(o.stop_price) ELSE max(o.stop_price) END AS stop_price
    FROM orders o JOIN algo_run r ON r.algo_run_id = o.algo_run_id
    WHERE r.algo_env = $1 AND r.algo_name = $2 AND {runs} AND o.symbol = ANY($4)
      AND o.stop_price IS NOT NULL AND o.state <> ALL($5)
    GROUP BY o.symbol, o.side
"""
STRATEGIES_BEFORE = """
    SELECT DISTINCT algo_name FROM algo_run WHERE algo_env = $1 AND batch_id <> $2 ORDER BY algo_name
"""


class PositionTables(Tables):
    """What is read back of `new_trades` and `position_plans`, by strategy."""

    async def carried_positions(self, environment: str, strategy: str, batch_id: str) -> Sequence[CarriedPosition]:
        return await self._open(BEFORE_BATCH, environment, strategy, batch_id)

    async def strategies_before(self, environment: str, batch_id: str) -> Sequence[str]:
        rows = await self._database.fetch(STRATEGIES_BEFORE, environment, batch_id)
        return [row["algo_name"] for row in rows]

    async def open_after(
        self, environment: str, strategy: str, batch_id: str, *, alone: bool = False
    ) -> Sequence[CarriedPosition]:
        runs = IN_BATCH if alone else UP_TO_BATCH
        found = await self._open(runs, environment, strategy, batch_id)
        unprotected = [p.symbol for p in found if p.planned_stop is None]
        ends = [str(state) for state in FINAL_STATES]
        which = (environment, strategy, batch_id, unprotected, ends)
        rows = await self._database.fetch(RESTING_STOPS.format(runs=runs), *which) if unprotected else []
        stops = {(row["symbol"], row["side"]): plain(row["stop_price"]) for row in rows}
        return [with_resting_stop(p, stops) for p in found]

    async def _open(self, runs: str, environment: str, strategy: str, batch_id: str) -> Sequence[CarriedPosition]:
        async with self._database.connection() as connection:
            open_now = await connection.fetch(POSITIONS.format(runs=runs), environment, strategy, batch_id)
            which = (environment, strategy, batch_id, [row["symbol"] for row in open_now])
            trades = await connection.fetch(TRADES_OF_POSITIONS.format(runs=runs), *which)
            plans = await connection.fetch(PLANS_OF_POSITIONS.format(runs=runs), *which)
        return carried_positions(row_from(PositionStep, row) for row in (*trades, *plans))


_COST_STEP = Decimal("0.000001")  # dollars per share


class PositionStep(msgspec.Struct, frozen=True):
    """An execution (`signed` shares at `price`), or with `signed` zero a moved stop and target."""

    symbol: str
    at: int
    signed: Decimal = ZERO
    price: Decimal = ZERO
    stop: Decimal | None = None
    target: Decimal | None = None


@dataclass(slots=True)
class _Position:
    quantity: Decimal = ZERO
    cost: Decimal = ZERO
    opened_at: int = 0
    stop: Decimal | None = None
    target: Decimal | None = None
    entry_stop: Decimal | None = None

    def take(self, step: PositionStep) -> None:
        if not step.signed:
            if self.quantity:
                self.stop, self.target = step.stop, step.target
            return
        before = self.quantity
        self.quantity, self.cost, _ = after_execution(before, self.cost, step.signed, step.price)
        if before * self.quantity <= 0:  # opened, closed or turned over
            self.opened_at, self.stop, self.target, self.entry_stop = step.at, step.stop, step.target, step.stop
        elif abs(self.quantity) > abs(before):
            self.stop, self.target = step.stop or self.stop, step.target or self.target
            self.entry_stop = self.entry_stop or step.stop


def carried_positions(steps: Iterable[PositionStep]) -> list[CarriedPosition]:
    """Return what is open after all steps, by symbol; equal times count in the order given, moves after executions."""
    positions: dict[str, _Position] = {}
    for step in sorted(steps, key=lambda step: (step.at, not step.signed)):
        positions.setdefault(step.symbol, _Position()).take(step)
    return [
        CarriedPosition(
            symbol,
            plain(p.quantity),
            p.cost.quantize(_COST_STEP).normalize(),
            p.opened_at,
            p.stop,
            p.target,
            p.entry_stop,
        )
        for symbol, p in sorted(positions.items())
        if p.quantity
    ]


def with_resting_stop(position: CarriedPosition, stops: Mapping[tuple[str, str], Decimal]) -> CarriedPosition:
    """Return a position with the stop that the broker keeps for it, by symbol and side, if its strategy has none."""
    if position.planned_stop is not None:
        return position
    side = "sell" if position.quantity > 0 else "buy"
    return msgspec.structs.replace(position, planned_stop=stops.get((position.symbol, side)))
