"""What the producer remembers of symbols that were let go."""

from __future__ import annotations

from pathlib import Path

import pytest

from liualgotrader.producer.unpicked import FILE, Unpicked


def test_it_is_kept_over_the_producers_own_death(tmp_path: Path) -> None:
    unpicked = Unpicked(tmp_path)
    unpicked.add(["A", "B"])
    unpicked.discard(["B"])
    assert Unpicked(tmp_path).symbols == {"A"}


def test_a_disk_without_room_costs_the_memory_of_a_later_life_and_no_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    unpicked = Unpicked(tmp_path)
    unpicked.add(["A"])
    no_room = tmp_path / "producer.new"
    no_room.mkdir()
    unpicked.add(["B"])
    unpicked.add(["C"])
    assert unpicked.symbols == {"A", "B", "C"}
    assert Unpicked(tmp_path).symbols == {"A"}
    assert len(caplog.messages) == 1
    no_room.rmdir()
    unpicked.add([])
    assert Unpicked(tmp_path).symbols == {"A", "B", "C"}


@pytest.mark.parametrize("left", [b"", b'["A"', b"\0\0\0"])
def test_a_file_that_the_loss_of_the_machine_left_broken_says_nothing(tmp_path: Path, left: bytes) -> None:
    (tmp_path / FILE).write_bytes(left)
    assert Unpicked(tmp_path).symbols == set()
