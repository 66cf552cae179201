"""Numbers, outbox and the background record."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from liualgotrader.common.clock import WallClock
from liualgotrader.common.errors import BadData, DatabaseUnavailable
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
from liualgotrader.common.rows import SignalRow
from liualgotrader.consumer.intent_outbox import IntentOutbox
from liualgotrader.consumer.order_numbers import OrderNumbers
from liualgotrader.consumer.signal_writer import Recorder, StoredKeys
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
    outbox.heard([news])
    assert outbox.unanswered == (0 if answered else 1)
    assert wire.connect()[1:] == ([] if answered else [intent])


def test_only_the_newest_protection_of_a_position_is_kept(outbox: IntentOutbox, wire: Wire) -> None:
    outbox.add([Protect(0, "A", 0, Decimal(1)), Protect(0, "A", 1, Decimal(2))])
    assert wire.connect()[1:] == [Protect(0, "A", 1, Decimal(2))]


# --- record ----------------------------------------------------------------------------------


class Ledger:
    """The part of a store that consumers write, on a server that can be away."""

    def __init__(self) -> None:
        self.away = False
        self.rows: list[Any] = []
        self.keys: dict[str, str] = {}

    def _here(self) -> None:
        if self.away:
            raise DatabaseUnavailable("away")

    async def save_signals(self, signals: Any) -> None:
        self._here()
        self.rows += signals

    async def save_reject(self, batch_id: str, strategy: str, symbol: str, at: int) -> None:
        self._here()
        self.rows.append((strategy, symbol))

    async def key_save(self, key: str, value: str) -> None:
        self._here()
        if "\0" in value:
            raise BadData("a text must not contain NUL")
        self.keys[key] = value

    async def key_load(self, key: str) -> str | None:
        self._here()
        return self.keys.get(key)

    async def close(self) -> None: ...


class QuickClock(WallClock):
    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds / 100)


def a_recorder(ledger: Ledger) -> Recorder:
    async def opened() -> Any:
        return ledger

    recorder = Recorder("b", opened, QuickClock())
    recorder.start()
    return recorder


def signal(n: int) -> SignalRow:
    return SignalRow("b", 0, "A", n, {}, "sent")


async def test_rows_are_written_once_although_the_server_was_away() -> None:
    ledger = Ledger()
    ledger.away = True
    recorder = a_recorder(ledger)
    for n in range(3):
        recorder.signal(signal(n))
    recorder.reject("S", "A", 1)
    await WallClock().sleep(0.03)
    ledger.away = False
    while recorder.waiting:
        await WallClock().sleep(0.005)
    await recorder.close(60.0)
    assert ledger.rows == [("S", "A"), signal(0), signal(1), signal(2)]


async def test_a_bug_of_the_writer_ends_the_process_at_once() -> None:
    loop = asyncio.get_running_loop()
    broken: asyncio.Future[BaseException] = loop.create_future()

    def keep(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not broken.done():
            broken.set_result(context["exception"])

    loop.set_exception_handler(keep)
    ledger = Ledger()

    async def wrong(signals: Any) -> None:
        raise LookupError("no such column")

    ledger.save_signals = wrong  # type: ignore[method-assign]
    recorder = a_recorder(ledger)
    recorder.signal(signal(1))
    async with asyncio.timeout(60):
        assert isinstance(await broken, LookupError)
    assert recorder.waiting == 1


async def test_what_is_left_is_written_at_the_end() -> None:
    ledger = Ledger()
    recorder = a_recorder(ledger)
    recorder.signal(signal(1))
    await recorder.close(60.0)
    assert ledger.rows == [signal(1)]


async def test_a_value_is_read_back_at_once_and_from_the_server_when_another_wrote_it() -> None:
    ledger = Ledger()
    recorder = a_recorder(ledger)
    keys = StoredKeys(recorder, Holds().hold)
    await keys.save("k", "mine")
    assert await keys.load("k") == "mine"
    while recorder.waiting:
        await WallClock().sleep(0.005)
    ledger.keys["k"] = "theirs"
    assert await keys.load("k") == "theirs"
    ledger.away = True
    assert await keys.load("k") == "theirs"
    assert await keys.load("other") is None
    ledger.away = False
    await recorder.close(60.0)


async def test_a_value_stored_while_an_older_one_is_being_read_is_what_is_read() -> None:
    ledger, asked, answers = Ledger(), asyncio.Event(), asyncio.Event()
    ledger.keys["k"] = "old"

    async def slow(key: str) -> str | None:
        found = ledger.keys.get(key)
        asked.set()
        await answers.wait()
        return found

    ledger.key_load = slow  # type: ignore[method-assign]
    recorder = a_recorder(ledger)
    keys = StoredKeys(recorder, Holds().hold)
    reading = asyncio.create_task(keys.load("k"))
    await asked.wait()
    await keys.save("k", "new")
    answers.set()
    assert await reading == "new"
    assert await keys.load("k") == "new"
    await recorder.close(60.0)


async def test_the_market_is_held_until_a_value_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    async def until(true: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not true():
                await asyncio.sleep(0.001)

    monkeypatch.setattr("liualgotrader.consumer.signal_writer.KEY_SECONDS", 60.0)
    ledger, hold = Ledger(), Holds()
    recorder = a_recorder(ledger)
    keys = StoredKeys(recorder, hold.hold)
    await keys.save("k", "1")
    await keys.save("k", "2")
    assert hold.count == 2
    await until(lambda: (hold.count, ledger.keys) == (0, {"k": "2"}))
    ledger.away = True
    monkeypatch.setattr("liualgotrader.consumer.signal_writer.KEY_SECONDS", 0.05)
    await keys.save("k", "3")
    assert hold.count == 1
    await until(lambda: hold.count == 0)  # not for ever
    await until(lambda: recorder.is_down)
    await keys.save("k", "4")
    assert (hold.count, await keys.load("k")) == (0, "4")
    ledger.away = False
    await recorder.close(60.0)
    assert (hold.count, ledger.keys) == (0, {"k": "4"})


async def test_a_value_that_cannot_be_stored_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    ledger, hold = Ledger(), Holds()
    recorder = a_recorder(ledger)
    keys = StoredKeys(recorder, hold.hold)
    await keys.save("bad", "a\0b")
    await keys.save("good", "1")
    await recorder.close(60.0)
    assert (hold.count, ledger.keys) == (0, {"good": "1"})
    assert "key_not_storable" in caplog.text
