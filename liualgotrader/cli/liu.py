"""`liu`: the database, new strategies, the kill switch, positions that differ, and money journals."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib import import_module

from liualgotrader.cli.common import guarded, parser_of
from liualgotrader.cli.data_arguments import add_data_commands
from liualgotrader.cli.trader_arguments import market_options

DESCRIPTION = """\
The tools beside `trader`.

  liu quickstart         the way in: a strategy of yours, a session that it trades, its backtest; offline, in a minute
  liu doctor             what is missing on this machine, account, database and configuration, and how to fix it
  liu db …               the embedded PostgreSQL: start, stop, status, psql, migrate, backup, restore
  liu new strategy NAME  write a strategy, a tradeplan and a test that runs it on the simulated market
  liu new scanner NAME   write a scanner, and a tradeplan that shows what it picks
  liu simulate           serve the simulated market alone, for any program that speaks Alpaca's or Polygon's protocol
  liu ui                 open the pages in a browser: days, trades and why, refused orders, calendar, backtests
  liu report BATCH       an HTML report of any batch or portfolio, one file that opens offline
  liu verify RESULT.zip  play a saved backtest again: it comes out the same, or the first difference is named
  liu data …             the market-data store: import, fetch, import-constituents, list, check, export
  liu kill-switch        cancel all our orders in a running session and let no entries through
  liu cancel ORDER       cancel one of our working orders in a running session
  liu positions …        adopt, flatten or ignore shares in which our books and the account differ
  liu journal show BATCH the money journal of a batch as a table: what was told and decided, record by record

`liu backtest`, `liu optimize`, `liu portfolio` and `liu mine` are the programs `backtester`, `optimizer`,
`portfolio` and `market_miner` under a name that no other program has; `liu create portfolio AMOUNT` is
`portfolio create`."""

QUICKSTART = """\
Write a first strategy, trade an hour with it on the simulated market and backtest it, all on this machine: no account, no
network. Three questions, each with a default. Files that are there stay as they are: say the same folder and name again
to play what you have changed. The exit status is that of the step that failed."""

DOCTOR = """\
Look at Python and its packages, the data folder and its disk, the database, the tradeplan here, keys and endpoints, and
what an earlier session left unfinished. Every line that is not well says what to do. Being offline, or without keys, is
no fault: sessions on the simulated market and backtests need neither. No order is sent and no table is
changed; the exit status is 0 if nothing is marked `no`, else 2."""

KILL_SWITCH = """\
Cancel all our orders in a running session and open nothing more on this account, in later sessions too, until
`trader resume`. Positions stay, and their strategies may still close them, unless --flatten closes them at once."""

CANCEL = """\
Ask the broker to cancel one of our orders, and say whether it did. What its strategy does then is the strategy's; a stop or
target that rests at the broker may be placed again."""

UI = """\
Serve the pages on this machine and open them in the browser, until Ctrl-C. They show all databases of the data folder, or
the one that DSN names. They write backtests that you start there, your notes, and with --operate what you ask of running
sessions: kill switch, stop, cancel, adopt or flatten."""

SIMULATE = """\
Serve the simulated market alone, until Ctrl-C, for any program that speaks Alpaca's or Polygon's protocol: it prints the variables and
the stream addresses that point the program at it."""

REPORT = """\
Write the tear sheet of a batch, simulated and live ones too, or of a portfolio as one HTML file that opens offline.
`backtester list` shows the batches, `portfolio list` the portfolios."""

POSITIONS = """\
A symbol in which the account holds more or less than our books say is set apart: nothing is opened in it,
and no more leaves it than there is, until you say what became of the difference. What the account holds at the
start of a session and no strategy of the plan left there is not ours, and never traded; the same words settle it.

  adopt    our books take it over: shares that are gone were sold (or bought back) at the newest price,
           shares that are more belong to the strategy that trades the symbol (or --strategy)
  flatten  the same, and what is there of it is closed at market
  ignore   it is not ours"""

JOURNAL_DESCRIPTION = """\
Prints what the order gateway was told during a batch, in the order it was written down, and below each record
what the order desk decided on it. Nothing is changed, and the batch may be running.

