"""What somebody asked `trader` to do."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Protocol

import msgspec

from liualgotrader.supervisor.view import View

GENERATED_DAY = "2024-06-03"
"""The day that the generated market plays when none is named: fixed, so that a seed says everything."""


class TraderRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The command line of one session, beyond the settings."""

    simulate: bool = False
    data: str = ""  # folder of a recorded day; empty: a generated one
    day: str = ""  # ISO date
    window_from: str = ""  # HH:MM, New York; the session's bounds when given
    window_to: str = ""
    speed: float = 0.0  # market per machine time; 0 = as fast as the stack follows
    quantum_seconds: float = 0.1  # market time
    free_run: bool = False
    symbols: tuple[str, ...] = ()
    symbol_count: int = 200
    port: int = 0
    state: str = ""  # folder of an account that simulated sessions keep; empty: a new account
    live: bool = False  # `--live`: real money is meant
    broken_plan: str = ""  # why the tradeplan cannot be read, while the last one is followed to its end
    shadow: bool = False
    flatten: bool = False
    new: bool = False
    keep: bool = False
    verbose: bool = False  # show every order and fill
    wait: bool = False  # for the next session, where there is none now
    dsn_given: bool = False  # `--dsn`: the one way to point the simulated market at another database

    @property
    def account_is_new(self) -> bool:
        """Whether the account holds nothing of earlier sessions."""
        return self.simulate and not self.state

    def market_day(self) -> dt.date:
        """Return the day that the simulated market plays."""
        return dt.date.fromisoformat(self.day or GENERATED_DAY)


class Screen(Protocol):
    """Where a person reads what goes on."""

    def line(self, text: str) -> None:
        """Show one line that stays."""
        ...

    def warn(self, text: str) -> None:
        """Show one line that a person should look at."""
        ...

    def show(self, view: View) -> None:
        """Show the state of the session in place of the last one."""
        ...

    def table(self, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Show a table that stays."""
        ...

    def close(self) -> None:
        """Show the last state no longer."""
        ...
