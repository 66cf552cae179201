"""Trade plans in the database: each row of `trade_plan` that is in force becomes slots of the batch, once over restarts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from liualgotrader.common.errors import ConfigError
from liualgotrader.common.ports import Store
from liualgotrader.common.rows import TradePlanRow
from liualgotrader.common.session_plan import SlotPlan
from liualgotrader.common.tradeplan import TradePlan, strategy_table
from liualgotrader.order_gateway.carry_over import carries
from liualgotrader.supervisor.arming import LIVE
from liualgotrader.supervisor.batch import Batch, BatchFinder, Layout
from liualgotrader.supervisor.plan_inspection import StrategyFacts, inspect_tradeplan
from liualgotrader.supervisor.session_database import account_of, sub_account_in
from liualgotrader.supervisor.stack import Stack

EXPIRED = "its trade plan has expired"  # why a slot is stopped
_ID_CHARACTERS = 8  # of a row's id, in the name of a strategy whose own name is taken


def table_of(row: TradePlanRow, folder: Path) -> dict[str, Any]:
    """Return the row as a strategy's table of a tradeplan in `folder`: its class, its file and its portfolio named.

    Raises:
        ConfigError: if it lacks a file, or a value makes no sense.
    """
    where = folder / f"trade plan {row.trade_plan_id} in the database"
    if not row.strategy_name or not isinstance(row.parameters, dict):
        raise ConfigError(f"{where}: it needs a strategy_name, and an object of JSON as parameters")
    values = {key: value for key, value in row.parameters.items() if key != "name"}
    values |= {"class": row.parameters.get("name", row.strategy_name), "portfolio_id": row.portfolio_id}
    table = strategy_table(row.strategy_name, values, where)
    try:
        msgspec.msgpack.encode(table)
    except (OverflowError, TypeError, UnicodeEncodeError) as error:
        raise ConfigError(f"{where}: its parameters cannot be used ({error})") from None
    return table


async def tables_of(layout: Layout, store: Store, folder: Path) -> dict[str, dict[str, Any]]:
    """Return the tables of a batch's slots that come from trade plans, by strategy; of those that can still run."""
    names = {place.trade_plan: place.strategy for place in layout.places if place.trade_plan}
    found: dict[str, dict[str, Any]] = {}
    for row in await store.trade_plans() if names else ():
        if row.trade_plan_id in names:
            with suppress(ConfigError):
                found[names[row.trade_plan_id]] = table_of(row, folder)
    return found


def name_of(row: TradePlanRow, rows: Sequence[TradePlanRow], taken: Collection[str]) -> str:
    """Return the name that a row's strategy has in the record, which keeps what it holds apart from that of others.

    It is the one of its batch before, else the row's own unless that is another's.
    """
    others = {other.ran_as for other in rows if other is not row} | set(taken)
    wanted = row.ran_as or row.strategy_name
    return wanted if wanted not in others else f"{row.strategy_name}-{row.trade_plan_id[:_ID_CHARACTERS]}"


class TradePlans:
    """Starts what the table wants to run in this batch, and stops what has expired.

    A row becomes slots in one transaction, before any process is told: whatever is killed when, the batch has them or
    will have them, once.
    """

    def __init__(
        self,
        stack: Stack,
        store: Store,
        finder: BatchFinder,
        batch: Batch,
        tradeplan: TradePlan,
        notice: Callable[[str, str], None],
        joined: Callable[[StrategyFacts, Batch], None],
    ) -> None:
        self._stack, self._store, self._finder, self.batch = stack, store, finder, batch
        self._tradeplan, self._notice, self._joined = tradeplan, notice, joined
        self._refused: set[bytes] = set()  # rows, as they were

    async def look(self, now: int) -> None:
        """Act once on what the table says at market time `now`, ns UTC.

        Raises:
            DatabaseUnavailable: if it cannot be read; the next look does what this one could not.
        """
        rows = await self._store.trade_plans()
        places = self.batch.layout.places
        known = {place.trade_plan for place in places}
        for place in places:
            if place.trade_plan and place.trade_plan not in {row.trade_plan_id for row in rows}:
                self._stack.stop_slot(place.slot, EXPIRED)
        for row in rows:
            if row.trade_plan_id in known or (seen := msgspec.json.encode(row)) in self._refused:
                continue
            try:
                await self._start(row, rows, now)
            except ConfigError as error:
                self._refused.add(seen)
                self._notice("WARNING", f"a trade plan in the database is not started: {error}")

    async def _start(self, row: TradePlanRow, rows: Sequence[TradePlanRow], now: int) -> None:
        plan, folder = self._stack.plan, Path(self._stack.plan.tradeplan_dir)
        name = name_of(row, rows, {*plan.tradeplan.strategies, *self.batch.layout.strategies()})
        told = f"{name} ({row.trade_plan_id})"
        if plan.environment == LIVE:
            raise ConfigError(
                f"{told}: real money is traded by a whole tradeplan that has proved itself, so write it into the file"
            )
        table = table_of(row, folder)
        if table.get("own_process"):
            raise ConfigError(
                f"{told}: processes of their own are made when a session starts, so take own_process out of its parameters,"
                " or write the strategy into the tradeplan's file"
            )
        portfolio = await account_of(self._store, row.portfolio_id)
        if sub_account_in(portfolio, plan.environment) != plan.sub_account:
            raise ConfigError(
                f"{told} trades for another account at the broker than this session (external_account_id of its portfolio):"
                " a session trades for one, so start one for it"
            )
        if self._stack.started and carries(plan):
            held = await self._store.carried_positions(plan.environment, name, plan.batch_id)
            if held:
                symbols = ", ".join(position.symbol for position in held)
                raise ConfigError(f"{told} holds {symbols} from before, which the next session takes up with it")
        alone = TradePlan(strategies={name: table}, risk=plan.tradeplan.risk)
        [facts] = (await asyncio.to_thread(inspect_tradeplan, alone)).strategies
        if facts.broken:
            raise ConfigError(facts.broken)
        layout = self.batch.layout.joined_by(facts, row.trade_plan_id)
        places = layout.places[len(self.batch.layout.places) :]
        details = {"strategy": name, "slots": [place.slot for place in places], "environment": plan.environment}
        await self._store.start_trade_plan(plan.batch_id, row.trade_plan_id, layout.as_dict(), details, table)
        of_it = msgspec.structs.replace(self.batch, layout=Layout(layout.consumers, places))
        with_it = msgspec.structs.replace(self._tradeplan, strategies={**self._tradeplan.strategies, name: table})
        slots: tuple[SlotPlan, ...] = await self._finder.slots(
            of_it, with_it, (facts,), plan.environment, plan.build_number, now
        )
        self.batch = msgspec.structs.replace(self.batch, layout=layout)
        self._joined(facts, self.batch)
        for note in (*facts.notes, *facts.doubts):
            self._notice("WARNING", f"strategy {name}: {note}")
        self._notice("INFO", f"strategy {name} joins the session, from trade plan {row.trade_plan_id} in the database")
        await self._stack.join(slots, table)
