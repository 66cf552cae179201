"""The simulated exchange: requests and market events in, updates and views out.

Time moves only by `advance` and `on_event`. A request is checked at once and takes effect `latency` later; those
that take effect at the same instant do so by client order id, so that callers who race get the same fills.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from decimal import Decimal
from typing import TypeVar

from liualgotrader.common.clock import MICROSECOND, NEVER
from liualgotrader.common.events import Bar, Counts, MarketEvent, Quote, Status, TradeTick
from liualgotrader.common.money import ZERO
from liualgotrader.exchange import state
from liualgotrader.exchange.account_ledger import AccountLedger, is_above
from liualgotrader.exchange.corporate import turn_day
from liualgotrader.exchange.exchange_order import ExchangeOrder
from liualgotrader.exchange.exchange_values import (
    AccountSettings,
    AccountView,
    Activity,
    AssetTerms,
    CancelResult,
    CashActivity,
    HeldPosition,
    OrderChanges,
    OrderRequest,
    OrderView,
    Refusal,
    Update,
)
from liualgotrader.exchange.fills import fill_model
from liualgotrader.exchange.lifecycle import Lifecycle
from liualgotrader.exchange.matching import Matcher
from liualgotrader.exchange.requests import RequestHandler
from liualgotrader.exchange.rules import ExchangeSession, Rules
from liualgotrader.exchange.timeline import Timeline
from liualgotrader.exchange.units import dollars, per_share, price, ratio, shares, value_units
from liualgotrader.exchange.venue import ExchangeVenue, Listener, TradedAccount

LAST = int(Counts.LAST)


class Exchange:
    """Matching and accounting for any number of accounts: no I/O, no clock, all chance drawn from `seed`.

    Where bars are played, `closes` returns the newest close of a symbol, US dollars: positions are valued at it. A
    `listener` hears of every event of an order in place of the updates.
    """

    def __init__(
        self,
        assets: Sequence[AssetTerms],
        *,
        session: ExchangeSession,
        rules: Rules | None = None,
        seed: int = 0,
        closes: Callable[[str], float | None] | None = None,
        listener: Listener | None = None,
    ) -> None:
        rules = rules or Rules()
        self._venue = ExchangeVenue(assets, session, rules, seed, closes, listener)
        self._lifecycle = Lifecycle(self._venue)
        self._matcher = Matcher(self._venue, self._lifecycle, fill_model(rules, seed))
        self._timeline = Timeline(self._venue, self._lifecycle, self._matcher)
        self._timeline.schedule_session()
        self._requests = RequestHandler(self._venue, self._timeline)
        # What every market event touches; these live as long as the exchange.
        self._heap = self._timeline.heap
        self._quotes = self._venue.quotes
        self._trades = self._venue.trades
        self._markets = self._venue.markets
        self.watched: Collection[str] = self._markets.keys()
        """The symbols in which orders work, or will: the bars of others change nothing."""

    # --- accounts

    def open_account(self, account_id: str, cash: Decimal) -> None:
        """Open an account with `cash` US dollars; ValueError if the id is taken."""
        if account_id in self._venue.accounts:
            raise ValueError(f"account {account_id} exists already")
        units = value_units(cash)
        ledger = AccountLedger(account_id=account_id, cash=units, created_at=self._venue.now, last_equity=units)
        self._venue.accounts[account_id] = TradedAccount(ledger)

    def configure(self, account_id: str, settings: AccountSettings) -> None:
        """Change an account's settings."""
        self._venue.find_account(account_id).ledger.settings = settings

    def settings(self, account_id: str) -> AccountSettings:
        """Return an account's settings."""
        return self._venue.find_account(account_id).ledger.settings

    # --- requests

    def submit(self, account_id: str, request: OrderRequest, now: int) -> OrderView:
        """Accept the order, effective at `now` + latency (call `advance` to get there), or raise `Refusal`.

        The answer is `pending_new`, or `accepted` where it waits for a session. An update says the same.
        """
        return self._venue.view(self.place(account_id, request, now))

    def place(self, account_id: str, request: OrderRequest, now: int) -> ExchangeOrder:
        """Do the same and return the exchange's own order, which changes later.

        Where orders match on no arrival and there is no latency, it has arrived. The answer says what has happened to
        it meanwhile: a listener does not hear of that.
        """
        venue = self._venue
        account = venue.find_account(account_id)
        if self._heap and self._heap[0][0] <= now:
            self._timeline.run(now, before_requests=True)
        elif now > venue.now:
            venue.now = now
        venue.listening = False
        try:
            return self._requests.submit(account, request)
        finally:
            venue.listening = True

    def legs(self, order: ExchangeOrder) -> list[ExchangeOrder]:
        """Return the exits of an order, the exchange's own."""
        return self._venue.legs(order)

    def replace(self, account_id: str, order_id: str, now: int, changes: OrderChanges) -> OrderView:
        """Ask for other terms and return the new order; if the old one fills first, the new one is rejected.

        The new order is for the new total less what has been filled. Raises `Refusal`.
        """
        account = self._venue.find_account(account_id)
        self._timeline.run(now, before_requests=True)
        old = self._venue.find_order(account_id, order_id)
        return self._venue.view(self._requests.replace(account, old, changes))

    def cancel(self, account_id: str, order_id: str, now: int) -> None:
        """Ask for cancellation, effective at `now` + latency; fills may come first. Raises `Refusal`."""
        self._timeline.run(now, before_requests=True)
        self._requests.cancel(self._venue.find_order(account_id, order_id))

    def cancel_all(self, account_id: str, now: int) -> list[CancelResult]:
        """Ask for cancellation of every open order of the account."""
        self._timeline.run(now, before_requests=True)
        return self._requests.cancel_all(self._venue.find_account(account_id))

    # --- the market

    def on_event(self, event: MarketEvent) -> None:
        """Let time pass to the event, then apply it; orders are matched only where the symbol has any."""
        if type(event) is Quote:
            self._pass_time(event.at)
            self._quotes[event.symbol] = event
            if event.symbol in self._markets:
                self._matcher.on_quote(self._markets[event.symbol], event)
        elif type(event) is TradeTick:
            self._pass_time(event.at)
            if event.flags & LAST:
                self._trades[event.symbol] = event
                if event.symbol in self._markets:
                    self._matcher.on_print(self._markets[event.symbol], event)
        elif isinstance(event, Status):
            self._timeline.run(event.at)
            if event.halted:
                self._venue.halted.add(event.symbol)
            elif event.symbol in self._venue.halted:
                self._venue.halted.remove(event.symbol)
                self._venue.resumed[event.symbol] = event.at
            if event.symbol in self._markets:
                self._matcher.sweep(self._markets[event.symbol])

    def pass_by(self, events: Sequence[TradeTick | Quote | Status]) -> None:
        """Take events that meet no order, and before which nothing is due."""
        quotes, trades = self._quotes, self._trades
        for event in events:
            if type(event) is Quote:
                quotes[event.symbol] = event
            elif type(event) is TradeTick:
                if event.flags & LAST:
                    trades[event.symbol] = event
            else:
                self.on_event(event)
        if events:
            self._venue.now = max(self._venue.now, events[-1].at)

    @property
    def now(self) -> int:
        """The market time that it has come to, ns UTC."""
        return self._venue.now

    def on_bars(self, bars: Sequence[Bar]) -> None:
        """Let bars of one interval pass: their opens, then what lies between open and close (see matching.py).

        What came in by `opened_at` takes part. Everything inside the bars happens a microsecond before they close.
        """
        self._pass_time(bars[0].opened_at)
        passing = [(self._markets[bar.symbol], bar) for bar in bars if bar.symbol in self._markets]
        for market, bar in passing:
            self._matcher.open_bar(market, bar)
        self._pass_time(bars[0].closed_at - MICROSECOND)
        for market, bar in passing:
            if market.symbol in self._markets:  # else all its orders have traded at the open
                self._matcher.cross_bar(market, bar)

    def close_bars(self, bars: Sequence[Bar]) -> None:
        """Let market orders that came in while these bars passed trade at their closes, as day trading ends in a day's bar."""
        for bar in bars:
            if bar.symbol in self._markets:
                self._matcher.close_bar(self._markets[bar.symbol], bar)

    def _pass_time(self, at: int) -> None:
        if self._heap and self._heap[0][0] <= at:
            self._timeline.run(at)
        elif at > self._venue.now:
            self._venue.now = at

    def advance(self, now: int) -> None:
        """Let everything due up to and including `now` happen, in order of time."""
        self._timeline.run(now)

    def begin_session(self, session: ExchangeSession) -> None:
        """Go to the next trading day: splits, dividends, last equity; gtc orders stay."""
        venue = self._venue
        self._timeline.run(max(venue.now, venue.session.post_closes_at))
        venue.session, venue.day = session, session.day
        venue.session_number += 1
        venue.halted.clear()
        venue.resumed.clear()
        turn_day(venue, self._lifecycle)
        self._timeline.schedule_session()

    def let_go(self) -> None:
        """Forget orders that have ended, with their exits, and the executions of accounts: nobody will ask for them."""
        self._venue.let_go()
        self._timeline.let_go()

    def next_wakeup(self) -> int:
        """Return when something happens next without a market event, `NEVER` if nothing will."""
        return self._heap[0][0] if self._heap else NEVER

    def take_updates(self) -> list[Update]:
        """Return the updates since the last call, in order; the views already show them."""
        updates = self._venue.updates[:]
        self._venue.updates.clear()
        return updates

    # --- views

    def order(self, account_id: str, order_id: str) -> OrderView:
        """Return an order with its legs. Raises `Refusal` 404."""
        return self._venue.view(self._venue.find_order(account_id, order_id))

    def order_by_client_id(self, account_id: str, client_order_id: str) -> OrderView:
        """Return an order by the caller's own id. Raises `Refusal` 404."""
        ledger = self._venue.find_account(account_id).ledger
        order_id = ledger.client_ids.get(client_order_id)
        if order_id is None:
            raise Refusal.not_found(f"order not found for {client_order_id}")
        return self._venue.view(self._venue.orders[order_id])

    def orders(
        self,
        account_id: str,
        *,
        status: str = "open",
        after: int | None = None,
        until: int | None = None,
        symbols: Collection[str] = (),
        side: str | None = None,
        limit: int = 50,
        direction: str = "desc",
        nested: bool = False,
    ) -> list[OrderView]:
        """Return orders by (submitted_at, client id); `after` and `until` are exclusive bounds on `submitted_at`.

        `status` is open, closed or all. Nested, exits stand in the `legs` of their parent, else on their own.
        """
        account = self._venue.find_account(account_id)
        if status == "open":
            known = list(account.open.values())
        else:
            known = [self._venue.orders[i] for i in account.ledger.client_ids.values()]
        wanted = [
            order
            for order in known
            if (status == "all" or order.is_open is (status == "open"))
            and (after is None or order.submitted_at > after)
            and (until is None or order.submitted_at < until)
            and (not symbols or order.symbol in symbols)
            and (side is None or order.side == side)
            and not (nested and order.parent_id)
        ]
        wanted.sort(key=lambda o: (o.submitted_at, o.client_order_id), reverse=direction == "desc")
        return [self._venue.view(order, nested=nested) for order in wanted[:limit]]

    def positions(self, account_id: str) -> list[HeldPosition]:
        """Return what the account holds, by symbol."""
        account = self._venue.find_account(account_id)
        marks = self._venue.marks(account.ledger)
        return [_position_view(self._venue, account, symbol, mark) for symbol, mark in sorted(marks.items())]

    def position(self, account_id: str, symbol: str) -> HeldPosition:
        """Return one position. Raises `Refusal` 404 if there is none."""
        account = self._venue.find_account(account_id)
        mark = self._venue.marks(account.ledger).get(symbol)
        if mark is None:
            raise Refusal.not_found("position does not exist")
        return _position_view(self._venue, account, symbol, mark)

    def account(self, account_id: str) -> AccountView:
        """Return the account's figures now."""
        venue, account = self._venue, self._venue.find_account(account_id)
        ledger, rules = account.ledger, venue.rules
        figures = venue.valuation(ledger)
        multiplier = venue.multiplier(ledger, figures.equity)
        reserved = account.reservations.value(multiplier)
        power = max(figures.equity * multiplier - figures.weighted(multiplier) - reserved, 0)
        margin_allowed = is_above(figures.equity, rules.minimum_margin_equity)
        return AccountView(
            account_id=ledger.account_id,
            cash=dollars(ledger.cash),
            equity=dollars(figures.equity),
            last_equity=dollars(ledger.last_equity),
            buying_power=dollars(power),
            regt_buying_power=dollars(min(power, max(figures.equity - figures.initial, 0) * 2)),
            non_marginable_buying_power=dollars(power // multiplier),
            portfolio_value=dollars(figures.equity),
            long_market_value=dollars(figures.long),
            short_market_value=dollars(figures.short),
            initial_margin=dollars(figures.initial),
            maintenance_margin=dollars(figures.maintenance),
            last_maintenance_margin=dollars(ledger.last_maintenance),
            sma=dollars(max(figures.equity - figures.initial, 0)),
            multiplier=str(multiplier),
            shorting_enabled=margin_allowed and rules.margin_multiplier > 1 and not ledger.settings.no_shorting,
            trading_blocked=False,
            trade_suspended_by_user=ledger.settings.suspend_trade,
            created_at=ledger.created_at,
            reserved=dollars(reserved),
            realized_pl=dollars(ledger.realized),
            fees_paid=dollars(ledger.fees),
        )

    def activities(self, account_id: str, *, after: int | None = None, until: int | None = None) -> list[Activity]:
        """Return fills by time with after < at < until."""
        return _between(self._venue.find_account(account_id).record().activities, after, until)

    def cash_activities(
        self, account_id: str, *, after: int | None = None, until: int | None = None
    ) -> list[CashActivity]:
        """Return what moved cash without an execution, by time with after < at < until."""
        return _between(self._venue.find_account(account_id).ledger.cash_activities, after, until)

    def move_cash(
        self, account_id: str, kind: str, amount: Decimal, now: int, *, symbol: str = "", description: str = ""
    ) -> CashActivity:
        """Let cash come in or go out (US dollars, signed) under the vendor's word for it, such as CSD or CSW."""
        self._timeline.run(now, before_requests=True)
        account = self._venue.find_account(account_id)
        return self._venue.move_cash(account, kind, amount, now, symbol=symbol, description=description)

    def quote(self, symbol: str) -> Quote | None:
        """Return the newest quote."""
        return self._venue.quote(symbol)

    def last_trade(self, symbol: str) -> TradeTick | None:
        """Return the newest print that counts for the last price."""
        return self._trades.get(symbol)

    # --- snapshots

    def snapshot_state(self) -> bytes:
        """Return everything the exchange knows beside assets, rules and seed."""
        return state.save(self._venue, self._timeline)

    def restore_state(self, data: bytes) -> None:
        """Go back to a snapshot; ValueError if it is not one."""
        state.load(data, self._venue, self._timeline)


AnyActivity = TypeVar("AnyActivity", Activity, CashActivity)


def _between(activities: Sequence[AnyActivity], after: int | None, until: int | None) -> list[AnyActivity]:
    return [a for a in activities if (after is None or a.at > after) and (until is None or a.at < until)]


def _position_view(venue: ExchangeVenue, account: TradedAccount, symbol: str, mark: int) -> HeldPosition:
    """Return one position at the price it is valued at."""
    holding = account.ledger.holdings[symbol]
    lastday = venue.previous_close(symbol)
    quantity = holding.quantity
    worth = quantity * mark
    gain, day_gain = worth - holding.cost, worth - holding.day_cost
    asset = venue.assets.get(symbol)
    available = max(abs(quantity) - account.reservations.shares(symbol), 0)
    return HeldPosition(
        symbol=symbol,
        exchange=asset.exchange if asset else "",
        side="long" if quantity > 0 else "short",
        quantity=shares(quantity),
        quantity_available=shares(available),
        average_entry_price=per_share(abs(holding.cost), abs(quantity)),
        cost_basis=dollars(holding.cost),
        market_value=dollars(worth),
        current_price=price(mark),
        lastday_price=None if lastday is None else price(lastday),
        change_today=ratio(mark - lastday, lastday) if lastday else ZERO,
        unrealized_pl=dollars(gain),
        unrealized_plpc=ratio(gain, abs(holding.cost)),
        unrealized_intraday_pl=dollars(day_gain),
        unrealized_intraday_plpc=ratio(day_gain, abs(holding.day_cost)),
        asset_marginable=asset.marginable if asset else False,
        realized_pl=dollars(holding.realized),
    )
