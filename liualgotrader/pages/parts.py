"""What several pages are made of: the chosen batch, tables of figures, and sentences."""

from __future__ import annotations

import atexit
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import streamlit as st

from liualgotrader.analytics.page_parts import dollars, percent, plain
from liualgotrader.analytics.summary import TradingFigures
from liualgotrader.common.config import Settings
from liualgotrader.pages.batch_rows import BatchRows
from liualgotrader.pages.record_reader import ListedBatch, RecordReader

if TYPE_CHECKING:
    import pandas as pd

NOTHING = (
    "Nothing is recorded yet. `make demo` trades a whole generated session, "
    "`backtester from 2024-01-02 --to 2024-03-28 --scale minute --generated` plays a quarter; both show here."
)
NO_END = "it goes on, or was killed"
_LISTED = 300
_SECONDS = 5  # for which the list of batches is not asked for again


def sentence(error: object) -> str:
    """Return a text as Markdown that shows it as it is."""
    text = str(error)
    for mark in "\\`*_[]<>$:#":
        text = text.replace(mark, f"\\{mark}")
    return text


@st.cache_resource
def record() -> RecordReader:
    """Return the reader of the record; one for all visitors, closed with the program."""
    reader = RecordReader(Settings.resolve({}))
    atexit.register(reader.close)
    return reader


@st.cache_data(ttl=_SECONDS, show_spinner=False)
def listed(environment: str = "") -> list[ListedBatch]:
    """Return the newest batches."""
    return record().results(_LISTED, environment)


def chosen_batch(environment: str = "") -> tuple[ListedBatch, BatchRows]:
    """Let a person choose a batch in the side bar; the address of the page keeps it. Without one the page ends here."""
    found = listed(environment)
    if not found:
        st.title("No results yet")
        st.info(NOTHING)
        st.stop()
    ids = [one.result.batch_id for one in found]
    asked = st.query_params.get("batch") or st.session_state.get("chosen", "")  # another page's address says nothing
    place = next((n for n, batch_id in enumerate(ids) if asked and batch_id.startswith(asked)), 0)
    if asked and not ids[place].startswith(asked):
        st.warning(f"There is no batch {sentence(asked)} among the newest {_LISTED}: this is the newest one.")
    names = {one.result.batch_id: one.name for one in found}
    batch_id = st.sidebar.selectbox("Batch", ids, place, format_func=names.__getitem__)
    st.query_params["batch"] = st.session_state["chosen"] = batch_id
    one = found[ids.index(batch_id)]
    return one, BatchRows(record(), one.database, batch_id)


_NAMES = {
    "quantity": "shares", "qty": "shares", "exit_reason": "exit reason", "client_order_id": "order", "r": "R", "entry_price": "entry",
    "exit_price": "exit", "gain_percentage": "gain %", "limit_price": "limit", "stop_price": "stop order", "planned_stop": "stop",
    "planned_target": "target",
}  # fmt: skip
_PRICES = {
    "price",
    "entry_price",
    "exit_price",
    "stop",
    "target",
    "limit_price",
    "stop_price",
    "planned_stop",
    "planned_target",
    "average price $",
}
_TIMES = {"at", "entered", "exited", "first", "last", "newest trade (UTC)"}


def show(table: pd.DataFrame, **more: Any) -> Any:
    """Show rows: prices in dollars to the cent, or finer where one is; gains and fees to the cent; New York's times to the second."""
    from pandas.api.types import is_numeric_dtype

    told: dict[str, Any] = {}
    for column in table.columns:
        name = _NAMES.get(column, column)
        if column in _PRICES:
            known = table[column].dropna() if is_numeric_dtype(table[column]) else table[column].iloc[:0]
            finer = (100 * known - (100 * known).round()).abs().max() > 1e-6 if len(known) else False
            label = name if name.endswith("$") else f"{name} $"
            told[column] = st.column_config.NumberColumn(label, format="%.4f" if finer else "%.2f", alignment="right")
        elif column in ("gain", "fees", "fee"):
            told[column] = st.column_config.NumberColumn(f"{name} $", format="%+.2f" if column == "gain" else "%.2f")
        elif column in ("r", "gain_percentage"):
            told[column] = st.column_config.NumberColumn(name, format="%+.2f")
        elif column in _TIMES:
            told[column] = st.column_config.DatetimeColumn(
                name, format="YYYY-MM-DD HH:mm:ss", timezone="America/New_York"
            )
        else:
            told[column] = name
    told |= more.pop("column_config", {})
    return st.dataframe(table, width="stretch", hide_index=True, placeholder="", column_config=told, **more)


def figure_table(found: Sequence[TradingFigures], name: str) -> None:
    """Show a row for each group, money to the cent."""
    st.dataframe(
        [
            {
                name: f.name,
                "trades": f.trips,
                "win rate": percent(f.win_rate, digits=1),
                "profit factor": plain(f.profit_factor),
                "expectancy $": plain(f.expectancy, sign="+"),
                "R in all": plain(f.total_r, sign="+"),
                "P&L $": float(f.gain),
                "fees $": float(f.fees),
                "open": f.open_positions,
            }
            for f in found
        ],
        placeholder="–",
        column_config=dict.fromkeys(
            ("win rate", "profit factor", "expectancy $", "R in all"), st.column_config.Column(alignment="right")
        )
        | {
            "P&L $": st.column_config.NumberColumn(format="%+.2f"),
            "fees $": st.column_config.NumberColumn(format="%.2f"),
        },
        width="stretch",
        hide_index=True,
    )


def headline(total: TradingFigures, drawdown: float | None) -> None:
    """Show what a batch came to."""
    shown = {
        "P&L, $": dollars(total.gain),
        "Trades": f"{total.trips:,}",
        "Win rate": percent(total.win_rate, digits=1),
        "Expectancy, $": plain(total.expectancy, sign="+"),
        "R in all": plain(total.total_r, sign="+"),
        "Profit factor": plain(total.profit_factor),
        "Max drawdown inside sessions": percent(drawdown),
        "Fees, $": f"{total.fees:,.2f}",
    }
    for names in (list(shown)[:4], list(shown)[4:]):
        for column, name in zip(st.columns(4), names, strict=True):
            column.metric(name, shown[name], border=True)
