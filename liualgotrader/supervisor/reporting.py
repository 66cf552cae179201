"""A report of a batch, from its record or from a backtest that has just been played."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from liualgotrader.analytics.equity import by_session, curve_of
from liualgotrader.analytics.performance import returns_of, sharpe_ratio
from liualgotrader.analytics.report import ReportSource, report_of
from liualgotrader.analytics.report_page import page_of
from liualgotrader.common.calendar import TradingSession
from liualgotrader.common.clock import DAY, MINUTE, SECOND, as_datetime
from liualgotrader.common.config import Settings
from liualgotrader.common.errors import ConfigError, LiuError, OutsideError
from liualgotrader.common.files import replace_file
from liualgotrader.common.market_columns import Floats
from liualgotrader.common.rows import BatchRow
from liualgotrader.common.session_plan import MarketSpec
from liualgotrader.supervisor.backtest_bars import TICKS, BarsWanted, PlayedBars, history_of, played_bars
from liualgotrader.supervisor.backtest_outcome import BacktestOutcome
from liualgotrader.supervisor.backtesting import ENVIRONMENT, Backtesting
from liualgotrader.supervisor.repeating import FoundBatch, bars_of, find_batch, from_kept

_WHOLE_ACCOUNT = (
    "Return, risk and drawdown are those of the whole account, with what it holds beyond these strategies and cash that came"
    " or went; trades and P&L are the strategies' own."
)
_INVENTED = "The prices were invented: gains on them say nothing about a strategy."


def plotly_script() -> bytes:
    """Return the script that draws the charts.

    Raises:
        ConfigError: if plotly is not installed.
    """
    try:
        return (files("plotly") / "package_data" / "plotly.min.js").read_bytes()
    except (ModuleNotFoundError, FileNotFoundError):
        raise ConfigError("a report needs plotly: pip install 'liualgotrader[report]'") from None


def place_of(name: str, batch_id: str = "") -> Path:
    """Return where a report goes: the file that is named, else one in this folder, named after the batch.

    Raises:
        ConfigError: if its folder is not there.
    """
    path = Path(name).expanduser() if name else Path(f"report-{batch_id[:8]}.html")
    if path.is_dir():
        path /= f"report-{batch_id[:8]}.html"
    if not path.absolute().parent.is_dir():
        raise ConfigError(f"there is no folder {path.absolute().parent} for the report: make it, or name another")
    return path


def write_report(path: Path, source: ReportSource, script: bytes) -> None:
    """Write a report as one HTML file, in place of the one that is there.

    Raises:
        OutsideError: if it cannot be written.
    """
    try:
        replace_file(path, page_of(report_of(source), script).encode())
    except OSError as error:
        raise OutsideError(f"the report cannot be written to {path} ({error.strerror}): name another file") from error


async def source_of_record(settings: Settings, beginning: str) -> ReportSource:
    """Return what a report is made of for the batch whose id begins so.

    Raises:
        LiuError: if there is no such batch, or a database cannot be used or reached.
    """
    found = await find_batch(settings, beginning, everywhere=True)
    wanted, notes = _bars_wanted(found, sorted(found.traded), settings.home_path)
    played = PlayedBars({})
    try:
        if wanted is not None and found.trades:
            played = played_bars(wanted, settings.home_path / "market", history_of(wanted, _history(found.row)))
    except LiuError as error:
        notes.append(f"Without prices, so without excursions, price charts and what open positions are worth: {error}.")
    sessions = (wanted or BarsWanted(first=_day(found.row), last=_day(found.row))).sessions()
    kept = by_session(found.equity)
    equity = kept.tolist() if len(kept) == len(sessions) + 1 and np.isfinite(kept).all() else None
    return _source(found, played, sessions, notes, equity)


def bars_of_symbol(settings: Settings, row: BatchRow, symbol: str) -> PlayedBars:
    """Return the bars of one symbol over the sessions of a batch.

    Raises:
        LiuError: if its prices are not known any more.
    """
    wanted, notes = _bars_wanted(FoundBatch(row, {}, simulated=False), [symbol], settings.home_path)
    if wanted is None:
        raise ConfigError(notes[0])
    wanted = msgspec.structs.replace(wanted, symbols=(symbol,))
    return played_bars(wanted, settings.home_path / "market", history_of(wanted, 0))


def source_of_backtest(backtesting: Backtesting, outcome: BacktestOutcome, fingerprint: str = "") -> ReportSource:
    """Return what a report is made of for a backtest that was played; `fingerprint` is that of its saved result."""
    run = outcome.run
    found = FoundBatch(
        backtesting.batch_row(run.slots),
        {},
        simulated=False,
        trades=tuple(outcome.executions),
        checks=backtesting.honesty_checks(),
        parameters=backtesting.plan.strategies,
        equity=tuple(outcome.equity()),
        others=backtesting.other_ratios(),
    )
    notes = [sentence for sentence in (outcome.sentence, *dict.fromkeys(run.warnings)) if sentence]
    equity = by_session(found.equity).tolist()
    source = _source(found, backtesting.played, run.sessions, notes, equity)
    return replace(source, terms={**source.terms, "fingerprint": fingerprint}) if fingerprint else source


def _source(
    found: FoundBatch,
    played: PlayedBars,
    sessions: Sequence[TradingSession],
    notes: Sequence[str],
    equity: Sequence[float] | None = None,
) -> ReportSource:
    row, told = found.row, found.row.configuration.get("backtest", {})
    kept: Floats | None = None if equity is None else np.array(equity, np.float64)
    cash = _cash(row)
    if cash is None and kept is not None:  # it began with positions, or beside what is not ours
        cash = float(kept[0])
        if row.environment not in (ENVIRONMENT, "SIMULATED"):
            notes = [*notes, _WHOLE_ACCOUNT]
    invented = told.get("bars", {}).get("generated") or _is_generated(row)
    return ReportSource(
        batch_id=row.batch_id,
        environment=row.environment,
        strategies=list(found.parameters),
        sessions=sessions,
        executions=found.trades,
        bars=played.bars,
        splits=played.splits,
        curve=curve_of(found.equity) if found.equity else None,
        trials=None if found.others is None or kept is None else np.array([*found.others, _ratio(kept)]),
        cash=cash,
        opening=found.opening,
        equity=kept,
        benchmark=told.get("benchmark") or next(iter(played.bars), "") if told else "",
        seed=row.seed or 0,
        parameters=found.parameters,
        terms=_terms(row, told),
        checks=found.checks,
        notes=[*([_INVENTED] if invented else []), *notes],
    )


def _ratio(equity: Floats) -> float:
    found = sharpe_ratio(returns_of(equity))
    return np.nan if found is None else found


def _bars_wanted(found: FoundBatch, symbols: Sequence[str], home: Path) -> tuple[BarsWanted | None, list[str]]:
    """Return which bars show a batch, for a session those that its strategies saw where it has kept them."""
    row, notes = found.row, list[str]()
    try:
        wanted = bars_of(found)
    except ConfigError as error:
        notes = [f"Without prices: {str(error).partition(': name')[0]}."]
        market = row.configuration["market"]
        wanted = BarsWanted(first=_day(row), last=_day(row), window=(market["opens_at"], market["closes_at"]))
    if row.environment == ENVIRONMENT:
        return wanted, notes
    wanted = from_kept(msgspec.structs.replace(wanted, symbols=tuple(symbols)), row.batch_id, home)
    return (wanted, []) if wanted.kept or not notes else (None, notes)


def _is_generated(row: BatchRow) -> bool:
    market = row.configuration.get("market") or {}
    return bool(market) and not market.get("data")


def _day(row: BatchRow) -> date:
    return date.fromisoformat(row.session_date)


def _history(row: BatchRow) -> int:
    return int(row.configuration.get("tradeplan", {}).get("timings", {}).get("history_sessions", 0))


def _cash(row: BatchRow) -> float | None:
    """Return the dollars that the account began with, None if the record does not say so."""
    if row.environment == ENVIRONMENT:
        return float(row.configuration["backtest"]["cash"])
    market = row.configuration.get("market")
    return float(MarketSpec("", "", 0, 0).cash) if market and not market.get("account") else None


def _terms(row: BatchRow, told: Mapping[str, Any]) -> dict[str, str]:
    """Return what a batch was played on and by, in words."""
    settings, bars = row.configuration.get("settings", {}), told.get("bars", {})
    market = row.configuration.get("market") or {}
    data = bars.get("data") or market.get("data")
    invented = bars.get("generated") or (market and not data and market.get("symbol_count"))
    where = data or (f"an invented market of {invented} symbols" if invented else "the market-data store")
    scale = {MINUTE: "bars of minutes", DAY: "bars of days", SECOND: "seconds", TICKS: "trades and quotes"}.get(
        bars.get("period", -1)
    )
    simulated = bool(told or market)
    terms = {
        "batch": row.batch_id,
        "started": f"{as_datetime(row.started_at):%Y-%m-%d %H:%M} New York",
        "prices": (where if simulated else "the vendor's feed") + (f", {scale}" if scale else ""),
        "fills profile": settings.get("fills", "strict") if simulated else "the broker's own",
        "fees": settings.get("fees", "none") if simulated else "the broker's own",
    }
    costs = {
        "fee_per_share": ("fee a share", "$"),
        "slippage_bps": ("slippage of orders without a limit", "basis points"),
        "buy_fee_percentage": ("fee of purchases", "%"),
        "sell_fee_percentage": ("fee of sales", "%"),
    }
    terms |= {text: f"{told[name]} {unit}" for name, (text, unit) in costs.items() if told.get(name, "0") != "0"}
    if market:
        terms["latency"] = f"{settings.get('latency_ms', '?')} ms of market time"
    if (cash := _cash(row)) is not None:
        terms["cash at the start"] = f"{cash:,.2f} $"
    terms["seed"] = str(row.seed or 0)
    terms["plan"] = str(row.configuration.get("plan") or "a class that was handed over")
    return terms | {f"version of {name}": version for name, version in row.versions.items()}
