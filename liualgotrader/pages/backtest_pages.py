"""Pages about backtests: all results, and runs beside each other; and what the market-data store holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from liualgotrader.analytics.equity import curve_of
from liualgotrader.common.rows import BatchResult
from liualgotrader.data.market_store import MarketStore
from liualgotrader.pages import charts, parts

if TYPE_CHECKING:
    import pandas as pd

_COMPARED = 8


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
    table = pd.DataFrame([_listed(one.result) for one in found])
    event: Any = st.dataframe(
        table, on_select="rerun", selection_mode="multi-row", width="stretch", hide_index=True, key="backtests",
        column_config={
            "P&L $": st.column_config.NumberColumn(format="%+.2f"),
            "return": st.column_config.NumberColumn(format="percent"),
            "win rate": st.column_config.NumberColumn(format="percent"),
            "played": st.column_config.DatetimeColumn("played (UTC)", format="YYYY-MM-DD HH:mm"),
        },
    )  # fmt: skip
    chosen = [found[place] for place in event.selection.rows[:_COMPARED]]
    if not chosen:
        st.caption(f"Choose rows at the left to see them beside each other, up to {_COMPARED}.")
        return
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
        st.markdown(f"[Day and trades of {one.result.batch_id[:8]}](day?batch={one.result.batch_id})")


def market_data() -> None:
    """Show which series the market-data store holds."""
    import pandas as pd

    st.title("Market data")
    store = MarketStore(parts.record().settings.home_path / "market")
    rows = [dict(zip(("symbol", "kind", "period"), store.series_of(path), strict=True)) for path in store.files()]
    if not rows:
        st.info("The store is empty. `liu data import FOLDER` and `liu data fetch SPY --from 2024-01-02` fill it.")
        return
    st.dataframe(pd.DataFrame(rows).astype(str), width="stretch", hide_index=True)


def _listed(result: BatchResult) -> dict[str, Any]:
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
        "end": result.end_reason or "it goes on, or was killed",
        "note": str(result.asked.get("note") or ""),
        "played": pd.Timestamp(result.recorded_at, tz="UTC"),
    }


def _differences(results: list[BatchResult]) -> pd.DataFrame:
    """Return parameters and options that are not the same in all, a column a batch."""
    import pandas as pd

    told = {
        one.batch_id[:8]: {f"{s}: {n}": str(v) for s, values in one.parameters.items() for n, v in values.items()}
        | {f"{n}": str(v) for n, v in one.asked.items() if n != "note"}
        for one in results
    }
    table = pd.DataFrame(told).fillna("")
    return table[table.nunique(axis=1) > 1]
