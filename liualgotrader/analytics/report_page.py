"""A report as one HTML file that opens offline: it holds its script, its style and its data, and asks for nothing.

Tables are made here, with every text of a user's escaped; charts are drawn by `page/report.js` from the JSON inside. The
page forbids itself, by its content policy, any connection and every script but the two that it was made with.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import PurePath
from typing import Any

import msgspec

from liualgotrader import __version__
from liualgotrader.analytics.backtest_summary import EquityFigures
from liualgotrader.analytics.page_parts import (
    UNKNOWN,
    card,
    counted,
    dollars,
    facts,
    percent,
    plain,
    price,
    signed,
    table,
    with_code,
)
from liualgotrader.analytics.performance import YEAR, few_sessions
from liualgotrader.analytics.report import Report, notable
from liualgotrader.analytics.summary import TradingFigures, open_gain
from liualgotrader.analytics.tear_sheet_page import account_cards, beside_cards
from liualgotrader.analytics.trips import RoundTrip
from liualgotrader.common.clock import as_datetime
from liualgotrader.common.money import ZERO

_PAGE = files("liualgotrader.analytics") / "page"
_LISTED = 200  # trades in the table
_GROUPS = 500  # symbols in the table
_LIKELY_LUCK = 0.05  # p-value from which on luck is not ruled out
_FEW = 30  # trades say little
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_CHECKS = {
    "lookahead": "Do decisions change when the future is cut off? `backtester lookahead` tries it.",
    "warmup": "Do signals depend on how much history was loaded? `backtester warmup` tries it.",
}
_TRADING = (
    "trades",
    "win rate",
    "profit factor",
    "expectancy $",
    "average R",
    "total R",
    "P&L $",
    "of it open $",
    "fees $",
    "open",
)


def page_of(report: Report, library: bytes) -> str:
    """Return the file's text; `library` is the script of plotly.js."""
    script = (_PAGE / "report.js").read_text("utf-8")
    allowed = " ".join(f"'sha256-{_digest(code)}'" for code in (script.encode(), library))
    policy = f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:"
    source = report.source
    names = ", ".join(source.strategies) or "no strategy"
    packed = base64.b64encode(gzip.compress(library, 9, mtime=0)).decode()
    return f"""<!DOCTYPE html>
<html lang="en" data-theme="light">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{escape(names)} · {escape(source.environment)}</title>
<style>{(_PAGE / "report.css").read_text("utf-8")}</style>
</head>
<body>
{_header(report, names)}
<main>
{"".join(f'<p class="warning">{escape(note)}</p>' for note in source.notes)}
{_headline(report)}
<div class="grid">
{"".join(_cards(report))}
</div>
</main>
<footer>All times are exchange time (New York), all money is US dollars. Figures are of all {len(source.executions):,} executions
of {"portfolio" if source.environment == "PORTFOLIO" else "batch"} {escape(source.batch_id)}; only charts are thinned out. LiuAlgoTrader {escape(__version__)}. This file asks for nothing from outside.</footer>
<script type="application/json" id="data">{_json(_document(report))}</script>
<script type="text/plain" id="library">{packed}</script>
<script>{script}</script>
</body>
</html>
"""


def _digest(code: bytes) -> str:
    return base64.b64encode(hashlib.sha256(code).digest()).decode()


def _document(report: Report) -> dict[str, Any]:
    """Return what a program reads: every figure, and what the charts draw."""
    names = ("account", "benchmark", "time_in_market", "turnover", "total", "strategies", "symbols", "exits")
    months = {f"{year}-{month:02}": gained for (year, month), gained in report.months.items()}
    more = ("significance", "deflation", "deepest", "excursions", "open")
    figures = {name: getattr(report, name) for name in (*names, *more)} | {
        name: getattr(report.sheet, name) for name in SHEET
    }
    figures["beside"] = [{name: getattr(one, name) for name in BESIDE} for one in report.sheet.beside]
    return {"batch_id": report.source.batch_id, "figures": figures | {"months": months}, "charts": report.charts}


SHEET = ("years", "days", "drawdowns", "beta", "correlation", "leverage", "allocation", "capacity", "crises")
BESIDE = ("batch_id", "environment", "strategies", "account", "trading", "returns", "correlation")
_encoder = msgspec.json.Encoder(decimal_format="number")


