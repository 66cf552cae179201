"""What pages draw, with plotly: one palette that every eye can tell apart, in light and dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from liualgotrader.analytics.equity import AccountCurve
from liualgotrader.analytics.heat_map import best_of_each
from liualgotrader.analytics.performance import drawdowns
from liualgotrader.analytics.report_source import AccountOverTime
from liualgotrader.common.clock import NEW_YORK, instant
from liualgotrader.common.market_columns import BarColumns, Ints
from liualgotrader.common.rows import BUYS, OptimizerRow

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

GAIN, LOSS, OTHER, MARK = "#0072b2", "#d55e00", "#7a5195", "#009e73"  # Okabe and Ito's, told apart by every eye
_POINTS = 4_000  # of a curve


def new_york(at: Ints) -> Any:
    """Return instants (ns UTC) as New York's wall clock, which is what axes show."""
    import pandas as pd

    return pd.DatetimeIndex(at, tz="UTC").tz_convert(NEW_YORK).tz_localize(None)


def equity(
    curves: Mapping[str, AccountCurve], fills: pd.DataFrame | None = None, *, percent: bool = False
) -> go.Figure:
    """Return the account's value over time, of several batches in percent of their start; `fills` are marked on the first."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for name, curve in curves.items():
        kept = np.unique(np.linspace(0, len(curve.at) - 1, min(len(curve.at), _POINTS)).astype(int))
        amount = curve.amount[kept]
        shown = 100 * (amount / amount[0] - 1) if percent else amount
        figure.add_scatter(x=new_york(curve.at[kept]), y=shown, mode="lines", name=name)
    if fills is not None and len(fills) and curves:
        first = next(iter(curves.values()))
        instants = fills["at"].dt.tz_convert("UTC").dt.tz_localize(None).to_numpy("datetime64[ns]").astype(np.int64)
        places = np.clip(np.searchsorted(first.at, instants, side="right") - 1, 0, len(first.at) - 1)
        bought = fills["operation"].isin(BUYS).to_numpy()
        for name, which, symbol, colour in (
            ("purchases", bought, "triangle-up", GAIN),
            ("sales", ~bought, "triangle-down", LOSS),
        ):
            text = [f"{r.operation} {r.qty:g} {r.symbol} at {r.price:g} $" for r in fills[which].itertuples()]
            figure.add_scatter(
                x=new_york(instants[which]), y=first.amount[places[which]], mode="markers", name=name, text=text,
                marker={"symbol": symbol, "size": 8, "color": colour}, hovertemplate="%{x|%H:%M:%S}<br>%{text}<extra></extra>",
            )  # fmt: skip
    _layout(figure, "change, %" if percent else "account, $")
    figure.update_yaxes(tickformat=".2f" if percent else ",.2f")
    return figure


def candles(
    bars: BarColumns, trip: Mapping[str, Any], fills: pd.DataFrame, panes: Mapping[str, pd.Series[float]]
) -> go.Figure:
    """Return the prices around a round trip: fills, stop, target, the best and worst price meanwhile, and what was recorded.

    A recorded series that keeps to the prices lies over them, every other has a pane of its own.
    """
    from plotly.subplots import make_subplots

    low, high = float(np.min(bars.low)), float(np.max(bars.high))
    over = {
        n: s for n, s in panes.items() if len(s) and low - (high - low) <= s.min() and s.max() <= high + (high - low)
    }
    below = {name: series for name, series in panes.items() if name not in over and len(series)}
    rows = 1 + len(below)
    heights = [1.0] if rows == 1 else [0.62, *[0.38 / len(below)] * len(below)]
    figure = make_subplots(rows=rows, cols=1, shared_xaxes=True, row_heights=heights, vertical_spacing=0.03)
    x = new_york(bars.opened_at)
    figure.add_candlestick(
        x=x, open=bars.open, high=bars.high, low=bars.low, close=bars.close, name=str(trip["symbol"]), row=1, col=1,
        increasing_line_color=GAIN, decreasing_line_color=LOSS, showlegend=False,
    )  # fmt: skip
    for name, series in over.items():
        figure.add_scatter(x=_wall(series.index), y=series, mode="lines", name=name, row=1, col=1)
    for place, (name, series) in enumerate(below.items(), 2):
        figure.add_scatter(x=_wall(series.index), y=series, mode="lines", name=name, row=place, col=1)
        figure.update_yaxes(title_text=name, row=place, col=1)
    began, ended = (trip[name].tz_localize(None) for name in ("entered", "exited"))
    for name, colour in (("stop", LOSS), ("target", MARK)):
        if (value := trip[name]) is not None and np.isfinite(value):
            figure.add_scatter(
                x=[began, ended], y=[value, value], mode="lines", name=f"{name} {value:g} $",
                line={"color": colour, "dash": "dot"}, row=1, col=1,
            )  # fmt: skip
    entered, exited = (instant(trip[name].to_pydatetime()) for name in ("entered", "exited"))
    held = (bars.closed_at > entered) & (bars.opened_at <= exited)
    if held.any():
        best, worst = np.max(bars.high[held]), np.min(bars.low[held])
        if trip["side"] == -1:
            best, worst = worst, best
        entry = trip["entry_price"]
        for name, price, colour in (("best while held", best, GAIN), ("worst while held", worst, LOSS)):
            figure.add_scatter(
                x=[began, ended, ended, began, began], y=[entry, entry, price, price, entry], fill="toself", opacity=0.15,
                mode="none", fillcolor=colour, name=f"{name}: {price:g} $", row=1, col=1,
            )  # fmt: skip
    for operation, symbol in (("buy", "triangle-up"), ("sell", "triangle-down")):
        some = fills[fills["operation"].str.startswith(operation)]
        figure.add_scatter(
            x=some["at"].dt.tz_localize(None), y=some["price"], mode="markers", name=operation, row=1, col=1,
            marker={"symbol": symbol, "size": 12, "color": GAIN if operation == "buy" else LOSS},
            text=[f"{q:g} shares" for q in some["qty"]], hovertemplate="%{x|%H:%M:%S}<br>%{y} $, %{text}<extra></extra>",
        )  # fmt: skip
    _layout(figure, "price, $", 420 + 110 * len(below))
    figure.update_xaxes(rangeslider_visible=False)
    return figure


def days(gains: pd.DataFrame) -> go.Figure:
    """Return a heat map of days by week: `gains` has `day` and `gain`, dollars."""
    import pandas as pd
    import plotly.graph_objects as go

    when = pd.to_datetime(gains["day"])
    table = gains.assign(week=when - pd.to_timedelta(when.dt.day_of_week, unit="D"), weekday=when.dt.day_of_week)
    grid = table.pivot_table("gain", "weekday", "week", "sum")
    grid = grid.reindex(sorted({*range(5), *grid.index}))
    most = max(float(table["gain"].abs().max()), 0.01)
    figure = go.Figure(
        go.Heatmap(
            x=[f"{week:%Y-%m-%d}" for week in grid.columns], y=[("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")[day] for day in grid.index], z=grid,
            zmin=-most, zmax=most, colorscale=[[0, LOSS], [0.5, "#f2f2f2"], [1, GAIN]], xgap=3, ygap=3,
            colorbar={"title": "$"}, hovertemplate="week of %{x}, %{y}<br>%{z:,.2f} $<extra></extra>",
        )
    )  # fmt: skip
    _layout(figure, "", 260)
    figure.update_xaxes(type="category")
    figure.update_yaxes(autorange="reversed")
    return figure


def bars_of_gain(table: pd.DataFrame, by: str) -> go.Figure:
    """Return dollars gained by a column."""
    import plotly.graph_objects as go

    figure = go.Figure(
        go.Bar(x=table[by], y=table["gain"], marker_color=[GAIN if g >= 0 else LOSS for g in table["gain"]])
    )
    _layout(figure, "gain, $", 260)
    figure.update_xaxes(type="category")
    figure.update_yaxes(tickformat=",.2f")
    return figure


def search_map(rows: Sequence[OptimizerRow], names: Sequence[str], objective: str) -> go.Figure:
    """Return the objective over two parameters, or over one; `rows` come best first, and the best of each place counts."""
    import plotly.graph_objects as go

    figure = go.Figure(best_of_each(rows, names, objective))
    if not names[1:]:
        _layout(figure, objective)
        return figure
    figure.update_traces(colorscale="Cividis", colorbar={"title": objective})
    _layout(figure, names[1], 480)
    figure.update_xaxes(title_text=names[0], type="category")
    figure.update_yaxes(type="category")
    return figure


def coordinates(table: pd.DataFrame, varied: Sequence[str], objective: str) -> go.Figure:
    """Return each combination as a line through its parameters and its objective."""
    import plotly.graph_objects as go

    known = table[table[objective].notna()]
    axes = []
    for name in (*varied, objective):
        try:
            axes.append({"label": name, "values": known[name].astype(float)})
        except (TypeError, ValueError):  # words
            words = known[name].astype("category")
            places = list(range(len(words.cat.categories)))
            axes.append(
                {"label": name, "values": words.cat.codes, "tickvals": places, "ticktext": [*words.cat.categories]}
            )
    line = {"color": known[objective].astype(float), "colorscale": "Cividis", "showscale": True}
    figure = go.Figure(go.Parcoords(dimensions=axes, line=line))
    figure.update_layout(height=460, margin={"l": 60, "r": 40, "t": 50, "b": 20})
    return figure


def strips(best: Mapping[tuple[int, bool], OptimizerRow], objective: str) -> go.Figure:
    """Return the objective of each window's best in sample and over the time that followed."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for out, name, colour in ((False, "in sample", OTHER), (True, "out of sample", GAIN)):
        some = sorted((fold, row) for (fold, after), row in best.items() if after == out)
        text = [", ".join(f"{n} = {v}" for n, v in row.point.items()) for _, row in some]
        figure.add_bar(
            x=[f"window {fold}" for fold, _ in some], y=[row.objective for _, row in some], name=name, marker_color=colour,
            hovertext=text,
        )  # fmt: skip
    _layout(figure, objective, 320)
    return figure


