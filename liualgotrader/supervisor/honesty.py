"""Whether a backtest can be believed: what was decided, compared with runs that know less of the future or more of the past."""

from __future__ import annotations

import logging
import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np

from liualgotrader.backtest.array_prefixes import MOST_ENDS, ArrayRows, AskedRows, EarlierEnds
from liualgotrader.backtest.run_record import RunRecord
from liualgotrader.backtest.session_run import Scrutiny
from liualgotrader.common.calendar import TradingSession
from liualgotrader.common.clock import HOUR, WallClock, as_datetime
from liualgotrader.common.folder_imports import forget_files
from liualgotrader.common.market_columns import BarColumns, Floats, Ints, take
from liualgotrader.common.recording import RecordedColumns, SeriesKey
from liualgotrader.common.rows import HonestyCheck
from liualgotrader.supervisor.backtest_bars import PlayedBars, bounds_of, history_of
from liualgotrader.supervisor.backtest_outcome import BacktestOutcome, executions_of
from liualgotrader.supervisor.backtesting import Backtesting
from liualgotrader.supervisor.view import View

LOOKAHEAD, WARMUP = "lookahead", "warmup"
FOUND = 6  # the exit status of a check that found something
_NOTHING_SAID = 5  # and of one that can say nothing
_INTERRUPTED = 130
_MOST_SENTENCES = 20
_SAME_VALUE, _SETTLED = 1e-9, 1e-3  # of a recorded series' range: no difference, and too little to matter

Told = Callable[[str, int, int], object]
"""Hears what is being done, how much of it, and of how much."""


class OtherDecision(msgspec.Struct, frozen=True):
    """Something that one strategy decided in the run, `base`, and otherwise in the other one, `other`."""

    strategy: str
    symbol: str
    at: int
    base: str
    other: str
    other_run: str  # in words


@dataclass(frozen=True)
class CheckedRun:
    """What a check came to. `check` is stored with the batch of the run that was checked."""

    check: HonestyCheck
    differences: list[OtherDecision]
    notes: list[str]
    batch_id: str
    outcome: BacktestOutcome
    stopped: bool = False  # before all was compared

    @property
    def exit_code(self) -> int:
        """6 if something was found, 130 if it was ended early, else the run's own, or 5 if nothing can be said."""
        if self.check.verdict == "failed":
            return FOUND
        if self.stopped:
            return _INTERRUPTED
        return self.outcome.exit_code or (_NOTHING_SAID if self.check.verdict == "unknown" else 0)


