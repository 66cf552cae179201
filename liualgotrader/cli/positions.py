"""`liu positions adopt|flatten|ignore SYMBOL`: say what becomes of shares in which our books and the account differ."""

from __future__ import annotations

import argparse

from liualgotrader.common.config import Settings

DESCRIPTION = """\
A symbol in which the account holds more or less than our books say is set apart: nothing is opened in it,
and no more leaves it than there is, until you say what became of the difference. What the account holds at the
start of a session and no strategy of the plan left there is not ours, and never traded; the same words settle it.

  adopt    our books take it over: shares that are gone were sold (or bought back) at the newest price,
           shares that are more belong to the strategy that trades the symbol (or --strategy)
  flatten  the same, and what is there of it is closed at market
  ignore   it is not ours"""
HOWS = ("adopt", "flatten", "ignore")


def add_positions(words: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the word to `liu`'s command line."""
    parser = words.add_parser(
        "positions",
        help="settle a difference between our books and the account",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("how", choices=HOWS)
    parser.add_argument("symbol")
    parser.add_argument("--strategy", default="", help="who takes the shares over, if several strategies could")
    parser.add_argument("--batch", default="", help="the session, if several are running")
    parser.add_argument("--home", help="the data folder (LIU_HOME)")


def settle(options: argparse.Namespace) -> int:
    """Tell the running session and return the exit status.

    Raises:
        ConfigError: if there is no session, or several and none is named.
        OutsideError: if it does not answer.
    """
    from liualgotrader.cli.operate import order

    request = {
        "do": "positions",
        "how": options.how,
        "symbol": options.symbol.upper(),
        "strategy": options.strategy,
    }
    return order(Settings.resolve({"home": options.home}), request, options.batch)
