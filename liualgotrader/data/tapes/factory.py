"""One function that turns what a user asked for into a tape."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

from liualgotrader.common.errors import ConfigError
from liualgotrader.data.tapes.base import ColumnTape


def tape_from(
    kind: str,
    *,
    day: date,
    folder: str | Path | None = None,
    seed: int = 0,
    symbols: Sequence[str] | None = None,
    count: int = 200,
    since: date | None = None,
) -> ColumnTape:
    """Return the tape of one session.

    `kind` is `generated` (then `seed`, `count`, the number of symbols, and `since` matter) or `recorded` (then
    `folder` is in the Lean format, see `recorded.py`, or holds CSV or Parquet files, see `files.py`; which
    one is found out by looking). `symbols` restricts the tape to those named.

    Raises:
        ConfigError: if the day is no session, the folder is neither kind, or it lacks a symbol that is named.
    """
    if kind == "generated":
        from liualgotrader.data.tapes.generated import GeneratedTape

        return GeneratedTape(day, seed, symbols=count, only=symbols, since=since)
    if kind != "recorded":
        raise ConfigError(f"A tape is `generated` or `recorded`, not `{kind}`.")
    if folder is None:
        raise ConfigError("A recorded day needs the folder of its data; name it with --data.")
    return _recorded(Path(folder), day, symbols)


def _recorded(folder: Path, day: date, symbols: Sequence[str] | None) -> ColumnTape:
    if not folder.is_dir():
        raise ConfigError(f"The data folder {folder} does not exist.")
    from liualgotrader.data.tapes.files import FilesTape, holds_files
    from liualgotrader.data.tapes.recorded import RecordedTape, holds_lean_data

    if holds_lean_data(folder):
        return RecordedTape(folder, day, symbols)
    if holds_files(folder):
        return FilesTape(folder, day, symbols)
    raise ConfigError(
        f"{folder} holds neither Lean data (tick, second or minute folders) nor trades or bars as CSV or Parquet."
    )
