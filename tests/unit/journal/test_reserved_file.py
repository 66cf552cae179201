"""A reserved file gives back what was kept, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liualgotrader.journal.reserved_file import ReservedFile


def test_room_without_contents_and_no_file_are_nothing(tmp_path: Path) -> None:
    file = ReservedFile(tmp_path / "left", 4096)
    assert file.kept() == b""
    file.reserve()
    assert (file.path.stat().st_size, file.kept()) == (4096, b"")
    file.forget()
    file.forget()
    assert not file.path.exists()


def test_what_was_kept_stays_when_the_room_is_reserved_again(tmp_path: Path) -> None:
    file = ReservedFile(tmp_path / "left", 4096)
    file.keep(b"the end")  # without room reserved: as a disk that is not full allows
    file.reserve()
    assert file.kept() == b"the end"
    file.keep(b"more of it, longer than before")
    assert file.kept() == b"more of it, longer than before"


@given(data=st.binary(min_size=1, max_size=200), cut=st.integers(0, 210))
def test_contents_that_did_not_reach_the_disk_whole_are_not_taken_for_whole(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, cut: int
) -> None:
    file = ReservedFile(tmp_path_factory.mktemp("left") / "left", 256)
    file.reserve()
    file.keep(data)
    written = file.path.read_bytes()
    torn = written[:cut] + bytes(max(0, len(written) - cut))  # a reserved block that was never written reads as zeros
    file.path.write_bytes(torn)
    assert file.kept() == (data if torn == written else b"")
