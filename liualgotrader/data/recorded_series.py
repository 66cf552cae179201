"""Recorded series on disk: `LIU_HOME/records/BATCH`, an Arrow stream for each process that a strategy of the batch ran in.

A stream grows by whole record batches of five columns: time, strategy, symbol, name, value. What a killed process was
writing is the end of its stream, which readers pass over; a process that takes its place begins a stream of its own.

Source of the format: Apache Arrow, IPC streaming format, dictionaries grow by deltas.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from liualgotrader.common.errors import OutsideError
from liualgotrader.common.recording import RecordedColumns, SeriesKey, nothing_recorded

MARKET = "market"  # the folder beside the streams for the minutes that strategies saw
_SUFFIX = ".arrows"


def records_of(home: Path, batch_id: str) -> Path:
    """Return the folder of what a batch recorded."""
    return home / "records" / batch_id


class SeriesFile:
    """A stream that is made when the first values are written.

    Raises:
        OutsideError: from `write`, if the disk does not take it; what was written before can be read.
    """

    def __init__(self, folder: Path, writer: str) -> None:
        self._folder, self._name = folder, writer
        self._stream: Any = None
        self._file: Any = None

    def write(self, columns: RecordedColumns) -> None:
        """Append values; they survive the end of this process."""
        import pyarrow as pa

        if not len(columns.at):
            return
        try:
            if self._stream is None:
                self._open()
            arrays = [pa.array(columns.at, pa.timestamp("ns", "UTC"))]
            for names in zip(*columns.keys, strict=True):
                known = {name: place for place, name in enumerate(dict.fromkeys(names))}
                codes = np.array([known[name] for name in names], np.int32)[columns.series]
                arrays.append(pa.DictionaryArray.from_arrays(codes, pa.array(list(known), pa.string())))
            self._stream.write_batch(pa.record_batch([*arrays, pa.array(columns.value)], schema=_schema()))
        except OSError as error:
            raise OutsideError(
                f"what strategies recorded cannot be written to {self._folder} ({error}): make room"
            ) from error

    def _open(self) -> None:
        import pyarrow as pa
        from pyarrow import ipc

        self._folder.mkdir(parents=True, exist_ok=True)
        names = (f"{self._name}{'' if n == 1 else f'.{n}'}{_SUFFIX}" for n in count(1))
        path = next(path for name in names if not (path := self._folder / name).exists())
        self._file = pa.OSFile(str(path), "wb")
        options = ipc.IpcWriteOptions(emit_dictionary_deltas=True)
        self._stream = ipc.new_stream(self._file, _schema(), options=options)

    def close(self) -> None:
        """End the stream."""
        if self._stream is not None:
            self._stream.close()
            self._file.close()


def _schema() -> Any:
    import pyarrow as pa

    text = pa.dictionary(pa.int32(), pa.string())
    names = [("strategy", text), ("symbol", text), ("name", text)]
    return pa.schema([("at", pa.timestamp("ns", "UTC")), *names, ("value", pa.float64())])


def read_series(folder: Path, symbol: str = "") -> RecordedColumns:
    """Return what a batch recorded, of one symbol if one is named, by time; nothing where it recorded nothing."""
    keys: dict[SeriesKey, int] = {}
    parts: list[tuple[Any, Any, Any]] = []
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        for batch in _batches(path):
            codes, names = zip(
                *((c.indices.to_numpy(), c.dictionary.to_pylist()) for c in batch.columns[1:4]), strict=True
            )
            rows = slice(None) if not symbol else np.array([name == symbol for name in names[1]], bool)[codes[1]]
            distinct, series = np.unique(np.column_stack([one[rows] for one in codes]), axis=0, return_inverse=True)
            found = [SeriesKey(*(n[c] for n, c in zip(names, row, strict=True))) for row in distinct.tolist()]
            places = np.array([keys.setdefault(key, len(keys)) for key in found], np.int32)
            parts.append(
                (
                    places[series.ravel()] if found else places,
                    batch.column(0).cast("int64").to_numpy()[rows],
                    batch.column(4).to_numpy()[rows],
                )
            )
    if not parts:
        return nothing_recorded()
    series, at, value = map(np.concatenate, zip(*parts, strict=True))
    order = np.argsort(at, kind="stable")
    return RecordedColumns(tuple(keys), series[order].astype(np.int32), at[order], value[order])


def _batches(path: Path) -> Iterator[Any]:
    """Yield the record batches of a stream up to the one that a killed process did not finish."""
    import pyarrow as pa
    from pyarrow import ipc

    try:
        with pa.memory_map(str(path)) as file, ipc.open_stream(file) as stream:
            for batch in stream:
                batch.validate()
                yield batch
    except (pa.ArrowException, OSError):
        return
