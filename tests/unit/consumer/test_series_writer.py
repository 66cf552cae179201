"""What a consumer's strategies record gets to the disk, and a disk that takes none stops nobody."""

from __future__ import annotations

from pathlib import Path

from liualgotrader.consumer import series_writer
from liualgotrader.consumer.series_writer import SeriesWriter
from liualgotrader.data.recorded_series import SeriesFile, read_series


def record(writer: SeriesWriter, count: int) -> None:
    for number in range(count):
        writer.recording.record("Trend", "SPY", "sma", number, number)


async def test_what_is_left_at_the_end_is_written(tmp_path: Path) -> None:
    told: list[str] = []
    writer = SeriesWriter(SeriesFile(tmp_path, "consumer-0"), told.append)
    writer.start()
    record(writer, 5)
    await writer.close()
    assert read_series(tmp_path).value.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert told == []


async def test_what_does_not_fit_between_two_writes_is_left_out_and_said_once(tmp_path: Path) -> None:
    told: list[str] = []
    writer = SeriesWriter(SeriesFile(tmp_path, "consumer-0"), told.append)
    writer.start()
    record(writer, series_writer.MOST_VALUES + 7)
    await writer.close()
    assert len(read_series(tmp_path).at) == series_writer.MOST_VALUES
    assert told == ["values that strategies recorded are left out: a process keeps 200,000 in 3 s; trading goes on"]


async def test_a_disk_that_takes_nothing_is_said_once_and_the_end_is_in_order(tmp_path: Path) -> None:
    told: list[str] = []
    (tmp_path / "full").write_text("")
    writer = SeriesWriter(SeriesFile(tmp_path / "full", "consumer-0"), told.append)
    writer.start()
    record(writer, 5)
    await writer.close()
    assert told == ["values that strategies recorded are left out: the disk took no more; trading goes on"]
