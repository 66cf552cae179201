"""What strategies record of their symbols (`ctx.record`): series of numbers, kept in memory until they are taken away."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass
from math import inf, nan
from threading import get_ident
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from liualgotrader.common.events import SYMBOL_RULE, is_symbol
from liualgotrader.common.market_columns import Floats, Ints

_MOST_NAMES = 100  # of one strategy
_LONGEST_NAME = 64


class SeriesKey(NamedTuple):
    """What a series is of."""

    strategy: str
    symbol: str
    name: str


@dataclass(frozen=True, slots=True)
class RecordedColumns:
    """Recorded values in the order in which they came. `series` has places in `keys`, `at` instants in ns UTC."""

    keys: tuple[SeriesKey, ...]
    series: NDArray[np.int32]
    at: Ints
    value: Floats


def nothing_recorded() -> RecordedColumns:
    """Return no values."""
    return RecordedColumns((), np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0))


class Recording:
    """Takes values and gives them away as columns; what does not fit any more is left out and counted.

    It holds `most` values, and takes `most_in_all` while it lives. Its values come from one thread: the one that called
    `begin`.
    """

    def __init__(self, most: int, most_in_all: int) -> None:
        self.left_out = 0
        self._most, self._most_in_all = most, most_in_all
        self._thread = get_ident()
        self._places: dict[SeriesKey, int] = {}
        self._names: Counter[str] = Counter()  # by strategy
        self._clear()

    def begin(self) -> None:
        """Take values in this thread from here on."""
        self._thread = get_ident()

    def __len__(self) -> int:
        return len(self._value)

    def record(self, strategy: str, symbol: str, name: str, at: int, value: Any) -> None:
        """Take a value at an instant of the market's time, ns UTC.

        None becomes NaN, a number too large for a float an infinite one.

        Raises:
            TypeError: if the value is not a number.
            ValueError: if the name cannot be one, or the strategy has too many of them.
            RuntimeError: in another thread.
        """
        if get_ident() != self._thread:
            raise RuntimeError(f"{strategy} records '{name}' from a thread of its own: let the thread return the value")
        number = value if isinstance(value, float) else _number(name, value)
        place = self._places.get((strategy, symbol, name))  # type: ignore[call-overload]
        if place is None:
            place = self._new_series(strategy, symbol, name)
        if len(self._value) >= self._room:
            self.left_out += 1
            return
        self._series.append(place)
        self._at.append(at)
        self._value.append(number)

    def _new_series(self, strategy: str, symbol: str, name: str) -> int:
        if not (isinstance(name, str) and 0 < len(name) <= _LONGEST_NAME and name.isprintable()):
            raise ValueError(
                f"the name of a recorded series has 1 to {_LONGEST_NAME} printable characters, not {name!r:.80}"
            )
        if not (isinstance(symbol, str) and is_symbol(symbol)):
            raise ValueError(f"'{name}' is recorded of {symbol!r:.40}, which is no symbol: {SYMBOL_RULE}")
        if not any(key.name == name for key in self._places if key.strategy == strategy):
            if self._names[strategy] >= _MOST_NAMES:
                raise ValueError(
                    f"{strategy} records under more than {_MOST_NAMES} names, the newest '{name}': a name stands for a whole series"
                )
            self._names[strategy] += 1
        return self._places.setdefault(SeriesKey(strategy, symbol, name), len(self._places))

    def take(self) -> RecordedColumns:
        """Return all values since the last call and forget them."""
        taken = RecordedColumns(
            tuple(self._places),
            np.frombuffer(self._series, np.int32),
            np.frombuffer(self._at, np.int64),
            np.frombuffer(self._value, np.float64),
        )
        self._most_in_all -= len(taken.at)
        self._clear()
        return taken

    def _clear(self) -> None:
        self._series, self._at, self._value = array("i"), array("q"), array("d")
        self._room = min(self._most, self._most_in_all)


def _number(name: str, value: Any) -> float:
    """Return a value as a float."""
    if value is None:
        return nan
    try:
        if isinstance(value, str | bytes) or getattr(value, "ndim", None):
            raise TypeError
        return float(value)
    except OverflowError:
        return inf if value > 0 else -inf
    except (TypeError, ValueError, ArithmeticError):
        raise TypeError(
            f"'{name}' is recorded as {value!r:.60}: record a number, or None where it is unknown"
        ) from None
