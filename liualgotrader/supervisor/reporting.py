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
from liualgotrader.analytics.report import report_of
from liualgotrader.analytics.report_page import page_of
from liualgotrader.analytics.report_source import ReportSource
from liualgotrader.analytics.trips import sign_of
from liualgotrader.common.calendar import TradingSession, day_of
from liualgotrader.common.clock import DAY, MINUTE, SECOND, as_datetime
from liualgotrader.common.config import Settings
from liualgotrader.common.errors import ConfigError, LiuError, OutsideError
from liualgotrader.common.events import is_symbol
from liualgotrader.common.files import replace_file
from liualgotrader.common.market_columns import BarColumns, Floats, joined, take
from liualgotrader.common.rows import BatchRow
from liualgotrader.common.session_plan import MarketSpec
from liualgotrader.data.market_store import MarketStore
from liualgotrader.supervisor.backtest_bars import TICKS, BarsWanted, PlayedBars, history_of, played_bars
from liualgotrader.supervisor.backtest_outcome import BacktestOutcome
from liualgotrader.supervisor.backtesting import ENVIRONMENT, Backtesting
from liualgotrader.supervisor.repeating import (
    FoundBatch,
    FoundPortfolio,
    bars_of,
    find_batch,
    find_portfolio,
    from_kept,
)

_WHOLE_ACCOUNT = (
    "Return, risk and drawdown are those of the whole account, with what it holds beyond these strategies and cash that came"
    " or went; trades and P&L are the strategies' own."
)
_NO_PRICES = "Without prices, so without excursions, price charts and what open positions are worth"
PORTFOLIO = "PORTFOLIO"
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


async def source_of_record(
    settings: Settings, beginning: str, benchmark: str = "", beside: Sequence[str] = ()
) -> ReportSource:
    """Return what a report is made of for the batch or portfolio whose id begins so, and for those `beside` it.

    Raises:
        LiuError: if there is none, they have no session in common, the benchmark has no prices, or a database cannot be used or reached.
    """
    source = await _recorded(settings, beginning, benchmark)
    others = [await _recorded(settings, other) for other in beside]
    for other in others:
        if not {s.day for s in source.sessions} & {s.day for s in other.sessions}:
            said = " and ".join(f"{one.batch_id[:8]} is of {_span(one.sessions)}" for one in (source, other))
            raise ConfigError(f"there is no session in common to lay beside each other: {said}")
    return replace(source, beside=others)


def _span(played: Sequence[TradingSession]) -> str:
    return f"{played[0].day} to {played[-1].day}"


async def _recorded(settings: Settings, beginning: str, benchmark: str = "") -> ReportSource:
    portfolio = await find_portfolio(settings, beginning)
    home = settings.home_path
    if portfolio is not None:
        source = _source_of_portfolio(portfolio, home)
        return _against(source, portfolio.batches, benchmark, home) if benchmark else source
    found = await find_batch(settings, beginning, everywhere=True)
    wanted, notes = _bars_wanted(found, sorted(found.traded), home)
    played = PlayedBars({})
    try:
        if wanted is not None and found.trades:
            played = played_bars(wanted, home / "market", history_of(wanted, _history(found.row)))
    except LiuError as error:
        notes.append(f"{_NO_PRICES}: {error}.")
    sessions = (wanted or BarsWanted(first=_day(found.row), last=_day(found.row))).sessions()
    kept = by_session(found.equity)
    equity = kept.tolist() if len(kept) == len(sessions) + 1 and np.isfinite(kept).all() else None
    source = _source(found, played, sessions, notes, equity)
    return _against(source, [found], benchmark, home) if benchmark else source


