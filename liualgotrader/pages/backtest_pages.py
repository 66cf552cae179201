"""Pages about backtests: all results, runs beside each other, searches; and what the market-data store holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import streamlit as st

from liualgotrader.analytics.equity import curve_of
from liualgotrader.analytics.page_parts import percent, plain
from liualgotrader.analytics.sweep import ranked
from liualgotrader.common.clock import as_datetime
from liualgotrader.common.errors import LiuError
from liualgotrader.common.rows import BatchResult, OptimizerRow, OptimizerSession
from liualgotrader.data.market_checks import checked, stored_series
from liualgotrader.data.market_store import MarketStore
from liualgotrader.pages import charts, parts
from liualgotrader.pages.record_reader import ListedBatch
from liualgotrader.pages.sheet_page import tear_sheet

if TYPE_CHECKING:
    import pandas as pd

_HELP = {
    "Plateau (1 is flat)": "How the neighbours of the best did beside it. Values of a list (`choice`) have no neighbours, and it is not defined.",
    "Deflated Sharpe": "How likely the best is better than the luckiest of so many worthless combinations.",
    "Walk-forward Sharpe": "Of what was best in each part of the time, over the next part: `optimizer --walk-forward 4`.",
}
COMPARED = 8


def history() -> None:
    """Show all backtests, the newest first, and those that are chosen beside each other."""
    import pandas as pd

    st.title("Backtests")
    found = parts.listed("BACKTEST")
    if not found:
        st.info(
            "No backtest is recorded yet. `backtester from 2024-01-02 --to 2024-03-28 --scale minute --generated` plays one."
        )
        return
    table = pd.DataFrame([listed_row(one.result) for one in found])
    event: Any = st.dataframe(
        table, on_select="rerun", selection_mode="multi-row", width="stretch", hide_index=True, key="backtests",
        column_config=table_columns(),
    )  # fmt: skip
    chosen = [found[place] for place in event.selection.rows[:COMPARED]]
    if not chosen:
        st.caption(f"Choose rows at the left to see them beside each other, up to {COMPARED}.")
        return
    compare(chosen)
    tear_sheet(chosen[0].result.batch_id, [one.result.batch_id for one in chosen[1:]])


def compare(chosen: Sequence[ListedBatch]) -> None:
    """Show curves of backtests over each other, what each came to, and what differs in their parameters."""
    curves = {
        one.result.batch_id[:8]: curve_of(parts.record().equity(one.database, one.result.batch_id)) for one in chosen
    }
    known = {name: curve for name, curve in curves.items() if len(curve.amount)}
    st.plotly_chart(charts.equity(known, percent=True), width="stretch")
    st.caption("The account's value, in percent of its start. Times are New York's.")
    differences = _differences([one.result for one in chosen])
    if len(chosen) > 1:
        st.subheader("What differs")
        if differences.empty:
            st.caption("Nothing that the record keeps: the same parameters and the same command.")
        else:
            st.dataframe(differences, width="stretch")
    for one in chosen:
        name, batch_id = one.result.batch_id[:8], one.result.batch_id
        st.markdown(f"{name}: [day](./?batch={batch_id}), [trades](trades?batch={batch_id})")


def market_data() -> None:
    """Show which series the market-data store holds, and of the one that is chosen gaps and what cannot be true."""
    st.title("Market data")
    store = MarketStore(parts.record().settings.home_path / "market")
    damaged = list[LiuError]()
    rows = stored_series(store, store.files(), damaged.append)
    for error in damaged:
        st.error(parts.sentence(error))
    if not rows:
        st.info("The store is empty. `liu data import FOLDER` and `liu data fetch SPY --from 2024-01-02` fill it.")
        return
    st.dataframe([msgspec.structs.asdict(row) for row in rows], width="stretch", hide_index=True)
    st.caption("Days are New York's; a span is a time of which everything is there.")
    symbol = st.selectbox("Check", list(dict.fromkeys(row.symbol for row in rows)), None, placeholder="a symbol")
    if symbol is not None:
        paths = [path for path in store.files() if store.series_of(path)[0] == symbol]
        found = [msgspec.structs.asdict(one) for path in paths for one in checked(store, path)]
        if found:
            st.dataframe(found, width="stretch", hide_index=True)
        else:
            st.success(f"Nothing wrong in {len(paths)} files.")


def table_columns() -> dict[str, Any]:
    """Return how the columns of `listed_row` are shown."""
    return {
        "P&L $": st.column_config.NumberColumn(format="%+.2f"),
        "return": st.column_config.NumberColumn(format="percent"),
        "win rate": st.column_config.NumberColumn(format="percent"),
        "played": st.column_config.DatetimeColumn("played (UTC)", format="YYYY-MM-DD HH:mm"),
    }


def listed_row(result: BatchResult) -> dict[str, Any]:
    """Return a backtest as a row of a table."""
    import pandas as pd

    figures = result.figures
    return {
        "batch": result.batch_id[:8],
        "strategies": ", ".join(result.parameters),
        "from": figures.first_day if figures else result.session_date,
        "to": figures.last_day if figures else None,
        "symbols": figures.symbols if figures else None,
        "trades": figures.trips if figures else None,
        "win rate": figures.win_rate if figures else None,
        "P&L $": float(figures.gain) if figures else None,
        "return": figures.total_return if figures else None,
        "note": str(result.asked.get("note") or ""),
        "played": pd.Timestamp(result.recorded_at, tz="UTC"),
        "end": result.end_reason or parts.NO_END,
    }


def _differences(results: list[BatchResult]) -> pd.DataFrame:
    """Return parameters and options that are not the same in all, a column a batch."""
    import pandas as pd

    told = {
        one.batch_id[:8]: {
            f"{s}: {n}": _comparable(v) for s, values in one.parameters.items() for n, v in values.items()
        }
        | {name: _comparable(v) for n, v in one.asked.items() if n != "note" for name, v in _flat(n, v)}
        for one in results
    }
    table = pd.DataFrame(told).fillna("")
    return table[table.nunique(axis=1) > 1]


def _flat(name: str, value: Any) -> list[tuple[str, Any]]:
    return [(f"{name}: {n}", v) for n, v in value.items()] if isinstance(value, dict) else [(name, value)]


def _comparable(value: Any) -> str:
    """Return a value as text, 100000 and 100000.0 as the same."""
    try:
        return f"{float(value):.15g}"
    except (TypeError, ValueError):
        return str(value)


def searches() -> None:
    """Show what a search for parameters came to: the ranking, heat maps, and how far its best is to be believed."""
    import pandas as pd

    st.title("Searches for parameters")
    found = parts.record().searches()
    if not found:
        st.info("No search is recorded yet. `optimizer` plays what `[optimizer]` of the tradeplan spans.")
        return
    ids = [one.optimizer_session_id for _, one in found]
    names = {
        one.optimizer_session_id: f"{as_datetime(one.started_at):%Y-%m-%d %H:%M} · {one.optimizer_session_id[:8]}"
        for _, one in found
    }
    chosen = st.sidebar.selectbox("Search, by when it began (New York)", ids, format_func=names.__getitem__)
    database, session = found[ids.index(chosen)]
    rows = parts.record().combinations(database, chosen)
    whole = ranked(row for row in rows if not row.fold)
    objective = str(session.configuration.get("objective", "objective"))
    _search_headline(session, whole)
    if not whole:
        st.info("No combination is finished yet.")
        return
    table = pd.DataFrame(
        [{**row.point, objective: row.objective, **row.figures, "failure": row.failure} for row in whole]
    )
    varied = [name for name in whole[0].point if table[name].astype(str).nunique() > 1]
    map_tab, lines_tab, ranking_tab, folds_tab = st.tabs(
        ["Heat map", "Parallel coordinates", "Ranking", "Walk forward"]
    )
    with map_tab:
        if varied:
            pair = st.columns(2)
            across = pair[0].selectbox("Across", varied)
            up = pair[1].selectbox("Up", [name for name in varied if name != across] or [across])
            st.plotly_chart(charts.search_map(whole, list(dict.fromkeys([across, up])), objective), width="stretch")
            st.caption("A cell has the best of all combinations with its two values.")
        else:
            st.info("All combinations are the same.")
    with lines_tab:
        st.plotly_chart(charts.coordinates(table, varied, objective), width="stretch")
    with ranking_tab:
        st.dataframe(table, width="stretch", hide_index=True)
    with folds_tab:
        folds = [row for row in rows if row.fold]
        if not folds:
            st.info("The search had no walk forward: `optimizer --walk-forward 4` plays one.")
        else:
            best = {(row.fold, row.out_of_sample): row for row in reversed(ranked(folds))}
            st.plotly_chart(charts.strips(best, objective), width="stretch")
            st.caption("What was best in each part of the time, and what it came to over the next part.")


def _search_headline(session: OptimizerSession, whole: Sequence[OptimizerRow]) -> None:
    result = session.result or {}
    ended = session.end_reason or parts.NO_END
    st.caption(
        f"Search {parts.sentence(session.optimizer_session_id)}. {len(whole):,} combinations. End: {parts.sentence(ended)}."
    )
    walked = result.get("walk_forward") or {}
    shown = {
        "Best": plain(whole[0].objective, digits=4) if whole else "-",
        "Plateau (1 is flat)": plain((result.get("plateau") or {}).get("score")),
        "Deflated Sharpe": percent(result.get("deflated_sharpe")),
        "Walk-forward Sharpe": plain(walked.get("sharpe_ratio")),
    }
    for column, (name, value) in zip(st.columns(len(shown)), shown.items(), strict=True):
        column.metric(name, value, border=True, help=_HELP.get(name))
    if whole:
        best = ", ".join(f"{name} = {value}" for name, value in whole[0].point.items())
        st.caption(f"Best: {parts.sentence(best)}")
