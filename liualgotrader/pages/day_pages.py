"""Pages about one batch, a session or a backtest: what it gained, each trade and why, and what was refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st
from msgspec import structs

from liualgotrader.analytics import performance
from liualgotrader.analytics.equity import AccountCurve, curve_of
from liualgotrader.analytics.records import recorded
from liualgotrader.common.clock import MINUTE, instant
from liualgotrader.common.errors import ConfigError, LiuError
from liualgotrader.common.market_columns import BarColumns, take
from liualgotrader.order_gateway.journal_lines import around_order, journal_lines, journal_path
from liualgotrader.pages import charts, parts
from liualgotrader.pages.batch_rows import BatchRows, frame
from liualgotrader.pages.record_reader import ListedBatch
from liualgotrader.pages.sheet_page import tear_sheet
from liualgotrader.store.page_queries import GAINS_BY, GAINS_BY_DAY
from liualgotrader.supervisor.reporting import bars_of_symbol

if TYPE_CHECKING:
    import pandas as pd

_FILLS = 300  # of a batch that are marked on its curve; more hide it
_TRIPS = 1_000  # of one page of a table
_ROWS = 500
_AROUND = 40  # bars shown before and after a trade
_EVER = datetime.fromisoformat("1970-01-01"), datetime.fromisoformat("9000-01-01")
_NEW_YORK = "Times are New York's."

_BY = {
    "hour of entry": "to_char(t.start_tstamp AT TIME ZONE 'America/New_York', 'HH24:00')",
    "weekday of entry": "to_char(t.start_tstamp AT TIME ZONE 'America/New_York', 'ID Dy')",
    "entry price": "width_bucket(t.entry_price, ARRAY[1, 5, 10, 20, 50, 100, 500]::numeric[])",
    "time held": "width_bucket(extract(epoch FROM t.end_tstamp - t.start_tstamp) / 60,"
    " ARRAY[1, 5, 15, 60, 390, 1440]::numeric[])",
}
_EDGES = {
    "entry price": ("below 1 $", "1 to 5 $", "5 to 10 $", "10 to 20 $", "20 to 50 $", "50 to 100 $", "100 to 500 $", "above 500 $"),
    "time held": ("below 1 min", "1 to 5 min", "5 to 15 min", "15 to 60 min", "1 to 6½ h", "up to a day", "longer"),
}  # fmt: skip


def day() -> None:
    """Show what a batch gained, its equity with fills, and who gained it by what."""
    one, rows = parts.chosen_batch()
    _title(one)
    figures = rows.figures()
    curve = _curve(one)
    worst = performance.worst_drawdown(curve.amount) if len(curve.amount) else None
    parts.headline(figures["total"][0], None if worst is None else worst.depth)
    if len(curve.amount):
        fills = rows.fills(*_EVER, most=_FILLS + 1)
        shown = charts.equity({"account": curve}, fills if len(fills) <= _FILLS else None)
        st.plotly_chart(shown, width="stretch")
        st.caption(f"The account's value. {_NEW_YORK}")
    else:
        st.info("The account's value was not kept for this batch: sessions and backtests of this version keep it.")
    for tab, name in zip(
        st.tabs(["By strategy", "By symbol", "By exit reason", "Strategy × symbol × exit reason"]),
        ("strategy", "symbol", "exit reason", "all three"),
        strict=True,
    ):
        with tab:
            parts.figure_table(figures[name], name)
            if name in ("exit reason", "all three"):
                st.caption("Closed round trips only.")
    left = rows.open_positions()
    if len(left):
        st.subheader("Open positions")
        parts.show(left)
    tear_sheet(one.result.batch_id)


def trades() -> None:
    """Show all round trips of a batch, and of the one that is chosen its chart, its orders and why it was made."""
    one, rows = parts.chosen_batch()
    _title(one)
    figures = rows.figures()
    if not figures["exit reason"]:
        st.info("No round trip was closed in this batch. The page Refused says which orders were not sent.")
        return
    columns = st.columns(4)
    chosen = [
        columns[n].multiselect(name.capitalize(), [f.name for f in figures[name]])
        for n, name in enumerate(("strategy", "symbol", "exit reason"))
    ]
    page = 1
    if (total := figures["total"][0].trips) > _TRIPS:
        page = int(columns[3].number_input("Page", 1, -(-total // _TRIPS), 1))
    table = rows.trips(chosen[0], chosen[1], chosen[2], most=_TRIPS, skip=(page - 1) * _TRIPS)
    if table.empty:
        st.info("No round trip fits what is chosen above.")
        return
    event: Any = parts.show(
        table.assign(side=table["side"].map({1: "long", -1: "short"})).drop(columns="id"),
        on_select="rerun", selection_mode="single-row", key=f"trips-{page}", height=260,
        column_order=list(dict.fromkeys(["strategy", "symbol", "side", "quantity", "gain", "r", *table.columns])),
    )  # fmt: skip
    if table["side"].isna().any():
        st.caption(
            "Empty columns: an older version wrote these rows. `market_miner` with `[miners.gainloss]` writes them again."
        )
    st.download_button("Download as CSV", table.to_csv(index=False), f"trades-{rows.batch_id[:8]}.csv", "text/csv")
    picked = event.selection.rows
    place = st.session_state.get("trip", 0)
    if picked and picked[0] != st.session_state.get("picked"):
        place = st.session_state["picked"] = picked[0]
    place = min(place, len(table) - 1)
    back, onward, _ = st.columns([2, 2, 8])
    if back.button("Previous", disabled=place == 0):
        place -= 1
    if onward.button("Next", disabled=place + 1 == len(table)):
        place += 1
    st.session_state["trip"] = place
    _inspect(one, rows, table.iloc[place].to_dict())


def journal() -> None:
    """Let a person tag and comment a day and its trades, and find them again by tag and R."""
    one, rows = parts.chosen_batch()
    _title(one)
    tags, note = rows.day_note()
    with st.form("day"):
        written = st.text_area("Note on the day", note)
        tagged = st.text_input("Tags of the day, separated by commas", ", ".join(tags))
        if st.form_submit_button("Keep"):
            rows.write_note(_tags(tagged), written)
            st.success("Kept.")
    columns = st.columns(3)
    wanted = columns[0].multiselect("Trades with a tag", rows.tags())
    least, most = (columns[n].number_input(text, value=None) for n, text in ((1, "R at least"), (2, "R at most")))
    table = rows.journal(wanted, least, most, most=_TRIPS)
    if table.empty:
        st.info("No round trip of this batch fits. Clear the filters, or choose another batch at the left.")
        return
    shown = table.drop(columns="algo_run_id").assign(side=table["side"].map({1: "long", -1: "short"}))
    parts.show(shown)
    st.download_button("Download as CSV", shown.to_csv(index=False), f"journal-{rows.batch_id[:8]}.csv", "text/csv")
    names = [f"{row.entered:%H:%M:%S} {row.symbol}, {row.strategy}, {row.gain:+,.2f} $" for row in table.itertuples()]
    place = st.selectbox("Note on a trade", range(len(names)), format_func=names.__getitem__)
    row = table.iloc[place]
    with st.form(f"trade-{place}"):
        written = st.text_area("Note", row["note"])
        tagged = st.text_input("Tags, separated by commas", ", ".join(row["tags"]))
        if st.form_submit_button("Keep"):
            trip = int(row["algo_run_id"]), row["symbol"], row["entered"].tz_convert(UTC).to_pydatetime()
            rows.write_note(_tags(tagged), written, trip)
            st.rerun()


def _tags(text: str) -> list[str]:
    return list(dict.fromkeys(tag.strip() for tag in text.split(",") if tag.strip()))


def refused() -> None:
    """Show what was not traded, by the rule that refused it."""
    one, rows = parts.chosen_batch()
    _title(one)
    _late_data(rows)
    table = rows.refused()
    st.subheader("Refused orders")
    if table.empty:
        st.info("No order of this batch was refused. Choose another batch at the left.")
        return
    parts.show(table)
    rule = st.selectbox("Rule", ["all", *table["rule"].unique()])
    orders = rows.refused_orders(None if rule == "all" else rule, most=_ROWS)
    parts.show(_with_intents(orders))
    _journal_entry(rows.batch_id, list(orders["client_order_id"]))
    st.caption(f"The first {_ROWS} refused orders. {_NEW_YORK} `docs/troubleshooting.md` says what each rule limits.")


def _late_data(rows: BatchRows) -> None:
    st.subheader("Late market data")
    table = rows.lags()
    if table.empty:
        st.caption("Nothing was written down: this is a backtest, or a session of an earlier version.")
        return
    parts.show(table)
    late = rows.late_minutes(most=_ROWS)
    if late.empty:
        st.caption("Nothing was too late: strategies saw every event.")
        return
    parts.show(late)
    st.caption(f"The worst {_ROWS} times, each of what came since the one before. {_NEW_YORK}")


def picks() -> None:
    """Show what scanners picked."""
    one, rows = parts.chosen_batch()
    _title(one)
    table = rows.picks()
    if table.empty:
        st.info("Nothing was picked in this batch: it has no scanner, or its scanners found nothing.")
        return
    parts.show(table)
    st.caption(_NEW_YORK)


def calendar() -> None:
    """Show gains by day, and by hour, weekday, price and time held, over all batches of an environment."""
    found = parts.listed()
    if not found:
        st.title("Calendar")
        st.info(parts.NOTHING)
        return
    environments = list(dict.fromkeys(one.result.environment for one in found))
    environment = st.sidebar.selectbox("Environment", environments)
    by_database: dict[str, list[str]] = {}
    for one in found:
        if one.result.environment == environment:
            by_database.setdefault(one.database, []).append(one.result.batch_id)
    st.title(f"Calendar · {environment}")
    if environment in ("BACKTEST", "SIMULATED"):  # of which many may be of one day
        every = [batch_id for ids in by_database.values() for batch_id in ids]
        shown = {one.result.batch_id: one.name for one in found}
        chosen = st.sidebar.selectbox("Batch", every, format_func=shown.__getitem__)
        by_database = {name: [b for b in ids if b == chosen] for name, ids in by_database.items()}
    shown_ids = {batch_id for ids in by_database.values() for batch_id in ids}
    names = sorted({name for one in found if one.result.batch_id in shown_ids for name in one.result.parameters})
    st.caption(f"{parts.sentence(', '.join(names))}. Round trips by the day on which they were closed. {_NEW_YORK}")
    gains = _over(by_database, GAINS_BY_DAY, environment)
    if gains.empty:
        st.info("No round trip was closed in these batches: choose another batch or environment at the left.")
        return
    st.plotly_chart(charts.days(gains), width="stretch")
    by_day = gains.groupby("day", as_index=False)[["gain", "trades"]].sum()
    st.dataframe(
        by_day, hide_index=True, column_config={"gain": st.column_config.NumberColumn("gain $", format="%+.2f")}
    )
    day_chosen = st.selectbox("Open a day", by_day["day"], None, placeholder="a day")
    if day_chosen is not None:
        for batch_id in gains.loc[gains["day"] == day_chosen, "batch_id"]:
            st.markdown(f"[Batch {batch_id[:8]}](./?batch={batch_id}) · [its trades](trades?batch={batch_id})")
    for column, (name, by) in zip(st.columns(2) * 2, _BY.items(), strict=True):
        table = _over(by_database, GAINS_BY.format(by=by), environment)
        table = table.dropna(subset="place").groupby("place", as_index=False)[["gain", "trades"]].sum()
        if name in _EDGES:
            table["place"] = [_EDGES[name][int(bucket)] for bucket in table["place"]]
        elif name == "weekday of entry":
            table["place"] = table["place"].str[2:]
        with column:
            st.subheader(f"By {name}")
            st.plotly_chart(charts.bars_of_gain(table, "place"), width="stretch", key=name)


def _over(by_database: dict[str, list[str]], query: str, environment: str) -> pd.DataFrame:
    import pandas as pd

    found = [frame(parts.record().fetch(name, query, environment, ids)) for name, ids in by_database.items() if ids]
    found = [table for table in found if len(table)]
    return pd.concat(found) if found else pd.DataFrame({"place": [], "day": [], "gain": [], "trades": []})


def _title(one: ListedBatch) -> None:
    st.title(f"{one.days} · {one.result.environment}")
    ended = one.result.end_reason or parts.NO_END
    st.caption(
        f"Batch {parts.sentence(one.result.batch_id)}. {parts.sentence(', '.join(one.result.parameters))}. End: {parts.sentence(ended)}."
    )


def _curve(one: ListedBatch) -> AccountCurve:
    return curve_of(parts.record().equity(one.database, one.result.batch_id))


@st.cache_data(max_entries=50, show_spinner="reading prices …")
def _bars(database: str, batch_id: str, symbol: str) -> BarColumns | None:
    row = parts.record().batch(database, batch_id)
    return bars_of_symbol(parts.record().settings.home_path, row, symbol).bars.get(symbol)


def _inspect(one: ListedBatch, rows: BatchRows, trip: dict[str, Any]) -> None:
    symbol, strategy = trip["symbol"], trip["strategy"]
    st.subheader(f"{parts.sentence(strategy)}: {'long' if trip['side'] != -1 else 'short'} {parts.sentence(symbol)}")
    began, ended = (trip[name].tz_convert(UTC).to_pydatetime() for name in ("entered", "exited"))
    first, last = began - timedelta(minutes=5), ended + timedelta(seconds=1)
    plain = [moment.replace(tzinfo=None) for moment in (began, ended + timedelta(seconds=1))]
    fills = rows.fills(*plain, symbol=symbol, strategy=strategy, most=_ROWS)
    try:
        bars = _bars(one.database, rows.batch_id, symbol)
    except LiuError as error:
        bars = None
        st.warning(parts.sentence(error))
    if bars is not None and len(fills):
        around = _around(bars, began, ended)
        series = _recorded(rows.batch_id, symbol, strategy, around)
        st.plotly_chart(charts.candles(around, trip, fills, series), width="stretch")
        st.caption(f"Prices as traded that day. {_NEW_YORK}")
    with st.expander("Executions", expanded=True):
        parts.show(fills)
    with st.expander(
        "Why: what the strategy wanted from five minutes before to the exit, refused orders too", expanded=True
    ):
        signals = rows.signals(symbol, first, last, most=_ROWS)
        parts.show(_with_intents(signals))
    with st.expander("Orders, step by step"):
        parts.show(rows.order_events(symbol, first, last, most=_ROWS))
    _journal_entry(rows.batch_id, [*fills["client_order_id"], *signals["client_order_id"]] if len(signals) else [])


def _journal_entry(batch_id: str, orders: Sequence[str | None]) -> None:
    """Let a person open what the money journal has of an order, with the records before and after."""
    import pandas as pd

    named = list(dict.fromkeys(order for order in orders if order))
    if not named:
        return
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    order = left.selectbox("Order", named)
    if not right.button("Show its journal entry"):
        return
    with st.expander(f"Money journal around {parts.sentence(order)}", expanded=True):
        try:
            path = journal_path(Path(batch_id), parts.record().settings.home_path / "journal")
            lines = around_order(journal_lines(path), order)
        except LiuError as error:
            st.info(
                f"{parts.sentence(error)}. A backtest has no money journal; that of a session stays in its data folder."
            )
            return
        table = pd.DataFrame([structs.asdict(line) for line in lines]).drop(columns=["at", "utc"], errors="ignore")
        parts.show(table.loc[:, (table != "").any()])
        st.caption(
            f"`>` marks what the order desk decided. `liu journal show {batch_id[:8]} --order {order}` has all of the order."
        )


def _around(bars: BarColumns, began: datetime, ended: datetime) -> BarColumns:
    import numpy as np

    first = max(int(np.searchsorted(bars.closed_at, instant(began))) - _AROUND, 0)
    return take(bars, slice(first, int(np.searchsorted(bars.opened_at, instant(ended), side="right")) + _AROUND))


def _recorded(batch_id: str, symbol: str, strategy: str, bars: BarColumns) -> dict[str, pd.Series[float]]:
    """Return what the strategy recorded while the bars were made, by name."""
    try:
        found = recorded(batch_id, symbol, home=parts.record().settings.home_path)
    except ConfigError:
        return {}
    at = found.index.astype("datetime64[ns, UTC]").astype("int64")
    found = found[(found["strategy"] == strategy) & (at >= bars.opened_at[0]) & (at <= bars.closed_at[-1] + MINUTE)]
    return {str(name): values["value"] for name, values in found.groupby("name", observed=True)}


def _with_intents(signals: pd.DataFrame) -> pd.DataFrame:
    """Return signals with what they asked for in columns of its own: `ctx.buy(10, reason=…)` reads as its parts."""
    import pandas as pd

    if signals.empty:
        return signals
    asked = pd.DataFrame([json.loads(action) for action in signals["action"]])
    return pd.concat([signals.drop(columns="action"), asked.astype(str).replace({"nan": "", "None": ""})], axis=1)
