"""Messages of the control link: reports of a process to the supervisor, commands of the supervisor to a process."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from liualgotrader.common.session_plan import SlotPlan


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The process has started and takes part in the session."""


class Counters(msgspec.Struct, frozen=True, tag="counters"):
    """The process's figures, sent about once a machine second: totals since its start, and gauges."""

    values: dict[str, float]


class SlotEnded(msgspec.Struct, frozen=True, tag="slot_ended"):
    """A strategy slot is not called any more; the sentence becomes its end reason."""

    slot: int
    reason: str


class Notice(msgspec.Struct, frozen=True, tag="notice"):
    """Something a person should read. `level` is a logging level name."""

    level: str
    text: str


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The process cannot go on and restarting would not help; the session ends with this exit code."""

    text: str
    exit_code: int


ROWS_LEFT = "rows_left"  # a fact: how many rows an order gateway could not write before it ended


FILLS_OF = "fills."  # counters of the order gateway: executions by strategy
MARK_OF = "mark."  # counters of the consumers: newest prices of symbols held
REFUSED_OF = "refused."  # counters of the consumers: refused orders by strategy and rule


class DeskPosition(msgspec.Struct, frozen=True):
    """What a slot holds; prices in US dollars per share."""

    slot: int
    strategy: str
    symbol: str
    quantity: Decimal  # signed shares
    average_price: Decimal
    last: Decimal | None  # newest price known
    stop: Decimal | None  # as the strategy planned
    resting_stop: Decimal | None  # that the broker keeps for all of it
    target: Decimal | None
    day_trade: bool


class WorkingOrder(msgspec.Struct, frozen=True):
    """An order that may still trade; prices in US dollars per share."""

    client_order_id: str
    slot: int
    strategy: str
    symbol: str
    side: str
    quantity: Decimal
    filled: Decimal
    type: str
    limit_price: Decimal | None
    stop_price: Decimal | None
    state: str


class DeskView(msgspec.Struct, frozen=True):
    """What the order desk shows of itself at one moment; money in US dollars, None where it is not known."""

    positions: tuple[DeskPosition, ...]
    unprotected: tuple[DeskPosition, ...]  # without a stop, planned or resting
    open_orders: tuple[WorkingOrder, ...]
    foreign: dict[str, Decimal]  # signed shares in the account that are not ours
    quarantined: dict[str, str]  # by symbol, why nothing is opened in it
    entries_stopped: dict[str, str]  # by condition, why nothing is opened at all
    realized: dict[str, Decimal]  # by strategy, in this batch, fees paid
    equity: Decimal | None  # as the broker told it last, with what our positions did since
    account_gain: Decimal | None  # since the previous official close
    day_gain: Decimal  # of our positions since then
    day_began_with: Decimal | None  # the equity that limits on a day's loss are fractions of
    day_unknown: dict[str, str]  # by symbol, what the day's gain does not know
    activities: tuple[str, ...]  # what moved the account and is no trade of ours


class DeskFacts(msgspec.Struct, frozen=True, tag="told"):
    """Facts for the summary and the status page, by name (positions, protections, open orders …)."""

    facts: dict[str, Any]


class RequestAnswer(msgspec.Struct, frozen=True, tag="answered"):
    """The answer to an operator's request, in words; `ticket` is that of the request."""

    ticket: int
    text: str
    done: bool = True  # False: it was not done, and the text says why


UNANNOUNCED = "unannounced"  # a fact: the gateway waits until a person could read what it says of the account
ANNOUNCED = "announced"  # the request that ends that wait


class RestartOther(msgspec.Struct, frozen=True, tag="restart"):
    """Another process must be started anew, without its memory."""

    process: str


ProcessReport = RestartOther | Ready | Counters | SlotEnded | Notice | Failed | DeskFacts | RequestAnswer


class StopCommand(msgspec.Struct, frozen=True, tag="stop"):
    """End in order: finish what is under way, flush, exit 0."""

    reason: str
    flatten: bool = False


class StopSlotCommand(msgspec.Struct, frozen=True, tag="stop_slot"):
    """A strategy slot was stopped for good; its positions pass to the desk's caretaker."""

    slot: int
    reason: str


class OperatorRequest(msgspec.Struct, frozen=True, tag="operate"):
    """An operator's request: `kill_switch`, `resume`, `flatten` …; one with a ticket gets a `RequestAnswer`."""

    name: str
    arguments: dict[str, Any] = {}
    ticket: int = 0


class StartSlotsCommand(msgspec.Struct, frozen=True, tag="start_slots"):
    """A strategy joins the session: its slots, and the table that it is made from.

    The order gateway is told first and answers; a process that knows the slots already does nothing.
    """

    slots: tuple[SlotPlan, ...]
    table: dict[str, Any]
    ticket: int = 0


SupervisorCommand = StopCommand | StopSlotCommand | StartSlotsCommand | OperatorRequest