Records that changed nothing (ticks, prices, account figures, comparisons with the broker) are left out.
Of a damaged journal what can be read is printed, then the place of the damage; the exit status is 4."""

VERIFY = """\
Play a backtest that `backtester … --save RESULT.zip` has saved once more, and say whether it comes out the same: the
same orders, fills and values of the account to the last digit. If not, the first difference is named: a setting, a line
of a strategy's file, a symbol's bar and its price, an order.

Run it beside the tradeplan and the strategies' files that the result was made with: if they are what the result
carries, they are played. Without them nothing is run unless you say --run-its-code: then the Python files inside the
result run with all your rights, so read them first (`unzip -p RESULT.zip 'code/*'`).

Bars come from where they came from then: the invented market of the same seed, the market-data store, or a folder. A
copy of that folder in another place is named with --data."""

VERIFY_CODES = """\
exit codes:
  0    it comes out the same
  2    it cannot be verified: no result, damaged, of another version; its code may not run; its bars are not here
  3    the outside world failed: a file of the market-data store, the disk
  6    it differs: the first difference is named
  130  ended by Ctrl-C
"""

DATABASE_COMMANDS = {  # what each is given, and what it does
    "start": ("", "start the private PostgreSQL and let it run until `liu db stop`"),
    "stop": ("", "stop it, unless programs use it"),
    "status": ("", "say whether it runs, where, who uses it, and how large its databases are"),
    "psql": ("database", "open psql on a database; what follows is psql's own, such as -c 'select …'"),
    "migrate": (
        "database",
        "bring the tables of a database to this version, with or without the original's rows in them",
    ),
    "backup": ("file", "write all databases into one file"),
    "restore": ("file", "replace databases by those in the file: all of them, or none"),
}
_FORCED = {"stop": "stop it also while programs use it", "backup": "replace a file that is there"}
_AS_WRITTEN = argparse.RawDescriptionHelpFormatter
_PROGRAMS = {
    "backtest": "liualgotrader.cli.backtester",
    "mine": "liualgotrader.cli.market_miner",
    "optimize": "liualgotrader.cli.optimizer",
    "portfolio": "liualgotrader.cli.portfolios",
}


def main() -> None:
    """Run the program."""
    guarded("liu", run)


def run(arguments: Sequence[str]) -> int:
    """Do what the command line says and return the exit status.

    Raises:
        LiuError: in one sentence.
    """
    if arguments and arguments[0] in _PROGRAMS:
        return _program(*arguments)
    if list(arguments[:2]) == ["db", "psql"] and arguments[2:] not in (["--help"], ["-h"]):
        rest = list(arguments[2:])  # psql's own, but for the name of a database
        database = rest.pop(0) if rest and not rest[0].startswith("-") else ""
        options = argparse.Namespace(word="db", command="psql", database=database, arguments=rest)
    else:
        options = _parser().parse_args(arguments)
    if options.word == "db":
        from liualgotrader.cli.db import run_database_command
        from liualgotrader.common.config import Settings

        return run_database_command(options, Settings.resolve().home_path)
    if options.word is None:
        _parser().print_help()
        return 0
    if options.word == "create":
        known = [word for name in ("dsn", "home") if (value := getattr(options, name)) for word in (f"--{name}", value)]
        known += ["--simulated"] if options.simulated else []
        return _program("portfolio", "create", options.amount, options.credit, *known)
    if options.word in ("positions", "kill-switch", "cancel"):
        return _operate(options)
    return _tool(options)


def _tool(options: argparse.Namespace) -> int:
    if options.word == "quickstart":
        from liualgotrader.cli.quickstart import quickstart

        return quickstart(options)
    if options.word == "doctor":
        from liualgotrader.cli.doctor import doctor

        return doctor(options)
    if options.word == "new":
        from liualgotrader.cli.new import new

        return new(options.kind, options.name, options.folder)
    if options.word == "data":
        from liualgotrader.cli.data import run_data_command

        return run_data_command(options)
    if options.word == "report":
        from liualgotrader.cli.backtest_run import report_of_batch

        return report_of_batch(options)
    if options.word == "verify":
        from liualgotrader.cli.verify import verify

        return verify(options)
    if options.word == "ui":
        from liualgotrader.cli.ui import ui

        return ui(options)
    if options.word == "simulate":
        from liualgotrader.cli.simulate import simulate

        return simulate(options)
    from liualgotrader.cli.journal import show

    return show(options)


def _operate(options: argparse.Namespace) -> int:
    from liualgotrader.cli.operate import send_request
    from liualgotrader.common.config import Settings

    if options.word == "positions":
        symbol, strategy = options.symbol.upper(), options.strategy
        request = {"do": "positions", "how": options.how, "symbol": symbol, "strategy": strategy}
    elif options.word == "cancel":
        request = {"do": "cancel", "order": options.order}
    else:
        request = {"do": "kill_switch", "flatten": options.flatten, "whole_account": options.whole_account or ""}
    return send_request(Settings.resolve({"home": options.home}), request, options.batch)


def _program(word: str, *arguments: str) -> int:
    """Run a program that has a name of its own too."""
    status: int = import_module(_PROGRAMS[word]).run(arguments, f"liu {word}")
    return status


def _add_commands(words: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `liu db …` and `liu journal show`."""
    commands = words.add_parser("db", help="the embedded PostgreSQL").add_subparsers(
        dest="command", metavar="command", required=True
    )
    for name, (argument, text) in DATABASE_COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text)
        if argument:
            command.add_argument(argument, nargs="?" if argument == "database" else None, default="")
        if name in _FORCED:
            command.add_argument("--force", action="store_true", help=_FORCED[name])
    commands.choices["status"].add_argument("--json", action="store_true", help="one JSON document")
    commands.choices["migrate"].add_argument("--dsn", default="", help="PostgreSQL to use (DSN, if no name is given)")
    commands.choices["psql"].add_argument("arguments", nargs="*")
    show = (
        words.add_parser("journal", help="show the money journal of a batch")
        .add_subparsers(dest="command", metavar="command", required=True)
        .add_parser("show", help="print it as a table", description=JOURNAL_DESCRIPTION, formatter_class=_AS_WRITTEN)
    )
    show.add_argument("batch", help="the batch's id or the beginning of it, or a journal file")
    show.add_argument("--order", default="", metavar="ID", help="only this order, and what replaces it")
    show.add_argument("--json", action="store_true", help="one JSON object a line")
    show.add_argument("--home", help="the data folder (LIU_HOME)")


