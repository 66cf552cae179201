"""`backtester`: run a tradeplan over past sessions."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from typing import Any

from liualgotrader.cli.common import FILLS, amount, guarded, parser_of

DESCRIPTION = """\
Run the strategies of a tradeplan over past sessions, with the engine, the order desk and the exchange that
`trader --simulate` uses, and store the run as a batch of environment BACKTEST.

  backtester from 2024-01-02 --to 2024-06-28 --data FOLDER   over recorded days
  backtester from "3 months ago" --generated                 over an invented market, which needs no data
  backtester lookahead 2024-01-02 --data FOLDER              whether any decision used what came later
  backtester warmup 2024-01-02 --data FOLDER                 whether it hangs on how much history was loaded
  backtester list                                            what came of all that was run
  backtester batch ID                                        a recorded batch again, on the symbols picked then"""

FROM = """\
Run a tradeplan from one day to another, both included, on the bars of a folder (--data), of an invented market
(--generated), or else of the market-data store that `liu data` fills.

A day is written like 2020-10-18 or 18 Oct 2020, or in words: today, yesterday, 3 months ago, last week, monday."""

LOOKAHEAD = """\
Run a tradeplan as `backtester from` does, then see whether what was decided hangs on what came later: once more with
bars that are nowhere in memory before they close, with `signals` asked again about bars that end earlier, with the
data cut at a session's end, and, if a data loader was asked for a later time, with what it asks for. A strategy's
first decision on each symbol that differs is shown, with both. What a strategy reads from files, modules or the
network of its own is the same in all of these runs, so that a look ahead through them is not seen.

The result is stored with the batch, and shown by every report of the same plan."""

WARMUP = """\
Run a tradeplan as `backtester from` does, then with half, twice and four times as many sessions of history before the
first day, as far as the data has them. A decision, or a recorded value by a thousandth of its range, that more history
changes is shown: the indicator behind it had not settled.

The result is stored with the batch, and shown by every report of the same plan."""

BATCH = """\
Play recorded batches again: the strategies of the tradeplan on what was picked then, from the time on that it was
picked, over the minutes of that day: a recorded day's folder, the invented market of a simulated session, else the
market-data store. Each becomes a batch of its own, whose rows of algo_run name those that they repeat."""

LIST = """\
List the newest backtests and sessions with their days, symbols, figures and parameters, the newest first, then those
in the database of simulated sessions."""

EPILOG = """\
exit codes:
  0    all sessions were played
  2    something configured cannot work: nothing was played
  3    the outside world failed: data, database, disk
  4    a strategy raised; the results are shown and stored
  5    every order was refused, or the scanners picked nothing; a check can say nothing
  6    lookahead or warmup found something
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
    if options.word == "batch" and not (options.batches or options.batch_list):
        parser.error("name one or more batches; --batch-list lists the newest")
    from liualgotrader.cli.backtest_run import backtest

    options.command = [program, *arguments]
    return backtest(options, program)


def make_parser(program: str) -> argparse.ArgumentParser:
    """Return the parser of the program."""
    parser = parser_of(program, DESCRIPTION, EPILOG)
    words = parser.add_subparsers(dest="word", metavar="command")
    style: dict[str, Any] = {"epilog": EPILOG, "formatter_class": argparse.RawDescriptionHelpFormatter}
    span = words.add_parser("from", help="run over past sessions", description=FROM, allow_abbrev=False, **style)
    batch = words.add_parser(
        "batch", help="play recorded batches again", description=BATCH, allow_abbrev=False, **style
    )
    results = words.add_parser(
        "list", help="list batches with what they came to", description=LIST, allow_abbrev=False, **style
    )
    _list_options(results)
    _batch_options(batch)
    lookahead = words.add_parser(
        "lookahead", help="see whether strategies look ahead", description=LOOKAHEAD, allow_abbrev=False, **style
    )
    warmup = words.add_parser(
        "warmup",
        help="see whether decisions hang on how much history is loaded",
        description=WARMUP,
        allow_abbrev=False,
        **style,
    )
    lookahead.add_argument(
        "--every-bar",
        action="store_true",
        help="let what `signals` is given end at every bar (default at 10,000 a symbol)",
    )
    for word in (span, lookahead, warmup):
        _span_options(word, ("day", "minute", "second", "tick") if word is span else ("day", "minute"))
        data_options(word.add_argument_group("data"))
    for word in (span, lookahead, warmup, batch):
        account_options(word.add_argument_group("account"))
        output_options(word.add_argument_group("plan and output"), saves=word in (span, batch))
    return parser


def _list_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-n", "--limit", metavar="N", type=whole, default=30, help="so many of the newest (default 30)")
    kinds = ("BACKTEST", "SIMULATED", "PAPER", "PROD")
    parser.add_argument("--kind", choices=kinds, default="", help="only batches of this environment (default all)")
    parser.add_argument("--json", action="store_true", help="print the list as one JSON document, with all parameters")
    parser.add_argument("--home", metavar="DIR", help="the data folder (LIU_HOME)")
    parser.add_argument("--dsn", metavar="DSN", help="PostgreSQL to use (DSN)")


