"""`portfolio`: Create portfolios and look at them."""

from __future__ import annotations

import functools

from liualgotrader.cli.common import guarded, not_built

PURPOSE = """\
Creates portfolios, lists them, and shows their equity, cash movements and trades."""


def main() -> None:
    """Run the program."""
    guarded("portfolio", functools.partial(not_built, "portfolio", PURPOSE))
