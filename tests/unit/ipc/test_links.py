"""What the named links do beyond the contract."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from liualgotrader.common.errors import OutsideError
from liualgotrader.ipc.address import forget_address, short_link, socket_address
from liualgotrader.ipc.links import LinkReader, LinkWriter
from liualgotrader.ipc.session_page import SessionPage


@pytest.fixture
def page(tmp_path: Path) -> SessionPage:
    return SessionPage.create(tmp_path / "page", ["a", "b"], ["picks"])


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0.002)


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    yield folder / "picks.link"
    forget_address(folder)
    assert not os.path.lexists(short_link(folder))


def test_a_folder_whose_path_is_too_long_for_sockets_has_them_all_the_same(deep: Path, page: SessionPage) -> None:
    reader, writer = LinkReader(deep, page, "picks"), LinkWriter(deep, page, "picks")
    reader.open()
    writer.put(b"hello", 5)
    assert reader.get(5) == b"hello"
    assert deep.is_socket()
    assert len(socket_address(deep)) <= 107
    reader.close()
    writer.close()


def test_a_short_name_that_leads_elsewhere_is_not_followed(deep: Path, page: SessionPage, tmp_path: Path) -> None:
    short_link(deep.parent).symlink_to(tmp_path)
    with pytest.raises(OutsideError, match="which somebody else owns"):
        LinkReader(deep, page, "picks").open()


def test_a_left_over_address_of_a_dead_reader_is_taken_over(page: SessionPage, tmp_path: Path) -> None:
    (tmp_path / "picks.link").write_text("left over")
    reader, writer = (
        LinkReader(tmp_path / "picks.link", page, "picks"),
        LinkWriter(tmp_path / "picks.link", page, "picks"),
    )
    assert not writer.send(b"x"), "nobody is there"
    reader.open()
    writer.put(b"hello", 5)
    assert reader.get(5) == b"hello"
    reader.close()
    writer.close()


async def test_what_a_dead_reader_had_not_handled_holds_nothing_after_a_hello(
    page: SessionPage, tmp_path: Path
) -> None:
    path, loop = tmp_path / "picks.link", asyncio.get_running_loop()
    first, writer = LinkReader(path, page, "picks"), LinkWriter(path, page, "picks")
    first.open()
    writer.attach(loop)
    await until(lambda: writer.connected)
    assert writer.send(b"lost") and writer.send(b"lost too")
    first.close()  # as its death would
    await until(lambda: not writer.connected)
    assert (page.sent(0), page.handled(0)) == (2, 0)
    assert not writer.send(b"nobody")
    second = LinkReader(path, page, "picks")
    second.attach(loop, lambda message: None)
    await until(lambda: page.handled(0) == 2)
    writer.close()
    second.close()


async def test_a_message_in_hand_while_the_writer_starts_again_stays_under_way(
    page: SessionPage, tmp_path: Path
) -> None:
    path, loop = tmp_path / "picks.link", asyncio.get_running_loop()
    reader, got = LinkReader(path, page, "picks"), list[bytes]()
    reader.attach(loop, got.append)
    for expected in (1, 2):
        writer = LinkWriter(path, page, "picks")
        writer.attach(loop)
        await until(partial(_connected, writer))
        assert writer.send(b"work")
        writer.close()
        await until(partial(_has, got, expected))
        assert (page.sent(0), page.handled(0)) == (expected, 0)
    reader.handled()
    reader.handled()
    assert page.handled(0) == 2
    reader.close()


async def test_a_second_writer_takes_over_after_what_the_first_had_sent(page: SessionPage, tmp_path: Path) -> None:
    path, loop = tmp_path / "picks.link", asyncio.get_running_loop()
    reader, got = LinkReader(path, page, "picks"), list[bytes]()
    reader.open()
    old, new = LinkWriter(path, page, "picks"), LinkWriter(path, page, "picks")
    old.put(b"1", 5)
    old.put(b"2", 5)
    new.put(b"3", 5)
    reader.attach(loop, got.append)
    await until(lambda: got == [b"1", b"2", b"3"])
    old.send(b"4")
    assert not old.send(b"5"), "the first writer is told that it has been replaced"
    for end in (old, new, reader):
        end.close()


async def test_a_stranger_at_the_address_is_shown_out(page: SessionPage, tmp_path: Path) -> None:
    import socket

    reader, got = LinkReader(tmp_path / "picks.link", page, "picks"), list[bytes]()
    reader.attach(asyncio.get_running_loop(), got.append)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stranger:
        stranger.connect(str(tmp_path / "picks.link"))
        stranger.send(b"not a hello")
        stranger.settimeout(0)
        await until(lambda: _ended(stranger))
    assert not got
    reader.close()


def _connected(writer: LinkWriter) -> bool:
    return writer.connected


def _has(got: list[bytes], count: int) -> bool:
    return len(got) == count


def _ended(stranger: object) -> bool:
    try:
        return stranger.recv(1) == b""  # type: ignore[attr-defined,no-any-return]
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
