"""The state of a session drawn for a terminal: never higher or wider than it, the most important first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from textwrap import wrap
from typing import TYPE_CHECKING

from liualgotrader.cli.state_text import figures, progress
from liualgotrader.common.clock import clock_text
from liualgotrader.supervisor.view import GAINS, PositionLine, ProcessView, StrategyView, View, equity_text, gain_of

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

MOST_LINES = 24  # of a small terminal
_ABOVE = 2  # lines left for what was said last
_STRATEGIES = 8
_ALERT_LINES = 6
_WIDE = 96  # columns of a terminal
_IN_A_WIDE_ONE = frozenset({"realized $", "open $", "target"})
_LEAST_POSITIONS = 3  # with their header: less says nothing


def drawn(view: View, width: int, height: int) -> RenderableType:
    """Return the view in at most `height` lines, and never more than fit a small terminal."""
    from rich.console import Group

    room = min(height, MOST_LINES) - _ABOVE
    parts: list[RenderableType] = [*_head(view), *_alerts(view.alerts(), width)]
    room -= len(parts)
    strategies = _strategies(view.strategies, width)
    parts.append(strategies)
    room -= 1 + strategies.row_count
    unwell = [p for p in view.processes if view.debug or p.state != "ready"]
    if unwell:
        shown = _processes(unwell[: max(1, room - 1)], width)
        parts.append(shown)
        room -= 1 + shown.row_count
    if view.positions and room >= _LEAST_POSITIONS:
        parts.append(_positions(view.positions, room - 1, width))
    return Group(*parts)


def _line(text: str, style: str = "") -> Text:
    from rich.text import Text

    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def _table(width: int, *columns: tuple[str, bool]) -> tuple[Table, Callable[..., None]]:
    """Return an empty table and what adds a row to it; a column is its name and whether it holds numbers.

    No cell is ever wrapped. Where not all fit, the column without a name is cut first; a narrow terminal leaves some out.
    """
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    kept = [i for i, (name, _) in enumerate(columns) if width >= _WIDE or name not in _IN_A_WIDE_ONE]
    for name, is_number in (columns[i] for i in kept):
        table.add_column(name, justify="right" if is_number else "left", no_wrap=bool(name), overflow="ellipsis")

    def add(*cells: RenderableType, style: str = "") -> None:
        table.add_row(*(cells[i] for i in kept if i < len(cells)), style=style)

    return table, add


def _head(view: View) -> list[Text]:
    from rich.text import Text

    lines = [
        _line(f"{view.environment} {view.day}  market {clock_text(view.market_at)}  {progress(view)}", "bold"),
        _line("  ".join(figures(view)), "dim"),
    ]
    if "equity" in view.facts:
        parts: list[str | Text] = [equity_text(view.facts), "  today:"]
        for name, whose in GAINS.items():
            gain = gain_of(view.facts, name)
            parts += [f"  {whose} ", *(["unknown"] if gain is None else [_money(gain), " $"])]
        parts += [f"  {told}" for told in view.facts.get("activities") or ()]
        lines.insert(1, Text.assemble(*parts, no_wrap=True, overflow="ellipsis"))
    return lines


def _alerts(alerts: Sequence[str], width: int) -> list[Text]:
    """Return the lines of what must not be overlooked, each alert whole."""
    told: list[list[str]] = [wrap(alert, width) for alert in alerts]
    shown = told
    while sum(map(len, shown)) > _ALERT_LINES:
        shown = shown[:-1]
    lines = [line for alert in shown for line in alert]
    if len(shown) < len(told):
        lines.append(f"… and {len(told) - len(shown)} more: see `trader status`")
    return [_line(line, "bold red") for line in lines]


def _strategies(strategies: Sequence[StrategyView], width: int) -> Table:
    table, add = _table(
        width, ("strategy", False), ("fills", True), ("trades", True), ("open", True), ("refused", True),
        ("realized $", True), ("open $", True), ("P&L $", True), ("", False),
    )  # fmt: skip
    shown = strategies if len(strategies) <= _STRATEGIES else strategies[: _STRATEGIES - 1]
    for s in shown:
        add(*_cells(s.name, [s]), _line(s.ended, "red"))
    if len(shown) < len(strategies):
        add(*_cells(f"… {len(strategies) - len(shown)} more", strategies[len(shown) :]))
    if len(strategies) > 1:
        add(*_cells("total", strategies), style="bold")
    return table


def _cells(name: str, strategies: Sequence[StrategyView]) -> tuple[RenderableType, ...]:
    refused = sum(sum(s.refused.values()) for s in strategies)
    return (
        name,
        str(sum(s.fills for s in strategies)),
        str(sum(s.trips for s in strategies)),
        str(sum(s.open_positions for s in strategies)),
        _line(str(refused), "yellow" if refused else ""),
        _money(sum((s.realized for s in strategies), Decimal(0))),
        _money(sum((s.open_gain for s in strategies), Decimal(0))),
        _money(sum((s.gain for s in strategies), Decimal(0))),
    )


def _positions(positions: Sequence[PositionLine], room: int, width: int) -> Table:
    """Return the positions; if not all fit, those that gain or lose most, and one line for the rest."""
    table, add = _table(
        width, ("position", False), ("strategy", False), ("shares", True), ("entry", True), ("last", True), ("stop", True),
        ("target", True), ("P&L $", True),
    )  # fmt: skip
    shown = list(positions)
    if len(shown) > room:
        most = sorted(positions, key=lambda p: -abs(p.gain or Decimal(0)))[: room - 1]
        shown = [p for p in positions if p in most]
    for p in shown:
        add(
            p.symbol,
            p.strategy,
            f"{p.quantity:,f}",
            f"{p.entry:,.2f}",
            "-" if p.last is None else f"{p.last:,.2f}",
            _line("none", "yellow") if p.stop is None else f"{p.stop:,.2f}",
            "-" if p.target is None else f"{p.target:,.2f}",
            "-" if p.gain is None else _money(p.gain),
        )
    if len(shown) < len(positions):
        add(f"… {len(positions) - len(shown)} more")
    return table


def _processes(processes: Sequence[ProcessView], width: int) -> Table:
    table, add = _table(width, ("process", False), ("state", False), ("pid", True), ("restarts", True))
    for p in processes:
        style = {"ready": "green", "down": "red", "starting": "yellow"}.get(p.state, "")
        add(p.name, _line(p.state, style), str(p.pid or ""), str(p.restarts or ""))
    return table


def _money(dollars: Decimal) -> Text:
    return _line(f"{dollars:+,.2f}", "green" if dollars > 0 else "red" if dollars < 0 else "")
