"""What happens by time: requests arrive, phases change, orders run out.

At one instant: phases of the day, then arrivals, replacements, cancels, expiries; within each by client order id.
"""

from __future__ import annotations

import heapq
from enum import IntEnum

from liualgotrader.common.clock import MINUTE, NEVER
from liualgotrader.exchange.exchange_order import ExchangeOrder
from liualgotrader.exchange.lifecycle import Lifecycle
from liualgotrader.exchange.matching import Matcher
from liualgotrader.exchange.rules import Phase
from liualgotrader.exchange.venue import ExchangeVenue


class TimelineStep(IntEnum):
    """Kinds of scheduled steps, in the order in which they happen at one instant."""

    PHASE = 0
    AUCTION = 1
    ARRIVE = 2
    REPLACE = 3
    CANCEL = 4
    EXPIRE = 5


MARKED = "marked"  # in place of the account: the auctions whose print is marked
Scheduled = tuple[int, int, str, str, str]  # instant, step, client order id, account id, order id or tag


class Timeline:
    """The heap of scheduled steps, and what each does."""

    def __init__(self, venue: ExchangeVenue, lifecycle: Lifecycle, matcher: Matcher) -> None:
        self._venue = venue
        self._lifecycle = lifecycle
        self._matcher = matcher
        self.heap: list[Scheduled] = []
        self.waiting: dict[str, None] = {}  # ids of orders that have arrived and wait for their phase

    def schedule(self, at: int, step: TimelineStep, order: ExchangeOrder) -> None:
        """Schedule a step of an order."""
        heapq.heappush(self.heap, (at, int(step), order.client_order_id, order.account_id, order.id))

    def schedule_session(self) -> None:
        """Schedule the phases and auctions of the session."""
        session, rules = self._venue.session, self._venue.rules
        self._venue.phase = session.phase(self._venue.now)
        for at in (session.pre_opens_at, session.opens_at, session.closes_at, session.post_closes_at):
            heapq.heappush(self.heap, (at, int(TimelineStep.PHASE), "", "", ""))
        for bell, tag in ((session.opens_at, "opg"), (session.closes_at, "cls")):
            heapq.heappush(self.heap, (bell + rules.auction_wait_ns, int(TimelineStep.AUCTION), "", "", tag))
            heapq.heappush(self.heap, (bell + rules.marked_auction_wait_ns, int(TimelineStep.AUCTION), "", MARKED, tag))

    def let_go(self) -> None:
        """Forget the steps of orders that are forgotten."""
        self.heap[:] = [one for one in self.heap if one[1] < TimelineStep.ARRIVE or one[4] in self._venue.orders]
        heapq.heapify(self.heap)

    def run(self, until: int, *, before_requests: bool = False) -> None:
        """Let everything due up to `until` happen; `before_requests` leaves that instant's requests in the heap."""
        bound = (until, int(TimelineStep.ARRIVE)) if before_requests else (until, NEVER)
        venue = self._venue
        while self.heap and self.heap[0][:2] < bound:
            at, step, _, account_id, subject = heapq.heappop(self.heap)
            venue.now = max(venue.now, at)
            if step == TimelineStep.PHASE:
                self._change_phase()
                continue
            if step == TimelineStep.AUCTION:
                self._matcher.end_auction(subject, marked=account_id == MARKED)
                continue
            order = venue.orders[subject]
            if step == TimelineStep.ARRIVE:
                self.arrive(order)
            elif step == TimelineStep.REPLACE:
                self._replace(order)
            elif order.is_open:
                if step == TimelineStep.CANCEL:
                    self._lifecycle.end(order, "canceled")
                elif order.status == "pending_new":  # a gtc order still on its way: look again a minute later
                    self.schedule(venue.now + MINUTE, TimelineStep.EXPIRE, order)
                else:
                    self._lifecycle.end(order, "expired")
            elif step == TimelineStep.CANCEL and order.status not in ("canceled", "replaced"):
                venue.emit("order_cancel_rejected", order)
        venue.now = max(venue.now, until)

    # --- requests that arrive

    def arrive(self, order: ExchangeOrder) -> None:
        """Let an order that has come in work, or wait for its phase of the day."""
        venue = self._venue
        if not order.is_open:
            return
        order.arrived = True
        if venue.is_active(order):
            self._begin(order)
            return
        self.waiting[order.id] = None
        if order.status == "pending_new":
            order.become("accepted", venue.now)
            venue.emit("accepted", order)
        if order.time_in_force == "day" and order.expires_at is not None and order.expires_at <= venue.now:
            self._lifecycle.end(order, "expired")  # its session has ended while it was on its way

    def _begin(self, order: ExchangeOrder) -> None:
        """Let an order work; the stop of an oco works with its target."""
        for one in (order, *self._venue.legs(order)) if order.order_class == "oco" else (order,):
            if one.status in ("pending_new", "accepted", "held"):
                one.arrived = True
                if one.expires_at is None:
                    one.expires_at = self.expiry(one)
                self._matcher.begin_work(one)

    def expiry(self, order: ExchangeOrder) -> int | None:
        """Return when an order of this session runs out, None while its session is unknown."""
        if order.expires_at is not None:
            return order.expires_at
        session = self._venue.session
        ends_at = session.post_closes_at if order.extended else session.closes_at
        return ends_at if order.time_in_force != "gtc" and self._venue.now < ends_at else None

    def _replace(self, new: ExchangeOrder) -> None:
        """Decide a replacement: the old order makes room, or it traded first and the new one is rejected."""
        venue, old = self._venue, self._venue.orders[new.replaces or ""]
        if not new.is_open:
            return
        total = old.quantity if new.new_total is None else new.new_total
        rest = (total or 0) - old.filled
        if not old.is_open or old.status != "pending_replace" or rest <= 0:
            self._lifecycle.refuse_replacement(old)
            return
        old.successor_id = None
        old.replaced_by = new.id
        new.quantity = rest
        # The old order's place in its group as that is now: others of it may have been replaced meanwhile.
        new.parent_id, new.child_ids, new.sibling_id = old.parent_id, list(old.child_ids), old.sibling_id
        if sibling := venue.orders.get(old.sibling_id or ""):
            sibling.sibling_id = new.id
        if old.parent_id:
            siblings = venue.orders[old.parent_id].child_ids
            siblings[siblings.index(old.id)] = new.id
        for leg in old.child_ids:
            venue.orders[leg].parent_id = new.id
        new.hwm, new.elected = old.hwm, old.elected
        if old.elected:
            new.collar = old.collar
        self._lifecycle.end(old, "replaced")
        venue.recount(new)
        new.arrived = True
        if venue.is_active(new):
            self._matcher.begin_work(new)
        else:
            self.waiting[new.id] = None
            new.become("accepted", venue.now)
            venue.emit("accepted", new)

    # --- the day

    def _change_phase(self) -> None:
        venue, session = self._venue, self._venue.session
        venue.phase = session.phase(venue.now)
        for market in venue.markets.values():
            market.extended_only = venue.phase is not Phase.REGULAR
        if venue.now >= session.closes_at:
            extended = venue.now >= session.post_closes_at
            over = [  # day orders whose session has ended; those that wait for the next one stay
                order
                for account in venue.accounts.values()
                for order in account.open.values()
                if order.time_in_force == "day"
                and order.extended is extended
                and order.status not in ("pending_new", "accepted", "held")
            ]
            for order in sorted(over, key=lambda o: (o.client_order_id, o.account_id)):
                if order.is_open:
                    self._lifecycle.end(order, "expired")
        due = [venue.orders[i] for i in self.waiting]
        for order in sorted(due, key=lambda o: (o.arrives_at, o.client_order_id, o.account_id)):
            if not order.is_open:
                self.waiting.pop(order.id, None)
            elif venue.is_active(order):
                self.waiting.pop(order.id, None)
                self._begin(order)
