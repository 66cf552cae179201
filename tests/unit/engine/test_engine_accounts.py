"""Cash of a portfolio: the order gateway books every fill, and what a strategy books of the same fill is not booked again."""

from __future__ import annotations

import asyncio
import decimal
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from liualgotrader.common.orders import CaughtUp, Fill
from liualgotrader.common.session_plan import SlotPlan
from liualgotrader.engine.outputs import WaitingCall
from liualgotrader.models.accounts import Accounts
from liualgotrader.strategies.base import Strategy, StrategyType
from tests.unit.engine.conftest import BATCH, Stage, buy, orders

D = Decimal
MINE, OTHER = 7, 8
Booked = list[tuple[int, Decimal]]


class Ledger:
    """Stands for the pool: keeps what is written of movements."""

    def __init__(self) -> None:
        self.moved: Booked = []

    async def execute(self, statement: str, account_id: int, amount: str, *more: Any) -> None:
        self.moved.append((account_id, Decimal(amount)))


class Books(Strategy):
    """Orders `side` once, and books in its callbacks as `book(price, qty, fee)` says: (account, amount) each."""

    def __init__(self, *base: Any, ledger: Ledger, side: str, book: Callable[..., Any], waits: bool = False) -> None:
        super().__init__(*base)
        self.ledger, self.side, self.book, self.waits = ledger, side, book, waits
        self.ordered = False

    async def run(  # type: ignore[override]
        self, symbol: str, shortable: bool, position: float, now: Any, minute_history: Any, **more: Any
    ) -> Any:
        if self.ordered:
            await Accounts.add_transaction(MINE, -200.1, pool=self.ledger)  # the fill's very amount, and no callback
            return False, {}
        self.ordered = True
        return True, buy(10, side=self.side)

    async def told(self, price: float, qty: float, fee: float) -> None:
        if self.waits:
            await asyncio.sleep(0)
        for account_id, amount in self.book(price, qty, fee):
            await Accounts.add_transaction(account_id, amount, pool=self.ledger)

    async def buy_callback(
        self, symbol: str, price: float, qty: float, now: Any = None, trade_fee: float = 0.0
    ) -> None:
        await self.told(price, qty, trade_fee)

    async def sell_callback(
        self, symbol: str, price: float, qty: float, now: Any = None, trade_fee: float = 0.0
    ) -> None:
        await self.told(price, qty, trade_fee)


class HearsPartials(Books):
    async def buy_callback(  # type: ignore[override]
        self, symbol: str, price: float, qty: float, remaining_qty: float, now: Any = None, trade_fee: float = 0.0
    ) -> None:
        await self.told(price, qty, trade_fee)


def paid(price: float, qty: float, fee: float) -> Any:
    return [(MINE, -price * qty)]


def paid_with_fee(price: float, qty: float, fee: float) -> Any:
    return [(MINE, -price * qty - fee)]


def paid_with_little_precision(price: float, qty: float, fee: float) -> Any:
    decimal.getcontext().prec = 2  # the strategy's own
    return paid_with_fee(price, qty, fee)


def paid_and_fee(price: float, qty: float, fee: float) -> Any:
    return [(MINE, round(-price * qty, 2)), (MINE, -fee)]


def received(price: float, qty: float, fee: float) -> Any:
    return [(MINE, price * qty)]


def received_less_fee(price: float, qty: float, fee: float) -> Any:
    return [(MINE, price * qty - fee)]


def received_and_fee(price: float, qty: float, fee: float) -> Any:
    return [(MINE, -fee), (MINE, price * qty)]


def paid_and_no_fee(price: float, qty: float, fee: float) -> Any:
    return [(MINE, -price * qty), (MINE, -0.0)]


def play(
    side: str,
    book: Callable[..., Any],
    kind: type[Books] = Books,
    *,
    parts: int = 1,
    account: int | None = MINE,
    fee: str = "0.03",
    **more: Any,
) -> tuple[Ledger, Stage]:
    """Fill an order for 10 shares at 20.01 in `parts`, with a fee each."""
    stage, ledger = Stage(), Ledger()
    strategy = kind("Books", StrategyType.DAY_TRADE, BATCH, [], ledger=ledger, side=side, book=book, **more)
    stage.engine.add(SlotPlan(0, "Books", 0, 1, account_id=account), strategy)
    stage.seq[0] = 0
    stage.engine.on_news([CaughtUp(0, 0, 1)], stage.now, 0)
    stage.pick()
    [order] = orders(stage.minute(0, 20.01))
    for number in range(1, parts + 1):
        shares, done = D(10) / parts, D(10) / parts * number
        stage.news(
            Fill(
                stage.next_seq(0), 0, order.client_order_id, f"x{number}", "AAPL", order.side, shares, D("20.01"), D(fee),
                stage.now, done, 10 - done, done * order.side.sign,
            )
        )  # fmt: skip
    return ledger, stage


@pytest.mark.parity(62)
@pytest.mark.parametrize(
    ("side", "book"),
    [
        ("buy", paid),
        ("buy", paid_with_fee),
        ("buy", paid_with_little_precision),
        ("buy", paid_and_fee),
        ("sell_short", received),
        ("sell_short", received_less_fee),
        ("sell_short", received_and_fee),
    ],
)
def test_what_a_callback_books_of_its_fill_is_not_booked_again(side: str, book: Callable[..., Any]) -> None:
    assert play(side, book)[0].moved == []


def test_a_fee_of_nothing_is_booked_by_nobody() -> None:
    assert play("buy", paid_and_no_fee, fee="0")[0].moved == []


@pytest.mark.parametrize("parts", [2, 4, 5])
def test_a_fill_in_parts_is_booked_once_whether_the_callback_hears_each_part_or_the_whole(parts: int) -> None:
    assert play("buy", paid_with_fee, Books, parts=parts)[0].moved == []
    assert play("buy", paid_with_fee, HearsPartials, parts=parts)[0].moved == []


def test_other_movements_of_a_callback_go_through() -> None:
    def book(price: float, qty: float, fee: float) -> Any:
        return [(MINE, -200.1), (MINE, 1.25), (OTHER, -200.1), (MINE, -200.1), (MINE, 200.1)]

    ledger, _ = play("buy", book)
    assert ledger.moved == [(MINE, D("1.25")), (OTHER, D("-200.1")), (MINE, D("-200.1")), (MINE, D("200.1"))]


def test_an_amount_that_is_no_number_reaches_no_account() -> None:
    ledger, stage = play("buy", lambda price, qty, fee: [(MINE, float("nan"))])
    assert ledger.moved == []
    assert "nan $ cannot be booked" in str(stage.out)


def test_what_is_booked_outside_callbacks_goes_through() -> None:
    ledger, stage = play("buy", lambda *told: [])  # so that the fill's amount could still be taken for one
    stage.minute(1)
    assert ledger.moved == [(MINE, D("-200.1"))]


def test_without_a_portfolio_the_gateway_books_nothing_and_the_strategy_does() -> None:
    assert play("buy", paid, account=None)[0].moved == [(MINE, D(str(-20.01 * 10)))]


def test_a_callback_that_really_waits_books_nothing_again_and_what_follows_it_goes_through() -> None:
    ledger, stage = play("buy", paid, waits=True)
    [waiting] = [one for one in stage.out if isinstance(one, WaitingCall)]
    with pytest.raises(StopIteration):
        stage.engine.slots[0].run_own(waiting.rest.send, None)
    assert ledger.moved == []
    stage.engine.on_answer(waiting.ticket, None, None, stage.now, 0)
    stage.minute(1)
    assert ledger.moved == [(MINE, D("-200.1"))]
