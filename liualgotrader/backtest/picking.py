"""Which symbols strategies of a run are called for, and from when on: those known beforehand, or what scanners pick."""

from __future__ import annotations

import inspect
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from liualgotrader.backtest.past_data import PastData
from liualgotrader.common.calendar import TradingSession
from liualgotrader.common.clock import HOUR, MINUTE, NEVER, SECOND, as_datetime
from liualgotrader.common.events import Pick, Unpick
from liualgotrader.common.plugins import one_line, source_of, where_raised
from liualgotrader.common.tlog import some_of
from liualgotrader.engine.calling import RunCoroutine
from liualgotrader.scanners.base import Scanner, symbols_of

_NAMED = 5  # symbols in one warning


class Picking(Protocol):
    """Says in the course of a run which symbols are followed."""

    def next_at(self) -> int:
        """Return the market instant, ns UTC, at which `take` is to be called next; NEVER if it is not."""

    def take(self, now: int, step: RunCoroutine) -> Sequence[Pick | Unpick]:
        """Return what changes by `now`; `step` runs a coroutine to its end."""


class KnownPicks:
    """Picks that are known beforehand, each from its own time on."""

    def __init__(self, picks: Iterable[Pick]) -> None:
        self._picks = deque(sorted(picks, key=lambda pick: pick.at))

    def next_at(self) -> int:
        return self._picks[0].at if self._picks else NEVER

    def take(self, now: int, step: RunCoroutine) -> Sequence[Pick | Unpick]:
        due: list[Pick | Unpick] = []
        while self.next_at() <= now:
            due.append(self._picks.popleft())
        return due


@dataclass(slots=True)
class _Failure:
    text: str
    first_at: int
    count: int = 0


@dataclass(slots=True)
class Scanning:
    """The scanners of a run, which begin anew with each session as they do live.

    Each runs at the open and, on bars of less than an hour, once a `recurrence` from there. What it picks is followed
    for `unpick` (ns of market time), at least until it has run again, and to the close if it runs once a session, by
    strategies that hold the symbol for as long as they do; that is looked at when a scanner runs. One that raises is run again when it is due next.
    """

    scanners: Mapping[str, Scanner]
    data: PastData
    sessions: Sequence[TradingSession]
    period: int = MINUTE  # of the bars, ns
    unpick: int = NEVER
    runs: int = 0
    failed: int = 0
    picks: list[Pick] = field(default_factory=list)  # without those of what was followed already
    _due: dict[str, int] = field(default_factory=dict)
    _until: dict[str, int] = field(default_factory=dict)  # by symbol: when its pick has lasted
    _followed: set[tuple[str, str]] = field(default_factory=set)  # symbol and target
    _ended: dict[str, None] = field(default_factory=dict)  # symbols whose pick has lasted; one that is held stays
    _failures: dict[tuple[str, str], _Failure] = field(default_factory=dict)  # by scanner and cause
    _unknown: dict[str, dict[str, None]] = field(default_factory=dict)  # by scanner: symbols without bars
    _said: dict[str, None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._due = dict.fromkeys(self.scanners, self.sessions[0].opens_at)

    def next_at(self) -> int:
        return min(self._due.values(), default=NEVER)

    def take(self, now: int, step: RunCoroutine) -> Sequence[Pick | Unpick]:
        gone = [symbol for symbol, until in self._until.items() if until <= now]
        for symbol in gone:
            del self._until[symbol]
        self._followed = {key for key in self._followed if key[0] in self._until}
        self._ended |= dict.fromkeys(gone)
        changes: list[Pick | Unpick] = [Unpick(symbol, now) for symbol in self._ended]
        for name, scanner in self.scanners.items():
            if self._due[name] <= now:
                changes += self._picked(name, scanner, now, step)
        self.picks += [pick for pick in changes if isinstance(pick, Pick)]
        return changes

    def _picked(self, name: str, scanner: Scanner, now: int, step: RunCoroutine) -> list[Pick]:
        """Run a scanner and return what is new among its picks."""
        opens = [session.opens_at for session in self.sessions]
        number = bisect_right(opens, self._due[name]) - 1
        session, following = self.sessions[number], [*opens[number + 1 :], NEVER][0]
        if self._due[name] == session.opens_at:
            tell = partial(self._say, name)
            scanner.join_session(data_api=self.data, now=self.data.now, opens_at=session.opens_at, tell=tell)
        symbols = self._run(name, scanner, now, step)
        period = round(scanner.recurrence.total_seconds() * SECOND) if scanner.recurrence else NEVER
        again = self._due[name] + period if self.period < HOUR else NEVER
        self._due[name] = again if again < session.closes_at else following
        until = min(session.closes_at, now + max(self.unpick, period))
        target = scanner.target_strategy_name or ""
        new = [symbol for symbol in symbols if (symbol, target) not in self._followed]
        for symbol in symbols:
            self._ended.pop(symbol, None)
        self._until |= {symbol: max(until, self._until.get(symbol, 0)) for symbol in symbols}
        self._followed |= {(symbol, target) for symbol in symbols}
        return [Pick(symbol, now, name, target) for symbol in new]

    def _run(self, name: str, scanner: Scanner, now: int, step: RunCoroutine) -> list[str]:
        """Return the symbols of one run that have bars."""
        self.runs += 1
        try:
            # One written without `back_time` takes the time from its loader, as it does in a session.
            asked = [as_datetime(now)] if inspect.signature(scanner.run).parameters else []
            call = partial(step, scanner.run(*asked))
            _, value = call() if scanner.own_context is None else scanner.own_context.run(call)
            symbols = symbols_of(value)
        except (Exception, SystemExit) as error:
            self.failed += 1
            where = where_raised(error, source_of(scanner))
            failure = _Failure(f"{one_line(error)} ({where})", now)
            self._failures.setdefault((name, f"{type(error).__name__} at {where}"), failure).count += 1
            return []
        unknown = [symbol for symbol in symbols if symbol not in self.data]
        self._unknown.setdefault(name, {}).update(dict.fromkeys(unknown))
        return [symbol for symbol in symbols if symbol in self.data]

    def _say(self, name: str, text: str) -> None:
        self._said[f"scanner {name} {text}"] = None

    def warnings(self) -> list[str]:
        """Return what a person should know of the scanners' runs so far."""
        found = [
            f"scanner {name} failed {'once' if one.count == 1 else f'{one.count:,} times'}, first on"
            f" {as_datetime(one.first_at):%Y-%m-%d at %H:%M} New York: {one.text}"
            for (name, _), one in self._failures.items()
        ]
        for name, symbols in self._unknown.items():
            if symbols:
                found.append(f"scanner {name} picked {some_of(list(symbols), _NAMED)}, of which there are no bars")
        if not self.picks:
            hint = (
                ""
                if self.period < HOUR
                else "; on daily bars they see, at the open, the days before: try --scale minute"
            )
            found.append(f"the scanners picked no symbol, so no strategy was called{hint}")
        return [*found, *self._said]
