"""Recorded series on disk: what is written can be read, whatever became of the process that wrote it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from liualgotrader.common.errors import OutsideError
from liualgotrader.common.recording import RecordedColumns, Recording
from liualgotrader.data.recorded_series import SeriesFile, read_series

Row = tuple[str, str, str, int, float]


def columns_of(recording: Recording, *rows: Row) -> RecordedColumns:
    for row in rows:
        recording.record(*row)
    return recording.take()


def rows_of(columns: RecordedColumns) -> list[Row]:
    places = zip(columns.series.tolist(), columns.at.tolist(), columns.value.tolist(), strict=True)
    return [(*columns.keys[series], at, value) for series, at, value in places]


def written(folder: Path, writer: str, *parts: list[Row]) -> SeriesFile:
    file, recording = SeriesFile(folder, writer), Recording(100, 100)
    for part in parts:
        file.write(columns_of(recording, *part))
    return file


def test_series_that_come_later_and_other_processes_are_read_by_time(tmp_path: Path) -> None:
    first: list[Row] = [
        ("Trend", "SPY", "sma", 10, 1.5),
        ("Trend", "QQQ", "sma", 10, 2.5),
        ("Trend", "SPY", "rsi", 30, 70.0),
    ]
    later: list[Row] = [("Trend", "IWM", "sma", 40, 4.0), ("Other", "SPY", "sma", 40, 5.0)]
    other: list[Row] = [("Trend", "BAC", "sma", 20, 3.0)]
    written(tmp_path, "consumer-0", first, [], later)  # not closed: its process was killed
    written(tmp_path, "consumer-1", other).close()
    assert rows_of(read_series(tmp_path)) == [*first[:2], *other, first[2], *later]
    assert rows_of(read_series(tmp_path, "SPY")) == [first[0], first[2], later[1]]
    assert rows_of(read_series(tmp_path, "GME")) == []


@pytest.mark.parametrize("cut", [1, 100, 300])
def test_what_a_killed_process_did_not_finish_is_passed_over(tmp_path: Path, cut: int) -> None:
    first: list[Row] = [("Trend", "SPY", "sma", at, float(at)) for at in range(20)]
    written(tmp_path, "consumer-0", first, [("Trend", "SPY", "sma", 20, 20.0)])
    path = tmp_path / "consumer-0.arrows"
    path.write_bytes(path.read_bytes()[:-cut])
    assert rows_of(read_series(tmp_path)) == first
    again: list[Row] = [("Trend", "SPY", "sma", 21, 21.0)]
    written(tmp_path, "consumer-0", again).close()  # the process that takes its place
    assert rows_of(read_series(tmp_path)) == first + again
    assert sorted(p.name for p in tmp_path.iterdir()) == ["consumer-0.2.arrows", "consumer-0.arrows"]


def test_without_values_there_is_no_file(tmp_path: Path) -> None:
    written(tmp_path / "records", "backtest", []).close()
    assert not (tmp_path / "records").exists()
    assert not len(read_series(tmp_path / "records").at)


def test_a_disk_that_takes_nothing_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "full").write_text("")
    with pytest.raises(OutsideError, match=r"what strategies recorded cannot be written to .*: make room"):
        written(tmp_path / "full", "backtest", [("Trend", "SPY", "sma", 1, 1.0)])


def test_a_million_values_take_some_twenty_bytes_each(tmp_path: Path) -> None:
    file, recording = SeriesFile(tmp_path, "backtest"), Recording(10**6, 10**6)
    for number in range(10**4):
        recording.record("Trend", "SPY", "sma" if number % 2 else "rsi", number, number)
    some = recording.take()
    series, at, value = (np.tile(column, 100) for column in (some.series, some.at, some.value))
    repeated = RecordedColumns(some.keys, series.astype(np.int32), at.astype(np.int64), value.astype(np.float64))
    file.write(repeated)
    file.close()
    assert (tmp_path / "backtest.arrows").stat().st_size < 30 * 10**6
