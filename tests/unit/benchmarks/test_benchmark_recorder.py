"""Times written by one process and read by another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import recorder
from benchmarks.recorder import AllReadings, open_cells


@pytest.fixture(autouse=True)
def few_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "CAPACITY", 10)
    monkeypatch.setattr(recorder, "_CHUNK", 4)


def test_readings_come_in_the_order_written_and_only_once(tmp_path: Path) -> None:
    cells, readings = open_cells(tmp_path), AllReadings(tmp_path)
    cells[0], cells[1], cells[2] = 7, 5, 6
    assert readings.count() == 3
    assert [part.tolist() for part in readings.take()] == [[7, 5, 6]]
    assert readings.count() == 0
    cells[3] = 9
    assert [part.tolist() for part in readings.take()] == [[9]]


def test_readings_go_round_when_the_cells_are_used_up(tmp_path: Path) -> None:
    cells, readings = open_cells(tmp_path), AllReadings(tmp_path)
    for place in range(8):
        cells[place] = place + 1
    readings.take()
    for number in range(8, 13):
        cells[number % 10] = number + 1
    assert np.concatenate(readings.take()).tolist() == [9, 10, 11, 12, 13]


def test_full_cells_are_all_read(tmp_path: Path) -> None:
    cells, readings = open_cells(tmp_path), AllReadings(tmp_path)
    for place in range(10):
        cells[place] = 1
    assert (readings.count(), len(readings.take()[0]), readings.count()) == (10, 10, 0)


def test_full_cells_are_counted_once_wherever_reading_began(tmp_path: Path) -> None:
    cells, readings = open_cells(tmp_path), AllReadings(tmp_path)
    for place in range(3):
        cells[place] = 1
    readings.take()
    for place in range(10):
        cells[place] = 2
    assert readings.count() == 10


def test_a_folder_without_files_has_no_readings(tmp_path: Path) -> None:
    assert AllReadings(tmp_path).count() == 0
    assert AllReadings(tmp_path).take() == []
