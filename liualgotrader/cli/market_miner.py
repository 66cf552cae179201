"""`market_miner`: Fill the database with what strategies need before the open."""

from __future__ import annotations

import functools

from liualgotrader.cli.common import guarded, not_built

PURPOSE = """\
Runs the miners of miner.toml one after the other: they collect companies, daily prices and other
facts from a data provider and store them where strategies and scanners read them."""


def main() -> None:
    """Run the program."""
    guarded("market_miner", functools.partial(not_built, "market_miner", PURPOSE))