def _json(value: Any) -> str:
    """Return JSON in which nothing can end the element that holds it."""
    text = _encoder.encode(value).decode()
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


# --- the parts ------------------------------------------------------------------------------------------


def _header(report: Report, names: str) -> str:
    source = report.source
    first, last = source.sessions[0].day, source.sessions[-1].day
    span = f"{first}" if first == last else f"{first} to {last}"
    return f"""<header><div><h1>{escape(names)}</h1>
<p class="soft"><span class="badge">{escape(source.environment)}</span>{span} · {counted(len(source.sessions), "session")} ·
{counted(report.total.trips, "trade")} in {counted(len(report.symbols), "symbol")} · exchange time (New York)</p></div>
<button id="theme" type="button" title="Switch between light and dark">Dark</button></header>"""


def _headline(report: Report) -> str:
    account, total, luck = report.account, report.total, report.significance
    gained = total.gain + (total.open_gain or ZERO)
    told = [
        ("P&L, fees paid", signed(gained, f"{dollars(gained)} $"), f"of it open {dollars(total.open_gain)} $"),
        ("trades", f"{total.trips:,}", f"win rate {percent(total.win_rate, digits=1)}"),
        ("profit factor", plain(total.profit_factor), f"expectancy {plain(total.expectancy, sign='+')} $ a trade"),
        ("average R", plain(total.average_r, sign="+"), f"{plain(total.total_r, sign='+')} R in all"),
        ("p-value of luck", plain(luck.p_value if luck else None, digits=3), "bootstrap"),
    ]
    if account is not None:
        lasted, sessions = account.drawdown_sessions, len(report.source.sessions)
        inside = "" if report.deepest is None else f"; {percent(report.deepest)} inside"
        told[:0] = [
            ("return", signed(account.total_return, percent(account.total_return, sign="+")),
             f"{percent(account.annual_growth, sign='+')} a year" if _a_year(report) else f"in {counted(sessions, 'session')}"),
            ("Sharpe ratio", plain(account.sharpe_ratio), few_sessions(sessions) or f"volatility {percent(account.volatility)} a year"),
            ("max drawdown", percent(account.max_drawdown),
             f"{'–' if lasted is None else counted(lasted, 'session')} long, of closes{inside}"),
        ]  # fmt: skip
    cards = (
        f'<div class="figure"><span>{escape(name)}</span><b>{value}</b><small>{escape(more)}</small></div>'
        for name, value, more in told
    )
    return f'<div class="figures">{"".join(cards)}</div>'


def _cards(report: Report) -> Iterable[str]:
    yield from beside_cards(report)
    curve, charts = report.charts["curve"], report.charts
    title = "Equity and drawdown" if curve["unit"] == "equity" else "Gain"
    points = f"drawn at {len(curve['t']):,} moments; the figures are of session closes"
    yield card(title, '<div id="curve" class="chart tall"></div>', points, "wide")
    yield card("Can it be believed?", _honesty(report), "", "third")
    yield card("Key figures", _key_figures(report), few_sessions(len(report.source.sessions)), "third high")
    yield card("Monthly returns", _months(report), "by close of the month's last session", "wide")
    yield from account_cards(report)
    mean = "mean of each session; " if curve["exposed"]["mean"] else ""
    held = f"{mean}value of what is held; net: short counts negative"
    yield card("Exposure", '<div id="exposure" class="chart"></div>', held)
    kind = "half" if charts["rolling"] is not None and charts["beta"] is not None else ""
    for name, title, note in (
        ("rolling", "Rolling Sharpe ratio", "annualised"),
        ("beta", "Rolling beta", f"to {report.source.benchmark}"),
    ):
        if charts[name] is not None:
            text = f"{note}, over {charts[name]['window']} sessions"
            yield card(title, f'<div id="{name}" class="chart"></div>', text, kind)
    yield from _trade_cards(report)
    groups = (("strategy", report.strategies), ("exit reason", report.exits), ("symbol", report.symbols))
    for name, found in groups:
        total = [report.total] if len(found) != 1 and name != "exit reason" else []
        note = f"the first {_GROUPS} of {len(found):,}" if len(found) > _GROUPS else ""
        yield card(f"By {name}", _groups(name, found[:_GROUPS], total), note)
    yield from _listed(report)
    yield card(
        "Parameters", _parameters(report.source.parameters), "of each strategy, as the tradeplan had them", "half"
    )
    yield card("Played on and by", facts(report.source.terms.items()), "", "half")


