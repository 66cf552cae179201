"""The one fake broker (the exchange, in process) behind an unreliable line, and a desk in front of it that can crash.

`World` is synchronous and makes nothing happen by itself: a test says which request, answer or update
arrives, is lost, is doubled, or comes out of order, and when the desk dies.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeVar

import msgspec

from liualgotrader.common.clock import NEVER, SECOND
from liualgotrader.common.errors import BrokerRefused, BrokerUnreachable
from liualgotrader.common.events import Quote, TradeTick
from liualgotrader.common.order_id import client_order_id
from liualgotrader.common.orders import (
    BrokerAccount,
    BrokerActivity,
    BrokerExecution,
    BrokerOrder,
    BrokerPosition,
    BrokerUpdate,
    CancelIntent,
    Declare,
    News,
    OrderIntent,
    OrderNews,
    OrderType,
    ReplaceIntent,
    Side,
)
from liualgotrader.common.rows import OrderRow, Row, TradeRow
from liualgotrader.common.session_plan import Hours, SlotPlan
from liualgotrader.common.tradeplan import Limits, Timings
from liualgotrader.exchange.exchange import Exchange
from liualgotrader.exchange.exchange_values import AssetTerms
from liualgotrader.exchange.rules import ExchangeSession, Rules
from liualgotrader.orders.desk import Desk
from liualgotrader.orders.desk_messages import (
    Answer,
    Begin,
    BrokerRequest,
    BrokerSnapshot,
    Cancel,
    CancelAll,
    Decision,
    DeskTerms,
    Input,
    JournalRecord,
    LookUp,
    OrderFound,
    Outcome,
    Reconcile,
    Reconnected,
    Replace,
    Send,
    Tell,
    Tick,
    Write,
    prices_of,
)
from liualgotrader.trading.simulated_broker import SimulatedBroker

T = TypeVar("T")

OPEN = 1_750_685_400 * SECOND  # 2025-06-23 09:30 New York
CLOSE = OPEN + 23_400 * SECOND
BATCH = "0b5e7a4e-0000-4000-8000-000000000000"
SYMBOLS = ("AAPL", "MSFT")
HOURS = Hours("2025-06-23", OPEN, CLOSE, CLOSE - 900 * SECOND, CLOSE + 60 * SECOND)
SLOTS = (SlotPlan(1, "alpha", 0, 11), SlotPlan(2, "beta", 1, 12))
WIDE = Limits(
    order_equity_fraction=1.0,
    order_dollars=1e9,
    position_equity_fraction=1.0,
    daily_loss_stop_fraction=1.0,
    daily_loss_flatten_fraction=1.0,
    orders_per_minute=100_000,
    open_orders=1000,
)


def desk_terms(**changes: Any) -> DeskTerms:
    """Return the terms of a session with two slots, DAY_TRADE `alpha` and `beta`."""
    return msgspec.structs.replace(DeskTerms(BATCH, SLOTS, HOURS, Timings(), Limits()), **changes)


def now_of(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError("it waits for something")


class World:
    """A desk, its journal, and an exchange at the other end of a line that a test controls."""

    def __init__(self, terms: DeskTerms | None = None, *, cash: str = "100000", rules: Rules | None = None) -> None:
        self.terms = terms or desk_terms(limits=WIDE)
        self.now = OPEN + SECOND
        self.machine = 1000 * SECOND
        assets = [AssetTerms(symbol) for symbol in SYMBOLS]
        session = ExchangeSession(opens_at=OPEN, closes_at=CLOSE)
        self.exchange = Exchange(assets, session=session, rules=rules or Rules(latency_ns=SECOND // 100), seed=3)
        self.exchange.advance(self.now)
        self.exchange.open_account("me", Decimal(cash))
        self.broker = SimulatedBroker(self.exchange, "me", lambda: self.now)
        self.desk = Desk()
        self.journal: list[bytes] = []
        self.commands: list[Decision] = []  # decided, not yet at the broker
        self.answers: list[Input] = []  # on their way back
        self.updates: list[BrokerUpdate] = []  # of the order stream, on their way
        self.rows: dict[int, Row] = {}
        self.news: dict[int, list[News]] = defaultdict(list)
        self.others: list[Decision] = []
        self.bulks: list[CancelAll] = []
        self.generation = 0
        self.numbers: dict[int, int] = defaultdict(int)
        self._stream = self.broker._waiting
        for symbol in SYMBOLS:
            self.quote(symbol, 99.99, 100.01)
        self.start()

    # --- the desk ----------------------------------------------------------------------------------

    def tell(self, told: Input) -> list[Decision]:
        """Write an input down, let the desk decide, and sort what it decided."""
        if isinstance(told, BrokerSnapshot):
            told = self.desk.relevant(told)
        self.journal.append(msgspec.msgpack.encode(JournalRecord(self.now, self.machine, told)))
        entry = msgspec.msgpack.decode(self.journal[-1], type=JournalRecord)
        decisions = self.desk.decide(entry.told, entry.now, entry.machine)
        for decision in decisions:
            self._sort(decision)
        return decisions

    def _sort(self, decision: Decision) -> None:
        if isinstance(decision, Write):
            assert decision.number not in self.rows
            self.rows[decision.number] = decision.row
        elif isinstance(decision, Tell):
            self.news[decision.slot].append(decision.news)
        elif isinstance(decision, CancelAll):
            self.bulks.append(decision)
            self.commands += decision.cancels
        elif isinstance(decision, Send | Cancel | Replace | LookUp | Reconcile):
            self.commands.append(decision)
        else:
            self.others.append(decision)

    def start(self) -> None:
        """Begin, connect, declare the slots and learn the account."""
        self.generation += 1
        self.tell(Begin(self.terms, self.generation))
        self.tell(Reconnected())
        for slot in self.terms.slots:
            self.tell(Declare(slot.slot, slot.strategy, True, self.desk.state.slots[slot.slot].news.__len__()))
        self.learn_account()

    def learn_account(self) -> None:
        self.tell(prices_of(now_of(self.broker.positions())))
        self.tell(now_of(self.broker.account()))

    def crash(self) -> None:
        """Kill the desk, with everything that was on its way to or from it but the broker's books; start it again."""
        rows, news = dict(self.rows), {slot: list(self.desk.news(slot)) for slot in (1, 2)}
        self.commands.clear()
        self.answers.clear()
        self.updates.clear()
        self.desk = Desk()
        self.rows = {}
        for raw in self.journal:
            entry = msgspec.msgpack.decode(raw, type=JournalRecord)
            for decision in self.desk.decide(entry.told, entry.now, entry.machine):
                if isinstance(decision, Write):
                    self.rows[decision.number] = decision.row
        assert self.rows == rows
        assert {slot: list(self.desk.news(slot)) for slot in (1, 2)} == news
        self.start()

    # --- the strategies ----------------------------------------------------------------------------

    def order(self, slot: int, side: str, quantity: int | str, symbol: str = "AAPL", **terms: Any) -> str:
        """Ask for an order and return its id; market orders unless a `limit_price` is given."""
        self.numbers[slot] += 1
        name = client_order_id(BATCH, slot, self.numbers[slot])
        quote = self.exchange.quote(symbol)
        price = Decimal(str(quote.ask if side == "buy" else quote.bid)) if quote else None
        fields: dict[str, Any] = {
            "type": OrderType.LIMIT if "limit_price" in terms else OrderType.MARKET,
            "decided_at": self.now,
            "valid_until": self.machine + 5 * SECOND,
            "reference_price": price,
            "reference_at": self.now,
        }
        fields |= terms
        plan = {s.slot: s.strategy for s in SLOTS}
        self.tell(OrderIntent(name, slot, plan.get(slot, "?"), symbol, Side(side), Decimal(quantity), **fields))
        return name

    def cancel(self, name: str, slot: int) -> None:
        self.tell(CancelIntent(name, slot, self.now))

    # --- the market --------------------------------------------------------------------------------

    def quote(self, symbol: str, bid: float, ask: float, size: float = 100_000) -> None:
        self.exchange.on_event(Quote(symbol, self.now, bid, size, ask, size))
        self._collect()

    def trade(self, symbol: str, price: float, size: float = 100) -> None:
        self.exchange.on_event(TradeTick(symbol, self.now, price, size))
        self._collect()

    def wait(self, seconds: float) -> None:
        """Let both clocks run, serving the desk's alarms."""
        until, ends = self.now + int(seconds * SECOND), self.machine + int(seconds * SECOND)
        while (due := min(self.desk.next_market, until)) < until:
            self.machine += max(0, due - self.now)
            self.now = max(self.now, due)
            self._collect()
            self.tell(Tick())
        self.now, self.machine = until, max(self.machine, ends)
        self._collect()
        if self.desk.next_machine <= self.machine:
            self.tell(Tick())

    def _collect(self) -> None:
        self.exchange.advance(self.now)
        self.broker.deliver()
        while not self._stream.empty():
            update = self._stream.get_nowait()
            assert update is not None
            self.updates.append(update)

    # --- the line ----------------------------------------------------------------------------------

    def carry_out(self, index: int = 0, fault: str = "") -> None:
        """Let a command reach the broker; `lost`: it never arrives; `mute`: it does, and its answer is lost."""
        command = self.commands.pop(index)
        if fault == "lost":
            self.answers.append(_silence(command))
            return
        answer = self._ask(command)
        self._collect()
        self.answers.append(_silence(command) if fault == "mute" else answer)

    def _ask(self, command: Decision) -> Input:
        match command:
            case Send(order):
                return self._answer(BrokerRequest.SUBMIT, order.client_order_id, self.broker.submit(order))
            case Cancel(name, broker_id, _):
                return self._answer(BrokerRequest.CANCEL, name, self.broker.cancel(broker_id))
            case Replace(name, broker_id, _, terms):
                return self._answer(BrokerRequest.REPLACE, name, self.broker.replace(broker_id, terms, name))
            case LookUp(name, _):
                return OrderFound(name, True, now_of(self.broker.order_by_client_id(name)))
            case Reconcile(since):
                return self.snapshot(since)
        raise AssertionError(command)

    def _answer(self, request: BrokerRequest, name: str, asked: Coroutine[Any, Any, BrokerOrder | None]) -> Answer:
        try:
            return Answer(request, name, Outcome.ACCEPTED, now_of(asked))
        except BrokerRefused as e:
            return Answer(request, name, Outcome.DECLINED, None, str(e), e.code)

    def snapshot(self, since: int) -> BrokerSnapshot:
        positions = now_of(self.broker.positions())
        orders = {o.broker_order_id: o for o in now_of(self.broker.orders(since=0, open_only=True))}
        orders |= {o.broker_order_id: o for o in now_of(self.broker.orders(since=since))}
        executions = now_of(self.broker.executions(since=since))
        activities = now_of(self.broker.activities(since=since))
        return BrokerSnapshot(True, tuple(orders.values()), tuple(executions), tuple(positions), tuple(activities))

    def hear(self, index: int = 0) -> None:
        """Let an answer reach the desk."""
        self.tell(self.answers.pop(index))

    def update(self, index: int = 0, *, again: bool = False) -> None:
        """Let an update reach the desk; `again` leaves a copy on the line."""
        update = self.updates[index] if again else self.updates.pop(index)
        self.tell(update)

    def run(self, turns: int = 500) -> None:
        """Carry everything out in order and without faults until nothing is under way."""
        for _ in range(turns):
            if self.commands:
                self.carry_out()
            elif self.answers:
                self.hear()
            elif self.updates:
                self.update()
            elif self.desk.next_machine < NEVER:
                self.machine = max(self.machine, self.desk.next_machine)
                self.tell(Tick())
            else:
                return
        raise AssertionError("it does not come to rest")

    def calm(self, rounds: int = 20) -> None:
        """Let everything settle, reconcile, and let the market go on a little in between."""
        self.run()
        for _ in range(rounds):
            self.wait(5)
            self.run()
        self.tell(Reconnected())
        self.run()

    # --- what is true ------------------------------------------------------------------------------

    def order_rows(self) -> dict[str, OrderRow]:
        """Return the newest row of every order."""
        return {row.client_order_id: row for _, row in sorted(self.rows.items()) if isinstance(row, OrderRow)}

    def trade_rows(self) -> list[TradeRow]:
        return [row for _, row in sorted(self.rows.items()) if isinstance(row, TradeRow)]

    def held(self, slot: int, symbol: str = "AAPL") -> Decimal:
        return self.desk.state.positions.held(slot, symbol)

    def states(self, name: str) -> list[str]:
        """Return the states that an order's news went through."""
        told = (n for said in self.news.values() for n in said if isinstance(n, OrderNews))
        return [str(n.state) for n in told if n.client_order_id == name]


