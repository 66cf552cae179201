"""Where a person reads what a session does: a live table in a terminal, plain lines everywhere else."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from liualgotrader.cli.common import give_up_output
from liualgotrader.common.clock import SECOND, clock_text, machine_now
from liualgotrader.common.tlog import warn
from liualgotrader.supervisor.view import View

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

    from liualgotrader.supervisor.request import Screen

log = logging.getLogger(__name__)

_PLAIN_EVERY = 30 * SECOND  # machine time


def screen_for(*, terminal: bool | None = None) -> LastingScreen:
    """Return the screen that fits the standard output; a session goes on although nobody can read it any more."""
    is_terminal = sys.stdout.isatty() if terminal is None else terminal
    return LastingScreen(TerminalScreen() if is_terminal else PlainScreen())


class LastingScreen:
    """A screen that never raises: what cannot be shown (terminal closed, pipe or disk gone) stands in the log at best."""

    def __init__(self, screen: Screen) -> None:
        self.screen = screen
        self._lost = False

    def line(self, text: str) -> None:
        """Show one line that stays."""
        with self._as_far_as_possible():
            self.screen.line(text)

    def warn(self, text: str) -> None:
        """Show one line that a person should look at."""
        with self._as_far_as_possible():
            self.screen.warn(text)

    def show(self, view: View) -> None:
        """Show the state of the session in place of the last one."""
        with self._as_far_as_possible():
            self.screen.show(view)

    def table(self, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Show a table that stays."""
        with self._as_far_as_possible():
            self.screen.table(title, header, rows)

    def close(self) -> None:
        """Show the last state no longer."""
        with self._as_far_as_possible():
            self.screen.close()

    @contextmanager
    def _as_far_as_possible(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if not self._lost:
                self._lost = True
                warn(log, "output_lost", error=error)
            give_up_output(error)


class PlainScreen:
    """Lines on standard output; the state of the session each 30 s of machine time."""

    def __init__(self) -> None:
        self._shown_at = machine_now()

    def line(self, text: str) -> None:
        """Print one line."""
        print(text, flush=True)

    def warn(self, text: str) -> None:
        """Print one line that a person should look at."""
        print(f"WARNING {text}", flush=True)

    def show(self, view: View) -> None:
        """Print the state in one line, now and then."""
        if machine_now() - self._shown_at >= _PLAIN_EVERY:
            self._shown_at = machine_now()
            self.line(state_line(view))

    def table(self, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a table in columns."""
        print(f"\n{title}")
        widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
        for row in (header, *rows):
            print(
                "  ".join(
                    cell.ljust(w) if i == 0 else cell.rjust(w)
                    for i, (cell, w) in enumerate(zip(row, widths, strict=True))
                )
            )
        print(flush=True)

    def close(self) -> None:
        """There is nothing to take away."""


def state_line(view: View) -> str:
    """Return a session's state in one line."""
    return "  ".join(
        part for part in (f"market {clock_text(view.market_at)}", *_figures(view), *_outcome(view)) if part
    )


def _outcome(view: View) -> tuple[str, str]:
    """Return what each strategy has gained, and the processes that are not well."""
    strategies = " ".join(f"{s.name}={s.gain:+.2f}$" for s in view.strategies)
    return strategies, " ".join(f"{p.name}:{p.state}" for p in view.processes if p.state != "ready")


def _figures(view: View) -> list[str]:
    return [
        f"symbols={view.worst('symbols'):.0f}",
        f"events/s={view.events_per_second:.0f}",
        f"lag={_lag_text(view.lag_ms())}",
        f"dropped={view.dropped()}",
        f"orders={view.counted('orders'):.0f}",
        f"fills={sum(s.fills for s in view.strategies)}",
        f"refused={view.refusals().total()}" if view.refusals() else "",
    ]


def _lag_text(milliseconds: float | None) -> str:
    if milliseconds is None:
        return "-"
    if milliseconds < 10_000:
        return f"{milliseconds:.1f}ms"
    seconds = milliseconds / 1000
    return f"{seconds:.0f}s" if seconds < 600 else f"{seconds / 60:.0f}min"


class TerminalScreen:
    """A table that is drawn again twice a second, with lines that stay above it."""

    def __init__(self, console: Console | None = None) -> None:
        if console is None:
            from rich.console import Console as RichConsole

            console = RichConsole(highlight=False)
        self._console = console
        self._live: Live | None = None

    def line(self, text: str) -> None:
        """Print one line above the table."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        """Print one line that a person should look at above the table."""
        self._console.print(text, style="yellow", markup=False, highlight=False, soft_wrap=True)

    def show(self, view: View) -> None:
        """Draw the state in place of the last one."""
        if self._live is None:
            from rich.live import Live as RichLive

            self._live = RichLive(
                console=self._console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
            )
            self._live.start()
        self._live.update(_drawn(view), refresh=True)

    def table(self, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a table that stays."""
        from rich.table import Table

        table = Table(title=title, title_justify="left")
        for i, name in enumerate(header):
            table.add_column(name, justify="left" if i == 0 else "right")
        for row in rows:
            table.add_row(*row)
        self._console.print(table)

    def close(self) -> None:
        """Take the table away."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def _drawn(view: View) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    head = Text(
        f"{view.environment} {view.day}  market {clock_text(view.market_at)}  {_share(view):.0%} of the session"
        + (f"  equity {view.facts['equity']} $" if "equity" in view.facts else "")
    )
    figures = Text("  ".join(filter(None, _figures(view))), style="dim")
    alerts = [Text(alert, style="bold red") for alert in view.alerts()]
    processes = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("process", "state", "pid", "restarts"):
        processes.add_column(name)
    for p in view.processes:
        style = {"ready": "green", "down": "red", "starting": "yellow"}.get(p.state, "")
        processes.add_row(p.name, Text(p.state, style=style), str(p.pid or ""), str(p.restarts or ""))
    strategies = Table(box=None, padding=(0, 2, 0, 0))
    for i, name in enumerate(("strategy", "fills", "trades", "open", "refused", "P&L $", "")):
        strategies.add_column(name, justify="left" if i in (0, 6) else "right")
    for s in view.strategies:
        gain = Text(f"{s.gain:+,.2f}", style="green" if s.gain > 0 else "red" if s.gain < 0 else "")
        refused = sum(s.refused.values())
        counts = (
            str(s.fills),
            str(s.trips),
            str(s.open_positions),
            Text(str(refused), style="yellow" if refused else ""),
        )
        strategies.add_row(s.name, *counts, gain, Text(s.ended, style="red"))
    return Group(head, figures, *alerts, strategies, processes)


def _share(view: View) -> float:
    whole = max(view.closes_at - view.opens_at, 1)
    return min(max((view.market_at - view.opens_at) / whole, 0.0), 1.0)
