"""Where a person reads what a session does: a live table in a terminal, plain lines everywhere else."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from liualgotrader.cli.common import give_up_output
from liualgotrader.cli.live_table import drawn
from liualgotrader.cli.state_text import state_line
from liualgotrader.common.clock import SECOND, machine_now
from liualgotrader.common.tlog import warn
from liualgotrader.supervisor.view import View

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live

    from liualgotrader.supervisor.view import Screen

log = logging.getLogger(__name__)

_NARROW = 80  # columns
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
        self._live.update(drawn(view, *self._console.size), refresh=True)

    def table(self, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a table that stays; in a narrow terminal, where cells would be cut, one paragraph a row."""
        from rich.table import Table
        from rich.text import Text

        if self._console.width < _NARROW:
            self._paragraphs(title, header, rows)
            return
        table = Table(title=Text(title), title_justify="left")
        for i, name in enumerate(header):
            table.add_column(name, justify="left" if i == 0 else "right")
        for row in rows:  # texts, as brackets in words of the user's would be taken for markup
            table.add_row(*map(Text, row))
        self._console.print(table)

    def _paragraphs(self, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        self._console.print(title, style="italic", markup=False, highlight=False)
        for row in rows:
            told = ", ".join(f"{name} {cell}" for name, cell in zip(header[1:], row[1:], strict=True) if cell)
            self._console.print(f"{row[0]}: {told}" if told else row[0], markup=False, highlight=False)

    def close(self) -> None:
        """Take the table away."""
        if self._live is not None:
            self._live.stop()
            self._live = None
