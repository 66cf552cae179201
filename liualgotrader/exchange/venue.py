"""The state that all parts of the exchange share: time, newest quotes and prints, accounts, orders, updates."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from functools import lru_cache

from liualgotrader.common.clock import MILLISECOND, SECOND, as_utc
from liualgotrader.common.events import Quote, TradeTick
from liualgotrader.common.money import PRICE_UNITS, price_units
from liualgotrader.exchange.account_ledger import (
    AccountLedger,
    Reservation,
    Reservations,
    Valuation,
    is_above,
    valuation_of,
)
from liualgotrader.exchange.exchange_order import ExchangeOrder, reach_of, view
from liualgotrader.exchange.exchange_values import (
    Activity,
    AssetTerms,
    CashActivity,
    Execution,
    OrderView,
    Refusal,
    Update,
)
from liualgotrader.exchange.market import MarketBook, synthetic_quote
from liualgotrader.exchange.rules import ExchangeSession, Phase, Rules

Listener = Callable[[str, ExchangeOrder, Execution | None], None]
"""Hears of an event of an order, at once and in place of an `Update`; the order is the exchange's own."""

_VARIANTS = {digit: "89ab"[number & 3] for number, digit in enumerate("0123456789abcdef")}
_NAMESPACE = uuid.UUID("6b0f3f3e-6d0a-5a53-9f3c-0e5d4b1f7a10").bytes


class TradedAccount:
    """A ledger, the orders that are open on it, and what they reserve."""

    def __init__(self, ledger: AccountLedger) -> None:
        self.ledger = ledger
        self.open: dict[str, ExchangeOrder] = {}
        self.executions: list[Execution] = []  # those that the ledger has no record of yet
        self.reservations = Reservations()
        self.shorts = {symbol for symbol, holding in ledger.holdings.items() if holding.quantity < 0}

    def record(self) -> AccountLedger:
        """Return the ledger with the record of every execution: made when it is asked for, as a backtest never asks."""
        for execution in self.executions:
            event = "fill" if execution.order_status == "filled" else "partial_fill"
            name = activity_id(execution.at, execution.execution_id)
            self.ledger.activities.append(Activity.of(execution, event, name))
        self.executions.clear()
        return self.ledger


