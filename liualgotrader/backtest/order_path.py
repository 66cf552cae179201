"""The way of an order in one process: from the engine to the order desk, from there to the exchange, and back as news.

Nothing is lost on it, and no answer is awaited: what an input leads to has happened when the call returns.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from decimal import Decimal
from math import inf

from liualgotrader.backtest.run_record import RunRecord
from liualgotrader.common.clock import as_datetime
from liualgotrader.common.errors import BrokerRefused
from liualgotrader.common.money import exact
from liualgotrader.common.orders import (
    BrokerAccount,
    BrokerOrder,
    CancelIntent,
    Declare,
    News,
    OrderIntent,
    Protect,
    ReplaceIntent,
)
from liualgotrader.common.rows import OrderRow, SignalRow
from liualgotrader.engine.engine import Engine
from liualgotrader.engine.outputs import LoadHistory, LogLine, Output, SlotStopped
from liualgotrader.exchange.exchange import Exchange
from liualgotrader.exchange.exchange_values import OrderView, Update
from liualgotrader.orders.desk import Desk
from liualgotrader.orders.desk_messages import (
    Announce,
    Answer,
    BrokerCall,
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
    Tell,
    Warn,
    Write,
)
from liualgotrader.trading.exchange_orders import (
    broker_execution,
    broker_order,
    broker_position,
    broker_update,
    order_changes,
    order_request,
)

ACCOUNT = "backtest"
_ALL = 1_000_000  # orders asked for at once
_ARRIVALS = ("pending_new", "accepted", "new")
_EQUITY_MOVED = 0.001  # of what was reported: the account is reported again before the next order
_MOST_FAILURES = 100

log = logging.getLogger(__name__)


class OrderPath:
    """Tells engine, desk and exchange what the others do; `now` is the market time of the newest of it, ns UTC."""

    def __init__(self, engine: Engine, desk: Desk, exchange: Exchange, record: RunRecord, now: int) -> None:
        self._engine, self._desk, self._exchange, self._record = engine, desk, exchange, record
        self.now = now
        self.orders: dict[str, OrderRow] = {}  # the newest row of each
        self._updates: deque[Update] = deque()  # of the exchange, that the desk has not heard
        self._cash = self._reported = record.first_equity  # dollars; and the equity that desk and strategies know
        self.shares: dict[str, float] = {}  # signed, of what is held
        self._floor = -inf  # equity below which the desk looks at prices

    def take(self, outputs: Sequence[Output]) -> None:
        """Carry out what the engine has decided."""
        for output in outputs:
            if isinstance(output, SignalRow):
                self._record.signals.append(output)
            elif isinstance(output, OrderIntent | CancelIntent | ReplaceIntent | Protect):
                self.now = max(self.now, output.decided_at)
                if abs(self._equity() - self._reported) > _EQUITY_MOVED * self._reported:
                    self.report_account()
                self.tell(output)
            elif isinstance(output, Declare):
                self.tell(output)
            elif isinstance(output, LoadHistory):
                self.take(self._engine.on_history(output.symbol, (), self.now, 0))
            elif isinstance(output, SlotStopped):
                self._record.stopped[output.slot] = output.reason
                self.tell(StopSlotTrading(output.slot, output.reason))
            elif isinstance(output, LogLine):
                if output.level >= logging.ERROR and len(self._record.failures) < _MOST_FAILURES:
                    at = as_datetime(max(self.now, self._engine.now))
                    self._record.failures.append(f"{output.text}, on {at:%Y-%m-%d at %H:%M} New York")
                log.log(output.level, "%s", output.text)
        if outputs:
            self.settle()

    def settle(self) -> None:
        """Let the exchange do what is due, and tell the desk what has happened there."""
        exchange, updates = self._exchange, self._updates
        if exchange.next_wakeup() <= self.now:
            exchange.advance(self.now)
        updates += exchange.take_updates()
        while updates:
            update = updates.popleft()
            self.now = max(self.now, update.at)
            if (execution := update.execution) is not None:
                signed = float(execution.quantity) * execution.side.sign
                self._cash -= signed * float(execution.price) + float(execution.fee)
                self.shares[execution.symbol] = float(execution.position_quantity)
                if not execution.position_quantity:
                    del self.shares[execution.symbol]
            self.tell(broker_update(update, sequence=0))  # those of arrivals are left out, and nothing gets lost
            updates += exchange.take_updates()

    def tell(self, told: Input) -> None:
        """Tell the desk something, and the engine and the exchange what follows from it."""
        news: list[News] = []
        answers: list[Input] = []
        for decision in self._desk.decide(told, self.now, 0):
            match decision:
                case Write():
                    row = decision.row
                    if isinstance(row, OrderRow):
                        self.orders[row.client_order_id] = row
                    else:
                        self._record.rows.append(row)
                case Tell() | Announce():
                    news.append(decision.news)
                case Warn():
                    self._record.warnings.append(decision.text)
                case CancelAll():
                    answers += [self._asked(cancel) for cancel in decision.cancels]
                case _:
                    answers.append(self._asked(decision))
        if news:
            self.take(self._engine.on_news(news, self.now, 0))
        for answer in answers:
            self.tell(answer)

    def _asked(self, call: BrokerCall) -> Input:
        """Ask the exchange and return its answer."""
        exchange = self._exchange
        if isinstance(call, Reconcile):
            return self._snapshot(call.since)
        name = call.client_order_id if not isinstance(call, Send) else call.order.client_order_id
        request, order = BrokerRequest.CANCEL, None
        try:
            match call:
                case Send():
                    request = BrokerRequest.SUBMIT
                    order = self._arrived(exchange.submit(ACCOUNT, order_request(call.order), self.now))
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

    def _arrived(self, view: OrderView) -> BrokerOrder:
        """Let an order arrive, and return it as it is then; the answer says what the updates of its way here would."""
        self._exchange.advance(self.now)
        for update in self._exchange.take_updates():
            if update.order.id == view.id and update.event in _ARRIVALS:
                view = update.order
            else:
                self._updates.append(update)
        return broker_order(view)

    def _snapshot(self, since: int) -> BrokerSnapshot:
        exchange = self._exchange
        newest = exchange.orders(ACCOUNT, status="all", after=since - 1, limit=_ALL, direction="asc", nested=True)
        views = {view.id: view for view in (*exchange.orders(ACCOUNT, limit=_ALL, nested=True), *newest)}
        return BrokerSnapshot(
            True,
            tuple(map(broker_order, views.values())),
            tuple(map(broker_execution, exchange.activities(ACCOUNT, after=since - 1))),
            tuple(map(broker_position, exchange.positions(ACCOUNT))),
        )

    def _equity(self) -> float:
        symbols = self._engine.symbols
        return self._cash + sum(symbols[symbol].last_price * shares for symbol, shares in self.shares.items())

    def report_account(self) -> None:
        """Tell desk and strategies the account's figures."""
        seen = self._exchange.account(ACCOUNT)
        self._cash, self._reported = float(seen.cash), float(seen.equity)
        figures = seen.equity, seen.cash, seen.buying_power, seen.last_equity
        self.tell(BrokerAccount(ACCOUNT, "ACTIVE", *figures, shorting_enabled=True, trading_blocked=False))

    def look(self, *, if_fallen: bool = False) -> None:
        """Show the desk the prices of what is held; with `if_fallen` only where the equity is one at which it acts."""
        if if_fallen and not (self.shares and self._equity() < self._floor):
            return
        if closes := self.closes():
            self.tell(Prices(closes))
        self._floor = float(self._desk.equity_floor or -inf)

    def closes(self) -> dict[str, Decimal]:
        """Return the newest prices of what is held, US dollars per share."""
        symbols = self._engine.symbols
        states = (symbols[symbol] for symbol in self._desk.held() if symbol in symbols)
        return {state.symbol: exact(state.last_price) for state in states if state.last_at}
