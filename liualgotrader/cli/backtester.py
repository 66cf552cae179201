"""`backtester`: run a tradeplan over past sessions."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from typing import Any

from liualgotrader.cli.common import guarded, parser_of

DESCRIPTION = """\
Run the strategies of a tradeplan over past sessions, with the engine, the order desk and the exchange that
`trader --simulate` uses, and store the run as a batch of environment BACKTEST.

  backtester from 2024-01-02 --to 2024-06-28 --data FOLDER   over recorded days
  backtester from "3 months ago" --generated                 over an invented market, which needs no data"""

FROM = """\
Run a tradeplan from one day to another, both included, on the bars of a folder (--data), of an invented market
(--generated), or else of the market-data store that `liu data` fills.

A day is written like 2020-10-18 or 18 Oct 2020, or in words: today, yesterday, 3 months ago, last week, monday."""

EPILOG = """\
exit codes:
  0    all sessions were played
  2    something configured cannot work: nothing was played
  3    the outside world failed: data, database, disk
  4    a strategy raised; the results are shown and stored
  5    every order was refused
  130  ended by Ctrl-C after the session it was in; the results until then are shown and stored
"""

PROGRAM = "backtester"


def main() -> None:
    """Run the program."""
    guarded(PROGRAM, run)


def run(arguments: Sequence[str], program: str = PROGRAM) -> int:
    """Do what the command line says and return the exit status.

    Raises:
        LiuError: in one sentence.
    """
    parser = make_parser(program)
    options = parser.parse_args(arguments)
    if options.word is None:
        parser.print_help()
        return 0
    from liualgotrader.cli.backtest_run import backtest

    return backtest(options, program)


def make_parser(program: str) -> argparse.ArgumentParser:
    """Return the parser of the program."""
    parser = parser_of(program, DESCRIPTION, EPILOG)
    span = parser.add_subparsers(dest="word", metavar="word").add_parser(
        "from",
        help="run over past sessions",
        description=FROM,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _span_options(span)
    _data_options(span.add_argument_group("data"))
    _account_options(span.add_argument_group("account"))
    _output_options(span.add_argument_group("plan and output"))
    return parser


def _span_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("first", metavar="DAY", nargs="+", help="the first day")
    parser.add_argument("--to", metavar="DAY", dest="last", default="today", help="the last day (default today)")
    parser.add_argument("--scale", choices=("day", "minute"), default="day", help="length of the bars (default day)")
    parser.add_argument("--strats", metavar="A,B", type=_names, default=(), help="only these of the strategies")
    parser.add_argument("--scanners", metavar="A,B", type=_names, default=(), help="only these of the scanners")
    parser.add_argument("--asset", choices=("equity", "crypto"), default="equity", help="whose days (default equity)")


def _data_options(group: Any) -> None:
    group.add_argument("--data", metavar="FOLDER", help="recorded days, in a folder as `trader --data` takes it")
    group.add_argument(
        "--generated",
        metavar="N",
        nargs="?",
        type=_whole,
        const=10,
        help="an invented market of N symbols (default 10)",
    )
    group.add_argument("--symbols", metavar="A,B", type=_symbols, default=(), help="only these (default all there are)")
    group.add_argument("--benchmark", metavar="SYMBOL", type=str.upper, default="", help="(default the first symbol)")
    group.add_argument("--seed", metavar="N", type=_whole, help="of everything random (LIU_SEED, default 0)")


def _account_options(group: Any) -> None:
    group.add_argument("--cash", metavar="$", type=partial(_amount, least=0.01), help="at the start (default 100000)")
    group.add_argument("--fills", choices=("strict", "paper", "touch"), help="how orders are filled (default strict)")
    group.add_argument(
        "--fees", choices=("none", "regulatory", "commission", "all"), help="what an order costs (default none)"
    )
    group.add_argument("--fee-per-share", metavar="$", type=_amount, default="0", help="on top of --fees (default 0)")
    for side in ("buy", "sell"):
        text = f"of what is {'bought' if side == 'buy' else 'sold'}, 0 to 100, on top of --fees (default 0)"
        group.add_argument(
            f"--{side}-fee-percentage", metavar="X", type=partial(_amount, most=100), default="0", help=text
        )


def _output_options(group: Any) -> None:
    group.add_argument("--tradeplan", metavar="FILE", help="the tradeplan (default: tradeplan.toml in TRADEPLAN_DIR)")
    group.add_argument("--json", action="store_true", help="print the summary as one JSON document")
    group.add_argument("--no-database", action="store_true", help="store nothing")
    group.add_argument("--home", metavar="DIR", help="the data folder (LIU_HOME)")
    group.add_argument("--dsn", metavar="DSN", help="PostgreSQL to use (DSN)")


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise argparse.ArgumentTypeError("name some, separated by commas")
    return names


def _symbols(text: str) -> tuple[str, ...]:
    from liualgotrader.common.events import SYMBOL_RULE, is_symbol

    symbols = tuple(name.upper() for name in _names(text))
    for symbol in symbols:
        if not is_symbol(symbol):
            raise argparse.ArgumentTypeError(f"{symbol!r:.40} is not a symbol: {SYMBOL_RULE}")
    return symbols


def _whole(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of 0 or more")
    return int(text)


def _amount(text: str, *, least: float = 0, most: float = 1e9) -> str:
    """Return the text of a number between both bounds; what it is for wants it exactly."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number from {least:g} to {most:,.0f}")
    return text
