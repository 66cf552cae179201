"""`optimizer`: Backtest every combination of a strategy's parameters."""

from __future__ import annotations

import functools

from liualgotrader.cli.common import guarded, not_built

PURPOSE = """\
Backtests a strategy with every combination of the parameters that [optimizer.hyperparameters] of the
tradeplan spans, and ranks the results."""


def main() -> None:
    """Run the program."""
    guarded("optimizer", functools.partial(not_built, "optimizer", PURPOSE))