def _honesty(report: Report) -> str:
    luck, total = report.significance, report.total
    if luck is None:
        rows = [("unknown", "significance", ["Fewer than two trades that differ: nothing can be said about luck."])]
    else:
        few = f" {total.trips} trades are few: one more month may say something else." if total.trips < _FEW else ""
        said = [
            f"Without any edge, trades like these gain as much in {100 * luck.p_value:.1f} % of {luck.draws:,} draws"
            f" (p-value {luck.p_value:.3f}, bootstrap, seed {report.source.seed}).{few}",
            f"Expectancy with 95 % confidence: {luck.low:+,.2f} $ to {luck.high:+,.2f} $ a trade."
            f" In another order the same trades fall by up to {luck.drawdown:,.2f} $ (95 % of the orders).",
        ]
        rows = [("passed" if luck.p_value < _LIKELY_LUCK else "failed", "significance", said)]
    rows.append(_sharpe_panel(report))
    ran = {check.name: check for check in report.source.checks}
    for name in [*_CHECKS, *sorted(ran.keys() - _CHECKS.keys())]:
        if (check := ran.get(name)) is None:
            rows.append(("not run", name, [_CHECKS[name]]))
            continue
        found = list(check.findings) or ["Nothing was found."]
        rows.append((check.verdict, name, [*found, f"Ran {as_datetime(check.ran_at):%Y-%m-%d %H:%M} New York."]))
    items = (
        f'<li><span class="verdict {escape(verdict)}">{_mark(verdict)}</span><div><b>{escape(name)}</b>'
        f"{''.join(f'<p>{with_code(text)}</p>' for text in texts)}</div></li>"
        for verdict, name, texts in rows
    )
    return f'<ul class="checks">{"".join(items)}</ul>'


def _sharpe_panel(report: Report) -> tuple[str, str, list[str]]:
    """Return what is to be said of the Sharpe ratio, probabilistic and deflated."""
    likely = None if report.account is None else report.account.probabilistic_sharpe
    if likely is None:
        why = "the account's value is not known" if report.account is None else "it needs sessions that differ"
        return "unknown", "Sharpe ratio", [f"Nothing can be said of the true one: {why}."]
    said = [f"The true Sharpe ratio lies above 0 with a probability of {100 * likely:.1f} % (probabilistic)."]
    tried = report.deflation
    if tried is None:
        said.append("How many variants were tried before is not known, as nothing was stored.")
    elif tried.trials == 1:
        said.append("The record has no other try of these strategies: none was chosen among several.")
    elif tried.probability is not None:
        said.append(
            f"The record has {tried.trials:,} tries of these strategies, by backtester and optimizer. The best of so many worthless ones would show"
            f" {tried.luckiest:.2f}; the true ratio lies above that with a probability of {100 * tried.probability:.1f} %"
            " (deflated)."
        )
        likely = tried.probability
    return "passed" if likely > 1 - _LIKELY_LUCK else "failed", "Sharpe ratio", said


def _mark(verdict: str) -> str:
    return {"passed": "✓ passed", "failed": "✗ failed", "not run": "not run"}.get(verdict, f"? {escape(verdict)}")


def _key_figures(report: Report) -> str:
    columns = [("account", report.account), (f"{report.source.benchmark} held", report.benchmark)]
    known = [(name, figures) for name, figures in columns if figures is not None]
    rows = list(zip(*(_equity_column(figures, years=_a_year(report)) for _, figures in known), strict=True))
    far = report.excursions
    more = [
        ("max drawdown inside sessions", percent(report.deepest)),
        ("deflated Sharpe", percent(report.deflation.probability if report.deflation else None)),
        ("time in market", percent(report.time_in_market)),
        ("turnover a year", plain(report.turnover)),
        ("fees", f"{report.total.fees:,.2f} $"),
        ("median MAE, won / lost", f"{_of(far.adverse_of_winners)} / {_of(far.adverse_of_losers)}"),
        ("median MFE, won / lost", f"{_of(far.favourable_of_winners)} / {_of(far.favourable_of_losers)}"),
    ]
    body = "".join(
        f"<tr><td>{escape(cells[0][0])}</td>{''.join(f'<td class=number>{escape(text)}</td>' for _, text in cells)}</tr>"
        for cells in rows
    )
    span = f' colspan="{len(known)}"' if len(known) > 1 else ""
    body += "".join(f"<tr><td>{escape(n)}</td><td class=number{span}>{escape(text)}</td></tr>" for n, text in more)
    head = "".join(f"<th>{escape(name)}</th>" for name, _ in known)
    return f'<table class="facts"><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table>'


