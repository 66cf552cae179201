"""How a session ends: why, with which exit status, and what is said about it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal

import msgspec

from liualgotrader.analytics.summary import SessionSummary, TradingFigures
from liualgotrader.common.clock import clock_text
from liualgotrader.common.control import Failed
from liualgotrader.common.errors import ConfigError, MoneyNeedsAPerson
from liualgotrader.common.money import ZERO
from liualgotrader.common.session_plan import DECLINED, SlotPlan
from liualgotrader.scanners_runner.scanner_marks import StoppedScanner
from liualgotrader.supervisor.session_figures import FinalPosition
from liualgotrader.supervisor.view import Screen, View, refusals_text

_REASON_WIDTH = 48
MARKET_CLOSE = "market close"
COULD_NOT_TRADE = 5  # the exit status of a session that went its way and could trade nothing
_INTERRUPTED = 130  # the exit status after an orderly Ctrl-C
_WHAT_TO_DO = (
    "Check its orders and its position at the broker, and close there what is not wanted: the next session treats what"
    " differs from our books as not ours and never trades it"
)


class DayResult(msgspec.Struct, frozen=True):
    """What one session came to, US dollars, fees paid; None is not known.

    `gain` is what our positions gained since the close before, what they were held at overnight included.
    """

    day: str
    trips: int
    executions: int
    realized: Decimal
    gain: Decimal | None
    equity: Decimal | None


class Ending(msgspec.Struct, frozen=True):
    """The end of a session. `reason` stands in the rows; `sentence` is for a person, empty if all went well."""

    exit_code: int = 0
    reason: str = MARKET_CLOSE
    sentence: str = ""
    by_hand: bool = False  # a person ended it early
    result: DayResult | None = None  # once it is analysed


def needing_a_person(
    ending: Ending,
    standing: Sequence[FinalPosition],
    quarantined: Collection[str],
    day_trades: Collection[str],
    *,
    flattened: bool,
) -> Ending:
    """Return the ending, with status 4 and a sentence where a person must act.

    A person must act on DAY_TRADE positions that are still open, on symbols in which the account differs from our books,
    and where database and order gateway differ. `flattened`: positions were to be closed although a person ended the
    session early.
    """
    if ending.exit_code not in (0, COULD_NOT_TRADE, _INTERRUPTED):
        return ending
    sentences: list[str] = []
    still = [p.symbol for p in standing if p.strategy in day_trades and p.in_account]
    if still and (flattened or not ending.by_hand):
        symbols = ", ".join(dict.fromkeys(still))
        sentences.append(
            f"DAY_TRADE positions are still open at the end of the session ({symbols}): close them by hand"
        )
    if differing := ", ".join(sorted({p.symbol for p in standing if p.recorded is not None})):
        sentences.append(f"the database and the order gateway differ in {differing}: see the warnings of the summary")
    if quarantined:
        sentences.append(
            f"the account differs from our books in {', '.join(sorted(quarantined))}: see the warnings of the summary"
        )
    if not sentences:
        return ending
    sentences += [ending.sentence] if ending.exit_code == COULD_NOT_TRADE else []
    return msgspec.structs.replace(ending, exit_code=MoneyNeedsAPerson.exit_code, sentence="; ".join(sentences))


def no_strategy_runs(slots: Sequence[SlotPlan], never_ran: Collection[int]) -> Ending | None:
    """Return the end of a session in which every slot is stopped, None while one is not.

    `never_ran` are slots that were stopped before their strategy could be called once. A strategy that does not want
    to run says so in `create`: that is no failure.
    """
    if not slots or not all(slot.stopped for slot in slots):
        return None
    reasons = dict.fromkeys(f"{slot.strategy}: {slot.stopped}" for slot in slots if slot.stopped != DECLINED)
    if not reasons:
        return Ending(0, "no strategy wanted to run")
    told = "; ".join(reasons)
    if all(slot.slot in never_ran or slot.stopped == DECLINED for slot in slots):
        return Ending(ConfigError.exit_code, "no strategy could run", f"no strategy could run: {told}")
    return Ending(
        MoneyNeedsAPerson.exit_code,
        "every strategy was stopped",
        f"every strategy was stopped before its time: {told}. Fix this before the next session",
    )


def could_not_trade(
    view: View, scanners: Collection[str], off: Mapping[str, StoppedScanner], executions: int, *, shadow: bool
) -> Ending | None:
    """Return the end of a session that could trade nothing: no scanner ran to its close, or every order was refused."""
    refused = view.refusals()
    if scanners and set(scanners) <= set(off):
        told = "; ".join(f"{name}: {why.reason}" for name, why in off.items())
        sentence = f"no scanner ran to the end of the session: {told}"
    elif refused and not executions and not shadow and refused.total() >= view.counted("orders_decided"):
        sentence = f"every order was refused: {refusals_text(refused)}"
    else:
        return None
    return Ending(COULD_NOT_TRADE, MARKET_CLOSE, f"{sentence}. Fix this before the next session")


def unserved(ending: Ending, failed: Failed) -> Ending:
    """Return the end of a session whose gateway gave up: the next one looks after what it left at the broker."""
    if not ending.exit_code or ending.by_hand:  # the gateway gave up while it was to stop
        ending = Ending(failed.exit_code, "failed", failed.text)
    told = f"{ending.sentence.rstrip('.')}. The batch stays unfinished, and what it left at the broker keeps working: the next"
    return msgspec.structs.replace(ending, sentence=f"{told} `trader` takes it up")


def incomplete(ending: Ending, rows: int | None) -> Ending:
    """Return the end of a session whose record lacks rows: an analysis of it would be wrong."""
    if ending.exit_code:
        return ending
    return Ending(
        3,
        "failed",
        f"{rows or 'some'} rows of orders and fills could not be written and wait in the journal: see that PostgreSQL runs and"
        " has room, then start `trader` again: it writes them and the session's end first",
    )


def say_summary(
    screen: Screen, summary: SessionSummary, standing: Sequence[FinalPosition], *, dropped: int = 0
) -> None:
    """Show what the session came to; `dropped` market events did not reach a strategy."""
    header = ("strategy", "trades", "win rate", "realized $", "open $", "P&L $", "fees $", "R in all", "open", "ended")
    held = [position for position in standing if position.in_account]
    ended = summary.end_reasons
    rows = [_row(f, [p for p in held if p.strategy == f.name], ended.get(f.name, ())) for f in summary.strategies]
    if len(rows) > 1:
        rows.append(_row(summary.total, held, ()))
    screen.table("Session summary", header, rows)
    for name, reasons in ended.items():
        for reason in reasons:
            if reason != _short(reason):
                screen.warn(f"{name} was stopped: {reason}")
    if dropped:
        screen.warn(f"{dropped} market events were dropped because a consumer lagged")


def say_days(screen: Screen, days: Sequence[DayResult]) -> None:
    """Show what sessions that followed each other came to, a line each, and all of them together."""
    if not days:
        return
    gains = [day.gain for day in days]
    gain = None if None in gains else sum((g for g in gains if g is not None), ZERO)
    total = DayResult(
        "total",
        sum(day.trips for day in days),
        sum(day.executions for day in days),
        sum((day.realized for day in days), ZERO),
        gain,
        days[-1].equity,
    )
    rows = []
    for day in (*days, total):
        money = (day.realized, day.gain, day.equity)
        rows.append(
            (day.day, f"{day.trips:,}", f"{day.executions:,}", *("-" if m is None else f"{m:,.2f}" for m in money))
        )
    header = ("day", "trades", "executions", "realized $", "P&L $", "equity $")
    screen.table("Sessions", header, rows)


def say_positions(
    screen: Screen, standing: Sequence[FinalPosition], swing: Collection[str], quarantined: Mapping[str, str]
) -> None:
    """Show what is open after the session; positions of the strategies `swing` may be.

    `quarantined` are symbols with what is wrong in them.
    """
    for position in standing:
        held = f"{position.strategy} {position.quantity:+f} {position.symbol}"
        if position.recorded is not None:
            has = f"{position.quantity:+f}" if position.in_account else "none"
            screen.warn(
                f"the database has {position.recorded:+f} {position.symbol} of {position.strategy}, the order gateway"
                f" {has}: look at the account"
            )
        elif not position.in_account:
            screen.warn(f"not in the account: {held}, which earlier sessions left open; nothing was done with it")
        if not position.in_account:
            continue
        kept, gain = position.strategy in swing, position.gain
        stop = f"stop {position.stop}" if position.stop is not None else "without protection"
        target = f", target {position.target}" if position.target is not None else ""
        last = "last price unknown" if gain is None else f"last {position.last}, P&L {gain:+,.2f} $"
        show = screen.line if kept and position.stop is not None else screen.warn
        kind = "kept overnight" if kept else "DAY_TRADE, still open"
        show(f"open position: {held} at {position.entry:.4f}, {last}, {stop}{target}, {kind}")
    for symbol, why in sorted(quarantined.items()):
        screen.warn(f"{symbol} is quarantined: {why}. {_WHAT_TO_DO}")


def say_data(screen: Screen, doubts: Sequence[str], skipped: Sequence[str]) -> None:
    """Show what was odd in the day that was played, and what was left out of it."""
    for sentence in doubts:
        screen.warn(f"data: {sentence}")
    for count in skipped:
        screen.line(f"data: {count}")


def say_scanners_off(screen: Screen, off: Mapping[str, StoppedScanner]) -> None:
    """Show which scanners were not run to the end of the session, since when, and why."""
    for name, why in off.items():
        screen.warn(f"scanner {name} was off since {clock_text(why.at)} New York: {why.reason}")


def say_refusals(screen: Screen, view: View, executions: int, *, shadow: bool) -> None:
    """Show how many orders each rule refused and, when nothing was traded, why."""
    for strategy in view.strategies:
        if strategy.refused:
            screen.warn(f"{strategy.name}, orders refused: {refusals_text(strategy.refused)}")
    if executions:
        return
    followed, decided, refused = view.worst("symbols"), view.counted("orders_decided"), view.refusals()
    if not view.counted("picks") and not followed:
        why = f"the scanners picked no symbol in {view.counted('runs'):.0f} runs"
    elif not decided and not refused:
        why = f"{followed:.0f} symbols were followed, and no strategy gave a signal"
    elif shadow:
        why = f"{decided:.0f} orders were decided, and --shadow sends none"
    elif refused and refused.total() >= decided:
        why = f"every order was refused ({refusals_text(refused)})"
    else:
        why = f"of {decided:.0f} orders {refused.total()} were refused, and none of the others was filled"
    screen.warn(f"nothing was traded: {why}")


def _row(figures: TradingFigures, held: Sequence[FinalPosition], reasons: Sequence[str]) -> tuple[str, ...]:
    """Return a line of the table; without a price of each position the open gain is unknown."""
    rate, gains = figures.win_rate, [p.gain for p in held]
    opened = None if None in gains else sum((g for g in gains if g is not None), ZERO)
    return (
        figures.name,
        str(figures.trips),
        "-" if rate is None else f"{100 * rate:.1f} %",
        f"{figures.gain:,.2f}",
        "-" if opened is None else f"{opened:,.2f}",
        "-" if opened is None else f"{figures.gain + opened:,.2f}",
        f"{figures.fees:,.2f}",
        "-" if figures.total_r is None else f"{figures.total_r:+.2f}",
        str(len(held)),
        ", ".join(_short(reason) for reason in reasons),
    )


def _short(reason: str) -> str:
    """Return what fits into a table; the whole reason stands below it and in `algo_run`."""
    return reason if len(reason) <= _REASON_WIDTH else reason[: _REASON_WIDTH - 1] + "…"
