"""Where a person reads what a session does: a live table in a terminal, plain lines everywhere else."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from textwrap import wrap
from typing import TYPE_CHECKING, ParamSpec

from liualgotrader.cli.common import give_up_output
from liualgotrader.common.clock import SECOND, clock_text, machine_now
from liualgotrader.common.tlog import warn
from liualgotrader.supervisor.view import GAINS, PositionLine, StrategyView, View, equity_text

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live
    from rich.table import Table
    from rich.text import Text

    from liualgotrader.supervisor.view import Screen


log = logging.getLogger(__name__)
P = ParamSpec("P")

_PLAIN_EVERY = 30 * SECOND  # machine time


def screen_for(*, terminal: bool | None = None) -> LastingScreen:
    """Return the screen that fits the standard output; a session goes on when its output cannot be read any more."""
    is_terminal = sys.stdout.isatty() if terminal is None else terminal
    return LastingScreen(TerminalScreen() if is_terminal else PlainScreen())


class LastingScreen:
    """A screen that never raises: what cannot be shown (terminal closed, pipe or disk gone) stands in the log at best."""

    def __init__(self, screen: Screen) -> None:
        self.screen = screen
        self._lost = False
        self.line, self.warn = self._lasting(screen.line), self._lasting(screen.warn)
        self.show, self.table = self._lasting(screen.show), self._lasting(screen.table)
        self.close = self._lasting(screen.close)

    def _lasting(self, act: Callable[P, None]) -> Callable[P, None]:
        def lasting(*args: P.args, **keywords: P.kwargs) -> None:
            try:
                act(*args, **keywords)
            except OSError as error:
                if not self._lost:
                    self._lost = True
                    warn(log, "output_lost", error=error)
                give_up_output(error)

        return lasting


class PlainScreen:
    """Lines on standard output; the state of the session each 30 s of machine time."""

    def __init__(self) -> None:
        self._shown_at = machine_now()

    def line(self, text: str) -> None:
        print(text, flush=True)

    def warn(self, text: str) -> None:
        print(f"WARNING {text}", flush=True)

    def show(self, view: View) -> None:
        if machine_now() - self._shown_at >= _PLAIN_EVERY:
            self._shown_at = machine_now()
            self.line(state_line(view))

    def table(self, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        print(f"\n{title}")
        widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
        for row in (header, *rows):
            cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
            print("  ".join([row[0].ljust(widths[0]), *cells[1:]]))
        print(flush=True)

    def close(self) -> None:
        """There is nothing to take away."""


class TerminalScreen:
    """A table that is drawn again twice a second, with lines that stay above it."""

    def __init__(self, console: Console | None = None) -> None:
        from rich.console import Console as RichConsole

        self._console = console or RichConsole(highlight=False)
        self._live: Live | None = None

    def line(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        self._console.print(text, style="yellow", markup=False, highlight=False, soft_wrap=True)

    def show(self, view: View) -> None:
        if self._live is None:
            from rich.live import Live as RichLive

            self._live = RichLive(
                console=self._console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
            )
            self._live.start()
        self._live.update(drawn(view, *self._console.size), refresh=True)

    def table(self, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a table that stays: without lines where they would cut it, and where it is too wide, one paragraph a row."""
        from rich.table import Table
        from rich.text import Text

        columns = [(name, [row[i] for row in rows]) for i, name in enumerate(header)]
        if sum(_width(name.split(), cells) + 1 for name, cells in columns) > self._console.width:
            self._console.print(title, style="italic", markup=False, highlight=False)
            for row in rows:
                told = ", ".join(f"{name} {cell}" for name, cell in zip(header[1:], row[1:], strict=True) if cell)
                self._console.print(f"{row[0]}: {told}" if told else row[0], markup=False, highlight=False)
            return
        table = Table(title=Text(title), title_justify="left")
        if sum(_width([name], cells) + 3 for name, cells in columns) + 1 > self._console.width:
            table.box, table.padding = None, (0, 1, 0, 0)
            columns = [(name.replace(" ", "\n"), cells) for name, cells in columns]
        for i, (name, cells) in enumerate(columns):
            table.add_column(name, justify="left" if i == 0 else "right", no_wrap=not _is_text(cells))
        for row in rows:  # texts, as brackets in words of the user's would be taken for markup
            table.add_row(*map(Text, row))
        self._console.print(table)

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


