"""Splits of a symbol, and history at the prices of the day that is played.

Only splits are taken out, dividends are not. What comes after the day is not known on it: a factor file of today
holds later splits too, which cancel out here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, time, timedelta
from fractions import Fraction
from itertools import pairwise
from math import isfinite, prod
from pathlib import Path

from msgspec.structs import replace

from liualgotrader.common.calendar import FIRST_DAY, new_york, sessions
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.events import Bar

_ROUNDING = 1e-5  # factor files have seven digits
_SMALL = 100  # splits are ratios of small whole numbers
_LIKE_A_SPLIT = 0.08  # so near a whole number, or 1 over one, lies the overnight ratio of prices across a split


@dataclass(frozen=True, slots=True, order=True)
class Split:
    """A change of the number of shares: `ratio` new ones per old one from the open of `day`."""

    day: date
    ratio: float

    def __str__(self) -> str:
        return f"{ratio_text(self.ratio)} on {self.day}"

    @property
    def at(self) -> int:
        """The midnight in New York before which prices are old, ns UTC."""
        return new_york(self.day, time())


def ratio_text(ratio: float) -> str:
    """Return `7:1` for 7 new shares per old one, `1:10` for a tenth."""
    return f"{ratio:.6g}:1" if ratio >= 1 else f"1:{1 / ratio:.6g}"


def adjusted(bars: list[Bar], splits: Iterable[Split], day: date) -> list[Bar]:
    """Return bars of days before `day` at its prices: old ones divided, volumes multiplied by the ratios since."""
    due = [(split.at, split.ratio) for split in splits if split.day <= day]
    if not due:
        return bars
    found = []
    for bar in bars:
        ratio = prod(ratio for at, ratio in due if bar.opened_at < at)
        prices = {name: round(getattr(bar, name) / ratio, 6) for name in ("open", "high", "low", "close", "vwap")}
        found.append(bar if ratio == 1 else replace(bar, volume=round(bar.volume * ratio, 6), **prices))
    return found


def split_like(before: float, after: float) -> float | None:
    """Return new shares per old one if the price went from `before` to `after` as over a split, else None.

    >>> split_like(645.57, 92.7), split_like(2.0, 20.6), split_like(10.0, 14.9)
    (7, 0.1, None)
    """
    factor = max(before / after, after / before)
    whole = round(factor)
    if whole < 2 or abs(factor / whole - 1) > _LIKE_A_SPLIT:
        return None
    return whole if before > after else 1 / whole


def lean_splits(path: Path) -> Sequence[Split]:
    """Return the splits of a factor file of Lean, oldest first; none where there is no file.

    A row's factors hold up to its date, so a split is where the split factor changes, on the session after it.

    Raises:
        ConfigError: if a row has no date and factors, or is older than the row before it.
    """
    if not path.exists():
        return ()
    rows: list[tuple[date, float]] = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip():
            continue
        cells = line.split(",")
        try:
            day, factor = date(int(cells[0][:4]), int(cells[0][4:6]), int(cells[0][6:])), float(cells[2])
            if not (isfinite(factor) and factor > 0):
                raise ValueError(factor)
        except (ValueError, IndexError) as e:
            raise ConfigError(
                f"{path}, line {number}: `{line}` is not YYYYMMDD, price factor, split factor above 0."
            ) from e
        if rows and day <= rows[-1][0]:
            raise ConfigError(f"{path}, line {number}: {day} does not follow {rows[-1][0]}, but rows must ascend.")
        rows.append((day, factor))
    splits = []
    for (day, old), (_, new) in pairwise(rows):
        ratio = new / old
        near = Fraction(ratio).limit_denominator(_SMALL)
        if abs(near / Fraction(ratio) - 1) <= _ROUNDING:
            ratio = float(near)
        if abs(ratio - 1) > _ROUNDING:
            following = day + timedelta(days=1)
            found = sessions(following, day + timedelta(days=10)) if following >= FIRST_DAY else []
            splits.append(Split(found[0].day if found else following, ratio))
    return tuple(splits)
