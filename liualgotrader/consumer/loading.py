"""Makes a consumer's strategies from the session's plan, and what they are given."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from decimal import localcontext
from pathlib import Path
from typing import Any

from liualgotrader.common.control import SlotEnded
from liualgotrader.common.errors import LiuError
from liualgotrader.common.money import OURS
from liualgotrader.common.plugins import one_line, outside_reads, source_of, user_code, where_raised
from liualgotrader.common.ports import MarketHistory
from liualgotrader.common.session_plan import DECLINED, SessionPlan, SlotPlan
from liualgotrader.common.tlog import warn
from liualgotrader.consumer.signal_writer import SignalRecorder, StoredKeys
from liualgotrader.engine.engine import Engine
from liualgotrader.ipc.process_status import MAKING, ProcessStatus
from liualgotrader.strategies.base import SessionServices, Strategy, make_strategy

log = logging.getLogger(__name__)

_ASSETS_SECONDS = 10.0  # machine time for the list of assets
CREATE_SECONDS = 20.0  # machine time for one strategy's `create`


async def load_strategies(
    plan: SessionPlan,
    slots: Sequence[SlotPlan],
    engine: Engine,
    services_of: Callable[[SlotPlan], SessionServices],
    loader: Any,
    status: ProcessStatus,
) -> list[SlotEnded]:
    """Put the strategies of these slots into the engine and return those that will not run.

    A strategy that cannot be made is stopped alone. `status` shows which one is being made, so that the supervisor
    finds and stops one whose `create` never returns.
    """
    ended: list[SlotEnded] = []
    for slot in slots:
        if slot.stopped:
            continue
        try:
            status.calling(slot.slot, 0, MAKING)
            strategy = _make(plan, slot, services_of(slot), loader)
            with user_code(f"{slot.strategy}.create", type(strategy)):
                answer = await created(strategy)
            if answer is False:  # the original's own skeleton returns nothing and means yes
                ended.append(SlotEnded(slot.slot, DECLINED))
                continue
            engine.add(slot, strategy)
        except LiuError as error:
            log.error("%s", error)
            ended.append(SlotEnded(slot.slot, str(error)))
        except BaseException as error:  # its sys.exit(), or a task of its own that was cancelled
            own = asyncio.current_task()
            if own is not None and own.cancelling():
                raise
            name = plan.tradeplan.strategies.get(slot.strategy, {}).get("filename")
            file = (Path(plan.tradeplan_dir) / name).resolve() if isinstance(name, str) else None
            reason = f"raised in create: {one_line(error)} ({where_raised(error, file)})"
            log.exception("strategy %s %s", slot.strategy, reason)
            ended.append(SlotEnded(slot.slot, reason))
        finally:
            status.returned()
    return ended


async def created(strategy: Strategy) -> Any:
    """Return what `create` says; it runs in the strategy's own context."""

    async def caught() -> tuple[Any, BaseException | None]:
        try:
            return await strategy.create(), None
        except BaseException as error:  # in a task of its own a sys.exit() would end the process
            return None, error

    async with asyncio.timeout(CREATE_SECONDS):
        created, error = await asyncio.get_running_loop().create_task(caught(), context=strategy.own_context)
    if error is not None:
        raise error
    return created


def _make(plan: SessionPlan, slot: SlotPlan, services: SessionServices, loader: Any) -> Strategy:
    details = plan.tradeplan.strategies.get(slot.strategy, {})
    strategy = make_strategy(
        plan.batch_id,
        slot.strategy,
        details,
        Path(plan.tradeplan_dir),
        data_loader=loader,
        ref_run_id=slot.algo_run_id,
        seed=f"{plan.seed}/{slot.strategy}/{slot.slot}/random",
    )
    strategy.join_session(services, slot.algo_run_id, slot.account_id)
    file = source_of(strategy)
    for sentence in outside_reads(file) if file is not None else ():
        warn(log, "outside_read", strategy=slot.strategy, found=sentence)
    return strategy


async def lent_shares(data: MarketHistory) -> dict[str, bool]:
    """Return by symbol whether the broker lends it; an unknown one counts as lent, and the broker may refuse the order."""
    try:
        async with asyncio.timeout(_ASSETS_SECONDS):
            assets = await data.tradable_symbols()
    except (LiuError, TimeoutError) as error:
        warn(log, "assets_unknown", error=error or "no answer in time")
        return {}
    return {symbol: asset.shortable for symbol, asset in assets.items()}


def services_of(
    slot: SlotPlan, plan: SessionPlan, engine: Engine, recorder: SignalRecorder, keys: StoredKeys
) -> SessionServices:
    """Return what a slot's strategy may ask of the session: its hours, the key-store, its portfolio's balance."""
    portfolio = plan.tradeplan.strategies.get(slot.strategy, {}).get("portfolio_id")

    async def balance(account_id: int) -> float:
        found = None
        if isinstance(portfolio, str):
            found = await recorder.ask(lambda store: store.portfolio_account(portfolio))
        if found is None or found.account_id != account_id:
            raise LookupError(f"strategy {slot.strategy} has no portfolio with account {account_id}")
        mine = [s for s in engine.slots.values() if s.plan.account_id == account_id]
        with localcontext(OURS):  # the strategy that asks may have a precision of its own
            return float(found.balance - sum(s.book.reserved_cash() for s in mine))

    return SessionServices(plan.hours, keys, balance)
