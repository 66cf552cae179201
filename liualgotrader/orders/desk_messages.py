"""Every input of the desk and every decision, as immutable values.

Inputs are journaled as they are, so each carries its tag; together with the two clocks they are all that
the desk's state depends on.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from enum import StrEnum

import msgspec

from liualgotrader.common.orders import (
    AccountNews,
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
    Protect,
    ReplaceIntent,
    UnreadRow,
)
from liualgotrader.common.rows import EarlierOrder, RecordedBatch, Row, TradedBefore
from liualgotrader.common.session_plan import Hours, SessionPlan, SlotPlan
from liualgotrader.common.tradeplan import Limits, Timings


class DeskTerms(msgspec.Struct, frozen=True):
    """The part of the session's plan that the desk decides by."""

    batch_id: str
    slots: tuple[SlotPlan, ...]
    hours: Hours
    timings: Timings = Timings()
    limits: Limits = Limits()
    shadow: bool = False  # decide everything, send nothing
    divisible: bool = False  # crypto: parts trade as whole ones do, whatever the order

    @classmethod
    def of(cls, plan: SessionPlan) -> DeskTerms:
        """Return the terms of a session's plan."""
        return cls(plan.batch_id, plan.slots, plan.hours, plan.timings, plan.limits, plan.shadow)


# --- inputs ---------------------------------------------------------------------------------------


class Begin(msgspec.Struct, frozen=True, tag_field="kind", tag="begin"):
    """The owner of the desk has started (again): from here these terms hold, under this lease generation.

    The first `Begin` opens the books. At every later one the fate of what was under way is asked for.
    """

    terms: DeskTerms
    generation: int


class SlotsJoined(msgspec.Struct, frozen=True, tag_field="kind", tag="slots_joined"):
    """Slots joined the batch while the desk trades; those that it has stay as they are."""

    slots: tuple[SlotPlan, ...]

    @property
    def text(self) -> str:
        """What the journal's reader says of it."""
        return ", ".join(dict.fromkeys(slot.strategy for slot in self.slots))


class BeginSession(msgspec.Struct, frozen=True, tag_field="kind", tag="begin_session"):
    """The next trading day of the same batch begins: what the day before stopped is allowed again.

    What has ended, and news, is forgotten: nobody will ask for it.

    `closes` are the previous official closes of what is held, dollars per share: the day's loss counts from them.
    `splits` (new shares per old one) have taken effect since, and the closes are at the prices after them.
    """

    hours: Hours
    closes: dict[str, Decimal]
    splits: dict[str, Decimal] = {}


class Recovered(msgspec.Struct, frozen=True, tag_field="kind", tag="recovered"):
    """The journal was behind: what the record has of this batch, and what the broker has of it (with what it replaced).

    Follows the first `Begin` of a new journal. `opened`: what is foreign stands in the record; `carried` is
    what the record says that slots hold from earlier batches.
    """

    record: RecordedBatch
    seen: tuple[BrokerOrder, ...]  # oldest first
    executions: tuple[BrokerExecution, ...]
    carried: tuple[Carried, ...]
    opened: bool


class Carried(msgspec.Struct, frozen=True, tag_field="kind", tag="carried"):
    """A slot's strategy still holds this from an earlier batch; `average_price` is in dollars per share."""

    slot: int
    symbol: str
    quantity: Decimal  # signed shares
    average_price: Decimal
    planned_stop: Decimal | None = None
    planned_target: Decimal | None = None


class Restated(msgspec.Struct, frozen=True, tag_field="kind", tag="restated"):
    """A carried position that the account has in other terms than the record, as after a split; `text` says what is seen.

    The slot goes on with what the account has. Stop and target were made for other terms: they are dropped.
    """

    slot: int
    symbol: str
    quantity: Decimal  # signed shares, as recorded
    average_price: Decimal
    new_quantity: Decimal  # signed shares, as the account has them
    new_price: Decimal
    text: str


class Earlier(msgspec.Struct, frozen=True, tag_field="kind", tag="earlier"):
    """An order of an earlier batch as the record has it, and as the broker has it now with its executions.

    Comes before what is carried: its fills belong to its own batch. If it still works and a slot carries the position
    that it leaves, the slot takes it over; its fills are the slot's from then on.
    """

    left: EarlierOrder
    seen: BrokerOrder
    executions: tuple[BrokerExecution, ...] = ()


