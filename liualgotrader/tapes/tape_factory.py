"""Tapes as a user names them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

from liualgotrader.common.errors import ConfigError
from liualgotrader.tapes.base import ColumnTape, day_missing


def tape_from(
    kind: str,
    *,
    day: date,
    folder: str | Path | None = None,
    seed: int = 0,
    symbols: Sequence[str] | None = None,
    count: int = 200,
    since: date | None = None,
    bypass: bool = False,
) -> ColumnTape:
    """Return the tape of one session.

    `kind` is `generated` (then `seed`, `count`, the number of symbols, and `since` matter) or `recorded` (then
    `folder` is in the Lean format, see `recorded.py`, or holds CSV or Parquet files, see `files_tape.py`; which
    one is found out by looking). `symbols` restricts the tape to those named. With `bypass` a recorded day may be
    one on which the exchange was shut.

    Raises:
        ConfigError: if the day is no session, the folder is neither kind, or it lacks a symbol that is named.
    """
    if kind == "generated":
        from liualgotrader.tapes.generated import GeneratedTape

        return GeneratedTape(day, seed, symbols=count, only=symbols, since=since)
    if kind != "recorded":
        raise ConfigError(f"A tape is `generated` or `recorded`, not `{kind}`.")
    if folder is None:
        raise ConfigError("A recorded day needs the folder of its data; name it with --data.")
    where = Path(folder)
    from liualgotrader.tapes.files_tape import FilesTape
    from liualgotrader.tapes.recorded import RecordedTape

    return (RecordedTape if _is_lean(where) else FilesTape)(where, day, symbols, bypass=bypass)


def require_day(folder: str | Path, day: date) -> None:
    """Check, without reading more than that needs, that a folder has a day.

    Raises:
        ConfigError: if it does not; the sentence names the days that it has.
    """
    from liualgotrader.tapes import files_tape, recorded

    where = Path(folder)
    days = recorded.days_of(where) if _is_lean(where) else files_tape.days_of(where, day)
    if day not in days:
        raise day_missing(where, day, days)


def _is_lean(folder: Path) -> bool:
    """Return whether a folder has the Lean layout.

    Raises:
        ConfigError: if it holds no market data at all.
    """
    from liualgotrader.tapes.files_tape import holds_files
    from liualgotrader.tapes.recorded import holds_lean_data

    if not folder.is_dir():
        raise ConfigError(f"The data folder {folder} does not exist.")
    if holds_lean_data(folder):
        return True
    if holds_files(folder):
        return False
    raise ConfigError(
        f"{folder} holds neither Lean data (tick, second or minute folders) nor trades or bars as CSV or Parquet."
    )
