"""Order numbers, and intents on their way to the gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from liualgotrader.common.orders import (
    CancelIntent,
    Declare,
    Intent,
    OrderIntent,
    OrderNews,
    OrderState,
    OrderType,
    Protect,
    Protection,
    ReplaceIntent,
    Side,
)
from liualgotrader.consumer.outboxes import IntentOutbox, OrderNumbers
from liualgotrader.ipc.batch_codec import decode_intents
from liualgotrader.ipc.links import Writer
from tests.fakes.market_hold import Holds

ID = "liu-0b5e7a4e0000-0-{}"


def an_order(number: int) -> OrderIntent:
    return OrderIntent(ID.format(number), 0, "S", "A", Side.BUY, Decimal(1), OrderType.MARKET, 0, 0)


def told(client_id: str, state: OrderState, chain: str = "") -> OrderNews:
    return OrderNews(1, 0, client_id, "A", Side.BUY, state, 0, Decimal(1), Decimal(0), chain=chain)


# --- numbers ---------------------------------------------------------------------------------


def test_numbers_outlive_the_process_and_never_go_back(tmp_path: Path) -> None:
    numbers = OrderNumbers(tmp_path / "j" / "n", [0, 3])
    numbers.use(3, 5)
    numbers.use(3, 4)
    numbers.close()
    again = OrderNumbers(tmp_path / "j" / "n", [0, 3, 7])
    assert (again.highest(0), again.highest(3), again.highest(7)) == (0, 5, 0)
    again.close()


# --- outbox ----------------------------------------------------------------------------------


class Wire(Writer):
    """A link's writing end with a gateway that can be there or not."""

    connected = False

    def __init__(self) -> None:
        self.room = True
        self.sent: list[Intent] = []
        self.acts: list[Callable[[], None]] = []

    def attach(self, loop: asyncio.AbstractEventLoop) -> None: ...
    def on_connected(self, act: Callable[[], None]) -> None:
        self.acts.append(act)

    def on_room(self, act: Callable[[], None]) -> None: ...
    def send(self, payload: bytes) -> bool:
        if self.room:
            self.sent += decode_intents(payload)
        return self.room

    def put(self, payload: bytes, timeout: float | None = None) -> None: ...
    def close(self) -> None: ...

    def connect(self) -> list[Intent]:
        self.connected, self.sent = True, []
        for act in self.acts:
            act()
        return self.sent


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def hold() -> Holds:
    return Holds()


@pytest.fixture
def outbox(wire: Wire, hold: Holds, tmp_path: Path) -> IntentOutbox:
    numbers = OrderNumbers(tmp_path / "n", [0])
    return IntentOutbox(wire, numbers, lambda: [Declare(0, "S", True, 9)], hold.hold())


def test_slots_are_declared_before_anything_else_and_the_market_is_held_meanwhile(
    outbox: IntentOutbox, wire: Wire, hold: Holds
) -> None:
    outbox.add([an_order(1)])
    assert (wire.sent, hold.count) == ([], 1)
    assert wire.connect() == [Declare(0, "S", True, 9), an_order(1)]
    assert hold.count == 0


def test_what_finds_no_room_is_sent_later_in_order(outbox: IntentOutbox, wire: Wire, hold: Holds) -> None:
    wire.connect()
    wire.room = False
    outbox.add([an_order(1)])
    outbox.add([an_order(2)])
    assert hold.count == 1
    wire.room = True
    outbox.flush()
    assert wire.sent[1:] == [an_order(1), an_order(2)] and hold.count == 0


@pytest.mark.parametrize(
    "intent, news, answered",
    [
        (an_order(1), told(ID.format(1), OrderState.WRITTEN), True),
        (an_order(1), told(ID.format(1), OrderState.REFUSED), True),
        (an_order(1), told(ID.format(2), OrderState.WRITTEN), False),
        (CancelIntent(ID.format(1), 0, 0), told(ID.format(1), OrderState.ACKNOWLEDGED), False),
        (CancelIntent(ID.format(1), 0, 0), told(ID.format(1), OrderState.PENDING_CANCEL), True),
        (CancelIntent(ID.format(1), 0, 0), told(ID.format(1), OrderState.FILLED), True),
        (CancelIntent(ID.format(1), 0, 0), told(ID.format(1), OrderState.REPLACED), False),  # the new one still works
        (
            CancelIntent(ID.format(1), 0, 0),
            told(ID.format(1) + "-r1", OrderState.REFUSED, ID.format(1)),
            False,
        ),  # the old one does
        (CancelIntent(ID.format(1), 0, 0), told(ID.format(1) + "-r1", OrderState.PENDING_CANCEL, ID.format(1)), True),
        (CancelIntent(ID.format(1), 0, 0), told(ID.format(1) + "-r2", OrderState.CANCELED, ID.format(1)), True),
        (
            CancelIntent("a-person-s-order-of-this-name", 0, 0),
            told("a-person-s-order-of-this-name", OrderState.FILLED),
            True,
        ),
        (ReplaceIntent(ID.format(1), 0, 0), told(ID.format(1), OrderState.ACKNOWLEDGED), False),
        (ReplaceIntent(ID.format(1), 0, 0), told(ID.format(1) + "-r1", OrderState.WRITTEN, ID.format(1)), True),
        (ReplaceIntent("a-bracket-s-exit", 0, 0), told(ID.format(0), OrderState.WRITTEN, "a-bracket-s-exit"), True),
        (Protect(0, "A", 0, Decimal(1)), Protection(1, 0, "A", 0, Decimal(1)), True),
        (Protect(0, "A", 0, Decimal(1)), Protection(1, 0, "B", 0, Decimal(1)), False),
        (Protect(0, "A", 0, Decimal(2)), Protection(1, 0, "A", 0, Decimal(1)), False),  # echo of an older move
    ],
)
def test_an_intent_is_sent_again_until_news_answers_it(
    outbox: IntentOutbox, wire: Wire, intent: Any, news: Any, answered: bool
) -> None:
    wire.connect()
    outbox.add([intent])
    outbox.take_news([news])
    assert outbox.unanswered == (0 if answered else 1)
    assert wire.connect()[1:] == ([] if answered else [intent])


def test_only_the_newest_protection_of_a_position_is_kept(outbox: IntentOutbox, wire: Wire) -> None:
    outbox.add([Protect(0, "A", 0, Decimal(1)), Protect(0, "A", 1, Decimal(2))])
    assert wire.connect()[1:] == [Protect(0, "A", 1, Decimal(2))]


def test_a_slot_that_joins_has_a_number_of_its_own_beside_those_that_were_used(tmp_path: Path) -> None:
    numbers = OrderNumbers(tmp_path / "n", [1])
    numbers.use(1, 7)
    numbers.take_in([1, 600])  # beyond what was mapped
    numbers.use(600, 2)
    assert (numbers.highest(1), numbers.highest(600)) == (7, 2)
    numbers.close()