class ExchangeVenue:
    """State, its simplest questions, and `emit`. lifecycle.py and matching.py decide what happens to orders."""

    def __init__(
        self,
        assets: Sequence[AssetTerms],
        session: ExchangeSession,
        rules: Rules,
        seed: int,
        closes: Callable[[str], float | None] | None = None,
        listener: Listener | None = None,
    ) -> None:
        self.assets = {asset.symbol: asset for asset in assets}
        self.unmarginable = frozenset(asset.symbol for asset in assets if not asset.marginable)
        self.rules = rules
        self.seed = seed
        self._id_prefix = hashlib.sha1(_NAMESPACE + f"{seed}:".encode(), usedforsecurity=False)
        self._closes = closes
        self._listener = listener
        self.listening = listener is not None
        self.session, self.day = session, session.day
        self.session_number = 1
        self.now = 0
        self.phase = session.phase(0)  # of the day, now
        self.quotes: dict[str, Quote] = {}
        self.trades: dict[str, TradeTick] = {}
        self.halted: set[str] = set()
        self.resumed: dict[str, int] = {}  # when the last halt of this session ended
        self.accounts: dict[str, TradedAccount] = {}
        self.orders: dict[str, ExchangeOrder] = {}
        self.markets: dict[str, MarketBook] = {}  # of symbols that need each event
        self.idle: dict[str, MarketBook] = {}  # of symbols that needed them before
        self.updates: list[Update] = []

    # --- questions

    def find_account(self, account_id: str) -> TradedAccount:
        """Return the account, or raise `Refusal` 404."""
        account = self.accounts.get(account_id)
        if account is None:
            raise Refusal.not_found(f"account not found: {account_id}")
        return account

    def find_order(self, account_id: str, order_id: str) -> ExchangeOrder:
        """Return an order of the account, or raise `Refusal` 404."""
        self.find_account(account_id)
        order = self.orders.get(order_id)
        if order is None or order.account_id != account_id:
            raise Refusal.not_found(f"order not found for {order_id}")
        return order

    def quote(self, symbol: str) -> Quote | None:
        """Return the newest quote, made from the last trade where there has never been one."""
        quote = self.quotes.get(symbol)
        if quote is None and self.rules.synthetic_quotes and (trade := self.trades.get(symbol)):
            return synthetic_quote(trade)
        return quote

    def market(self, symbol: str) -> MarketBook:
        """Return the symbol's market, watched from now on."""
        market = self.markets.get(symbol)
        if market is None:
            market = self.idle.pop(symbol, None) or MarketBook(symbol)
            self.markets[symbol], market.bar_left = market, None
            if (quote := self.quote(symbol)) is not None:
                market.take_quote(quote)
            market.extended_only = self.phase is not Phase.REGULAR
        return market

    def forget_if_idle(self, market: MarketBook) -> None:
        """Watch a symbol no more if nothing in its market needs the next event: no order, and nothing taken of the quote."""
        book, taken = market.book, market.taken
        if book[1] or book[-1] or market.stops or market.auctions or taken[0] or taken[1]:
            return
        if self.markets.pop(market.symbol, None) is not None:
            self.idle[market.symbol] = market

    def current_price(self, symbol: str) -> int | None:
        """Return the last trade, else the middle of the quote, else the newest close, in 1e-6 dollars."""
        return self._current_prices((symbol,))[symbol]

    def _current_prices(self, symbols: Iterable[str]) -> dict[str, int | None]:
        """Return the current price of each symbol: one loop without calls, as every order values all positions."""
        trades, quotes = self.trades, self.quotes
        prices: dict[str, int | None] = {}
        for symbol in symbols:
            if (trade := trades.get(symbol)) is not None:
                prices[symbol] = round(trade.price * PRICE_UNITS)
            elif (quote := quotes.get(symbol)) is not None and quote.bid > 0 and quote.ask > 0:
                prices[symbol] = round((quote.bid + quote.ask) / 2 * PRICE_UNITS)
            elif self._closes is not None and (close := self._closes(symbol)) is not None:
                prices[symbol] = round(close * PRICE_UNITS)
            else:
                prices[symbol] = self.previous_close(symbol)
        return prices

    def previous_close(self, symbol: str) -> int | None:
        """Return the previous session's close in 1e-6 dollars, if it is known."""
        close = self.session.previous_closes.get(symbol)
        return None if close is None else price_units(close)

    def valuation(self, ledger: AccountLedger) -> Valuation:
        """Return the account's figures at current prices."""
        return valuation_of(ledger, self.marks(ledger), self.unmarginable)

    def marks(self, ledger: AccountLedger) -> dict[str, int]:
        """Return the prices this account's holdings are valued at: the current one, else what was paid."""
        held = ledger.held()
        marks = {}
        for symbol, price in self._current_prices(held).items():
            marks[symbol] = abs(held[symbol].cost // held[symbol].quantity) if price is None else price
        return marks

    def is_active(self, order: ExchangeOrder) -> bool:
        """Whether the order may work in this phase of the day."""
        return self.phase is Phase.REGULAR or (order.extended and self.phase is not Phase.CLOSED)

    def recount(self, order: ExchangeOrder) -> None:
        """Bring the account's reservations up to date after a change of an order, and those of the orders it is tied to."""
        account = self.accounts[order.account_id]
        reservations = account.reservations
        reservations.put(order.id, self.reservation(order) if order.id in account.open else None)
        if order.sibling_id is order.replaces is order.successor_id is None:
            return
        for order_id in (order.sibling_id, order.replaces, order.successor_id):
            if order_id is not None:
                reservations.put(order_id, self.reservation(self.orders[order_id]))

    def reservation(self, order: ExchangeOrder) -> Reservation | None:
        """Return what an order reserves, None if it is not open.

        Of a pair of exits the target reserves for both; an order under replacement reserves the larger of the two.
        """
        if order.id not in self.accounts[order.account_id].open:
            return None
        marginable = order.symbol not in self.unmarginable
        if order.sibling_id is order.replaces is order.successor_id is None and order.status != "held":
            shares, value = (0, order.leaves_value()) if order.opening else (order.leaves(), 0)
            return Reservation(order.symbol, order.sign, marginable, shares, value, order.opening, reach_of(order))
        sibling, old = self.orders.get(order.sibling_id or ""), self.orders.get(order.replaces or "")
        is_covered = (order.role == "protection" and sibling is not None and sibling.is_open) or (
            old is not None and old.successor_id == order.id
        )
        shares = value = 0
        if order.status != "held" and not is_covered:
            successor = self.orders.get(order.successor_id or "", order)
            if order.opening:
                value = max(order.leaves_value(), successor.leaves_value())
            else:
                shares = max(order.leaves(), successor.leaves())
        return Reservation(order.symbol, order.sign, marginable, shares, value, order.opening, reach_of(order))

    def closable(self, order: ExchangeOrder) -> int:
        """Return how many shares an order may close: the position, less what other orders reserve."""
        account = self.accounts[order.account_id]
        others = account.reservations.shares(order.symbol) - account.reservations.shares_of(order.id)
        return max(abs(account.ledger.quantity(order.symbol)) - others, 0)

    def multiplier(self, ledger: AccountLedger, equity: int) -> int:
        """Return the margin the account has: the smaller of rules and settings, 1 below the minimum equity."""
        most = min(self.rules.margin_multiplier, ledger.settings.max_margin_multiplier)
        return most if most > 1 and is_above(equity, self.rules.minimum_margin_equity) else 1

    def let_go(self) -> None:
        """Forget what has ended: orders in whose group nothing is open, and executions."""
        kept: set[str] = set()
        for account in self.accounts.values():
            for order in account.open.values():
                tied = (order.id, order.parent_id, order.sibling_id, order.successor_id, order.replaces)
                kept.update(one for one in (*tied, *order.child_ids) if one is not None)
        kept |= {leg for one in list(kept) for leg in self.orders[one].child_ids}
        for order_id in self.orders.keys() - kept:
            del self.orders[order_id]
        for account in self.accounts.values():
            ledger = account.ledger
            ledger.client_ids = {name: i for name, i in ledger.client_ids.items() if i in kept}
            ledger.activities.clear()
            account.executions.clear()

    # --- ids

    def new_id(self, *parts: object) -> str:
        """Return a UUID that depends on the seed and the parts alone."""
        name = self._id_prefix.copy()
        name.update(":".join(map(str, parts)).encode())
        digest = name.hexdigest()
        # The text of uuid.uuid5, in fewer steps.
        return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{_VARIANTS[digest[16]]}{digest[17:20]}-{digest[20:32]}"

    # --- views and the log

    def move_cash(
        self, account: TradedAccount, kind: str, amount: Decimal, at: int, *, symbol: str = "", description: str = ""
    ) -> CashActivity:
        """Book cash that moves without an execution, and return its record."""
        ledger = account.ledger
        record_id = activity_id(at, self.new_id("activity", ledger.account_id, len(ledger.cash_activities)))
        moved = CashActivity(
            id=record_id, at=at, activity_type=kind, amount=amount, symbol=symbol, description=description
        )
        ledger.move_cash(moved)
        return moved

    def legs(self, order: ExchangeOrder) -> list[ExchangeOrder]:
        """Return the exits of an order."""
        return [self.orders[leg] for leg in order.child_ids]

    def view(self, order: ExchangeOrder, *, nested: bool = True) -> OrderView:
        """Return the order, with its exits if nested."""
        if not nested or not order.child_ids:
            return view(order)
        return view(order, tuple(map(view, self.legs(order))))

    def emit(self, event: str, order: ExchangeOrder, execution: Execution | None = None) -> None:
        """Write an update, or tell the listener. Call it once the state holds everything that the update says."""
        if self._listener is not None:
            if self.listening:
                self._listener(event, order, execution)
            return
        ledger = self.accounts[order.account_id].ledger
        ledger.sequence += 1
        shown = self.view(order) if order.child_ids else view(order)
        self.updates.append(
            Update(
                sequence=ledger.sequence,
                account_id=order.account_id,
                event=event,
                at=self.now,
                order=shown,
                execution=execution,
            )
        )


def activity_id(at: int, unique: str) -> str:
    """Return the id of an account's activity; ids sort by time."""
    return f"{_second(at // SECOND)}{at % SECOND // MILLISECOND:03}::{unique}"


@lru_cache(1)
def _second(second: int) -> str:
    return f"{as_utc(second * SECOND):%Y%m%d%H%M%S}"
