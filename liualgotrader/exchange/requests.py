"""From a request to its orders: entry and exits, or the order that replaces another."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from liualgotrader.common.clock import HOUR
from liualgotrader.exchange.admission import Admission, AdmissionChecks, collar_of
from liualgotrader.exchange.exchange_order import ExchangeOrder
from liualgotrader.exchange.exchange_values import CancelResult, OrderChanges, OrderRequest, Refusal
from liualgotrader.exchange.order_terms import TIMES_IN_FORCE, OrderTerms, check_trail, read, tick
from liualgotrader.exchange.timeline import Timeline, TimelineStep
from liualgotrader.exchange.units import SHARE
from liualgotrader.exchange.venue import ExchangeVenue, TradedAccount

_ROLES = {"simple": "simple", "oco": "target"}  # by class; of any other it is the entry
UNREPLACEABLE = ("held", "pending_cancel", "pending_replace")


class RequestHandler:
    """Checks requests, makes orders, schedules their arrival."""

    def __init__(self, venue: ExchangeVenue, timeline: Timeline) -> None:
        self._venue = venue
        self._timeline = timeline
        self._checks = AdmissionChecks(venue)

    # --- submit

    def submit(self, account: TradedAccount, request: OrderRequest) -> ExchangeOrder:
        """Return the new order (the entry, or the target of an oco). Raises `Refusal`."""
        if request.client_order_id in account.ledger.client_ids:
            raise _taken()
        venue, rules = self._venue, self._venue.rules
        terms = read(request, venue.assets.get(request.symbol), rules)
        admission = self._checks.admit(account, terms)
        order = self._order(account, terms, admission, request.client_order_id)
        if not venue.is_active(order):
            order.status = "accepted"
        if order.time_in_force == "gtc":
            self._schedule_gtc(order)
        exits: list[ExchangeOrder] = []
        if terms.target_limit is not None and terms.order_class != "oco":
            exits.append(self._exit(account, order, "target", terms.target_limit, None))
        if terms.protection_stop is not None:
            exits.append(self._exit(account, order, "protection", terms.protection_limit, terms.protection_stop))
        if exits:
            order.child_ids = [leg.id for leg in exits]
            pair = [order, *exits] if terms.order_class == "oco" else exits
            if len(pair) == 2:
                pair[0].sibling_id, pair[1].sibling_id = pair[1].id, pair[0].id
        if order.expires_at is None:
            order.expires_at = self._timeline.expiry(order)
        for one in (order, *exits):
            venue.recount(one)
        venue.emit(order.status, order)
        if rules.match_on_arrival or rules.latency_ns:
            self._timeline.schedule(order.arrives_at, TimelineStep.ARRIVE, order)
        else:  # nothing can trade meanwhile
            self._timeline.arrive(order)
        return order

    def _order(
        self, account: TradedAccount, terms: OrderTerms, admission: Admission, client_order_id: str | None
    ) -> ExchangeOrder:
        order = self._new(
            account,
            terms.symbol,
            terms.sign,
            client_order_id,
            self._venue.now + self._venue.rules.latency_ns,
            terms.type,
            terms.time_in_force,
            terms.order_class,
            _ROLES.get(terms.order_class, "entry"),
            terms.quantity,
            terms.notional,
            terms.target_limit if terms.order_class == "oco" else terms.limit,
            terms.stop,
            terms.trail,
            terms.trail_percent,
            terms.extended,
            admission.opening,
        )
        order.check_price, order.collar = admission.check_price, admission.collar
        return order

    def _new(
        self, account: TradedAccount, symbol: str, sign: int, client_order_id: str | None, arrives_at: int, *terms: Any
    ) -> ExchangeOrder:
        venue, ledger = self._venue, account.ledger
        now = venue.now
        if client_order_id is None:
            ledger.generated += 1
            client_order_id = venue.new_id("client", ledger.account_id, ledger.generated)
        order = ExchangeOrder(
            venue.new_id("order", ledger.account_id, client_order_id),
            ledger.account_id,
            client_order_id,
            symbol,
            sign,
            now,
            now,
            now,
            arrives_at,
            *terms,
        )
        order.divisible = venue.rules.divisible
        venue.orders[order.id] = order
        account.open[order.id] = order
        ledger.client_ids[client_order_id] = order.id
        return order

    def _exit(
        self, account: TradedAccount, parent: ExchangeOrder, role: str, limit: int | None, stop: int | None
    ) -> ExchangeOrder:
        """Make the target or the protection of an order; it waits as `held`."""
        sign = parent.sign if parent.order_class == "oco" else -parent.sign
        client_id = self._venue.new_id("exit", parent.account_id, parent.client_order_id, role)
        order = self._new(
            account,
            parent.symbol,
            sign,
            client_id,
            parent.arrives_at,
            "limit" if stop is None else "stop" if limit is None else "stop_limit",
            parent.time_in_force,
            parent.order_class,
            role,
            parent.quantity,
            None,
            limit,
            stop,
        )
        order.status, order.parent_id = "held", parent.id
        if order.time_in_force == "gtc":
            self._schedule_gtc(order)
        order.collar = collar_of(order)
        return order

    def _schedule_gtc(self, order: ExchangeOrder) -> None:
        """A gtc order runs out 90 days later, a quarter of an hour after the close of the regular session."""
        venue = self._venue
        after_close = venue.session.closes_at + HOUR // 4
        order.expires_at = after_close + venue.rules.gtc_days * 24 * HOUR
        self._timeline.schedule(order.expires_at, TimelineStep.EXPIRE, order)

    # --- replace

    def replace(self, account: TradedAccount, old: ExchangeOrder, changes: OrderChanges) -> ExchangeOrder:
        """Return the order that is to replace the old one. Raises `Refusal`."""
        venue = self._venue
        self._check_replaceable(old, changes)
        if changes.client_order_id in account.ledger.client_ids:
            raise _taken()
        total = old.quantity if changes.quantity is None else int(changes.quantity.scaleb(9))
        terms = self._changed(old, changes, (total or 0) - old.filled)
        admission = self._checks.admit(account, terms, instead_of=old)
        new = self._order(account, terms, admission, changes.client_order_id)
        new.order_class, new.role, new.parent_id = old.order_class, old.role, old.parent_id
        new.limit, new.child_ids, new.sibling_id = terms.limit, list(old.child_ids), old.sibling_id
        new.replaces, new.new_total = old.id, None if changes.quantity is None else total
        if new.time_in_force == "gtc":
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
    def _check_replaceable(old: ExchangeOrder, changes: OrderChanges) -> None:
        if old.status == "replaced":
            raise Refusal.invalid("order already replaced")
        if not old.is_open:
            raise Refusal.invalid(f'order is already in "{old.status}" state')
        if old.cancel_requested_at is not None:
            raise Refusal.invalid("order pending cancel")
        if old.status in ("accepted", "pending_new"):
            raise Refusal.malformed("unable to replace order, order isn't sent to exchange yet")
        if old.status in UNREPLACEABLE:
            raise Refusal.invalid(f"cannot replace order in {old.status} status")
        if old.quantity is None:
            raise Refusal.invalid("notional orders cannot be replaced")
        if changes.quantity is not None:
            RequestHandler._check_quantity(old, old.quantity, changes.quantity)

    @staticmethod
    def _check_quantity(old: ExchangeOrder, quantity: int, wanted: Decimal) -> None:
        if not wanted.is_finite() or not 0 < wanted < 10**9:
            raise Refusal.invalid("qty must be > 0")
        units = wanted.scaleb(9)
        if units % SHARE:
            raise Refusal.invalid("qty must be whole shares")
        if units <= old.filled:
            raise Refusal.invalid("qty must be > filled_qty")
        if units != quantity and old.order_class != "simple":
            raise Refusal.invalid("qty cannot be changed for advanced orders")
        if units != quantity and quantity % SHARE:
            raise Refusal.invalid("qty of fractional orders cannot be changed")

    def _changed(self, old: ExchangeOrder, changes: OrderChanges, quantity: int) -> OrderTerms:
        tif = changes.time_in_force or old.time_in_force
        if tif not in TIMES_IN_FORCE or (tif != old.time_in_force and not {tif, old.time_in_force} <= {"day", "gtc"}):
            raise Refusal.malformed(f"invalid time_in_force: {tif}")
        limit = _price(old.limit, changes.limit_price, "limit_price")
        if changes.stop_price is not None and old.type == "trailing_stop":
            raise Refusal.invalid("trailing stop orders take no stop_price")
        stop = _price(old.stop, changes.stop_price, "stop_price")
        trail, percent = old.trail, old.trail_percent
        if changes.trail is not None:
            if old.type != "trailing_stop":
                raise Refusal.invalid("the order has no trail to replace")
            check_trail(changes.trail, is_percent=trail is None)
            if trail is None:  # a new trail is in the unit of the old one
                percent = changes.trail
            else:
                trail = int(changes.trail.scaleb(6))
        before = (old.limit, old.stop, old.trail, old.trail_percent, old.time_in_force)
        same = (limit, stop, trail, percent, tif) == before
        if same and (changes.quantity is None or quantity + old.filled == old.quantity):
            raise Refusal.invalid("order parameters are not changed")
        return OrderTerms(
            symbol=old.symbol,
            sign=old.sign,
            type="limit" if old.elected and old.limit is not None else old.type,
            time_in_force=tif,
            order_class=old.order_class,
            quantity=quantity,
            limit=limit,
            stop=None if old.elected or old.type == "trailing_stop" else stop,
            trail=trail,
            trail_percent=percent,
            extended=old.extended,
        )

    # --- cancel

    def cancel(self, order: ExchangeOrder) -> None:
        """Schedule the cancellation; asking again is no error. Raises `Refusal` where it is too late."""
        venue = self._venue
        if order.status == "canceled" or (order.is_open and order.cancel_requested_at is not None):
            return
        if not order.is_open:
            raise Refusal.invalid(f'order is already in "{order.status}" state')
        if order.status == "pending_replace":
            raise Refusal.invalid("order pending replace")
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
                status = 200
            except Refusal as refusal:
                status = refusal.status
            results.append(CancelResult(order.id, status))
        return results


def _taken() -> Refusal:
    return Refusal.malformed("client_order_id must be unique")


def _price(before: int | None, after: Decimal | None, name: str) -> int | None:
    if after is None:
        return before
    if before is None:
        raise Refusal.invalid(f"the order has no {name} to replace")
    return tick(after, name)