def _add_beginnings(words: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `liu quickstart`, `liu doctor` and `liu new`."""
    start = words.add_parser("quickstart", help="your first strategy, traded and backtested", description=QUICKSTART)
    start.add_argument("--yes", action="store_true", help="ask nothing: take every default")
    doctor = words.add_parser("doctor", help="say what is missing, and how to fix it", description=DOCTOR)
    doctor.add_argument("--json", action="store_true", help="print what was found as one JSON document")
    doctor.add_argument("--tradeplan", metavar="FILE", help="the tradeplan (default: tradeplan.toml in TRADEPLAN_DIR)")
    doctor.add_argument("--dsn", help="PostgreSQL to use (DSN)")
    for command in (start, doctor):
        command.add_argument("--home", help="the data folder (LIU_HOME)")
    new = words.add_parser("new", help="write a new strategy with its test, or a new scanner")
    new.add_argument("kind", choices=["strategy", "scanner"])
    new.add_argument("name", help="the class's name, for example OpeningBreakout")
    new.add_argument("--folder", default=".", help="where to write it (default: here)")


def _add_requests(words: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add what running sessions are asked for."""
    switch = words.add_parser("kill-switch", help="cancel all our orders and stop entries", description=KILL_SWITCH)
    switch.add_argument("--flatten", action="store_true", help="also close our positions at market")
    whole = "act on everything in the account; its last four digits"
    switch.add_argument("--whole-account", metavar="LAST4", help=whole)
    settle = "settle a difference between our books and the account"
    positions = words.add_parser("positions", help=settle, description=POSITIONS, formatter_class=_AS_WRITTEN)
    positions.add_argument("how", choices=("adopt", "flatten", "ignore"))
    positions.add_argument("symbol")
    positions.add_argument("--strategy", default="", help="who takes the shares over, if several strategies could")
    cancel = words.add_parser("cancel", help="cancel one of our working orders", description=CANCEL)
    cancel.add_argument("order", metavar="ORDER", help="its id: `trader status --orders` shows it")
    for command in (switch, positions, cancel):
        command.add_argument("--batch", default="", help="the session, if several are running")
        command.add_argument("--home", help="the data folder (LIU_HOME)")


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("liu", DESCRIPTION)
    words = parser.add_subparsers(dest="word", metavar="command")
    _add_commands(words)
    _add_beginnings(words)
    add_data_commands(words)
    _add_requests(words)
    market = words.add_parser("simulate", help="serve the simulated market alone", description=SIMULATE)
    market_options(market)
    market.add_argument("--seed", type=int, default=0, help="of the generated market (default 0)")
    market.set_defaults(speed=1.0)
    report = words.add_parser("report", help="write an HTML report of a batch or a portfolio", description=REPORT)
    report.add_argument("batch", metavar="BATCH", help="the id of a batch or a portfolio, or the beginning of it")
    other = "lay others beside it, session by session: a backtest beside the live session of the same strategy"
    report.add_argument("--beside", nargs="+", action="extend", metavar="BATCH", default=[], help=other)
    report.add_argument(
        "--benchmark", metavar="SYMBOL", default="", help="(default the one that a backtest was played with)"
    )
    report.add_argument("--output", metavar="FILE", default="", help="(default report-ID.html here)")
    made = words.add_parser("create", help="make a portfolio: what `portfolio create` does")
    made = made.add_subparsers(dest="what", metavar="what", required=True).add_parser("portfolio")
    made.add_argument("amount", help="US dollars to begin with")
    made.add_argument("--credit", default="0", help="US dollars that its account may lie below zero (default 0)")
    made.add_argument("--simulated", action="store_true", help="in the database of simulated sessions")
    for command in (report, made):
        command.add_argument("--home", help="the data folder (LIU_HOME)")
        command.add_argument("--dsn", help="PostgreSQL to use (DSN)")
    check = words.add_parser(
        "verify",
        help="play a saved backtest again",
        description=VERIFY,
        epilog=VERIFY_CODES,
        formatter_class=_AS_WRITTEN,
    )
    check.add_argument("result", metavar="RESULT.zip", help="a file that `backtester … --save` wrote")
    consent = "run the Python files that it carries, with all your rights: read them first"
    check.add_argument("--run-its-code", action="store_true", help=consent)
    check.add_argument(
        "--tradeplan", metavar="FILE", help="the tradeplan to compare it with (default: as `backtester`)"
    )
    check.add_argument("--data", metavar="FOLDER", default="", help="a copy of the folder that its bars came from")
    check.add_argument("--json", action="store_true", help="print what was found as one JSON document")
    check.add_argument("--home", metavar="DIR", help="the data folder (LIU_HOME)")
    words.add_parser("backtest", help="run a tradeplan over past sessions: what `backtester` does")
    words.add_parser("mine", help="run the jobs of miner.toml: what `market_miner` does")
    words.add_parser("portfolio", help="create, list and value portfolios: what `portfolio` does")
    words.add_parser("optimize", help="rank combinations of parameters: what `optimizer` does")
    pages = words.add_parser("ui", help="open the pages in a browser: days, trades, backtests", description=UI)
    pages.add_argument(
        "--host", default="127.0.0.1", help="(default this machine only; whoever reaches it sees all results)"
    )
    pages.add_argument("--port", type=int, default=8501, help="(default 8501)")
    pages.add_argument(
        "--operate", action="store_true", help="with a page that stops, cancels and closes in running sessions"
    )
    anywhere = "with --operate and a --host that other machines reach: whoever reaches it may trade, without a password"
    pages.add_argument("--operate-from-anywhere", action="store_true", help=anywhere)
    pages.add_argument("--no-browser", action="store_true", help="do not open a browser")
    return parser
