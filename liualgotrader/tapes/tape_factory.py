"""Tapes, and the history of whole folders, as a user names them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from liualgotrader.common.calendar import round_the_clock
from liualgotrader.common.errors import ConfigError
from liualgotrader.tapes.base import ColumnTape, chosen_symbols, day_missing

if TYPE_CHECKING:
    from liualgotrader.common.market_columns import BarColumns
    from liualgotrader.tapes.lean import LeanFiles
    from liualgotrader.tapes.plain_files import PlainFiles
    from liualgotrader.tapes.splits import Dividend, Split


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
    `folder` is in the Lean format, see `recorded.py`, or holds CSV or Parquet files, see `plain_files.py`; which
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


def market_folder(folder: str | Path, *, crypto: bool = False) -> LeanFiles | PlainFiles:
    """Return the history in a folder, in whichever layout it is; of `crypto` a daily bar spans a day of UTC.

    Raises:
        ConfigError: if it holds no market data at all, or crypto in the Lean layout.
    """
    from liualgotrader.tapes.lean import LeanFiles
    from liualgotrader.tapes.plain_files import PlainFiles

    where = Path(folder)
    if not crypto:
        return (LeanFiles if _is_lean(where) else PlainFiles)(where)
    if _is_lean(where):
        raise ConfigError(
            f"{where} has the Lean layout, which is read for equities only: write crypto as CSV or Parquet."
        )
    return PlainFiles(where, round_the_clock)


def folder_bars(
    folder: str | Path, period: int, start: int, end: int, symbols: Sequence[str] | None, *, crypto: bool = False
) -> dict[str, BarColumns]:
    """Return the bars with start <= opened_at < end of all days in a folder, by symbol, at their raw prices.

    `period` is SECOND, MINUTE, HOUR or DAY; a daily bar spans its session. Without `symbols` it is all that there are.

    Raises:
        ConfigError: if the folder lacks a symbol that is named, or holds a bar that cannot be; it is named with its file.
    """
    files = market_folder(folder, crypto=crypto)
    chosen = chosen_symbols(symbols, files.symbols(period), f"{folder}")
    return {symbol: files.bars(symbol, period, start, end) for symbol in chosen}


def folder_splits(folder: str | Path, symbol: str) -> Sequence[Split]:
    """Return the splits of a symbol that a folder knows, oldest first."""
    return market_folder(folder).splits(symbol)


def folder_dividends(folder: str | Path, symbol: str) -> Sequence[Dividend]:
    """Return the dividends of a symbol that a folder knows, oldest first."""
    return market_folder(folder).dividends(symbol)


def require_day(folder: str | Path, day: date) -> None:
    """Check, without reading more than that needs, that a folder has a day.

    Raises:
        ConfigError: if it does not; the sentence names the days that it has.
    """
    from liualgotrader.tapes import plain_files, recorded

    where = Path(folder)
    days = recorded.days_of(where) if _is_lean(where) else plain_files.days_of(where, day)
    if day not in days:
        raise day_missing(where, day, days)


def _is_lean(folder: Path) -> bool:
    """Return whether a folder has the Lean layout.

    Raises:
        ConfigError: if it holds no market data at all.
    """
    from liualgotrader.tapes.plain_files import holds_files
    from liualgotrader.tapes.recorded import holds_lean_data

    if not folder.is_dir():
        raise ConfigError(f"The data folder {folder} does not exist: give --data one that holds recorded days.")
    if holds_lean_data(folder):
        return True
    if holds_files(folder):
        return False
    raise ConfigError(
        f"{folder} holds neither Lean data (tick, second or minute folders) nor trades or bars as CSV or Parquet."
    )
