"""Strategies and scanners that do what user code does on a bad day, each in its own way."""

from __future__ import annotations

import asyncio
import decimal
import logging
import os
import signal
import sys
import threading
import time
import warnings
from typing import Any

from liualgotrader.scanners.base import Scanner
from liualgotrader.strategies.base import Strategy, StrategyType


def _harm_everybody() -> None:
    """Change what all code of a process shares."""
    decimal.getcontext().prec = 4
    warnings.simplefilter("error")
    logging.basicConfig(force=True)
    os.chdir("/")
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


_harm_everybody()


class _OfTheOriginal(Strategy):
    """A strategy in the original's style; `_act` is what it does when it is called."""

    def __init__(self, batch_id: str, schedule: Any = None, ref_run_id: Any = None, data_loader: Any = None) -> None:
        super().__init__(type(self).__name__, StrategyType.DAY_TRADE, batch_id, schedule or [], ref_run_id, data_loader)

    async def run(self, symbol: str, *arguments: Any, **named: Any) -> tuple[bool, dict[str, Any]]:
        acted: tuple[bool, dict[str, Any]] = await self._act(symbol)
        return acted

    async def _act(self, symbol: str) -> Any:
        raise NotImplementedError


class RaisesWhenMade(_OfTheOriginal):
    def __init__(self, *arguments: Any, **named: Any) -> None:
        raise RuntimeError("no such model file")


class RaisesInCreate(_OfTheOriginal):
    async def create(self) -> bool:
        raise LookupError("nothing to begin with")


class RaisesInRun(_OfTheOriginal):
    async def _act(self, symbol: str) -> Any:
        return 1 / 0


class ExitsInRun(_OfTheOriginal):
    async def _act(self, symbol: str) -> Any:
        sys.exit("I have had enough")


class ExitsAfterAWait(_OfTheOriginal):
    async def _act(self, symbol: str) -> Any:
        await asyncio.sleep(0)
        sys.exit(7)


class HarmsInRun(_OfTheOriginal):
    async def _act(self, symbol: str) -> Any:
        _harm_everybody()
        return False, {}


class OrdersFromAThread(Strategy):
    def on_bar(self, ctx: Any, bar: Any) -> None:
        thread = threading.Thread(target=lambda: ctx.buy(1))
        thread.start()
        thread.join()


class EndsItsProcess(_OfTheOriginal):
    """As a crash in a library would."""

    async def _act(self, symbol: str) -> Any:
        os._exit(9)


class Spins(_OfTheOriginal):
    async def _act(self, symbol: str) -> Any:
        while True:
            pass


class Sleeps(_OfTheOriginal):
    async def _act(self, symbol: str) -> Any:
        time.sleep(100)


class AwaitsForEver(_OfTheOriginal):
    async def _act(self, symbol: str) -> Any:
        await asyncio.Event().wait()


class ReturnsNonsense(_OfTheOriginal):
    """Something else each time that no order can be made of."""

    _calls = 0

    async def _act(self, symbol: str) -> Any:
        self._calls += 1
        nonsense = [
            None,
            42,
            "buy!",
            (True, None),
            (True, {}),
            (True, {"side": "up", "qty": "1", "type": "market"}),
            (True, {"side": "buy", "qty": "many", "type": "market"}),
            (True, {"side": "buy", "qty": "nan", "type": "market"}),
            (True, {"side": "buy", "qty": "1", "type": "limit"}),
            (True, {"side": "buy", "qty": "1", "type": "limit", "limit_price": float("inf")}),
            (True, {"side": "buy", "qty": "1e30", "type": "market"}),
        ]
        return nonsense[self._calls % len(nonsense)]


class _Named(Scanner):
    def __init__(
        self, data_loader: Any = None, recurrence: Any = None, target_strategy_name: str | None = None
    ) -> None:
        super().__init__(
            name=type(self).__name__,
            data_loader=data_loader,
            recurrence=recurrence,
            target_strategy_name=target_strategy_name,
        )


class PicksUnknown(_Named):
    async def run(self, back_time: Any = None) -> list[str]:
        return ["NOSUCHTHING", "no/such:symbol!", ""]


class Raises(_Named):
    async def run(self, back_time: Any = None) -> list[str]:
        raise KeyError("gainers")


class LeavesAtOnce(_Named):
    async def run(self, back_time: Any = None) -> list[str]:
        os._exit(3)


class ReturnsNumbers(_Named):
    async def run(self, back_time: Any = None) -> Any:
        return [1, 2, 3]


class NeverReturns(_Named):
    async def run(self, back_time: Any = None) -> list[str]:
        while True:
            time.sleep(1)