def _source_of_portfolio(found: FoundPortfolio, home: Path) -> ReportSource:
    """Return what a report is made of for all that was traded for a portfolio.

    Raises:
        ConfigError: if nothing was.
    """
    traded = sorted(
        (one for one in found.batches if one.trades), key=lambda one: (one.row.session_date, one.row.started_at)
    )
    if not traded:
        raise ConfigError(
            f"nothing was traded for portfolio {found.portfolio_id} in a session yet: a strategy trades for it whose table says"
            f' portfolio_id = "{found.portfolio_id}"'
        )
    notes = [f"{found.unknown} batches of an older version are left out."] if found.unknown else []
    read: dict[str, list[PlayedBars]] = {}
    played = list[TradingSession]()
    for one in traded:
        wanted, said = _bars_wanted(one, sorted(one.traded), home)
        played += (wanted or BarsWanted(first=_day(one.row), last=_day(one.row))).sessions()
        notes += [f"Batch {one.row.batch_id[:8]}: {text}" for text in said]
        try:
            bars = PlayedBars({}) if wanted is None else played_bars(wanted, home / "market", 0)
        except LiuError as error:
            notes.append(f"Batch {one.row.batch_id[:8]}: {_NO_PRICES}: {error}.")
            continue
        for symbol in bars.bars.keys() & one.traded:
            read.setdefault(symbol, []).append(bars)
    crypto = any(s.closes_at - s.opens_at == DAY for s in played)
    every = BarsWanted(first=min(s.day for s in played), last=max(s.day for s in played), crypto=crypto).sessions()
    names = {name: place for place, name in enumerate({t.strategy: None for one in traded for t in one.trades}, 1)}
    executions = [msgspec.structs.replace(t, algo_run_id=names[t.strategy]) for one in traded for t in one.trades]
    booked = sum(float(sign_of(t) * t.quantity * t.price + t.fee) for t in executions)
    if abs(found.moved + booked) >= 0.01:
        notes.append(f"{found.moved + booked:+,.2f} $ came or went beside executions; return and risk leave that out.")
    invented = any(_on_invented_prices(one.row) for one in traded)
    return ReportSource(
        batch_id=found.portfolio_id,
        environment=PORTFOLIO,
        strategies=list(names),
        sessions=every,
        executions=sorted(executions, key=lambda t: t.at),
        bars={symbol: _one_after_another([one.bars[symbol] for one in parts]) for symbol, parts in read.items()},
        splits={symbol: parts[-1].splits.get(symbol, ()) for symbol, parts in read.items()},
        cash=found.began,
        parameters={name: values for one in traded for name, values in one.parameters.items()},
        terms={
            "portfolio": found.portfolio_id,
            "money at the start": f"{found.began:,.2f} $",
            "batches": ", ".join(f"{one.row.batch_id[:8]} ({one.row.environment} {one.row.session_date})" for one in traded),
        },
        checks=[check for one in traded for check in one.checks],
        notes=[*([_INVENTED] if invented else []), *notes],
    )  # fmt: skip


def _one_after_another(parts: Sequence[BarColumns]) -> BarColumns:
    """Return the bars of batches by time; where several have the same time, those of the first."""
    kept = list(parts[:1])
    for part in parts[1:]:
        kept.append(take(part, part.opened_at >= kept[-1].closed_at[-1]))
    return joined([part for part in kept if len(part.close)])


def _against(source: ReportSource, found: Sequence[FoundBatch], benchmark: str, home: Path) -> ReportSource:
    """Return the source with the prices of a benchmark, from where the batches have theirs, else from the market-data store.

    Raises:
        ConfigError: if there are none.
    """
    symbol = benchmark.upper()
    if not is_symbol(symbol):
        raise ConfigError(f"{benchmark[:40]!r} is no symbol: name a benchmark such as SPY")
    if symbol in source.bars and len(found) == 1:
        return replace(source, benchmark=symbol)
    first, last = source.sessions[0], source.sessions[-1]
    try:
        every = [bars_of_symbol(home, one.row, symbol) for one in found if one.trades or len(found) == 1]
        bars, splits = _one_after_another([one.bars[symbol] for one in every]), every[-1].splits.get(symbol, ())
    except LiuError as error:
        if any(_on_invented_prices(one.row) for one in found):
            raise ConfigError(f"{str(error).rstrip('.')}: choose a --benchmark of the invented market") from error
        store = MarketStore(home / "market")
        bars, splits = store.read(symbol, DAY, first.opens_at, last.closes_at), store.actions(symbol)[0]
        if not len(bars.close) or day_of(int(bars.opened_at[0])) > first.day:
            raise ConfigError(
                f"no prices of {symbol} are stored from {first.day} on: `liu data fetch {symbol} --from {first.day} --to {last.day}`"
                " stores them, or name another --benchmark"
            ) from error
    return replace(
        source, benchmark=symbol, bars={**source.bars, symbol: bars}, splits={**source.splits, symbol: splits}
    )


def bars_of_symbol(home: Path, row: BatchRow, symbol: str) -> PlayedBars:
    """Return the bars of one symbol over the sessions of a batch.

    Raises:
        LiuError: if its prices are not known any more.
    """
    wanted, notes = _bars_wanted(FoundBatch(row, {}, simulated=False), [symbol], home)
    if wanted is None:
        raise ConfigError(notes[0])
    wanted = msgspec.structs.replace(wanted, symbols=(symbol,))
    return played_bars(wanted, home / "market", history_of(wanted, 0))


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
    invented = _on_invented_prices(row)
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


def _on_invented_prices(row: BatchRow) -> bool:
    market = row.configuration.get("market") or {}
    played = row.configuration.get("backtest", {}).get("bars", {}).get("generated")
    return bool(played) or (bool(market) and not market.get("data"))


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
