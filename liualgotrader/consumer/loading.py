"""Makes a consumer's strategies from the tradeplan. One that cannot be made is stopped alone; the others go on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from liualgotrader.common.control import SlotEnded
from liualgotrader.common.errors import LiuError
from liualgotrader.common.plugins import one_line, outside_reads, source_of, user_code, where_raised
from liualgotrader.common.session_plan import DECLINED, SessionPlan, SlotPlan
from liualgotrader.common.tlog import warn
from liualgotrader.engine.engine import Engine
from liualgotrader.ipc.process_status import ProcessStatus
from liualgotrader.strategies.base import SessionServices, Strategy, make_strategy

log = logging.getLogger(__name__)

CREATE_SECONDS = 20.0  # machine time for one strategy's `create`


async def load_strategies(
    plan: SessionPlan,
    slots: Sequence[SlotPlan],
    engine: Engine,
    surround: Callable[[SlotPlan], SessionServices],
    loader: Any,
    status: ProcessStatus,
) -> list[SlotEnded]:
    """Put the strategies of these slots into the engine and return those that will not run.

    `status` shows which strategy is being made: one that never comes to an end is found by that and stopped alone.
    """
    ended: list[SlotEnded] = []
    for slot in slots:
        if slot.stopped:
            continue
        try:
            status.making(slot.slot)
            strategy = _make(plan, slot, surround(slot), loader)
            with user_code(f"{slot.strategy}.create", type(strategy)):
                created = await _created(strategy)
            if created is False:  # the original's own skeleton returns nothing and means yes
                ended.append(SlotEnded(slot.slot, DECLINED))
                continue
            engine.add(slot, strategy)
        except LiuError as error:
            log.error("%s", error)
            ended.append(SlotEnded(slot.slot, str(error)))
        except BaseException as error:  # its sys.exit(), or a task of its own that was cancelled
            if _is_ending():
                raise
            where = where_raised(error, _file_of(plan, slot))
            reason = f"raised in create: {one_line(error)} ({where})"
            log.exception("strategy %s %s", slot.strategy, reason)
            ended.append(SlotEnded(slot.slot, reason))
        finally:
            status.returned()
    return ended


async def _created(strategy: Strategy) -> Any:
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


def _is_ending() -> bool:
    """Whether it is our own task that is being cancelled."""
    own = asyncio.current_task()
    return own is not None and own.cancelling() > 0


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
    strategy.enter(services, slot.algo_run_id, slot.account_id)
    file = source_of(strategy)
    for sentence in outside_reads(file) if file is not None else ():
        warn(log, "outside_read", strategy=slot.strategy, found=sentence)
    return strategy


def _file_of(plan: SessionPlan, slot: SlotPlan) -> Path | None:
    name = plan.tradeplan.strategies.get(slot.strategy, {}).get("filename")
    return (Path(plan.tradeplan_dir) / name).resolve() if isinstance(name, str) else None
