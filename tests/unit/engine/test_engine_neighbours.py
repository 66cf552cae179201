"""Strategies in one process: what one of them does to Python changes no order of its own and none of its neighbour."""

from __future__ import annotations

import asyncio
import decimal
import logging
import threading
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liualgotrader.common.interpreter import own_random
from liualgotrader.common.orders import AccountNews
from liualgotrader.strategies.base import Strategy
from tests.examples import examples
from tests.unit.engine.conftest import Stage, buy, orders, running

ROUNDINGS = [decimal.ROUND_UP, decimal.ROUND_DOWN, decimal.ROUND_CEILING, decimal.ROUND_HALF_EVEN, decimal.ROUND_05UP]
SIGNALS = list(decimal.Context().traps)


def acting(act: Callable[[Any], None]) -> type[Strategy]:
    class Acts(Strategy):
        def on_bar(self, ctx: Any, bar: Any) -> None:
            act(ctx)

    return Acts


def everything(ctx: Any) -> None:
    size = ctx.shares(stop=9.123456789, risk=0.01)
    first = ctx.buy("123456.123456789", limit="10.123456789", stop_loss="9.87654321", take_profit=11.1, stop_price=9.5)
    ctx.sell(size + 0.000000001)
    ctx.replace(first, quantity="7.000000001", limit="1234.5678")
    ctx.buy(first.remaining)


def played(act: Callable[[Any], None]) -> list[Any]:
    stage = Stage(portfolio_value=1_000_003.7)
    stage.cast(acting(act))
    stage.news(AccountNews(0, Decimal("1000003.71"), Decimal("1000003.71"), Decimal(0)))
    stage.pick()
    return stage.minute(0, 10.01)


@examples(60)
@given(st.integers(1, 60), st.sampled_from(ROUNDINGS), st.sets(st.sampled_from(SIGNALS)), st.integers(0, 3))
def test_a_strategys_decimal_precision_rounding_and_traps_change_no_order(
    precision: int, rounding: str, traps: set[Any], largest: int
) -> None:
    def in_its_own_way(ctx: Any) -> None:
        hostile = decimal.Context(precision, rounding, Emax=largest, Emin=-largest, traps=list(traps))
        decimal.setcontext(hostile)
        everything(ctx)

    before = decimal.getcontext().prec
    expected = played(everything)
    assert len(orders(expected)) == 3
    assert played(in_its_own_way) == expected
    assert decimal.getcontext().prec == before


def test_a_strategys_arithmetic_is_its_own_from_call_to_call_and_not_its_neighbours() -> None:
    stage = Stage()
    seen: dict[str, list[str]] = {}

    def precise(ctx: Any) -> None:
        seen.setdefault("own", []).append(str(Decimal(1) / 3))
        decimal.getcontext().prec = 4

    async def neighbour(self: Any, **arguments: Any) -> Any:
        seen.setdefault("neighbour", []).append(str(Decimal(1) / 3))
        return True, buy("123456.789")

    stage.cast(acting(precise), slot=0)
    stage.cast(running(neighbour), slot=1)
    stage.pick()
    found = stage.minute(0) + stage.minute(1)
    third = "0." + "3" * 28
    assert seen["own"] == [third, "0.3333"] and seen["neighbour"][0] == third
    assert [str(one.quantity) for one in orders(found)] == ["123456.789"]


def test_what_numpy_is_told_by_one_strategy_is_not_told_its_neighbour() -> None:
    import numpy as np

    def strict(ctx: Any) -> None:
        np.seterr(all="raise")

    def usual(ctx: Any) -> None:
        found.append(np.geterr()["divide"])

    stage = Stage()
    found: list[str] = []
    stage.cast(acting(strict), slot=0)
    stage.cast(acting(usual), slot=1)
    stage.pick()
    stage.minute(0)
    assert found == ["warn"] and np.geterr()["divide"] == "warn"


ACTS = {
    "buy": lambda ctx, handle: ctx.buy(1),
    "sell": lambda ctx, handle: ctx.sell(1),
    "close": lambda ctx, handle: ctx.close(),
    "cancel": lambda ctx, handle: ctx.cancel(handle),
    "replace": lambda ctx, handle: ctx.replace(handle, quantity=2),
    "protect": lambda ctx, handle: ctx.protect(stop_price=9),
}


@pytest.mark.parametrize("what", ACTS)
@pytest.mark.parametrize("whence", ["a thread", "a thread with its context", "later", "another strategy's call"])
def test_what_a_strategy_asks_outside_its_call_is_refused_in_one_sentence_that_names_it(
    what: str, whence: str, caplog: pytest.LogCaptureFixture
) -> None:
    import contextvars

    kept: list[Any] = []
    raised: list[BaseException] = []

    def ask(ctx: Any, handle: Any) -> None:
        try:
            ACTS[what](ctx, handle)
        except RuntimeError as error:
            raised.append(error)

    def act(ctx: Any) -> None:
        handle = ctx.buy(5)
        kept[:] = [ctx, handle]
        if whence.startswith("a thread"):
            run = contextvars.copy_context().run if "context" in whence else lambda f, *a: f(*a)
            thread = threading.Thread(target=run, args=(ask, ctx, handle))
            thread.start()
            thread.join()

    stage = Stage()
    stage.cast(acting(act), name="Threaded")
    stage.cast(acting(lambda ctx: ask(*kept) if whence.startswith("another") else None), slot=1)
    stage.pick()
    with caplog.at_level(logging.ERROR):
        first = orders(stage.minute(0))[0]
        stage.fill(first, "5", "10", "5")
        raised.clear()
        caplog.clear()
        found = stage.minute(1)
        if whence == "later":
            ask(*kept)
    (error,) = raised
    assert str(error).startswith("strategy Threaded ") and "\n" not in str(error)
    assert [type(one).__name__ for one in found] == ["OrderIntent", "SignalRow"], "only that of the call itself"


def test_after_an_await_a_strategy_orders_no_more_by_its_context() -> None:
    stage, kept, raised = Stage(), [], []

    class Waits(Strategy):
        def on_bar(self, ctx: Any, bar: Any) -> None:
            kept.append(ctx)

        async def run(self, symbol: str, *_: Any, **more: Any) -> Any:
            await asyncio.sleep(0)
            try:
                kept[0].buy(1)
            except RuntimeError as error:
                raised.append(str(error))
            return False, {}

    stage.cast(Waits)
    stage.pick()
    (waiting,) = [one for one in stage.minute(0) if type(one).__name__ == "WaitingCall"]
    with pytest.raises(StopIteration):
        waiting.rest.send(None)
    assert raised and raised[0].startswith("strategy Waits ")


def test_random_is_a_strategys_own_whoever_else_draws() -> None:
    """Two strategies draw in turn; what one of them gets does not depend on the other."""
    module = own_random()

    def draws(slots: tuple[int, ...]) -> dict[int, list[float]]:
        stage = Stage(seed=7)
        found: dict[int, list[float]] = {}

        def draw(slot: int, ctx: Any) -> None:
            found.setdefault(slot, []).append(module.random())

        for slot in slots:
            stage.cast(acting(partial(draw, slot)), slot=slot)
        stage.pick()
        stage.minute(0)
        stage.minute(1)
        return found

    both = draws((0, 1))
    assert draws((0,))[0] == both[0]
