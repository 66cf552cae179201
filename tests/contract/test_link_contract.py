"""What every kind of link promises, with real processes and real kills."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Iterator
from multiprocessing.queues import Queue
from pathlib import Path

import pytest

from liualgotrader.ipc.links import FRAME_BYTES, Reader, Writer
from liualgotrader.ipc.queue_link import new_queue
from liualgotrader.ipc.session_page import SessionPage
from tests.fakes.link_processes import (
    LINK,
    kill,
    number_of,
    numbered,
    read_for_ever,
    reader_end,
    start,
    write_for_ever,
    writer_end,
)

KINDS = ("seqpacket", "queue")
WAIT = 60.0  # machine seconds after which a test gives up


class Wire:
    """A link of one kind in a folder of its own."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder, self.kind = folder, kind
        self.page = SessionPage.create(folder / "page", ["producer", "consumer-0"], [LINK])
        self.messages: Queue[bytes] | None = None
        self._ends: list[Reader | Writer] = []
        self.renew()

    def renew(self) -> None:
        """Do what the supervisor does after a death: a fresh queue where links are inherited, else nothing."""
        if self.kind == "queue":
            self.messages = new_queue(self.page, LINK)

    def reader(self) -> Reader:
        end = reader_end(self.folder, self.messages)
        self._ends.append(end)
        return end

    def writer(self) -> Writer:
        end = writer_end(self.folder, self.messages)
        self._ends.append(end)
        return end

    def close(self) -> None:
        for end in self._ends:
            end.close()

    @property
    def counts(self) -> tuple[int, int]:
        return self.page.sent(0), self.page.handled(0)


@pytest.fixture(params=KINDS)
def wire(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    made = Wire(tmp_path_factory.mktemp("l"), request.param)
    yield made
    made.close()


async def _until(true: object) -> None:
    async with asyncio.timeout(WAIT):
        while not true():  # type: ignore[operator]
            await asyncio.sleep(0.005)


def test_messages_arrive_whole_and_in_order(wire: Wire) -> None:
    reader, writer = wire.reader(), wire.writer()
    reader.empty()
    for number in range(3):
        _put_and_open(reader, writer, numbered(number))
    assert [number_of(reader.get(WAIT)) for _ in range(3)] == [0, 1, 2]


def _put_and_open(reader: Reader, writer: Writer, payload: bytes) -> None:
    opens = getattr(reader, "open", None)  # only named links have an address to open
    if opens is not None:
        opens()
    writer.put(payload, WAIT)


def test_a_message_counts_as_under_way_until_it_was_handled(wire: Wire) -> None:
    reader, writer = wire.reader(), wire.writer()
    _put_and_open(reader, writer, b"one")
    _put_and_open(reader, writer, b"two")
    assert (wire.counts, reader.qsize(), writer.qsize()) == ((2, 0), 2, 2)
    reader.get(WAIT)
    assert wire.counts == (2, 0)
    reader.handled()
    assert (wire.counts, reader.empty()) == ((2, 1), False)
    reader.get(WAIT)
    reader.handled()
    assert (wire.counts, reader.empty()) == ((2, 2), True)


def test_get_gives_up_after_its_time(wire: Wire) -> None:
    with pytest.raises(queue.Empty):
        wire.reader().get(0.01)


def test_a_message_longer_than_a_frame_is_refused(wire: Wire) -> None:
    reader, writer = wire.reader(), wire.writer()
    for payload in (b"", bytes(FRAME_BYTES + 1)):
        with pytest.raises(ValueError, match="send it in parts"):
            writer.send(payload)
    _put_and_open(reader, writer, bytes(FRAME_BYTES))
    assert reader.get(WAIT) == bytes(FRAME_BYTES)


def test_a_reader_that_never_reads_makes_send_say_no_and_counts_nothing(wire: Wire) -> None:
    reader, writer = wire.reader(), wire.writer()
    _put_and_open(reader, writer, b"first")
    sent = 1
    while writer.send(bytes(FRAME_BYTES)):
        sent += 1
    assert sent > 3, "a reader a few messages behind is not full"
    assert wire.counts == (sent, 0)
    with pytest.raises(queue.Full):
        writer.put(bytes(FRAME_BYTES), 0.01)
    assert wire.counts == (sent, 0)


async def test_in_a_loop_messages_flow_and_room_is_told(wire: Wire) -> None:
    loop = asyncio.get_running_loop()
    reader, writer = wire.reader(), wire.writer()
    got: list[bytes] = []
    rooms: list[None] = []
    reached: list[None] = []
    writer.on_connected(lambda: reached.append(None))
    writer.on_room(lambda: rooms.append(None))
    writer.attach(loop)
    opens = getattr(reader, "open", lambda: None)
    opens()
    await _until(lambda: reached and writer.connected)
    sent = 0
    while writer.send(bytes(FRAME_BYTES)):
        sent += 1

    def take(message: bytes) -> None:
        got.append(message)
        reader.handled()

    reader.attach(loop, take)
    await _until(lambda: len(got) == sent and rooms)
    assert wire.counts == (sent, sent)


async def test_after_the_writer_was_killed_in_mid_message_the_next_one_is_heard(wire: Wire) -> None:
    reader = wire.reader()
    got: list[int] = []
    loop = asyncio.get_running_loop()

    def take(message: bytes) -> None:
        got.append(number_of(message))
        reader.handled()

    reader.attach(loop, take)
    for _ in range(3):
        process = start(write_for_ever, wire.folder, wire.messages)
        heard = len(got)
        await _until(lambda heard=heard: len(got) > heard + 50)
        kill(process)
        if wire.messages is not None:  # a queue that somebody died in is replaced at both ends
            reader.close()
            wire.renew()
            reader = wire.reader()
            reader.attach(loop, take)
    writer = wire.writer()
    writer.attach(loop)
    await _until(lambda: writer.connected)
    assert writer.send(numbered(4711))
    await _until(lambda: got[-1] == 4711)
    await _until(lambda: wire.counts[0] == wire.counts[1])


async def test_after_the_reader_was_killed_in_mid_message_the_next_one_hears(wire: Wire) -> None:
    loop = asyncio.get_running_loop()
    writer = wire.writer()
    writer.attach(loop)
    for round_ in range(3):
        process = start(read_for_ever, wire.folder, wire.messages)
        before = wire.page.handled(0)
        async with asyncio.timeout(WAIT):
            while wire.page.handled(0) < before + 50:
                for number in range(8):
                    writer.send(numbered(number))  # never waits, whatever the reader does
                await asyncio.sleep(0.001)
        kill(process)
        assert writer.send(numbered(round_)) in (True, False)
        if wire.messages is not None:
            writer.close()
            wire.renew()
            writer = wire.writer()
            writer.attach(loop)
    reader = wire.reader()
    got: list[int] = []

    def take(message: bytes) -> None:
        got.append(number_of(message))
        reader.handled()

    reader.attach(loop, take)
    async with asyncio.timeout(WAIT):
        while not writer.send(numbered(4711)):
            await asyncio.sleep(0.005)
    await _until(lambda: got and got[-1] == 4711)
    assert wire.counts[0] == wire.counts[1], "what the dead reader lost does not hold the market"