def _width(header: Iterable[str], cells: Iterable[str]) -> int:
    """Return how wide a column must be so that no number and no word in it is cut."""
    parts = [*header, *(word for cell in cells for word in (cell.split() if _is_text([cell]) else [cell]))]
    return max(map(len, parts), default=0)


def _is_text(cells: Iterable[str]) -> bool:
    """Whether a column holds words, which may go on in the next line."""
    return any(character.isalpha() for cell in cells for character in cell)


def state_line(view: View) -> str:
    """Return a session's state in one line."""
    strategies = " ".join(f"{s.name}={s.gain:+.2f}$" for s in view.strategies)
    unwell = " ".join(f"{p.name}:{p.state}" for p in view.processes if p.state != "ready")
    refused = view.refusals().total()
    parts = (
        f"market {clock_text(view.market_at)}",
        *figures(view),
        f"refused={refused}" if refused else "",
        strategies,
        unwell,
    )
    return "  ".join(part for part in parts if part)


def figures(view: View) -> list[str]:
    """Return the counts and gauges that tell whether all is well."""
    return [
        f"symbols={view.worst('symbols'):.0f}",
        f"events/s={view.events_per_second:.0f}",
        f"lag={lag_text(view.lag_ms())}",
        f"dropped={view.dropped()}",
        f"orders={view.counted('orders'):.0f}",
        f"fills={sum(s.fills for s in view.strategies)}",
    ]


def progress(view: View) -> str:
    """Return how far the session is, and how long the rest takes at the pace of now."""
    whole = max(view.closes_at - view.opens_at, 1)
    share = min(max((view.market_at - view.opens_at) / whole, 0.0), 1.0)
    left = max(view.closes_at - view.market_at, 0) / SECOND
    if view.speed is None:
        return f"{share:.0%}  {_span(left)} to the close"
    if not view.speed:
        return f"{share:.0%}  the market stands"
    return f"{share:.0%}  x{view.speed:,.0f}  {_span(left / view.speed)} left"


def lag_text(milliseconds: float | None) -> str:
    """Return how old market data was, `-` if it is unknown."""
    if milliseconds is None:
        return "-"
    if milliseconds < 10_000:
        return f"{milliseconds:.1f}ms"
    seconds = milliseconds / 1000
    return f"{seconds:.0f}s" if seconds < 600 else f"{seconds / 60:.0f}min"


def _span(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


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
    parts: list[RenderableType] = _head(view, width)
    room -= len(parts)
    strategies = _strategies(view.strategies, width)
    parts.append(strategies)
    room -= 1 + strategies.row_count
    unwell = [p for p in view.processes if view.debug or p.state != "ready"]
    if unwell:
        table, add = _table(width, ("process", False), ("state", False), ("pid", True), ("restarts", True))
        for p in unwell[: max(1, room - 1)]:
            style = {"ready": "green", "down": "red", "starting": "yellow"}.get(p.state, "")
            add(p.name, _line(p.state, style), str(p.pid or ""), str(p.restarts or ""))
        parts.append(table)
        room -= 1 + table.row_count
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


def _head(view: View, width: int) -> list[RenderableType]:
    """Return the lines above the tables; of what must not be overlooked each alert whole."""
    from rich.text import Text

    lines: list[RenderableType] = [
        _line(f"{view.environment} {view.day}  market {clock_text(view.market_at)}  {progress(view)}", "bold")
    ]
    if view.facts is not None:
        parts: list[str | Text] = [equity_text(view.facts.equity), "  today:"]
        for name, whose in GAINS.items():
            gain = getattr(view.facts, name)
            parts += [f"  {whose} ", *(["unknown"] if gain is None else [_money(gain), " $"])]
        parts += [f"  {told}" for told in view.facts.activities]
        lines.append(Text.assemble(*parts, no_wrap=True, overflow="ellipsis"))
    lines.append(_line("  ".join(figures(view)), "dim"))
    alerts = shown = [wrap(alert, width) for alert in view.alerts()]
    while sum(map(len, shown)) > _ALERT_LINES:
        shown = shown[:-1]
    told = [line for alert in shown for line in alert]
    if len(shown) < len(alerts):
        told.append(f"… and {len(alerts) - len(shown)} more: see `trader status`")
    return lines + [_line(line, "bold red") for line in told]


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


def _money(dollars: Decimal) -> Text:
    return _line(f"{dollars:+,.2f}", "green" if dollars > 0 else "red" if dollars < 0 else "")