class Missing(msgspec.Struct, frozen=True, tag_field="kind", tag="missing"):
    """A slot's strategy held this after its last session, and the account has only `there` shares of it."""

    slot: int
    symbol: str
    quantity: Decimal  # signed shares
    average_price: Decimal
    there: Decimal


class Resolution(StrEnum):
    """What is to become of shares in which our books and the account differ."""

    ADOPT = "adopt"  # our books take them over as they are in the account
    FLATTEN = "flatten"  # the same, and what is there is closed at market
    IGNORE = "ignore"  # they are not ours


class Resolve(msgspec.Struct, frozen=True, tag_field="kind", tag="settle"):
    """An operator says what becomes of a quarantined symbol; `price` is its newest, dollars per share."""

    symbol: str
    how: Resolution
    strategy: str = ""  # who takes the shares over, where several could
    price: Decimal | None = None


class BrokerRequest(StrEnum):
    """What was asked of the broker."""

    SUBMIT = "submit"
    CANCEL = "cancel"
    REPLACE = "replace"


class Outcome(StrEnum):
    """How a request to the broker ended."""

    ACCEPTED = "accepted"
    DECLINED = "declined"  # the broker answered and said no
    SILENCE = "silence"  # no answer: it may have been carried out


class Answer(msgspec.Struct, frozen=True, gc=False, tag_field="kind", tag="answer"):
    """How a request of ours ended. `client_order_id` is that of the decision it answers."""

    request: BrokerRequest
    client_order_id: str
    outcome: Outcome
    order: BrokerOrder | None = None
    reason: str = ""
    code: int = 0


class OrderFound(msgspec.Struct, frozen=True, gc=False, tag_field="kind", tag="found"):
    """The result of a look-up by client order id; `order` None with `answered` says the broker knows no such order."""

    client_order_id: str
    answered: bool
    order: BrokerOrder | None = None


class Reconnected(msgspec.Struct, frozen=True, tag_field="kind", tag="reconnected"):
    """The broker's order stream is (again) connected; what happened before may have been missed."""


class BrokerSnapshot(msgspec.Struct, frozen=True, tag_field="kind", tag="snapshot"):
    """The broker's books, read in this order: positions, orders, executions (so none is older than the positions).

    `activities` moved the account's cash or shares and are no executions; a look that learned of none is no failure.
    `ok` False says that reading failed; the rest is then empty, and nothing is concluded from it. What is unread is
    there and not known: it is never taken for absent.
    """

    ok: bool
    orders: tuple[BrokerOrder, ...] = ()
    executions: tuple[BrokerExecution, ...] = ()
    positions: tuple[BrokerPosition, ...] = ()
    activities: tuple[BrokerActivity, ...] = ()
    unread_orders: tuple[UnreadRow, ...] = ()
    unread_positions: tuple[UnreadRow, ...] = ()


class Tick(msgspec.Struct, frozen=True, tag_field="kind", tag="tick"):
    """One of the instants that `Desk.next_market` or `Desk.next_machine` named has come."""


class Condition(msgspec.Struct, frozen=True, tag_field="kind", tag="condition"):
    """Something outside the desk stops entries (`text` says what), or stops no longer (`text` empty).

    `takes_back`: entries that work already are cancelled too.
    """

    name: str
    text: str
    takes_back: bool = False


class KillSwitch(msgspec.Struct, frozen=True, tag_field="kind", tag="kill_switch"):
    """Cancel everything of ours and open nothing until `Resume`; `flatten` also closes our positions.

    `whole_account`: orders and positions that are not ours too.
    """

    flatten: bool = False
    reason: str = "the kill switch is on"
    whole_account: bool = False


class Resume(msgspec.Struct, frozen=True, tag_field="kind", tag="resume"):
    """An operator takes back the kill switch and a daily-loss stop."""


