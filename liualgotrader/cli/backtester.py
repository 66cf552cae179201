"""`backtester`: Run the strategies of a tradeplan over past sessions, in one process and without any order going out."""

from __future__ import annotations

import functools

from liualgotrader.cli.common import guarded, not_built

PURPOSE = """\
Runs the strategies and scanners of a tradeplan over past sessions, with the engine and the order
desk that trade live, and stores the runs as a batch of environment BACKTEST."""


def main() -> None:
    """Run the program."""
    guarded("backtester", functools.partial(not_built, "backtester", PURPOSE))
