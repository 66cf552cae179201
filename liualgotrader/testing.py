"""The simulated market inside a test: for strategies, and for any program that speaks the vendors' protocols.

In a test module or `conftest.py` write `from liualgotrader.testing import simulated_market`; a test that takes
`simulated_market` then has a market of its own. Other ones are made with `StandingMarket(...)`.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import msgspec
import pytest

from liualgotrader.common.clock import SECOND, as_datetime
from liualgotrader.common.session_plan import MarketSpec
from liualgotrader.common.tradeplan import Simulation
from liualgotrader.simulator.market_server import ACCOUNT, RunningMarket, keep, serve
from liualgotrader.simulator.subscriptions import ApiKeys
from liualgotrader.supervisor.request import MarketAccount, TraderRequest, generated_pair, market_spec, simulated_hours

T = TypeVar("T")


class StandingMarket:
    """A market on a free port of the loopback, served by a thread; as a context manager it ends with its block.

    Its time stands until `run_until` or `advance` moves it, as fast as it goes or at `speed` market seconds a second, which
    return once everything up to then has been sent. It
    plays a generated day of `symbols` (names, or how many), or with `data` the recorded `day` of that folder, from
    `start` to `end` (New York; the session's bounds without). `faults` is a script, `state` a folder that keeps the
    account from day to day; further keywords are fields of `[simulation]` such as `fees`.

    Raises:
        ConfigError: if what is asked for cannot be played.
    """

    def __init__(
        self,
        symbols: int | tuple[str, ...] = 5,
        *,
        day: str = "",
        data: str = "",
        start: str = "",
        end: str = "",
        seed: int = 0,
        cash: str = "100000",
        speed: float = 0.0,
        faults: str | Path = "",
        state: str | Path = "",
        **simulation: Any,
    ) -> None:
        chosen: dict[str, Any] = {"symbol_count" if isinstance(symbols, int) else "symbols": symbols}
        chosen |= {"data": data, "day": day, "speed": speed, "faults": str(faults), "state": str(state)}
        request = TraderRequest(simulate=True, **chosen)
        account = request.kept_account() or MarketAccount(ACCOUNT, Path())
        hours = simulated_hours(request.market_day(), (start, end), 1, 0)
        spec = market_spec(request, msgspec.convert(simulation, Simulation), hours, seed, account)
        options = {"account": account.number, "standing": True}
        key_id, secret_key = generated_pair()
        self._begin(
            msgspec.structs.replace(spec, cash=cash, state=str(account.state) if state else "", options=options),
            ApiKeys(key_id.reveal(), secret_key.reveal()),
        )

    def _begin(self, spec: MarketSpec, keys: ApiKeys, **of_tests: Any) -> None:
        self.key_id, self.secret_key = keys.key_id, keys.secret_key
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="simulated-market", daemon=True)
        self._thread.start()
        self.running: RunningMarket = self.call(serve(spec, keys, **of_tests))

    def call(self, work: Coroutine[Any, Any, T], seconds: float = 60) -> T:
        """Run a coroutine in the market's loop and return what it returns."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(seconds)

    def read(self, look: Callable[[RunningMarket], T]) -> T:
        """Return what `look` sees, in the market's loop."""

        async def in_loop() -> T:
            return look(self.running)

        return self.call(in_loop())

    @property
    def url(self) -> str:
        """The root of REST addresses: `url_override` of alpaca-py's clients."""
        return self.running.url

    @property
    def websocket_url(self) -> str:
        """The root of stream addresses: `/v2/iex` has data, `/stream` order updates."""
        return self.running.websocket_url

    @property
    def environment(self) -> dict[str, str]:
        """The variables that point programs at this market."""
        return self.running.environment

    @property
    def time(self) -> dt.datetime:
        """The market's time, in New York."""
        return as_datetime(self.running.world.now)

    def advance(self, seconds: float) -> None:
        """Let so many seconds of market time pass."""
        self.call(self.running.loop.run_until(self.running.world.now + round(seconds * SECOND)))

    def run_until(self, time: str) -> None:
        """Let the market go on to a time of its day such as 10:15, New York, or to its end, and stand there."""
        at = dt.datetime.combine(self.time.date(), dt.time.fromisoformat(time))
        self.advance((at - self.time.replace(tzinfo=None)).total_seconds())

    def close(self) -> None:
        """End the market and all connections, and keep its account where `state` says so."""
        if self._loop.is_closed():
            return
        self.call(self.running.close())
        keep(self.running.world.exchange, self.running.world.spec)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)
        self._loop.close()

    def __enter__(self) -> StandingMarket:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


@pytest.fixture
def simulated_market(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandingMarket]:
    """A market of five generated symbols that stands shortly before 09:30; the vendor's variables point at it."""
    with StandingMarket() as market:
        for name, value in market.environment.items():
            monkeypatch.setenv(name, value)
        yield market
