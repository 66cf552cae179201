"""Processes that stand at one end of a link until they are killed."""

from __future__ import annotations

import multiprocessing
from multiprocessing.process import BaseProcess
from multiprocessing.queues import Queue
from pathlib import Path

from liualgotrader.ipc.links import LinkReader, LinkWriter, Reader, Writer
from liualgotrader.ipc.queue_link import QueueReader, QueueWriter
from liualgotrader.ipc.session_page import SessionPage

LINK = "market-0"
MESSAGE_BYTES = 30_000


def numbered(number: int) -> bytes:
    """Return a long message that says its number at both ends, so that half of one would show."""
    mark = number.to_bytes(8, "big")
    return mark + bytes(MESSAGE_BYTES - 16) + mark


def number_of(message: bytes) -> int:
    """Return a message's number, after making sure that the message is whole."""
    assert len(message) == MESSAGE_BYTES, "a message was cut"
    assert message[:8] == message[-8:], "two messages were mixed"
    return int.from_bytes(message[:8], "big")


def reader_end(folder: Path, messages: Queue[bytes] | None) -> Reader:
    """Return the receiving end in this process."""
    page = SessionPage(folder / "page")
    return LinkReader(folder / "m.link", page, LINK) if messages is None else QueueReader(messages, page, LINK)


def writer_end(folder: Path, messages: Queue[bytes] | None) -> Writer:
    """Return the sending end in this process."""
    page = SessionPage(folder / "page")
    return LinkWriter(folder / "m.link", page, LINK) if messages is None else QueueWriter(messages, page, LINK)


def write_for_ever(folder: Path, messages: Queue[bytes] | None) -> None:
    """Send numbered messages as fast as they are taken."""
    writer = writer_end(folder, messages)
    number = 0
    while True:
        writer.put(numbered(number))
        number += 1


def read_for_ever(folder: Path, messages: Queue[bytes] | None) -> None:
    """Take messages and handle them at once."""
    reader = reader_end(folder, messages)
    while True:
        number_of(reader.get())
        reader.handled()


def start(target: object, folder: Path, messages: Queue[bytes] | None) -> BaseProcess:
    """Start a process of its own, as the supervisor does."""
    process = multiprocessing.get_context("spawn").Process(target=target, args=(folder, messages), daemon=True)  # type: ignore[arg-type]
    process.start()
    return process


def kill(process: BaseProcess) -> None:
    """kill -9, and wait for the end."""
    process.kill()
    process.join(60)
    assert process.exitcode == -9