def _of(figure: float | None) -> str:
    return UNKNOWN if figure is None else f"{figure:,.2f} %"


def _equity_column(figures: EquityFigures, *, years: bool) -> list[tuple[str, str]]:
    lasted = figures.drawdown_sessions
    return [
        ("at first", f"{plain(figures.first)} $"),
        ("at last", f"{plain(figures.last)} $"),
        ("return", percent(figures.total_return, sign="+")),
        ("CAGR", percent(figures.annual_growth, sign="+") if years else "under a year"),
        ("volatility a year", percent(figures.volatility)),
        ("Sharpe ratio", plain(figures.sharpe_ratio)),
        ("P(Sharpe > 0)", percent(figures.probabilistic_sharpe)),
        ("Sortino ratio", plain(figures.sortino_ratio)),
        ("max drawdown", percent(figures.max_drawdown)),
        ("its length, sessions", UNKNOWN if lasted is None else f"{lasted:,}"),
        ("Calmar ratio", plain(figures.calmar_ratio)),
    ]


def _months(report: Report) -> str:
    if not report.months:
        return '<p class="soft">Not known: the account\'s value at the start, or a price of what was held, is not.</p>'
    most = max((abs(gained) for gained in report.months.values() if gained), default=1.0)

    def cell(gained: float | None) -> str:
        if gained is None:
            return "<td>–</td>"
        kind, share = "gain" if gained >= 0 else "loss", min(1.0, abs(gained) / most)
        return f'<td style="background:rgba(var(--{kind}-rgb),{0.06 + 0.42 * share:.2f})">{100 * gained:+.2f} %</td>'

    rows = []
    for year in sorted({year for year, _ in report.months}):
        of_year = [report.months.get((year, month)) for month in range(1, 13)]
        whole = 1.0
        for gained in of_year:
            whole *= 1.0 + (gained or 0.0)
        cells = "".join("<td></td>" if (year, m) not in report.months else cell(of_year[m - 1]) for m in range(1, 13))
        rows.append(f"<tr><td>{year}</td>{cells}<td><b>{100 * (whole - 1.0):+.2f} %</b></td></tr>")
    head = "".join(f"<th>{name}</th>" for name in _MONTHS)
    return (
        f'<div class="scroll"><table class="months"><thead><tr><th>year</th>{head}<th>whole</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _trade_cards(report: Report) -> Iterable[str]:
    bars, dots, total = report.charts["histogram"], report.charts["excursions"], report.total.trips
    if bars is not None:
        left_out = (
            f"; {bars['without']:,} trades without a stop have none" if bars["unit"] == "R" and bars["without"] else ""
        )
        title, note = "Distribution of R", f"{bars['of']:,} trades{left_out}; the outer bars hold what lies beyond"
        if bars["unit"] == "$":
            title, note = "Distribution of results", f"{bars['of']:,} trades; none had a stop, so that there is no R"
        yield card(title, '<div id="histogram" class="chart"></div>', note, "third" if dots else "")
    if dots is not None:
        thinned = (
            f"{len(dots['gain']):,} of {dots['of']:,} trades" if len(dots["gain"]) < dots["of"] else f"{total:,} trades"
        )
        for name, text in (("mae", "Adverse excursion (MAE)"), ("mfe", "Favourable excursion (MFE)")):
            yield card(text, f'<div id="{name}" class="chart"></div>', thinned, "third")
    if charts := report.charts["symbols"]:
        chosen = "".join(f'<option value="{n}">{escape(one["symbol"])}</option>' for n, one in enumerate(charts))
        note = "" if len(charts) == len(report.symbols) else f"the {len(charts)} symbols that were traded most; "
        choice = (
            f'</h2><select id="symbol" aria-label="symbol">{chosen}</select><button id="whole" type="button"></button>'
            '<span id="drawn" class="note"></span>'
        )
        title, note = "Trades on the price", f"{note}stops and targets as planned at entry{_at_last_prices(charts)}"
        yield card(title, '<div id="price" class="chart price"></div>', note).replace("</h2>", choice, 1)


def _at_last_prices(charts: Sequence[Mapping[str, Any]]) -> str:
    split = [f"{one['symbol']} {text}" for one in charts for text in one["splits"]]
    return f"; at the prices after all splits ({', '.join(split)})" if split else ""


def _groups(name: str, found: Sequence[TradingFigures], total: Sequence[TradingFigures]) -> str:
    def row(figures: TradingFigures) -> str:
        opened = figures.open_gain
        whole = None if opened is None else figures.gain + opened
        cells = (
            f"{figures.trips:,}", percent(figures.win_rate, digits=1), plain(figures.profit_factor),
            plain(figures.expectancy, sign="+"), plain(figures.average_r, sign="+"), plain(figures.total_r, sign="+"),
            signed(whole, dollars(whole)), dollars(opened) if figures.open_positions else UNKNOWN,
            f"{figures.fees:,.2f}", f"{figures.open_positions:,}",
        )  # fmt: skip
        return f"<td>{escape(figures.name)}</td>{''.join(f'<td>{cell}</td>' for cell in cells)}"

    head = "".join(f"<th>{escape(title)}</th>" for title in (name, *_TRADING))
    body = "".join(f"<tr>{row(figures)}</tr>" for figures in found)
    foot = "".join(f'<tr class="total">{row(figures)}</tr>' for figures in total)
    return (
        f'<div class="scroll"><table class="sort"><thead><tr>{head}</tr></thead><tbody>{body}</tbody>'
        f"<tfoot>{foot}</tfoot></table></div>"
    )


def _listed(report: Report) -> Iterable[str]:
    shown = notable(report.trips, _LISTED)
    if shown:
        note = (
            f"{len(shown)} of {len(report.trips):,}, those that gained or lost most; the table `trade_analysis` has all"
        )
        names = ("began", "ended", "strategy", "symbol", "side", "shares", "entry $", "exit $", "stop $", "target $",
                 "fees $", "P&L $", "R", "exit reason")  # fmt: skip
        yield card("Trades", table(names, map(_trip_cells, shown)), note if len(shown) < len(report.trips) else "")
    if report.open:
        rows = []
        for p in report.open:
            last, gained = report.prices.get(p.symbol), open_gain(p, report.prices)
            rows.append((
                f"{as_datetime(p.opened_at):%Y-%m-%d %H:%M}", escape(p.strategy), escape(p.symbol), f"{p.quantity:+,f}",
                price(p.average_price), price(last), price(p.stop), signed(gained, dollars(gained)),
            ))  # fmt: skip
        head = ("opened", "strategy", "symbol", "shares", "entry $", "last $", "stop $", "open gain $")
        yield card("Still open", table(head, rows), "at the last close that is known")


def _trip_cells(trip: RoundTrip) -> tuple[str, ...]:
    return (
        f"{as_datetime(trip.started_at):%Y-%m-%d %H:%M}", f"{as_datetime(trip.ended_at):%Y-%m-%d %H:%M}",
        escape(trip.strategy), escape(trip.symbol), "long" if trip.side > 0 else "short", f"{trip.quantity.normalize():,f}",
        price(trip.entry_price), price(trip.exit_price), price(trip.stop), price(trip.target), f"{trip.fees:,.2f}",
        signed(trip.gain, dollars(trip.gain)), UNKNOWN if trip.r_units is None else f"{trip.r_units:+,.2f}",
        escape(trip.exit_reason),
    )  # fmt: skip


def _parameters(parameters: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        (
            f"{strategy}: {name}",
            PurePath(value).name
            if name == "filename"
            else value
            if isinstance(value, str)
            else _encoder.encode(value).decode(),
        )
        for strategy, values in parameters.items()
        for name, value in values.items()
    ]
    return facts(rows) if rows else '<p class="soft">None beyond the defaults.</p>'


def _a_year(report: Report) -> bool:
    """Whether returns may be annualised: of less than a year they must not be (GIPS Standards 2020)."""
    return len(report.source.sessions) >= YEAR
