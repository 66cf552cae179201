"""What a person reads of a backtest: its figures at a glance, as tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from liualgotrader.analytics.performance import few_sessions
from liualgotrader.common.money import ZERO

if TYPE_CHECKING:
    from decimal import Decimal

    from liualgotrader.analytics.backtest_summary import BacktestSummary, EquityFigures, StillOpen
    from liualgotrader.analytics.summary import TradingFigures
    from liualgotrader.common.rows import BatchResult
    from liualgotrader.supervisor.honesty import CheckedRun
    from liualgotrader.supervisor.view import Screen

_MOST_SYMBOLS = 20
_MOST_POSITIONS = 10
_TRADING = ("trades", "win rate", "profit factor", "expectancy $", "average R", "P&L $", "open $", "fees $", "open")


def say_backtest(screen: Screen, summary: BacktestSummary, played: str = "bars") -> None:
    """Show the summary of a backtest; `played` says what it was played on."""
    title = f"{summary.first_day} to {summary.last_day}: {summary.sessions:,} sessions, {summary.bars:,} {played}"
    header: tuple[str, ...] = ("", "account")
    rows = _account_rows(summary.account, summary.time_in_market, summary.turnover)
    if summary.benchmark is not None:
        held = _account_rows(summary.benchmark, 1.0, 0.0)
        header = (*header, f"{summary.benchmark_symbol} held")
        rows = [(*row, cell) for row, (_, cell) in zip(rows, held, strict=True)]
    screen.table(title, header, rows)
    if caution := few_sessions(summary.sessions):
        screen.line(caution)
    strategies = [*summary.strategies, *([summary.total] if len(summary.strategies) != 1 else [])]
    screen.table("By strategy", ("strategy", *_TRADING), [_trading_row(f) for f in strategies])
    _say_symbols(screen, summary.symbols)
    if summary.dividends:
        screen.line(f"dividends, in the account beyond these gains: {_dollars(summary.dividends)} $")
    if summary.borrow_fees:
        screen.line(f"borrow fees, in the account beyond these gains: {_dollars(-summary.borrow_fees)} $")
    for position in summary.open[:_MOST_POSITIONS]:
        screen.line(_open_text(position))
    if len(summary.open) > _MOST_POSITIONS:
        screen.line(f"… and {len(summary.open) - _MOST_POSITIONS} more open positions: --json lists all of them")


_VERDICTS = {
    ("lookahead", "passed"): "nothing that was decided hangs on what came later",
    ("lookahead", "failed"): "decisions hang on what came later",
    ("warmup", "passed"): "more history changes nothing",
    ("warmup", "failed"): "decisions hang on how much history was loaded",
}


def say_check(screen: Screen, checked: CheckedRun) -> None:
    """Show what a check of honesty found."""
    name, verdict = checked.check.name, checked.check.verdict
    screen.line(f"{name}: {verdict}: {_VERDICTS.get((name, verdict), 'nothing can be said')}")
    for sentence in checked.check.findings:
        screen.line(f"  {sentence}")


def _account_rows(figures: EquityFigures, in_market: float | None, turnover: float | None) -> list[tuple[str, ...]]:
    lasted = figures.drawdown_sessions
    return [
        ("first $", _plain(figures.first)),
        ("last $", _plain(figures.last)),
        ("return", _percent(figures.total_return, sign="+")),
        ("a year", _percent(figures.annual_growth, sign="+")),
        ("volatility", _percent(figures.volatility)),
        ("Sharpe", _plain(figures.sharpe_ratio)),
        ("P(Sharpe > 0)", _percent(figures.probabilistic_sharpe)),
        ("Sortino", _plain(figures.sortino_ratio)),
        ("max drawdown", _percent(figures.max_drawdown)),
        ("…in sessions", "-" if lasted is None else f"{lasted:,}"),
        ("Calmar", _plain(figures.calmar_ratio)),
        ("time in market", _percent(in_market)),
        ("turnover a year", _plain(turnover)),
    ]


def _say_symbols(screen: Screen, symbols: Sequence[TradingFigures]) -> None:
    """Show trading by symbol; of many symbols those that gained and lost most."""
    shown = list(symbols)
    if len(shown) > _MOST_SYMBOLS:
        ranked = sorted(symbols, key=lambda f: -(f.gain + (f.open_gain or ZERO)))
        shown = ranked[: _MOST_SYMBOLS // 2] + ranked[-_MOST_SYMBOLS // 2 :]
    if shown:
        screen.table("By symbol", ("symbol", *_TRADING), [_trading_row(f) for f in shown])
    if len(symbols) > len(shown):
        screen.line(
            f"of {len(symbols)} symbols the {len(shown)} that gained or lost most are shown: --json has all of them"
        )


def _trading_row(figures: TradingFigures) -> tuple[str, ...]:
    opened = figures.open_gain or ZERO  # whose last prices a backtest has
    return (
        figures.name,
        f"{figures.trips:,}",
        _percent(figures.win_rate, digits=1),
        _plain(figures.profit_factor),
        _plain(figures.expectancy, sign="+"),
        _plain(figures.average_r, sign="+"),
        _dollars(figures.gain + opened),
        _dollars(opened) if figures.open_positions else "-",
        f"{figures.fees:,.2f}",
        str(figures.open_positions),
    )


def _open_text(position: StillOpen) -> str:
    return (
        f"open at the last close: {position.strategy} {position.quantity:+,f} {position.symbol} at {position.entry:,.4f},"
        f" last {position.last:,f}, {_dollars(position.gain)} $"
    )


def _dollars(amount: Decimal) -> str:
    return f"{amount if amount else ZERO:+,.2f}"


def _percent(fraction: float | None, *, digits: int = 2, sign: str = "") -> str:
    return "-" if fraction is None else f"{100 * fraction:{sign},.{digits}f} %"


def _plain(figure: float | None, *, sign: str = "") -> str:
    return "-" if figure is None else f"{figure:{sign},.2f}"


def say_results(screen: Screen, found: Sequence[BatchResult]) -> None:
    """List batches with what they came to; what is not known is a dash."""
    rows = []
    for batch in found:
        told, days = batch.figures, batch.session_date
        plans = "; ".join(" ".join([name, *_parameters(values)]) for name, values in batch.parameters.items())
        note = ", ".join(filter(None, ["" if batch.end_reason else "no end", str(batch.asked.get("note") or "")]))
        figures: tuple[str, ...] = ("-",) * 7
        if told is not None:
            days = told.first_day if told.first_day == told.last_day else f"{told.first_day} to {told.last_day}"
            account = _percent(told.total_return, sign="+"), _plain(told.sharpe_ratio), _percent(told.max_drawdown)
            rate = _percent(told.win_rate, digits=1)
            figures = (f"{told.symbols:,}", f"{told.trips:,}", rate, f"{told.gain:+,.2f}", *account)
        rows.append((batch.batch_id[:8], batch.environment, days, *figures, plans, note))
    names = ("symbols", "trades", "win rate", "P&L $", "return", "Sharpe", "max drawdown")
    screen.table("Results", ("batch", "environment", "days", *names, "strategies", "note"), rows)


def _parameters(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a strategy was given beyond where it lies and when it trades, short enough for a table."""
    for name, value in values.items():
        if name not in ("filename", "schedule", "own_process"):
            yield f"{name}={value!s:.20}"
