"""From an accepted request to the orders that stand for it: entry and exits, or the order that replaces another."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from liualgotrader.common.clock import HOUR
from liualgotrader.exchange.admission import Admission, AdmissionChecks, collar_of
from liualgotrader.exchange.exchange_order import ExchangeOrder
from liualgotrader.exchange.exchange_values import CancelResult, OrderRequest, Refusal
from liualgotrader.exchange.refusals import invalid, malformed
from liualgotrader.exchange.syntax import TIMES_IN_FORCE, OrderTerms, read, tick
from liualgotrader.exchange.timeline import Timeline, TimelineStep
from liualgotrader.exchange.units import SHARE
from liualgotrader.exchange.venue import ExchangeVenue, TradedAccount

UNREPLACEABLE = ("accepted", "pending_new", "held", "pending_cancel", "pending_replace")


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """New terms for a working order; None leaves a term as it is."""

    quantity: Decimal | None = None
    time_in_force: str | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail: Decimal | None = None
    client_order_id: str | None = None


class RequestHandler:
    """Takes requests: checks them, makes orders, schedules their arrival."""

    def __init__(self, venue: ExchangeVenue, timeline: Timeline) -> None:
        self._venue = venue
        self._timeline = timeline
        self._doorkeeper = AdmissionChecks(venue)

    # --- submit

    def submit(self, account: TradedAccount, request: OrderRequest) -> ExchangeOrder:
        """Return the new order (the entry, or the target of an oco). Raises `Refusal`."""
        self._check_unique(account, request.client_order_id)
        terms = read(request, self._venue.assets.get(request.symbol), self._venue.rules)
        admission = self._doorkeeper.admit(account, terms)
        order = self._order(account, terms, admission, request.client_order_id)
        if not self._venue.is_active_in(order, self._venue.phase):
            order.status = "accepted"
        self._schedule_gtc(order)
        self._add_exits(account, order, terms)
        order.expires_at = self._timeline.expiry(order)
        self._timeline.schedule(order.arrives_at, TimelineStep.ARRIVE, order)
        for one in (order, *(self._venue.orders[leg] for leg in order.child_ids)):
            self._venue.recount(one)
        self._venue.emit(order.status, order)
        return order

    def _check_unique(self, account: TradedAccount, client_order_id: str | None) -> None:
        if client_order_id is not None and client_order_id in account.ledger.client_ids:
            raise malformed("client_order_id must be unique")

    def _order(
        self, account: TradedAccount, terms: OrderTerms, admission: Admission, client_order_id: str | None
    ) -> ExchangeOrder:
        venue = self._venue
        is_oco = terms.order_class == "oco"
        role = {"simple": "simple", "oco": "target"}.get(terms.order_class, "entry")
        order = self._blank(account, terms.symbol, terms.sign, client_order_id)
        order.type, order.time_in_force = terms.type, terms.time_in_force
        order.order_class, order.role = terms.order_class, role
        order.quantity, order.notional = terms.quantity, terms.notional
        order.limit, order.stop = terms.target_limit if is_oco else terms.limit, terms.stop
        order.trail, order.trail_percent = terms.trail, terms.trail_percent
        order.extended, order.opening = terms.extended, admission.opening
        order.check_price, order.collar = admission.check_price, admission.collar
        order.arrives_at = venue.now + venue.rules.latency_ns
        return self._register(account, order)

    def _blank(self, account: TradedAccount, symbol: str, sign: int, client_order_id: str | None) -> ExchangeOrder:
        venue, ledger = self._venue, account.ledger
        if client_order_id is None:
            ledger.generated += 1
            client_order_id = venue.new_id("client", ledger.account_id, ledger.generated)
        return ExchangeOrder(
            id=venue.new_id("order", ledger.account_id, client_order_id),
            account_id=ledger.account_id,
            client_order_id=client_order_id,
            symbol=symbol,
            sign=sign,
            type="limit",
            time_in_force="day",
            order_class="simple",
            role="simple",
            quantity=None,
            notional=None,
            limit=None,
            stop=None,
            trail=None,
            trail_percent=None,
            extended=False,
            opening=False,
            status="pending_new",
            created_at=venue.now,
            submitted_at=venue.now,
            updated_at=venue.now,
            arrives_at=venue.now,
        )

    def _register(self, account: TradedAccount, order: ExchangeOrder) -> ExchangeOrder:
        self._venue.orders[order.id] = order
        account.open[order.id] = order
        account.ledger.client_ids[order.client_order_id] = order.id
        return order

    def _add_exits(self, account: TradedAccount, order: ExchangeOrder, terms: OrderTerms) -> None:
        """Make the exits of a bracket or oto, the stop of an oco; they wait as `held`."""
        legs: list[ExchangeOrder] = []
        if terms.target_limit is not None and terms.order_class != "oco":
            legs.append(self._exit(account, order, "target", (terms.target_limit, None)))
        if terms.protection_stop is not None:
            legs.append(self._exit(account, order, "protection", (terms.protection_limit, terms.protection_stop)))
        order.child_ids = [leg.id for leg in legs]
        pair = [order, *legs] if terms.order_class == "oco" else legs
        if len(pair) == 2:
            pair[0].sibling_id, pair[1].sibling_id = pair[1].id, pair[0].id

    def _exit(
        self, account: TradedAccount, parent: ExchangeOrder, role: str, prices: tuple[int | None, int | None]
    ) -> ExchangeOrder:
        limit, stop = prices
        sign = parent.sign if parent.order_class == "oco" else -parent.sign
        client_id = self._venue.new_id("exit", parent.account_id, parent.client_order_id, role)
        order = self._blank(account, parent.symbol, sign, client_id)
        order.type = "limit" if stop is None else "stop" if limit is None else "stop_limit"
        order.time_in_force, order.order_class, order.role = parent.time_in_force, parent.order_class, role
        order.quantity, order.limit, order.stop = parent.quantity, limit, stop
        order.status, order.parent_id = "held", parent.id
        self._schedule_gtc(order)
        order.arrives_at = parent.arrives_at
        if order.type == "stop" and sign > 0 and stop is not None:
            order.collar = collar_of(stop)
        return self._register(account, order)

    def _schedule_gtc(self, order: ExchangeOrder) -> None:
        """A gtc order runs out 90 days later, a quarter of an hour after the close of the regular session."""
        venue = self._venue
        if order.time_in_force == "gtc":
            after_close = venue.session.closes_at + HOUR // 4
            order.expires_at = after_close + venue.rules.gtc_days * 24 * HOUR
            self._timeline.schedule(order.expires_at, TimelineStep.EXPIRE, order)

    # --- replace

    def replace(self, account: TradedAccount, old: ExchangeOrder, changes: Changes) -> ExchangeOrder:
        """Return the order that shall take the old one's place. Raises `Refusal`."""
        venue = self._venue
        self._check_replaceable(old, changes)
        self._check_unique(account, changes.client_order_id)
        total = old.quantity if changes.quantity is None else int(changes.quantity.scaleb(9))
        terms = self._changed(old, changes, (total or 0) - old.filled)
        admission = self._doorkeeper.admit(account, terms, instead_of=old)
        new = self._order(account, terms, admission, changes.client_order_id)
        new.order_class, new.role, new.parent_id = old.order_class, old.role, old.parent_id
        new.limit, new.child_ids, new.sibling_id = terms.limit, list(old.child_ids), old.sibling_id
        new.replaces, new.new_total = old.id, None if changes.quantity is None else total
        self._schedule_gtc(new)
        new.expires_at = self._timeline.expiry(new)
        old.successor_id = new.id
        old.become("pending_replace", venue.now)
        venue.recount(old)
        self._timeline.schedule(new.arrives_at, TimelineStep.REPLACE, new)
        venue.emit("pending_replace", old)
        venue.emit("pending_new", new)
        return new

    @staticmethod
    def _check_replaceable(old: ExchangeOrder, changes: Changes) -> None:
        if old.status == "replaced":
            raise invalid("order already replaced")
        if not old.is_open:
            raise invalid(f'order is already in "{old.status}" state')
        if old.cancel_requested_at is not None:
            raise invalid("order pending cancel")
        if old.status in ("accepted", "pending_new"):
            raise malformed("unable to replace order, order isn't sent to exchange yet")
        if old.status in UNREPLACEABLE:
            raise invalid(f"cannot replace order in {old.status} status")
        if old.quantity is None:
            raise invalid("notional orders cannot be replaced")
        if changes.quantity is not None:
            _check_new_quantity(old, old.quantity, changes.quantity)

    def _changed(self, old: ExchangeOrder, changes: Changes, quantity: int) -> OrderTerms:
        tif = changes.time_in_force or old.time_in_force
        if tif not in TIMES_IN_FORCE or (tif != old.time_in_force and not {tif, old.time_in_force} <= {"day", "gtc"}):
            raise malformed(f"invalid time_in_force: {tif}")
        limit, stop = _price(old.limit, changes.limit_price, "limit_price"), old.stop
        if changes.stop_price is not None and old.type == "trailing_stop":
            raise invalid("trailing stop orders take no stop_price")
        stop = _price(stop, changes.stop_price, "stop_price")
        trail, percent = _trail(old, changes.trail)
        same = (limit, stop, trail, percent, tif) == (
            old.limit,
            old.stop,
            old.trail,
            old.trail_percent,
            old.time_in_force,
        )
        if same and (changes.quantity is None or quantity + old.filled == old.quantity):
            raise invalid("order parameters are not changed")
        return OrderTerms(
            symbol=old.symbol,
            sign=old.sign,
            type="limit" if old.elected and old.limit is not None else old.type,
            time_in_force=tif,
            order_class=old.order_class,
            quantity=quantity,
            notional=None,
            limit=limit,
            stop=None if old.elected or old.type == "trailing_stop" else stop,
            trail=trail,
            trail_percent=percent,
            extended=old.extended,
            target_limit=None,
            protection_stop=None,
            protection_limit=None,
            intent=None,
        )

    # --- cancel

    def cancel(self, order: ExchangeOrder) -> None:
        """Schedule the cancellation; asking again is no error. Raises `Refusal` where it is too late."""
        venue = self._venue
        if order.status == "canceled" or (order.is_open and order.cancel_requested_at is not None):
            return
        if not order.is_open:
            raise invalid(f'order is already in "{order.status}" state')
        if order.status == "pending_replace":
            raise invalid("order pending replace")
        order.cancel_requested_at = order.updated_at = venue.now
        self._timeline.schedule(venue.now + venue.rules.latency_ns, TimelineStep.CANCEL, order)
        if order.status in ("new", "partially_filled"):
            order.become("pending_cancel", venue.now)
            venue.emit("pending_cancel", order)

    def cancel_all(self, account: TradedAccount) -> list[CancelResult]:
        """Cancel every open order that is not already being canceled, oldest first."""
        results = []
        for order in sorted(account.open.values(), key=lambda o: (o.submitted_at, o.client_order_id)):
            if order.cancel_requested_at is not None:
                continue
            try:
                self.cancel(order)
            except Refusal as refusal:
                results.append(CancelResult(order.id, refusal.status))
            else:
                results.append(CancelResult(order.id, 200))
        return results


