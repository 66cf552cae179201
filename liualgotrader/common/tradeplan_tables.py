"""The tables of a tradeplan that name classes, `[scanners.X]` and `[strategies.X]`: what is wrong with one is one sentence."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from liualgotrader.common.errors import ConfigError

BUILT_IN_SCANNER = "momentum"
LONGEST_SESSION = 390  # minutes of regular trading
_MOMENTUM_NUMBERS = ("min_last_dv", "min_share_price", "max_share_price", "min_volume", "from_market_open")
_MOMENTUM_CHANGE = ("today_change_percent", "min_gap")  # older plans say min_gap
_WINDOW_KEYS = ("start", "duration")


class Window(msgspec.Struct, frozen=True):
    """When a strategy may open positions: `start` minutes after the open, for `duration` minutes."""

    start: float
    duration: float


def nearest(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean ...?` naming the known word most like `word`, empty if there is none like it.

    >>> nearest("portfolio_valeu", ["risk", "portfolio_value"])
    '; did you mean `portfolio_value`?'
    """
    known = list(known)
    folded = {k.lower(): k for k in known}
    found = difflib.get_close_matches(word.lower(), folded, n=1, cutoff=0.3)
    return f"; did you mean `{folded[found[0]]}`?" if found else ""


def strategy_table(name: str, values: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return a strategy's table with its `filename` absolute; `path` is the tradeplan's file.

    Raises:
        ConfigError: naming table and key.
    """
    where = f"{path}: [strategies.{name}]"
    found = dict(values, filename=_file(values, where, path))
    _text(values, "portfolio_id", where)
    if not isinstance(values.get("own_process", False), bool):
        raise ConfigError(f"{where} `own_process` must be true or false, not {values['own_process']!r}")
    _windows(values.get("schedule", []), where)
    return found


def scanner_table(name: str, values: Mapping[str, Any], path: Path, strategies: Mapping[str, Any]) -> dict[str, Any]:
    """Return a scanner's table with its `filename` absolute; its target must be one of `strategies`.

    Raises:
        ConfigError: naming table and key.
    """
    where = f"{path}: [scanners.{name}]"
    found = dict(values)
    if name == BUILT_IN_SCANNER and "filename" not in values:
        _momentum(values, where)
    else:
        found["filename"] = _file(values, where, path)
    recurrence = values.get("recurrence")
    if recurrence is not None and not (is_number(recurrence) and recurrence > 0):
        raise ConfigError(f"{where} `recurrence` must be a number of minutes above 0, not {recurrence!r}")
    _text(values, "target_strategy_name", where)
    target = values.get("target_strategy_name")
    if target and strategies and target not in strategies:
        raise ConfigError(
            f"{where} `target_strategy_name` is '{target}', which is no strategy{nearest(target, strategies)}"
        )
    return found


def _windows(schedule: Any, where: str) -> None:
    if not isinstance(schedule, list) or not all(isinstance(window, Mapping) for window in schedule):
        raise ConfigError(f"{where} `schedule` must be a list of tables with the minutes `start` and `duration`")
    for window in schedule:
        for key in window:
            if key not in _WINDOW_KEYS:
                raise ConfigError(f"{where} `schedule` has no key `{key}`{nearest(key, _WINDOW_KEYS)}")
        if not all(is_number(window.get(key)) for key in _WINDOW_KEYS):
            raise ConfigError(f"{where} `schedule` must be a list of tables with the minutes `start` and `duration`")
        if not 0 <= window["start"] < LONGEST_SESSION:
            raise ConfigError(
                f"{where} `schedule`: `start` is {window['start']:g}, but it counts minutes from the open and a session"
                f" has {LONGEST_SESSION}: 0 to {LONGEST_SESSION - 1}"
            )
        if not window["duration"] > 0:
            raise ConfigError(f"{where} `schedule`: `duration` must be more than 0 minutes, not {window['duration']:g}")


def _momentum(values: Mapping[str, Any], where: str) -> None:
    if not any(key in values for key in _MOMENTUM_CHANGE):
        raise ConfigError(f"{where} needs `today_change_percent` (older plans say `min_gap`)")
    for key in _MOMENTUM_NUMBERS:
        if key not in values:
            raise ConfigError(f"{where} needs `{key}`")
    for key in (*_MOMENTUM_NUMBERS, *_MOMENTUM_CHANGE, "max_symbols"):
        if key in values and not is_number(values[key]):
            raise ConfigError(f"{where} `{key}` must be a number, not {values[key]!r}")
    if not 0 <= values["from_market_open"] < LONGEST_SESSION:
        raise ConfigError(
            f"{where} `from_market_open` is {values['from_market_open']:g}, but it counts minutes from the open and a"
            f" session has {LONGEST_SESSION}: 0 to {LONGEST_SESSION - 1}"
        )
    most = values.get("max_symbols", 1)
    if most != int(most) or most < 1:
        raise ConfigError(f"{where} `max_symbols` must be a whole number of at least 1, not {most:g}")
    if values["min_share_price"] > values["max_share_price"]:
        raise ConfigError(f"{where} `min_share_price` is above `max_share_price`, so no symbol would pass")


def is_number(value: Any) -> bool:
    """Whether a value is a number that a float can hold."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _text(values: Mapping[str, Any], key: str, where: str) -> None:
    if key in values and not isinstance(values[key], str):
        raise ConfigError(f"{where} `{key}` must be text, not {values[key]!r}")


def _file(values: Mapping[str, Any], where: str, path: Path) -> str:
    """Return the absolute file that `filename` means: beside the tradeplan, else in the working directory."""
    if "filename" not in values:
        raise ConfigError(f"{where} needs `filename`, the Python file that holds the class")
    _text(values, "filename", where)
    named = Path(values["filename"])
    try:
        named = named.expanduser()
        for folder in (path.absolute().parent, Path()):
            if (folder / named).is_file():
                return str((folder / named).resolve())
        meant = path.absolute().parent / named
        wrong = f"{meant} is a folder: name the Python file in it" if meant.is_dir() else f"{meant} does not exist"
    except RuntimeError:
        wrong = "there is no such home folder"
    except OSError as error:
        wrong = f"it cannot be looked at: {error.strerror}"
    raise ConfigError(f"{where} `filename` is '{named}', but {wrong}")