def _batch_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("batches", metavar="ID", nargs="*", help="a batch's id or the beginning of it")
    parser.add_argument(
        "-b", "--batch-list", action="store_true", help="list the last 30 batches, and as many simulated ones"
    )
    parser.add_argument("-s", "--strict", action="store_true", help="only symbols that were traded in the batch")
    parser.add_argument(
        "--symbol", metavar="SYMBOL", type=_symbol, action="append", default=[], help="this symbol instead of the picks"
    )
    parser.add_argument(
        "--duration", metavar="MINUTES", type=_minutes, help="how long each window of the schedules lasts"
    )
    parser.add_argument(
        "-d",
        "--debug",
        metavar="SYMBOL",
        type=_symbol,
        action="append",
        default=[],
        help="call run with debug=True for it",
    )
    parser.add_argument("--data", metavar="FOLDER", help="the minutes of the day, instead of where the batch had them")
    scale = "what of the day is played (default what the batch had, of a session its minutes)"
    parser.add_argument("--scale", choices=("day", "minute", "second", "tick"), help=scale)
    parser.add_argument(
        "--benchmark", metavar="SYMBOL", type=str.upper, default="", help="compared with (default: the first)"
    )
    parser.add_argument("--seed", metavar="N", type=whole, help=argparse.SUPPRESS)


def _span_options(parser: argparse.ArgumentParser, scales: Sequence[str]) -> None:
    scale = f"length of the bars{', or trades and quotes' if 'tick' in scales else ''} (default day)"
    parser.add_argument("first", metavar="DAY", nargs="+", help="the first day")
    parser.add_argument("--to", metavar="DAY", dest="last", default="today", help="the last day (default today)")
    parser.add_argument("--scale", choices=scales, default="day", help=scale)
    finer = "take what passes inside a bar while an order works from seconds or prints, where there are any"
    parser.add_argument("--detail", choices=("second", "tick"), default="", help=finer)
    parser.add_argument("--strats", metavar="A,B", type=names_of, default=(), help="only these of the strategies")
    parser.add_argument("--scanners", metavar="A,B", type=names_of, default=(), help="only these of the scanners")
    parser.add_argument(
        "--fresh-daily", action="store_true", help="make strategies anew for each session, as `trader` does"
    )
    parser.add_argument(
        "--asset",
        choices=("equity", "crypto"),
        default="equity",
        help="crypto: pairs like BTC/USD, each day of 24 hours in UTC (default equity)",
    )


def data_options(group: Any) -> None:
    """Add the options that say what is played."""
    group.add_argument("--data", metavar="FOLDER", help="recorded days, in a folder as `trader --data` takes it")
    group.add_argument(
        "--generated",
        metavar="N",
        nargs="?",
        type=whole,
        const=10,
        help="an invented market of N symbols (default 10)",
    )
    group.add_argument("--symbols", metavar="A,B", type=_symbols, default=(), help="only these (default all there are)")
    group.add_argument(
        "--benchmark", metavar="SYMBOL", type=str.upper, default="", help="compared with (default: the first)"
    )
    group.add_argument("--seed", metavar="N", type=whole, help="of everything random (LIU_SEED, default 0)")


def account_options(group: Any) -> None:
    """Add the options of account, fills and fees."""
    group.add_argument("--cash", metavar="$", type=partial(amount, least=0.01), help="at the start (default 100000)")
    group.add_argument("--fills", choices=FILLS, help="how orders are filled (default strict)")
    group.add_argument(
        "--fees", choices=("none", "regulatory", "commission", "all"), help="what an order costs (default none)"
    )
    group.add_argument("--fee-per-share", metavar="$", type=amount, default="0", help="on top of --fees (default 0)")
    borrow = "which shares can be borrowed, and at what cost (docs/simulated_market.md)"
    group.add_argument("--borrow", metavar="FILE", default="", help=borrow)
    latency = "market time to an order's effect, on ticks (default 1)"
    group.add_argument("--latency", metavar="MS", dest="latency_ms", type=amount, help=latency)
    slipped = "hundredths of a percent by which orders without a limit trade worse (default 0)"
    group.add_argument("--slippage-bps", metavar="X", type=partial(amount, most=1000), default="0", help=slipped)
    for side in ("buy", "sell"):
        text = f"of what is {'bought' if side == 'buy' else 'sold'}, 0 to 100, on top of --fees (default 0)"
        group.add_argument(
            f"--{side}-fee-percentage", metavar="X", type=partial(amount, most=100), default="0", help=text
        )


def output_options(group: Any, *, saves: bool = True) -> None:
    """Add the options of plan, record and output."""
    group.add_argument("--tradeplan", metavar="FILE", help="the tradeplan (default: tradeplan.toml in TRADEPLAN_DIR)")
    group.add_argument("--note", metavar="TEXT", default="", help="kept with the run, for `backtester list`")
    group.add_argument("--json", action="store_true", help="print the summary as one JSON document")
    where = "write an HTML report (default report-ID.html here)"
    group.add_argument("--report", metavar="FILE", nargs="?", const="", help=where)
    if saves:
        saved = "save the result, for `liu verify` on any machine"
        group.add_argument("--save", metavar="RESULT.zip", default="", help=saved)
    group.add_argument("--progress", action="store_true", help="print a line of JSON a session on standard error")
    group.add_argument("--no-database", action="store_true", help="store nothing")
    group.add_argument("--home", metavar="DIR", help="the data folder (LIU_HOME)")
    group.add_argument("--dsn", metavar="DSN", help="PostgreSQL to use (DSN)")


def names_of(text: str) -> tuple[str, ...]:
    """Return names that are separated by commas."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise argparse.ArgumentTypeError("name some, separated by commas")
    return names


def _symbols(text: str) -> tuple[str, ...]:
    return tuple(map(_symbol, names_of(text)))


def _symbol(text: str) -> str:
    from liualgotrader.common.events import SYMBOL_RULE, is_symbol

    symbol = text.upper()
    if not is_symbol(symbol):
        raise argparse.ArgumentTypeError(f"{symbol!r:.40} is not a symbol: {SYMBOL_RULE}")
    return symbol


def _minutes(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of minutes above 0")
    return int(text)


def whole(text: str) -> int:
    """Return a whole number of 0 or more."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of 0 or more")
    return int(text)
