"""The cards of a tear sheet: HTML of years, days, drawdowns, leverage, allocation, capacity, crises, and batches side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from liualgotrader.analytics.backtest_summary import EquityFigures
from liualgotrader.analytics.page_parts import UNKNOWN, card, counted, dollars, facts, percent, plain, signed, table
from liualgotrader.analytics.performance import YEAR
from liualgotrader.analytics.report import Report
from liualgotrader.analytics.tear_sheet import CRISES, PARTICIPATION, WORST, Capacity, Comparison, TearSheet

_LISTED = 400  # sessions of a comparison
_SYMBOLS = 20  # of the allocation
_CAPACITY = (
    f"Capacity: the largest account of which no session's orders exceed {100 * PARTICIPATION:.0f} % of a symbol's volume. It is the account's value"
    f" before the session × {100 * PARTICIPATION:.0f} % ÷ (our shares ÷ all shares), the least of all sessions and symbols; orders are taken to grow"
    " with the account. Participation rate (POV) as of Kissell, The Science of Algorithmic Trading and Portfolio Management (2013)."
)


def beside_cards(report: Report) -> Iterable[str]:
    """Yield what compares the batch with others: the curves, all figures with their difference, and the sessions."""
    for n, one in enumerate(report.sheet.beside):
        names = ", ".join(one.strategies) or "no strategy"
        title = f"Beside {one.environment} {one.batch_id[:8]}: {names}"
        note = f"{counted(len(one.returns), 'session')} that both have; growth of the account in these alone, percent"
        if one.curves is None:
            yield card(
                title,
                '<p class="soft">No curve: the account\'s value is not known, or they have no session in common.</p>',
                note,
            )
        else:
            yield card(title, f'<div id="beside-{n}" class="chart tall"></div>', note, "half")
        ours = f"{report.source.environment} {report.source.batch_id[:8]}"
        theirs = f"{one.environment} {one.batch_id[:8]}"
        yield card(
            "Side by side",
            table(("", ours, theirs, "difference"), _compared(one)),
            "difference: the first less the second",
            "half",
        )
        if one.returns:
            newest = one.returns[-_LISTED:]
            said = f"the newest {_LISTED} of {len(one.returns):,}" if len(newest) < len(one.returns) else ""
            rows = [
                (
                    str(day),
                    percent(a, sign="+"),
                    percent(b, sign="+"),
                    percent(None if a is None or b is None else a - b, sign="+"),
                )
                for day, a, b in newest
            ]
            yield card("Session by session", table(("session", ours, theirs, "difference"), rows), said)  # fmt: skip


def _compared(one: Comparison) -> Iterable[Sequence[str]]:
    first, second = one.account
    if first is not None and second is not None:
        for text, ours, theirs in zip(ACCOUNT, _account(first), _account(second), strict=True):
            shown = plain if text.endswith("ratio") else percent
            gap = None if ours is None or theirs is None else ours - theirs
            yield text, shown(ours), shown(theirs), shown(gap, sign="+")
        yield "correlation of returns", "", plain(one.correlation), ""
    mine, its = one.trading
    yield "trades", f"{mine.trips:,}", f"{its.trips:,}", f"{mine.trips - its.trips:+,}"
    yield "P&L $, closed trades", dollars(mine.gain), dollars(its.gain), dollars(mine.gain - its.gain)
    yield "fees $", f"{mine.fees:,.2f}", f"{its.fees:,.2f}", dollars(mine.fees - its.fees)
    for text, a, b, digits in (
        ("win rate", mine.win_rate, its.win_rate, None),
        ("profit factor", mine.profit_factor, its.profit_factor, 2),
        ("expectancy $", mine.expectancy, its.expectancy, 2),
        ("average R", mine.average_r, its.average_r, 2),
    ):
        write = percent if digits is None else plain
        yield text, write(a), write(b), write(None if a is None or b is None else a - b, sign="+")


ACCOUNT = ("return", "volatility a year", "max drawdown", "P(Sharpe > 0)", "Sharpe ratio", "Sortino ratio")


def _account(figures: EquityFigures) -> tuple[float | None, ...]:
    return (
        figures.total_return, figures.volatility, figures.max_drawdown, figures.probabilistic_sharpe,
        figures.sharpe_ratio, figures.sortino_ratio,
    )  # fmt: skip


def account_cards(report: Report) -> Iterable[str]:
    """Yield what is said of the account: years, days, the worst drawdowns, crises, beta, allocation, capacity."""
    sheet, charts, name = report.sheet, report.charts, report.source.benchmark
    if sheet.years:
        yield card("Annual returns", _years(sheet, name), "by close of the year's last session", "wide")
        yield card(f"The {WORST} worst drawdowns", _drawdowns(report), "of session closes", "half")
    yield card("Crisis periods", _crises(sheet, name), "those that the sessions cover, in whole or in part", "half")
    if charts["daily"] is not None:
        left = "" if len(charts["daily"]["t"]) == charts["daily"]["of"] else "the newest sessions; "
        yield card("Daily returns", '<div id="daily" class="chart"></div>', f"{left}close to close", "wide")
        worst_and_best = ((str(day), signed(gained, percent(gained, sign="+"))) for day, gained in sheet.days)
        yield card("Worst and best sessions", table(("session", "return"), worst_and_best), "", "third")
    yield card(
        "Allocation",
        _allocation(sheet),
        "percent of the account's value, at closes and eight times a session where prices are known",
        "half",
    )
    how = f'<p class="note">{escape(_CAPACITY)}</p>'
    yield card("Leverage, beta, capacity", facts(_limits(report)) + how, "", "half")


def _years(sheet: TearSheet, benchmark: str) -> str:
    rows = []
    for year, (account, market) in sheet.years.items():
        gained, other = account.total_return, market.total_return if market else None
        more = None if gained is None or other is None else gained - other
        rows.append((
            str(year), signed(gained, percent(gained, sign="+")), percent(other, sign="+"), percent(more, sign="+"),
            percent(account.volatility), plain(account.sharpe_ratio), percent(account.max_drawdown),
        ))  # fmt: skip
    held = f"{benchmark} held" if benchmark else "benchmark"
    return table(("year", "return", held, "difference", "volatility", "Sharpe", "max drawdown"), rows)


def _drawdowns(report: Report) -> str:
    days = [report.source.sessions[0].day, *(s.day for s in report.source.sessions)]
    rows = [
        (
            str(n), percent(one.depth), "the start" if one.peak == 0 else str(days[one.peak]), str(days[one.trough]),
            "not yet" if one.recovered is None else str(days[one.recovered]), f"{one.sessions(len(days) - 1):,}",
        )
        for n, one in enumerate(report.sheet.drawdowns, 1)
    ]  # fmt: skip
    if not rows:
        return '<p class="soft">None: no session closed below an earlier one\'s close.</p>'
    return table(("", "depth", "from", "lowest", "recovered", "sessions"), rows)


def _allocation(sheet: TearSheet) -> str:
    if not sheet.allocation:
        return '<p class="soft">Not known: the account\'s value, or a price of what was held, is not.</p>'
    shown = sheet.allocation[: 3 + _SYMBOLS]
    rows = [(escape(one.name), percent(one.mean, sign="+"), percent(one.highest, sign="+")) for one in shown]
    left = len(sheet.allocation) - len(shown)
    more = f'<p class="note">{counted(left, "symbol")} with less are left out.</p>' if left else ""
    return table(("", "mean", "furthest from 0"), rows) + more


def _limits(report: Report) -> Iterable[tuple[str, str]]:
    sheet, name = report.sheet, report.source.benchmark
    mean, most = sheet.leverage or (None, None)
    yield "leverage, mean", UNKNOWN if mean is None else f"{mean:,.2f} times the account"
    yield "leverage, highest", UNKNOWN if most is None else f"{most:,.2f} times the account"
    yield (
        f"beta to {name}" if name else "beta",
        plain(sheet.beta) if name else "unknown: no benchmark, name one with --benchmark",
    )
    yield "correlation with it", plain(sheet.correlation)
    yield "turnover a year", UNKNOWN if report.turnover is None else f"{report.turnover:,.2f} times the account"
    if isinstance(sheet.capacity, Capacity):
        found = sheet.capacity
        yield "capacity, an estimate", f"{found.account:,.0f} $"
        yield (
            "bounded by",
            f"{found.symbol} on {found.day}, where {100 * found.participation:.4f} % of all shares were ours",
        )
    else:
        yield "capacity", f"unknown: {sheet.capacity}"
    if report.account is not None and len(report.source.sessions) < YEAR:
        yield "of less than a year", f"{counted(len(report.source.sessions), 'session')}: turnover is scaled to a year"


def _crises(sheet: TearSheet, benchmark: str) -> str:
    rows = [
        (
            escape(one.name if one.whole else f"{one.name} (in part)"), str(one.first), str(one.last),
            signed(one.account, percent(one.account, sign="+")), percent(one.benchmark, sign="+"),
        )
        for one in sheet.crises
    ]  # fmt: skip
    if not rows:
        return f'<p class="soft">None of {len(CRISES)} that are looked for, from {min(CRISES.values())[0]} to {max(CRISES.values())[1]}, lies in these sessions.</p>'
    return table(
        ("crisis", "from close of", "to close of", "account", f"{benchmark} held" if benchmark else "benchmark"), rows
    )
