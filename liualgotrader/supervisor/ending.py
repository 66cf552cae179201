"""How a session ends: why, with which exit status, and what is said about it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal

import msgspec

from liualgotrader.analytics.summary import SessionSummary, StrategyFigures
from liualgotrader.analytics.trips import Key, OpenPosition
from liualgotrader.common.errors import MoneyNeedsAPerson
from liualgotrader.common.ports import Store
from liualgotrader.common.rows import FilledTrade
from liualgotrader.supervisor.request import Screen

_REASON_WIDTH = 48
MARKET_CLOSE = "market close"
_INTERRUPTED = 130  # the exit status after an orderly Ctrl-C


class Ending(msgspec.Struct, frozen=True):
    """The end of a session. `reason` stands in the rows; `sentence` is for a person, empty if all went well."""

    exit_code: int = 0
    reason: str = MARKET_CLOSE
    sentence: str = ""
    by_hand: bool = False  # somebody ended it before its time


def left_open(
    ending: Ending, opened: Sequence[OpenPosition], day_trades: Collection[str], *, flattened: bool
) -> Ending:
    """Return the ending with what a person must look at: DAY_TRADE positions that should be closed and are not.

    `flattened` says that they were to be closed although somebody ended the session before its time.
    """
    still = [p for p in opened if p.strategy in day_trades]
    if not still or (ending.by_hand and not flattened) or ending.exit_code not in (0, _INTERRUPTED):
        return ending
    symbols = ", ".join(dict.fromkeys(p.symbol for p in still))
    sentence = f"DAY_TRADE positions are still open at the end of the session ({symbols}): close them by hand"
    return msgspec.structs.replace(ending, exit_code=MoneyNeedsAPerson.exit_code, sentence=sentence)


async def opening_positions(
    store: Store, environment: str, batch_id: str, trades: Sequence[FilledTrade]
) -> Mapping[Key, Decimal]:
    """Return what earlier batches left open, by the slot that has traded the symbol since.

    On the simulated market there is nothing: each session's account is new.
    """
    if environment == "SIMULATED":
        return {}
    found: dict[Key, Decimal] = {}
    for strategy in dict.fromkeys(t.strategy for t in trades):
        before = await store.positions_before(environment, strategy, batch_id)
        for symbol, quantity in before.items():
            run = next((t.algo_run_id for t in trades if (t.strategy, t.symbol) == (strategy, symbol)), None)
            if run is not None and quantity:
                found[run, symbol] = quantity
    return found


def say_summary(screen: Screen, summary: SessionSummary, *, dropped: int, swing: Collection[str]) -> None:
    """Show what the session came to; `swing` are the strategies whose positions may stay open."""
    header = ("strategy", "trades", "win rate", "P&L $", "fees $", "R", "open", "ended")
    rows = [_row(figures) for figures in summary.strategies]
    if len(rows) > 1:
        rows.append(_row(summary.total))
    screen.table("Session summary", header, rows)
    if dropped:
        screen.warn(f"{dropped} market events were dropped because a consumer lagged")
    for position in summary.open:
        _say_open(screen, position, kept=position.strategy in swing)


def _row(figures: StrategyFigures) -> tuple[str, ...]:
    rate = figures.win_rate
    return (
        figures.strategy,
        str(figures.trips),
        "-" if rate is None else f"{rate} %",
        f"{figures.gain:,.2f}",
        f"{figures.fees:,.2f}",
        "-" if figures.r_units is None else f"{figures.r_units:+.2f}",
        str(figures.open_positions),
        ", ".join(_short(reason) for reason in figures.end_reasons),
    )


def _short(reason: str) -> str:
    """Return what fits into a table; the whole reason was said when it happened and stands in `algo_run`."""
    return reason if len(reason) <= _REASON_WIDTH else reason[: _REASON_WIDTH - 1] + "…"


def _say_open(screen: Screen, position: OpenPosition, *, kept: bool) -> None:
    kind = "kept overnight" if kept else "DAY_TRADE, still open"
    stop = f"planned stop {position.stop}" if position.stop is not None else "without protection"
    text = (
        f"open position: {position.strategy} {position.quantity:+f} {position.symbol}"
        f" at {position.average_price:.4f}, {stop}, {kind}"
    )
    if kept and position.stop is not None:
        screen.line(text)
    else:
        screen.warn(text)
