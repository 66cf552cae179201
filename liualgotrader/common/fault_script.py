"""A fault script: what goes wrong on the simulated market and when, as `[[fault]]` tables of a TOML file."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec

from liualgotrader.common.calendar import new_york, session_of
from liualgotrader.common.clock import MINUTE, NEVER, SECOND
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.events import SYMBOL_RULE, is_symbol
from liualgotrader.common.tradeplan import read_toml

SOCKETS = ("data", "updates", "all")
CHOICES = {
    "drop": SOCKETS,
    "mute": SOCKETS,
    "answer": ("500", "504_after", "never", "never_after"),
    "to": ("order", "replace", "cancel", "read"),
    "updates": ("twice", "swapped"),
}
_ACTIONS = ("drop", "mute", "answer", "updates", "late", "refuse_every", "halt", "split")
_UNITS = {"ms": SECOND // 1000, "s": SECOND, "m": MINUTE, "h": 60 * MINUTE}
_MOST_COUNT = 1_000_000


class ScriptedFault(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename={"for_": "for"}
):
    """One fault. It names one action; without `day` it comes on every day, without `for` it lasts until the day's end."""

    at: str = ""  # New York, 10:05 or 10:05:30
    day: str = ""  # ISO date
    for_: str = ""  # 40s, 5m, 1h
    drop: str = ""  # break these sockets, and let nobody connect meanwhile; at once over without `for`
    mute: str = ""  # these sockets stay open and send nothing
    answer: str = ""  # what the next `count` requests of kind `to` get
    to: str = "order"
    count: int = 1
    updates: str = ""  # order updates come twice, or each second one before the first
    late: str = ""  # order updates come so much later
    refuse_every: int = 0  # each nth order is refused
    halt: str = ""  # a symbol
    split: str = ""  # a symbol, before the open of `day`
    ratio: float = 0.0  # new shares for an old one

    @property
    def action(self) -> str:
        """The one thing that it does."""
        return next(name for name in _ACTIONS if getattr(self, name))

    def begins_at(self, day: dt.date) -> int:
        """Return when it comes on a day, ns UTC; NEVER on another one."""
        if self.day not in ("", day.isoformat()) or not self.at:
            return NEVER
        return new_york(day, dt.time.fromisoformat(self.at))

    def ends_at(self, day: dt.date) -> int:
        """Return when it is over, ns UTC; NEVER if it lasts until the day's end."""
        began = self.begins_at(day)
        if began == NEVER or (not self.for_ and self.action != "drop"):
            return NEVER
        return began + nanoseconds(self.for_)


def nanoseconds(text: str) -> int:
    """Return `40s`, `5m`, `250ms` or `1h` in ns, 0 for an empty text; ValueError for anything else."""
    if not text:
        return 0
    found = re.fullmatch(r"(\d{1,6}(?:\.\d{1,3})?) ?(ms|s|m|h)", text)
    if found is None:
        raise ValueError(text)
    return round(float(found[1]) * _UNITS[found[2]])


def read_faults(path: Path) -> tuple[ScriptedFault, ...]:
    """Return the faults of a script, in the order of the file.

    Raises:
        ConfigError: naming the file, the fault by its place, and what cannot be meant.
    """
    tables = read_toml(path, "fault script", "name yours with --faults; docs/simulated_market.md shows one")
    faults = tables.get("fault")
    if set(tables) != {"fault"} or not isinstance(faults, list):
        raise ConfigError(f"{path}: a fault script consists of [[fault]] tables and nothing else")
    return tuple(_fault(table, f"{path}, fault {number}") for number, table in enumerate(faults, 1))


def _fault(table: Any, where: str) -> ScriptedFault:
    try:
        fault = msgspec.convert(table, ScriptedFault)
    except msgspec.ValidationError as e:
        raise ConfigError(f"{where}: {str(e).replace('Object', 'it')}") from e
    for sentence in chain(_odd_values(fault), _odd_together(fault, table)):
        raise ConfigError(f"{where}: {sentence}")
    return fault


def _odd_values(fault: ScriptedFault) -> Iterator[str]:
    """Yield a sentence for each value that cannot be meant."""
    for name, allowed in CHOICES.items():
        if (value := getattr(fault, name)) and value not in allowed:
            yield f"`{name}` is '{value}', not one of {', '.join(allowed)}"
    for name, text in (("for", fault.for_), ("late", fault.late)):
        try:
            nanoseconds(text)
        except ValueError:
            yield f"`{name}` is '{text}', but it must be a time such as 40s, 5m or 1h"
    try:
        dt.date.fromisoformat(fault.day or "2024-06-03")
        if dt.time.fromisoformat(fault.at or "00:00").tzinfo is not None:
            raise ValueError(fault.at)
    except ValueError:
        yield f"`at` is '{fault.at}' and `day` '{fault.day}', but they must be like 10:05 (New York) and 2024-06-03"
    if (symbol := fault.halt or fault.split) and not is_symbol(symbol):
        yield f"{symbol!r:.40} is not a symbol: {SYMBOL_RULE}"
    if not 1 <= fault.count <= _MOST_COUNT or fault.refuse_every < 0:
        yield "`count` and `refuse_every` are whole numbers from 1"


def _odd_together(fault: ScriptedFault, table: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each key that is missing or does not go with the others."""
    actions = [name for name in _ACTIONS if name in table]
    if len(actions) != 1 or not getattr(fault, actions[0]):
        yield f"it names {', '.join(actions) or 'nothing'}, but a fault does one thing: {', '.join(_ACTIONS)}"
    if bool(fault.at) == bool(fault.split):
        yield "a split comes overnight and has `day`; every other fault has `at`, a time in New York such as 10:05"
    day = dt.date.fromisoformat(fault.day) if fault.day else None
    if fault.split and (day is None or session_of(day) is None or not 0.0001 <= fault.ratio <= 10_000):
        yield "a split needs `day`, a trading day, and `ratio`, new shares for an old one: 7 or 0.1"
    for name, action in {"to": "answer", "count": "answer", "ratio": "split"}.items():
        if name in table and action not in table:
            yield f"`{name}` goes with `{action}`"
    if fault.for_ and (fault.answer or fault.split):
        yield "`for` goes neither with `answer`, which has `count`, nor with `split`"