class Flatten(msgspec.Struct, frozen=True, tag_field="kind", tag="flatten"):
    """Cancel the orders and close the positions of one slot, or (None) of all, and open nothing there until `Resume`.

    For one slot the next `Begin` undoes it too; what is being closed then goes on being closed.
    """

    slot: int | None = None
    reason: str = "flatten"


class StopSlotTrading(msgspec.Struct, frozen=True, tag_field="kind", tag="slot_stopped"):
    """A strategy is not called any more: nothing more is taken from it, and the caretaker has its positions."""

    slot: int
    reason: str


class Leave(msgspec.Struct, frozen=True, tag_field="kind", tag="leave"):
    """The owner of the desk is about to end: take back what would open positions. The next `Begin` or
    `BeginSession` undoes this.

    `resumes` says that the batch is not over: a person may still settle what it began without.
    """

    reason: str
    resumes: bool = False


class Prices(msgspec.Struct, frozen=True, tag_field="kind", tag="prices"):
    """The newest prices of what is held and the previous official closes, dollars per share.

    A price or close that is not stated is unknown.
    """

    prices: dict[str, Decimal]
    closes: dict[str, Decimal | None] = {}


def prices_of(positions: Iterable[BrokerPosition]) -> Prices:
    """Return the prices and closes in the broker's positions."""
    by_symbol = {p.symbol: p for p in positions}
    prices = {symbol: p.last_price for symbol, p in by_symbol.items() if p.last_price is not None and p.last_price > 0}
    closes = {s: p.previous_close if p.previous_close and p.previous_close > 0 else None for s, p in by_symbol.items()}
    return Prices(prices, closes)


FromRecord = Recovered | Carried | Earlier | Restated | Missing | TradedBefore
FromStrategies = OrderIntent | CancelIntent | ReplaceIntent | Protect | Declare
FromBroker = BrokerUpdate | BrokerAccount | Answer | OrderFound | Reconnected | BrokerSnapshot | Prices
FromOperator = Resolve | Condition | KillSwitch | Resume | Flatten | StopSlotTrading | Leave
Input = Begin | BeginSession | SlotsJoined | FromRecord | FromStrategies | FromBroker | FromOperator | Tick


class JournalRecord(msgspec.Struct, frozen=True, array_like=True):
    """One record of the money journal: an input, and both clocks at that moment."""

    now: int
    machine: int
    told: Input


# --- decisions ------------------------------------------------------------------------------------


class Send(msgspec.Struct, frozen=True, gc=False):
    """Submit this order to the broker under its client order id."""

    order: OrderIntent


class Cancel(msgspec.Struct, frozen=True, gc=False):
    """Ask the broker to cancel."""

    client_order_id: str
    broker_order_id: str
    symbol: str


class CancelAll(msgspec.Struct, frozen=True):
    """Take these back now, before all else: in bulk if the broker has no others open, else each one, side by side.

    `whole_account`: whatever is open, in bulk. Every one of `cancels` gets an `Answer` of its own.
    """

    cancels: tuple[Cancel, ...]
    whole_account: bool = False


class Replace(msgspec.Struct, frozen=True, gc=False):
    """Ask the broker to replace the order `broker_order_id`; the new order has `client_order_id`."""

    client_order_id: str
    broker_order_id: str
    symbol: str
    terms: ReplaceIntent


class LookUp(msgspec.Struct, frozen=True, gc=False):
    """Ask the broker what it knows under this client order id."""

    client_order_id: str
    symbol: str


class Reconcile(msgspec.Struct, frozen=True):
    """Read the broker's books: orders and executions since `since`, and every open order."""

    since: int


class Write(msgspec.Struct, frozen=True, gc=False):
    """A row for the database, numbered 1 upwards without holes."""

    number: int
    row: Row


class Tell(msgspec.Struct, frozen=True, gc=False):
    """News for the consumer of a slot."""

    slot: int
    news: News


class Announce(msgspec.Struct, frozen=True, gc=False):
    """The account's figures, for every consumer."""

    news: AccountNews


class Warn(msgspec.Struct, frozen=True, gc=False):
    """A sentence for a person; `level` is a logging level name."""

    level: str
    text: str


BrokerCall = Send | Cancel | Replace | LookUp | Reconcile
Decision = BrokerCall | CancelAll | Write | Tell | Announce | Warn
