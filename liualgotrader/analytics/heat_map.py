"""A search as one HTML file that opens offline: heat maps of its objective over each two parameters."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, islice
from typing import Any

from liualgotrader.common.errors import ConfigError
from liualgotrader.common.rows import OptimizerRow

_MOST = 6  # pairs of parameters on one page


def heat_map_page(rows: Sequence[OptimizerRow], names: Sequence[str], objective: str, title: str) -> str:
    """Return the page; `rows` come best first.

    A cell has the best objective of all combinations with its two values; of a single parameter there is a line.

    Raises:
        ConfigError: if plotly is not installed.
    """
    try:
        from plotly.subplots import make_subplots
    except ModuleNotFoundError:
        raise ConfigError("a report needs plotly: pip install 'liualgotrader[report]'") from None
    pairs: list[tuple[str, ...]] = list(islice(combinations(names, 2), _MOST)) or [tuple(names)]
    figure = make_subplots(rows=len(pairs), cols=1, vertical_spacing=0.5 / len(pairs) / 2)
    for number, pair in enumerate(pairs, 1):
        figure.add_trace(best_of_each(rows, pair, objective), row=number, col=1)
        figure.update_xaxes(title_text=pair[0], row=number, col=1)
        figure.update_yaxes(title_text=pair[1] if pair[1:] else objective, row=number, col=1)
    figure.update_traces(coloraxis="coloraxis", selector={"type": "heatmap"})
    figure.update_layout(
        title=title,
        height=120 + 480 * len(pairs),
        coloraxis={"colorscale": "Cividis", "colorbar": {"title": objective}},  # one that every eye tells apart
    )
    page: str = figure.to_html(full_html=True, include_plotlyjs=True)
    return page


def best_of_each(rows: Sequence[OptimizerRow], names: Sequence[str], objective: str) -> Any:
    """Return a heat map over two parameters, or a line over one; `rows` come best first, and the best of each place counts."""
    import plotly.graph_objects as go

    best: dict[tuple[Any, ...], float] = {}
    for row in rows:
        if row.objective is not None:
            best.setdefault(tuple(row.point[name] for name in names), row.objective)
    across, *up = (sorted({key[place] for key in best}) for place in range(len(names)))
    if not up:
        return go.Scatter(x=across, y=[best[value,] for value in across], mode="lines+markers", name=objective)
    cells = [[best.get((x, y)) for x in across] for y in up[0]]
    return go.Heatmap(x=[str(x) for x in across], y=[str(y) for y in up[0]], z=cells, hoverongaps=False)