def _check_new_quantity(old: ExchangeOrder, quantity: int, wanted: Decimal) -> None:
    if not wanted.is_finite() or wanted <= 0 or wanted >= 10**9:
        raise invalid("qty must be > 0")
    units = wanted.scaleb(9)
    if units % SHARE:
        raise invalid("qty must be whole shares")
    if units <= old.filled:
        raise invalid("qty must be > filled_qty")
    if units != quantity and old.order_class != "simple":
        raise invalid("qty cannot be changed for advanced orders")
    if units != quantity and quantity % SHARE:
        raise invalid("qty of fractional orders cannot be changed")


def _price(before: int | None, after: Decimal | None, name: str) -> int | None:
    if after is None:
        return before
    if before is None:
        raise invalid(f"the order has no {name} to replace")
    return tick(after, name)


def _trail(old: ExchangeOrder, trail: Decimal | None) -> tuple[int | None, Decimal | None]:
    """Return trail price and trail percent: a replacement trail is in the unit of the old one."""
    if trail is None:
        return old.trail, old.trail_percent
    if old.type != "trailing_stop":
        raise invalid("the order has no trail to replace")
    if not trail.is_finite() or not 0 < trail < 10**9 or (old.trail is None and trail >= 100):
        raise invalid("trail must be > 0, and trail_percent < 100")
    return (int(trail.scaleb(4)), None) if old.trail is not None else (None, trail)
