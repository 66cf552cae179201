"""A journal gives back what was appended, whatever happens to the end of its file."""

from __future__ import annotations

import resource
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liualgotrader.common.errors import OutsideError
from liualgotrader.journal import JournalDamaged, JournalWriter, read_journal, scan
from tests.examples import examples

PAYLOADS = st.lists(st.binary(max_size=40), max_size=6)


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def write(path: Path, payloads: list[bytes], *, synced: int = 0, reserve: int = 0) -> None:
    """Write a journal, with a sync after the first `synced` records."""
    writer = JournalWriter(path, reserve=reserve)
    for number, payload in enumerate(payloads, start=1):
        writer.append(payload)
        if number == synced:
            writer.sync()
    writer.close()


@given(PAYLOADS, PAYLOADS, st.sampled_from([0, 4096]))
def test_what_was_appended_over_two_lives_comes_back_in_order(a: list[bytes], b: list[bytes], reserve: int) -> None:
    with folder() as home:
        write(home / "j", a, reserve=reserve)
        write(home / "j", b, reserve=reserve)
        assert list(read_journal(home / "j")) == a + b


@examples(40)
@given(st.lists(st.binary(max_size=20), min_size=1, max_size=4))
def test_cut_at_any_byte_it_holds_a_prefix_and_goes_on(payloads: list[bytes]) -> None:
    with folder() as home:
        write(home / "whole", payloads)
        whole = (home / "whole").read_bytes()
        for cut in range(len(whole) + 1):
            path = home / "cut"
            path.write_bytes(whole[:cut])
            kept = list(read_journal(path))
            assert kept == payloads[: len(kept)]
            write(path, [b"next"])
            assert list(read_journal(path)) == [*kept, b"next"]


@examples(40)
@given(st.lists(st.binary(max_size=20), min_size=1, max_size=4), st.integers(0, 4), st.data())
def test_a_flipped_byte_never_gives_a_wrong_record(payloads: list[bytes], synced: int, data: st.DataObject) -> None:
    with folder() as home:
        path = home / "j"
        write(path, payloads, synced=synced)
        raw = bytearray(path.read_bytes())
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at] ^= data.draw(st.integers(1, 255))
        path.write_bytes(raw)
        kept: list[bytes] = []
        try:
            for payload in read_journal(path):
                kept.append(payload)
        except JournalDamaged:
            return
        assert kept == payloads[: len(kept)]


def test_damage_to_a_record_that_was_on_disk_is_not_taken_for_a_torn_end(tmp_path: Path) -> None:
    path = tmp_path / "j"
    write(path, [b"first" * 10, b"second", b"third"], synced=1)
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"first")] ^= 1
    path.write_bytes(raw)
    with pytest.raises(JournalDamaged, match="damaged at byte 16"):
        JournalWriter(path)
    assert path.read_bytes() == bytes(raw)


def test_a_torn_last_record_is_cut_and_reported(tmp_path: Path) -> None:
    path = tmp_path / "j"
    write(path, [b"kept", b"torn away"])
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 3)
    writer = JournalWriter(path)
    assert (writer.records, writer.torn) == (1, 20 + len(b"torn away") - 3)
    writer.close()
    assert scan(path).torn == 0


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    first = JournalWriter(tmp_path / "j")
    with pytest.raises(OutsideError, match="written by another process"):
        JournalWriter(tmp_path / "j")
    first.close()


def test_the_file_of_another_program_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "j").write_bytes(b"something else entirely")
    with pytest.raises(JournalDamaged, match="does not begin as a journal"):
        JournalWriter(tmp_path / "j")
    assert (tmp_path / "j").read_bytes() == b"something else entirely"


def test_a_newer_format_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "j").write_bytes(b"liu-journal\0" + (9).to_bytes(4, "little"))
    with pytest.raises(JournalDamaged, match="format 9, this program reads 1"):
        list(read_journal(tmp_path / "j"))


def test_an_absent_journal_holds_nothing(tmp_path: Path) -> None:
    assert list(read_journal(tmp_path / "absent")) == []


def test_room_is_allocated_ahead_and_given_back(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / "j", reserve=1 << 20)
    writer.append(b"x" * 1000)
    assert (tmp_path / "j").stat().st_blocks * 512 >= 1 << 20
    writer.close()
    assert (tmp_path / "j").stat().st_size == 16 + 20 + 1000


def test_a_full_disk_is_one_sentence_and_costs_no_earlier_record(tmp_path: Path) -> None:
    path = tmp_path / "j"
    writer = JournalWriter(path)
    writer.append(b"a" * 100)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200, before[1]))  # stands for the full disk
        with pytest.raises(OutsideError, match="cannot be written"):
            writer.append(b"b" * 500)
        writer.append(b"c" * 10)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    writer.close()
    assert list(read_journal(path)) == [b"a" * 100, b"c" * 10]