def _silence(command: Decision) -> Input:
    match command:
        case Send(order):
            return Answer(BrokerRequest.SUBMIT, order.client_order_id, Outcome.SILENCE, None, "no answer")
        case Cancel(name, _, _):
            return Answer(BrokerRequest.CANCEL, name, Outcome.SILENCE, None, "no answer")
        case Replace(name, _, _, _):
            return Answer(BrokerRequest.REPLACE, name, Outcome.SILENCE, None, "no answer")
        case LookUp(name, _):
            return OrderFound(name, False)
    return BrokerSnapshot(False)


class UnreliableBroker:
    """A broker behind a bad line: `plan` says for each call whether it is `lost`, `mute` or goes well (empty).

    Updates pass through `line`, which returns what becomes of one: nothing, itself, or itself twice.
    """

    def __init__(
        self,
        inner: SimulatedBroker,
        plan: Callable[[str], str] = lambda call: "",
        line: Callable[[BrokerUpdate], Sequence[BrokerUpdate]] = lambda update: [update],
    ) -> None:
        self.inner, self.plan, self.line = inner, plan, line
        self.submitted: list[str] = []
        self.connected = asyncio.Event()
        self.connected.set()
        self._reconnects: asyncio.Queue[None] = asyncio.Queue()

    async def _through(self, name: str, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        fault = self.plan(name)
        if fault == "lost":
            raise BrokerUnreachable(f"{name}: no answer")
        answer = await call()
        if fault == "mute":
            raise BrokerUnreachable(f"{name}: no answer")
        return answer

    async def submit(self, order: OrderIntent) -> BrokerOrder:
        self.submitted.append(order.client_order_id)
        return await self._through("submit", lambda: self.inner.submit(order))

    async def cancel(self, broker_order_id: str) -> None:
        await self._through("cancel", lambda: self.inner.cancel(broker_order_id))

    async def cancel_all(self) -> Collection[str]:
        return await self._through("cancel_all", self.inner.cancel_all)

    async def replace(self, broker_order_id: str, terms: ReplaceIntent, client_order_id: str) -> BrokerOrder:
        return await self._through("replace", lambda: self.inner.replace(broker_order_id, terms, client_order_id))

    async def order_by_client_id(self, client_order_id: str) -> BrokerOrder | None:
        return await self._through("look_up", lambda: self.inner.order_by_client_id(client_order_id))

    async def orders(self, *, since: int, open_only: bool = False) -> Sequence[BrokerOrder]:
        return await self._through("orders", lambda: self.inner.orders(since=since, open_only=open_only))

    async def executions(self, *, since: int) -> Sequence[BrokerExecution]:
        return await self._through("executions", lambda: self.inner.executions(since=since))

    async def activities(self, *, since: int) -> Sequence[BrokerActivity]:
        return await self._through("activities", lambda: self.inner.activities(since=since))

    async def positions(self) -> Sequence[BrokerPosition]:
        return await self._through("positions", self.inner.positions)

    async def account(self) -> BrokerAccount:
        return await self._through("account", self.inner.account)

    async def clock(self) -> int:
        return await self._through("clock", self.inner.clock)

    async def latest(self, symbols: Sequence[str]) -> Mapping[str, Decimal]:
        return await self.inner.latest(symbols)

    async def updates(self) -> AsyncIterator[BrokerUpdate | None]:
        async for update in self.inner.updates():
            for passed in [None] if update is None else self.line(update):
                yield passed

    async def close(self) -> None:
        await self.inner.close()