def account(found: AccountOverTime, benchmark: str) -> go.Figure:
    """Return an account over time: equity and cash beside a benchmark that cost as much, exposure, drawdown."""
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=3, cols=1, shared_xaxes=True, row_heights=[0.56, 0.2, 0.24], vertical_spacing=0.04)
    kept = np.unique(np.linspace(0, len(found.at) - 1, min(len(found.at), _POINTS)).astype(int))
    x = new_york(found.at[kept])
    lines = {"equity": (found.equity, GAIN, "solid"), "cash": (found.cash, OTHER, "dot")}
    if np.isfinite(found.benchmark).any():
        lines[f"{benchmark} held"] = (found.benchmark, LOSS, "dash")
    for name, (values, colour, dash) in lines.items():
        line = {"color": colour, "dash": dash}
        figure.add_scatter(x=x, y=values[kept], mode="lines", name=name, line=line, row=1, col=1)
        if name != "cash":
            falls = 100 * drawdowns(values)[kept]
            figure.add_scatter(
                x=x, y=falls, mode="lines", name=f"drawdown of {name}", line=line, showlegend=False, row=3, col=1
            )
    exposed = 100 * (found.held / found.equity)[kept]
    figure.add_scatter(
        x=x, y=exposed, mode="lines", name="exposure", line={"color": MARK}, showlegend=False, row=2, col=1
    )
    _layout(figure, "US dollars", 560)
    figure.update_yaxes(tickformat=",.2f", row=1, col=1)
    figure.update_yaxes(title_text="exposure, %", row=2, col=1)
    figure.update_yaxes(title_text="drawdown, %", row=3, col=1)
    return figure


def balance(at: Any, amounts: Any) -> go.Figure:
    """Return an account's balance over its movements; `at` are times of New York."""
    import plotly.graph_objects as go

    figure = go.Figure(go.Scatter(x=at, y=amounts, mode="lines", line_shape="hv"))
    _layout(figure, "cash, $", 300)
    figure.update_yaxes(tickformat=",.2f")
    return figure


def _layout(figure: go.Figure, unit: str, height: int = 380) -> None:
    figure.update_layout(height=height, margin={"l": 10, "r": 10, "t": 24, "b": 10}, hovermode="closest")
    figure.update_layout(legend={"orientation": "h", "y": 1.08})
    figure.update_yaxes(title_text=unit, row=1, col=1) if figure._grid_ref else figure.update_yaxes(title_text=unit)


def _wall(index: Any) -> Sequence[Any]:
    wall: Sequence[Any] = index.tz_convert(NEW_YORK).tz_localize(None)
    return wall
