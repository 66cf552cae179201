"""A search as one HTML file that opens offline: heat maps of its objective over each two parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
        import plotly.graph_objects as go
        from plotly.subplots import make_subplots
    except ModuleNotFoundError:
        raise ConfigError("a report needs plotly: pip install 'liualgotrader[report]'") from None
    known = [row for row in rows if row.objective is not None]
    pairs: list[tuple[str, ...]] = list(islice(combinations(names, 2), _MOST)) or [tuple(names)]
    figure = make_subplots(rows=len(pairs), cols=1, vertical_spacing=0.5 / len(pairs) / 2)
    for number, pair in enumerate(pairs, 1):
        best: dict[tuple[Any, ...], OptimizerRow] = {}
        for row in known:
            best.setdefault(tuple(row.point[name] for name in pair), row)
        figure.add_trace(_drawn(go, best, pair, objective), row=number, col=1)
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


def _drawn(go: Any, best: Mapping[tuple[Any, ...], OptimizerRow], pair: Sequence[str], objective: str) -> Any:
    across = sorted({key[0] for key in best})
    if not pair[1:]:
        return go.Scatter(
            x=across, y=[best[value,].objective for value in across], mode="lines+markers", name=objective
        )
    up = sorted({key[1] for key in best})
    cells = [[best[x, y].objective if (x, y) in best else None for x in across] for y in up]
    return go.Heatmap(x=[str(x) for x in across], y=[str(y) for y in up], z=cells, hoverongaps=False)
