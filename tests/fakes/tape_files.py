"""Writes a day as the CSV or Parquet files that `tapes/plain_files.py` reads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from liualgotrader.common.calendar import day_of
from liualgotrader.common.events import Bar, MarketEvent, Quote, Status, TradeTick
from liualgotrader.common.ports import Asset
from liualgotrader.tapes.plain_files import FIELDS

_KIND_OF: dict[type, str] = {TradeTick: "trades", Quote: "quotes", Status: "statuses", Bar: "bars"}


def write_tape(
    folder: Path,
    events: Iterable[MarketEvent],
    *,
    format: str = "csv",
    minute_bars: Iterable[Bar] = (),
    daily_bars: Iterable[Bar] = (),
    assets: Sequence[Asset] = (),
) -> list[Path]:
    """Write a tape's events and history into a folder and return the files; kinds without a row get none.

    Times are written as ns UTC and numbers in full, so reading gives equal events. Bars among the events are
    minute bars, like `minute_bars`.

    Raises:
        ValueError: if `format` is neither csv nor parquet, or an event is of a kind that files do not hold.
    """
    if format not in ("csv", "parquet"):
        raise ValueError(f"a tape is written as csv or parquet, not as {format}")
    rows: dict[str, list[Any]] = {kind: [] for kind in FIELDS}
    for event in events:
        kind = _KIND_OF.get(type(event))
        if kind is None:
            raise ValueError(f"files hold no {type(event).__name__}")
        rows[kind].append(event)
    rows["bars"] += minute_bars
    rows["daily"] += daily_bars
    rows["assets"] += assets
    folder.mkdir(parents=True, exist_ok=True)
    return [_write(folder / f"{kind}.{format}", kind, found) for kind, found in rows.items() if found]


def _write(path: Path, kind: str, rows: list[Any]) -> Path:
    import pyarrow as pa
    from pyarrow import csv, parquet

    columns = {f.name: [_cell(row, f.name) for row in rows] for f in FIELDS[kind]}
    table = pa.table(columns)
    if path.suffix == ".csv":
        csv.write_csv(table, path, csv.WriteOptions(quoting_style="needed"))
    else:
        parquet.write_table(table, path)
    return path


def _cell(row: Any, name: str) -> Any:
    return day_of(row.opened_at).isoformat() if name == "day" else getattr(row, name)
