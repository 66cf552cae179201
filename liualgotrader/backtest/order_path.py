"""The way of an order in one process: from the engine to the order desk, from there to the exchange, and back as news.

Nothing is lost on it, and no answer is awaited: what an input leads to has happened when the call returns.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Collection, Sequence
from decimal import Decimal
from math import inf
from typing import Any

from liualgotrader.backtest.run_record import RunRecord
from liualgotrader.common.clock import as_datetime
from liualgotrader.common.errors import BrokerRefused
from liualgotrader.common.events import Bar
from liualgotrader.common.money import exact
from liualgotrader.common.orders import (
    BrokerAccount,
    BrokerUpdate,
    CancelIntent,
    Declare,
    News,
    OrderIntent,
    Protect,
    ReplaceIntent,
)
from liualgotrader.common.rows import Row, SignalRow
from liualgotrader.engine.engine import Engine
from liualgotrader.engine.outputs import LoadHistory, LogLine, Output, SlotStopped
from liualgotrader.exchange.exchange import Exchange
from liualgotrader.exchange.exchange_order import ExchangeOrder
from liualgotrader.exchange.exchange_values import Execution
from liualgotrader.orders.desk import Desk
from liualgotrader.orders.desk_messages import (
    Answer,
    BrokerRequest,
    BrokerSnapshot,
    Cancel,
    CancelAll,
    Input,
    LookUp,
    OrderFound,
    Outcome,
    Prices,
    Reconcile,
    Replace,
    Send,
    StopSlotTrading,
    Tick,
    Warn,
    prices_of,
)
from liualgotrader.orders.desk_parts import DirectOutputs
from liualgotrader.trading.exchange_orders import (
    broker_execution,
    broker_order,
    broker_position,
    order_changes,
    order_now,
    order_request,
)

ACCOUNT = "backtest"
_ALL = 1_000_000  # orders asked for at once
_INTENTS = frozenset({OrderIntent, CancelIntent, ReplaceIntent, Protect})
_EQUITY_MOVED = 0.001  # of what was reported: the account is reported again before the next order
_MOST_FAILURES = 100

PastMinutes = Callable[[str, int, int], Sequence[Bar]]
"""Returns the closed minutes of a symbol from an instant (0: from where history begins) to another, oldest first."""

log = logging.getLogger(__name__)


class OrderPath:
    """Tells engine, desk and exchange what the others do; `now` is the market time of the newest of it, ns UTC.

    `extremes` returns the lowest and the highest close that a symbol will have in this session, US dollars: they say
    when nothing has to be looked at, and nothing else. Without them the desk is told of account and prices by `hear_all`
    alone, and of what was decided at an instant before any of it is answered, as the order gateway is.
    """

    def __init__(
        self,
        engine: Engine,
        make_exchange: Callable[..., Exchange],
        extremes: Callable[[str], tuple[float, float]] | None,
        history: PastMinutes,
        record: RunRecord,
        now: int,
    ) -> None:
        self._engine, self._extremes, self._history, self._record = engine, extremes, history, record
        self._outputs = DirectOutputs(record.rows)
        self.desk = Desk(self._outputs)
        self.exchange = make_exchange(listener=self.hear)
        self.now = now
        self._orders: dict[str, Row] = {}
        self._updates: deque[BrokerUpdate] = deque()  # of the exchange, that the desk has not heard
        self._cash = self._reported = record.first_equity  # dollars; and the equity that desk and strategies know
        self._stirred = True  # something has been asked or told since the account was reported
        self._weighed_at = 0  # when the equity was compared with it
        self._held: dict[str, float] = {}  # signed shares
        self._floor = -inf  # equity below which the desk looks at prices
        self._lowest: float | None = None  # equity that what is held can come to in this session; None: not known
        self._worst: dict[str, float] = {}  # of which so much by symbol

    def take(self, outputs: Sequence[Output]) -> None:
        """Carry out what the engine has decided."""
        # Before what they lead to: the last outcome of a signal counts, and its refusal comes with the intent.
        self._record.signals += [output for output in outputs if type(output) is SignalRow]
        if self._extremes is None:
            intents: Any = [output for output in outputs if type(output) in _INTENTS]
            outputs = [output for output in outputs if type(output) not in _INTENTS]
            self.tell(*intents)
        for output in outputs:
            if type(output) in _INTENTS:
                at: int = output.decided_at  # type: ignore[union-attr]
                self.now = max(self.now, at)
                if at != self._weighed_at:
                    self._weighed_at = at
                    if abs(self._equity() - self._reported) > _EQUITY_MOVED * self._reported:
                        self.report_account()
                self.tell(output)  # type: ignore[arg-type]
            elif isinstance(output, Declare):
                self.tell(output)
            elif isinstance(output, LoadHistory):
                bars = self._history(output.symbol, output.since, self.now)
                self.take(self._engine.on_history(output.symbol, bars, self.now, 0))
            elif isinstance(output, SlotStopped):
                self._record.stopped[output.slot] = output.reason
                self.tell(StopSlotTrading(output.slot, output.reason))
            elif isinstance(output, LogLine):
                if output.level >= logging.ERROR and len(self._record.failures) < _MOST_FAILURES:
                    at = max(self.now, self._engine.now)
                    self._record.failures.append(f"{output.text}, on {as_datetime(at):%Y-%m-%d at %H:%M} New York")
                log.log(output.level, "%s", output.text)
        if self._extremes is not None:
            self.settle()

    def hear(self, event: str, order: ExchangeOrder, execution: Execution | None) -> None:
        """Take in what happens to an order at the exchange."""
        self._stirred = True
        exchange = self.exchange
        if execution is None:
            told = order_now(order, exchange.legs(order) if order.child_ids else ())
            self._updates.append(BrokerUpdate(event, told, exchange.now))
            return
        symbol, paid = order.symbol, float(execution.quantity) * order.sign * float(execution.price)
        paid += float(execution.fee)
        self._cash -= paid
        self._held[symbol] = float(execution.position_quantity)
        if not execution.position_quantity:
            del self._held[symbol]
        if self._lowest is not None:
            before, self._worst[symbol] = self._worst.get(symbol, 0.0), self._worst_of(symbol)
            self._lowest += self._worst[symbol] - before - paid
        told = order_now(order, exchange.legs(order) if order.child_ids else ())
        self._updates.append(BrokerUpdate(event, told, execution.at, broker_execution(execution)))

    def settle(self) -> None:
        """Let the exchange do what is due, and tell the desk what has happened there."""
        if self.exchange.next_wakeup() <= self.now:
            self.exchange.advance(self.now)
        updates = self._updates
        while updates:
            update = updates.popleft()
            self.now = max(self.now, update.at)
            self.tell(update)

    @property
    def has_heard(self) -> bool:
        """Whether something has happened at the exchange that the desk has not been told."""
        return bool(self._updates)

    @property
    def is_quiet(self) -> bool:
        """Whether nothing has changed the account since it was reported, and nothing can but an order."""
        return not (self._stirred or self._held or self.exchange.watched)

    def hear_all(self, *, account: bool = False, prices: bool = False) -> Sequence[Output]:
        """Tell the desk all that has happened by now, with `account` or `prices` the exchange's books, then the engine the news."""
        updates, self._updates = self._updates, deque()
        news = self._decide([*updates, Tick()] if self.desk.next_market <= self.now else [*updates])
        if (account or prices) and (held := self.desk.held()):
            positions = map(broker_position, self.exchange.positions(ACCOUNT))
            news += self._decide([prices_of(one for one in positions if one.symbol in held)])
        if account:
            news += self._decide([self._account()])
        return self._engine.on_news(news, self.now, 0) if news else ()

    def tell(self, *told: Input) -> None:
        """Tell the desk something, and the engine and the exchange what follows from it."""
        if (news := self._decide([*told])) and (outputs := self._engine.on_news(news, self.now, 0)):
            self.take(outputs)

    def _decide(self, inputs: list[Input]) -> list[News]:
        """Let the desk decide on inputs and on what the exchange answers to it, and return its news."""
        for one in inputs:
            for decision in self.desk.decide(one, self.now, 0):
                if type(decision) is Send:
                    inputs.append(self._sent(decision.order))
                elif isinstance(decision, Warn):
                    self._record.warnings.append(decision.text)
                elif isinstance(decision, CancelAll):
                    inputs += [self._asked(cancel) for cancel in decision.cancels]
                else:
                    inputs.append(self._asked(decision))  # type: ignore[arg-type]
        return self._outputs.take_news()

    def _asked(self, call: Cancel | Replace | LookUp | Reconcile) -> Input:
        """Ask the exchange and return its answer."""
        self._stirred = True
        exchange = self.exchange
        if isinstance(call, Reconcile):
            return self._snapshot(call.since)
        name = call.client_order_id
        request, order = BrokerRequest.CANCEL, None
        try:
            match call:
                case Replace():
                    request = BrokerRequest.REPLACE
                    changes = order_changes(call.terms, name)
                    order = broker_order(exchange.replace(ACCOUNT, call.broker_order_id, self.now, changes))
                case Cancel():
                    exchange.cancel(ACCOUNT, call.broker_order_id, self.now)
                case LookUp():
                    return OrderFound(name, True, broker_order(exchange.order_by_client_id(ACCOUNT, name)))
        except BrokerRefused as refused:
            return Answer(request, name, Outcome.DECLINED, None, str(refused), refused.code)
        return Answer(request, name, Outcome.ACCEPTED, order)

    def _sent(self, intent: OrderIntent) -> Answer:
        """Let an order arrive, and return the answer, which says what the updates of its way there would."""
        self._stirred = True
        exchange, name = self.exchange, intent.client_order_id
        try:
            order = exchange.place(ACCOUNT, order_request(intent), self.now)
        except BrokerRefused as refused:
            return Answer(BrokerRequest.SUBMIT, name, Outcome.DECLINED, None, str(refused), refused.code)
        told = order_now(order, exchange.legs(order) if order.child_ids else ())
        return Answer(BrokerRequest.SUBMIT, name, Outcome.ACCEPTED, told)

    def _snapshot(self, since: int) -> BrokerSnapshot:
        exchange = self.exchange
        newest = exchange.orders(ACCOUNT, status="all", after=since - 1, limit=_ALL, direction="asc", nested=True)
        views = {view.id: view for view in (*exchange.orders(ACCOUNT, limit=_ALL, nested=True), *newest)}
        return BrokerSnapshot(
            True,
            tuple(map(broker_order, views.values())),
            tuple(map(broker_execution, exchange.activities(ACCOUNT, after=since - 1))),
            tuple(map(broker_position, exchange.positions(ACCOUNT))),
        )

    def _equity(self) -> float:
        symbols, equity = self._engine.symbols, self._cash
        for symbol, shares in self._held.items():
            equity += symbols[symbol].last_price * shares
        return equity

    def split(self, symbol: str, ratio: float) -> None:
        """Count what is held of a symbol in the shares after a split: new ones per old one."""
        if symbol in self._held:
            self._held[symbol] *= ratio

    def report_account(self) -> None:
        """Tell desk and strategies the account's figures."""
        self.tell(self._account())

    def _account(self) -> BrokerAccount:
        seen, self._stirred = self.exchange.account(ACCOUNT), False
        self._cash, self._reported, self._lowest = float(seen.cash), float(seen.equity), None
        figures = seen.equity, seen.cash, seen.buying_power, seen.last_equity
        return BrokerAccount(ACCOUNT, "ACTIVE", *figures, shorting_enabled=True, trading_blocked=False)

    def look(self) -> None:
        """Show the desk the prices of what is held, and take note of the equity below which it has to look again."""
        if closes := self.closes():
            self.tell(Prices(closes))
        self._floor, self._lowest = float(self.desk.equity_floor or -inf), None

    def look_if_low(self) -> bool:
        """Look if the equity has fallen that low; return whether it can fall that low in this session."""
        if self._extremes is None:
            return False
        if self._lowest is None:  # with every position at its worst close, whenever those are
            self._worst = {symbol: self._worst_of(symbol) for symbol in self._held}
            self._lowest = self._cash + sum(self._worst.values())
        if self._lowest >= self._floor:
            return False
        if self._equity() < self._floor:
            self.look()
        return True

    def _worst_of(self, symbol: str) -> float:
        """Return the least that what is held of a symbol can be worth at a close of this session."""
        shares = self._held.get(symbol)
        if not shares or self._extremes is None:
            return 0.0
        low, high = self._extremes(symbol)
        last = self._engine.symbols[symbol].last_price
        return shares * (min(low, last) if shares > 0 else max(high, last))

    def order_rows(self) -> Collection[Row]:
        """Return the newest row of each order; they are made once a session, at its end."""
        self._orders |= self.desk.take_order_rows()
        return self._orders.values()

    def closes(self) -> dict[str, Decimal]:
        """Return the newest prices of what is held, US dollars per share."""
        symbols = self._engine.symbols
        states = (symbols[symbol] for symbol in self.desk.held() if symbol in symbols)
        return {state.symbol: exact(state.last_price) for state in states if state.last_at}