@dataclass
class HonestyChecks:
    """Checks of one backtest, each entered as `Backtesting` is, whose run is the one that they are about."""

    base: Backtesting
    told: Told
    notes: list[str] = field(default_factory=list)
    stopped: bool = False  # by Ctrl-C, in a run that only serves a comparison

    def look_ahead(self, most: int = MOST_ENDS) -> CheckedRun:
        """Play the backtest as it is, and again where bars that have not closed are nowhere, or end sooner.

        `most` is at how many bars of a symbol the bars that array signals are given end.

        Raises:
            LiuError: in one sentence, if nothing can be played.
        """
        outcome = self._play(self.base, "the run")
        if outcome.run.ended:
            return self._told(LOOKAHEAD, outcome, [])
        ends = EarlierEnds(most=most, session_opens=[session.opens_at for session in outcome.run.sessions])
        hidden = self._again(self.base.played, Scrutiny(hidden=True, arrays=ends))

        def told(strategy: str, symbol: str, done: int, of: int) -> bool:
            self.told(f"{strategy} on {symbol}, bars that end earlier", done, of)
            return not hidden.pressed()

        ends.told = told
        found = self._compared(outcome.run, hidden, "without what comes later")
        self.stopped |= ends.stopped
        for one in ends.found:
            rows, words = one.rows, f"if the bars end {self._time_text(self._closes(one.rows, one.end))}"
            found.append(
                OtherDecision(rows.strategy, rows.symbol, self._closes(rows, one.row), one.full, one.cut, words)
            )
        if not self.stopped:
            found += self._cut_short(outcome.run) + self._asked_later(outcome.run, self.base.asked or hidden.asked)
        if ends.possible > ends.tried and not ends.found:
            self.notes.append(
                f"array signals were asked again about bars that end at {ends.tried:,} of {ends.possible:,} places:"
                " --every-bar takes all"
            )
        return self._told(LOOKAHEAD, outcome, found, ends)

    def _cut_short(self, base: RunRecord) -> list[OtherDecision]:
        """Return what is decided otherwise where the data ends with a session; the one after it is played without bars."""
        if len(base.sessions) < 2:
            return []
        place = random.Random(self.base.request.bars.seed).randrange(len(base.sessions) - 1)  # noqa: S311
        last, empty = base.sessions[place : place + 2]
        again = self._again(until(self.base.played, last), last=empty)
        return self._compared(base, again, f"with data until {last.day}", until=last.closes_at)

    def _asked_later(self, base: RunRecord, asked: tuple[str, int, int] | None) -> list[OtherDecision]:
        """Return what is decided otherwise if data loaders have the later bars that they are asked for."""
        if asked is None or self.stopped:
            return []
        symbol, now, at = asked
        self.notes.append(
            f"at {self._time_text(now)} a data loader is asked for {symbol} at {self._time_text(at)}, which is later:"
            " a backtest answers with what there is by then"
        )
        again = self._again(self.base.played, Scrutiny(literal=True))
        return self._compared(base, again, "if the data loader had the later bars that it is asked for")

    def warm_up(self) -> CheckedRun:
        """Play the backtest as it is, and with half, twice and four times the history before its first day.

        Raises:
            LiuError: in one sentence, if nothing can be played.
        """
        usual = history_of(self.base.request.bars, self.base.plan.timings.history_sessions)
        rows = self._rows(self.base)
        outcome = self._play(self.base, f"{usual} sessions of history")
        before = self.base.request.bars.sessions_before(4 * max(1, usual))
        longest = since(self.base.load(len(before)), before[:1], outcome.run.sessions[0])
        known, more = _sessions_there(self.base.played, before), 0
        found: list[OtherDecision] = []
        for count in sorted({usual // 2, len(before) // 2, len(before)} - {usual}):
            bars = since(longest, before[len(before) - count :], outcome.run.sessions[0])
            there = _sessions_there(bars, before)
            if outcome.run.ended or self.stopped or (count > usual and there <= max(known, more)):
                continue
            again, words = self._again(bars), f"with {there} session{'s' * (there != 1)} of history"
            others = self._rows(again)
            differing = self._compared(outcome.run, again, words, settled=_SETTLED)
            if not self.stopped:
                differing += self._row_differences(rows, others, words)
            if count > usual:
                found, more = found + differing, there
            elif not self.stopped:
                self.notes.append(f"{words}: {'other decisions, so that is too few' if differing else 'the same'}")
        if not (more or self.stopped or outcome.run.ended):
            self.notes.append(
                f"the data has no more history than the {known} sessions that are loaded, so that nothing can be said:"
                " begin on a later day"
            )
        return self._told(WARMUP, outcome, found, rows, unknown=not more)

    # --- runs ------------------------------------------------------------------------------------------

    def _again(
        self, bars: PlayedBars, scrutiny: Scrutiny | None = None, last: TradingSession | None = None
    ) -> Backtesting:
        request = msgspec.structs.replace(self.base.request, database=False, benchmark="")  # which may have no bars yet
        if last is not None:
            request = msgspec.structs.replace(request, bars=msgspec.structs.replace(request.bars, last=last.day))
        quiet = msgspec.structs.replace(bars, notes=())
        return Backtesting(
            request,
            self.base.settings,
            self.base.plan,
            _Nowhere(),
            classes=self.base.classes,
            bars=quiet,
            scrutiny=scrutiny or Scrutiny(),
        )

    def _play(self, backtesting: Backtesting, words: str) -> BacktestOutcome:
        """Play a run with users' files as they are when they are new."""
        sessions = len(backtesting.request.bars.sessions())
        done = 0

        def closed(session: TradingSession, bars: int) -> None:
            nonlocal done
            done += 1
            self.told(words, done, sessions)

        forget_files()
        if backtesting is self.base:
            return backtesting.play(closed)
        before = logging.root.manager.disable
        logging.disable()  # the run itself has said it
        try:
            with backtesting:
                return backtesting.play(closed)
        finally:
            logging.disable(before)

    def _compared(
        self, base: RunRecord, again: Backtesting, words: str, *, until: int | None = None, settled: float = _SAME_VALUE
    ) -> list[OtherDecision]:
        """Play another run and return what it decided otherwise; nothing if it did not come to its end."""
        run = self._play(again, words).run
        self.stopped |= run.ended is not None
        return [] if self.stopped else [*differences(base, run, words, until=until, settled=settled)]

    # --- what came of them -----------------------------------------------------------------------------------

    def _told(
        self,
        name: str,
        outcome: BacktestOutcome,
        found: Sequence[OtherDecision],
        rows: AskedRows | None = None,
        *,
        unknown: bool = False,
    ) -> CheckedRun:
        """Return what the check says; a strategy that does not decide the same twice is left out."""
        notes, unsteady = self.notes, set(rows.unsteady if rows is not None else ())
        if found and not self.stopped:
            again = self._compared(outcome.run, self._again(self.base.played), "once more as it is")
            unsteady |= {one.strategy for one in again}
        for strategy in sorted(unsteady):
            notes.append(
                f"{strategy} does not decide the same when it is played twice, so that nothing can be said of it: random"
                " numbers are to come from ctx.rng"
            )
        kept = _first_of_each(one for one in found if one.strategy not in unsteady)
        if len({one.strategy for one in kept}) > 1:
            notes.append(
                "strategies share the account, so that one's orders change another's: --strats checks them one by one"
            )
        decided = bool(outcome.run.signals) or (rows is not None and any(one.acts() for one in rows.rows))
        if not decided:
            notes.append("no strategy decided anything, so that nothing can be said: take more days or symbols")
        stopped = bool(outcome.run.ended) or self.stopped
        if stopped:
            notes.append("ended by Ctrl-C: not all was compared")
        verdict = "failed" if kept else "passed"
        if not kept and (unsteady or unknown or stopped or not decided):
            verdict = "unknown"
        sentences = [
            f"{one.strategy} on {one.symbol} at {self._time_text(one.at)}: {one.base}; {one.other_run}: {one.other}"
            for one in kept[:_MOST_SENTENCES]
        ]
        if len(kept) > _MOST_SENTENCES:
            sentences.append(f"{len(kept) - _MOST_SENTENCES} more symbols of strategies: --json names all")
        check = HonestyCheck(name, WallClock().now(), verdict, (*sentences, *notes))
        return CheckedRun(check, kept, notes, self.base.batch_id, outcome, stopped)

    def _closes(self, rows: ArrayRows, row: int) -> int:
        period = self.base.request.bars.period
        return int(rows.opened_at[row]) + (0 if period > HOUR else period)

    def _time_text(self, at: int) -> str:
        return f"{as_datetime(at):{'%Y-%m-%d' if self.base.request.bars.period > HOUR else '%Y-%m-%d %H:%M'}}"

    def _rows(self, backtesting: Backtesting) -> AskedRows:
        rows = AskedRows([backtesting.request.bars.sessions()[0].opens_at])
        backtesting.scrutiny = Scrutiny(arrays=rows)
        return rows

    def _row_differences(self, base: AskedRows, other: AskedRows, words: str) -> Iterator[OtherDecision]:
        known: dict[tuple[str, str], deque[ArrayRows]] = {}  # several of one symbol if its prices were restated
        for less in base.rows:
            known.setdefault((less.strategy, less.symbol), deque()).append(less)
        for more in other.rows:
            if not (same := known.get((more.strategy, more.symbol))):
                continue
            less = same.popleft()
            skip = more.first - less.first
            one, two = (more, less) if skip >= 0 else (less, more)
            if (row := one.first_difference(two.columns, abs(skip), 1e-6)) is not None:
                texts = one.text(row), two.text(row - abs(skip))
                mine, theirs = texts[::-1] if skip >= 0 else texts
                yield OtherDecision(more.strategy, more.symbol, self._closes(one, row), mine, theirs, words)


# --- comparing --------------------------------------------------------------------------------------------------


def differences(
    base: RunRecord, other: RunRecord, words: str, *, until: int | None = None, settled: float = _SAME_VALUE
) -> Iterator[OtherDecision]:
    """Yield what two runs decided, traded and recorded differently, up to an instant."""
    mine, theirs = _decided(base), _decided(other)
    for key in sorted(mine.keys() | theirs.keys()):
        at, strategy, symbol = key
        if (until is None or at <= until) and mine.get(key) != theirs.get(key):
            ours, other_text = (", ".join(known.get(key, ["nothing"])) for known in (mine, theirs))
            yield OtherDecision(strategy, symbol, at, ours, other_text, words)
    values = _series(other.recorded)
    for series, known_values in _series(base.recorded).items():
        if (found := _first_value(known_values, values.get(series), until, settled)) is not None:
            instant, one, two = found
            texts = f"{series.name} {one:.8g}", f"{series.name} {two:.8g}"
            yield OtherDecision(series.strategy, series.symbol, instant, *texts, words)


def _decided(run: RunRecord) -> dict[tuple[int, str, str], list[str]]:
    """Return what was ordered, and what traded, by time, strategy and symbol."""
    names = {slot.slot: slot.strategy for slot in run.slots}
    found: dict[tuple[int, str, str], list[str]] = {}
    for signal in run.signals:
        found.setdefault((signal.at, names[signal.slot], signal.symbol), []).append(_action_text(signal.action))
    for trade in executions_of(run):
        text = f"{trade.operation} of {trade.quantity.normalize():f} traded at {trade.price:.10g}"
        found.setdefault((trade.at, trade.strategy, trade.symbol), []).append(text)
    return found


def _action_text(action: Mapping[str, Any]) -> str:
    named = {k: v for k, v in action.items() if v is not None and k not in ("indicators", "reason")}
    first = [_plain(named.pop(key)) for key in ("side", "qty", "type") if key in named]
    return " ".join([*first, *(f"{key} {_plain(value)}" for key, value in named.items())])


def _plain(value: Any) -> str:
    try:
        return f"{float(value):.10g}"
    except (TypeError, ValueError):
        return str(value)


_Values = tuple[Ints, Floats]


def _series(recorded: RecordedColumns) -> dict[SeriesKey, _Values]:
    order = np.argsort(recorded.series, kind="stable")
    edges = np.searchsorted(recorded.series[order], np.arange(len(recorded.keys) + 1))
    parts = [order[first:last] for first, last in pairwise(edges.tolist())]
    return {key: (recorded.at[part], recorded.value[part]) for key, part in zip(recorded.keys, parts, strict=True)}


def _first_value(
    base: _Values, other: _Values | None, until: int | None, settled: float
) -> tuple[int, float, float] | None:
    """Return when two series first differ by more than a part of their range, and both values."""
    if other is None:
        return None
    instants, mine, theirs = np.intersect1d(base[0], other[0], return_indices=True)
    one, two = base[1][mine], other[1][theirs]
    known = one[np.isfinite(one)]
    span = (float(np.ptp(known)) or float(np.abs(known[0]))) if len(known) else 0.0
    wrong = ~((np.abs(one - two) <= settled * span) | (one == two) | (np.isnan(one) & np.isnan(two)))
    if until is not None:
        wrong &= instants <= until
    place = int(np.argmax(wrong)) if wrong.any() else -1
    return None if place < 0 else (int(instants[place]), float(one[place]), float(two[place]))


def _first_of_each(found: Iterator[OtherDecision]) -> list[OtherDecision]:
    """Return the first difference of each strategy and symbol, by time."""
    kept: dict[tuple[str, str], OtherDecision] = {}
    for one in sorted(found, key=lambda d: d.at):
        kept.setdefault((one.strategy, one.symbol), one)
    return list(kept.values())


# --- bars -------------------------------------------------------------------------------------------------------


def until(played: PlayedBars, session: TradingSession) -> PlayedBars:
    """Return the bars that close by a session's close; symbols without any are left out."""
    return _kept(played, lambda bars: bars.closed_at <= session.closes_at)


def since(played: PlayedBars, before: Sequence[TradingSession], first: TradingSession) -> PlayedBars:
    """Return the bars of these sessions of history and of what follows."""
    opens_at = before[0].opens_at if before else first.opens_at
    return _kept(played, lambda bars: bars.opened_at >= opens_at)


def _kept(played: PlayedBars, keep: Callable[[BarColumns], Any]) -> PlayedBars:
    bars = {symbol: take(one, keep(one)) for symbol, one in played.bars.items()}
    return msgspec.structs.replace(played, bars={symbol: one for symbol, one in bars.items() if len(one.opened_at)})


def _sessions_there(played: PlayedBars, before: Sequence[TradingSession]) -> int:
    """Return how many of these sessions have a bar of any symbol."""
    if not before:
        return 0
    opens, closes = bounds_of(before)
    there = np.zeros(len(before), bool)
    for bars in played.bars.values():
        there |= np.searchsorted(bars.opened_at, opens) < np.searchsorted(bars.opened_at, closes)
    return int(there.sum())


class _Nowhere:
    """A screen of the runs that only serve a comparison: what they have to say was said by the first."""

    def line(self, text: str) -> None:
        """It was said."""

    def warn(self, text: str) -> None:
        """It was said."""

    def show(self, view: View) -> None:
        """There is no session."""

    def table(self, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """It was said."""

    def close(self) -> None:
        """There is nothing to take away."""
