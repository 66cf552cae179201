"""The tear sheet on pages, and the page of portfolios: what they were worth over time, against a benchmark."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import streamlit as st

from liualgotrader.analytics import performance
from liualgotrader.analytics.page_parts import percent
from liualgotrader.analytics.report import report_of
from liualgotrader.analytics.report_page import page_of
from liualgotrader.analytics.report_source import AccountOverTime, over_time
from liualgotrader.common.errors import LiuError
from liualgotrader.pages import charts, parts
from liualgotrader.pages.batch_rows import frame
from liualgotrader.store.page_queries import MOVEMENTS, PORTFOLIOS, POSITIONS
from liualgotrader.supervisor import reporting

_SHEET_HEIGHT = 900  # pixels, in which it scrolls


def tear_sheet(batch_id: str, beside: Sequence[str] = ()) -> None:
    """Let a person make the tear sheet of a batch or portfolio, the one of `liu report`: look at it and keep the file."""
    with st.expander("Tear sheet: one HTML file that opens offline"):
        names = {one.result.batch_id: one.name for one in parts.listed() if one.result.batch_id != batch_id}
        with st.form(f"sheet-{batch_id}", border=False):
            left, right = st.columns([1, 3])
            benchmark = left.text_input("Benchmark", placeholder="SPY").strip()
            chosen = right.multiselect(
                "Beside it", list(names), [b for b in beside if b in names], format_func=names.__getitem__
            )
            asked = st.form_submit_button("Make the sheet")
        if asked:
            try:
                with st.spinner("making the sheet …"):
                    source = reporting.source_of_record(parts.record().settings, batch_id, benchmark, chosen)
                    text = page_of(report_of(asyncio.run(source)), reporting.plotly_script())
            except LiuError as error:
                st.error(parts.sentence(error))
                return
            st.session_state["sheet"] = batch_id, text
        made, text = st.session_state.get("sheet", ("", ""))
        if made == batch_id:
            st.download_button("Download the sheet", text, f"report-{batch_id[:8]}.html", "text/html")
            st.components.v1.html(
                text, height=_SHEET_HEIGHT, scrolling=True
            )  # its content policy lets no other script run
        else:
            st.caption(
                "Without a benchmark it is the one that the batch was played with. `liu report` writes the same file."
            )


def portfolios() -> None:
    """Show the portfolios of the record: of a chosen one its value over time against a benchmark, and what it holds and moved."""
    st.title("Portfolios")
    databases = list(dict.fromkeys(["liualgotrader", *(one.database for one in parts.listed())]))
    found = {name: frame(parts.record().fetch(name, PORTFOLIOS)) for name in databases}
    ids = [
        (name, portfolio_id) for name, table in found.items() if len(table) for portfolio_id in table["portfolio_id"]
    ]
    if not ids:
        st.info("There is no portfolio. `portfolio create 25000` makes one; a strategy's `portfolio_id` trades for it.")
        return
    database, portfolio_id = st.sidebar.selectbox("Portfolio", ids, format_func=lambda pair: pair[1][:8])
    benchmark = st.sidebar.text_input("Benchmark", placeholder="SPY").strip()
    row = found[database].set_index("portfolio_id").loc[portfolio_id]
    st.caption(f"Portfolio {parts.sentence(portfolio_id)}, {parts.sentence(str(row['assets']))}")
    positions = frame(parts.record().fetch(database, POSITIONS, portfolio_id))
    moved = frame(parts.record().fetch(database, MOVEMENTS, portfolio_id))
    shown = {
        "Size": f"{row['size']:,.2f} $",
        "Cash": "-" if row["balance"] is None else f"{row['balance']:,.2f} $",
        "Symbols held": f"{len(positions):,}",
    }
    said = ""
    try:
        account = _over_time(portfolio_id, benchmark)
    except LiuError as error:
        account, said = None, str(error)
    if account is not None:
        shown |= {
            "Equity": _money(account.equity[-1]),
            "Exposure": percent(performance.known(account.held[-1] / account.equity[-1])),
            "Max drawdown": percent(performance.known(performance.drawdowns(account.equity).min())),
        }
    for names in (list(shown)[:3], list(shown)[3:]):
        for column, name in zip(st.columns(3), names, strict=False):
            column.metric(name, shown[name], border=True)
    if account is not None:
        st.plotly_chart(charts.account(account, benchmark.upper()), width="stretch")
        st.caption(
            "Equity, cash and exposure of all sessions that traded for it; what was paid in or out counts for nothing. Times are New York's."
        )
    elif said:
        st.info(parts.sentence(said))
    if len(moved):
        running = row["balance"] - moved["amount"].sum() + moved["amount"].cumsum()
        st.plotly_chart(charts.balance(moved["at"].dt.tz_localize(None), running), width="stretch")
        st.caption("Cash after each movement of the account. Times are New York's.")
    if len(positions):
        st.subheader("Positions")
        parts.show(positions)
        st.caption("`portfolio equity ID` values them at the newest prices.")
    if account is not None:
        tear_sheet(portfolio_id)


def _money(amount: float) -> str:
    return "-" if performance.known(amount) is None else f"{amount:,.2f} $"


@st.cache_data(ttl=60, max_entries=20, show_spinner="reading prices …")
def _over_time(portfolio_id: str, benchmark: str) -> AccountOverTime:
    return over_time(asyncio.run(reporting.source_of_record(parts.record().settings, portfolio_id, benchmark)))
