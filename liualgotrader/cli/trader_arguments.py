"""The command line of `trader`, and the settings, tradeplan and request that it comes to."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from liualgotrader.cli.common import FILLS, Parser, parser_of
from liualgotrader.common.errors import ConfigError

if TYPE_CHECKING:
    from liualgotrader.common.config import Settings
    from liualgotrader.common.tradeplan import TradePlan
    from liualgotrader.supervisor.request import TraderRequest


DESCRIPTION = """\
Trade a session with the scanners and strategies of a tradeplan, through real processes, into PostgreSQL.

Without a command it runs a session: on the paper account whose keys stand in APCA_API_KEY_ID and
APCA_API_SECRET_KEY (or ALPACA_API_KEY and ALPACA_SECRET_KEY), or with --simulate on a simulated market on
this machine, which needs no account and reaches nothing outside. Real money needs its endpoint and --live,
and a tradeplan that has traded before."""

EPILOG = """\
commands:
  run      run a session (the default)
  status   show the sessions that are running, or wait for the open
  stop     end a running session in order (--flatten closes DAY_TRADE positions first), or --strategy NAME alone
  resume   let entries go on after the kill switch or a stop by the day's loss

settings come from the command line, else the environment, else the tradeplan, else a default:
`trader --show-config` prints each with its source.

exit codes:
  0    the session ended as it should; also in order before its time: after `trader stop`, SIGTERM, and SIGHUP
       (a closed terminal); positions are treated as after Ctrl-C
  2    something configured cannot work: nothing was started, or no strategy could run
  3    the outside world failed: broker, data, database, disk, simulated market
  4    money needs a person to look, or every strategy was stopped before its time
  5    the session ran to its end, but no scanner did, or every order was refused
  130  ended in order by Ctrl-C; SWING positions are kept, DAY_TRADE positions are kept and listed unless
       --flatten is given; a second Ctrl-C kills everything, and the next `trader` takes the batch up again
"""

_LEAST_QUANTUM = 0.001  # seconds of market time
SETTINGS_STATED = ("tradeplan", "home", "dsn", "consumers", "seed", "fills", "fees", "latency_ms", "full_size")
WORDS = ("run", "status", "stop", "resume")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the parsed command line; ends the program with 2 and a sentence if it makes no sense.

    Raises:
        ConfigError: if what a session is to do makes no sense together.
    """
    options = _parser().parse_args(arguments)
    given = [word.partition("=")[0] for word in arguments]
    if options.json and not (options.word == "status" or options.check or options.show_config):
        raise ConfigError("--json goes with status, --check and --show-config: a session prints no document")
    if options.word != "run":
        return options
    if not options.simulate:
        market = Parser(add_help=False)
        market_options(market)
        if useless := [word for word in given if word == "--keep" or word in market._option_string_actions]:
            raise ConfigError(f"{useless[0]} is an option of the simulated market; add --simulate")
    elif options.live or options.full_size:
        raise ConfigError(f"{'--live' if options.live else '--full-size'} and --simulate exclude each other")
    elif "--data" in given and "--date" not in given:
        raise ConfigError("--data needs --date, the recorded day to play")
    return options


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("trader", DESCRIPTION, EPILOG)
    add = parser.add_argument
    add(
        "word",
        nargs="?",
        choices=WORDS,
        default="run",
        metavar="command",
        help="run (default), status, stop or resume, see below",
    )
    add("--check", action="store_true", help="load and check everything, say what would run, exit 0 or 2")
    add("--batch", metavar="ID", default="", help="with stop and resume: the session, if several are running")
    add("--strategy", metavar="NAME", default="", help="with stop: only this strategy; the session goes on")
    add("--orders", action="store_true", help="with status: the newest orders of each session, and their fills")
    add("--show-config", action="store_true", help="print every setting with its source and exit")
    add("--json", action="store_true", help="with status, --check and --show-config: one JSON document")
    flag = partial(parser.add_argument_group("session").add_argument, action="store_true")
    flag("--simulate", help="trade on a simulated market on this machine")
    flag("--verbose", help="show each order and fill in a line")
    flag("--shadow", help="decide everything, send no order")
    flag("--live", help="trade real money")
    flag(
        "--full-size",
        default=None,
        help="with --live: take a plan's limits whole in its first session, not a tenth of them",
    )
    flag("--flatten", help="at Ctrl-C or stop close DAY_TRADE positions first; with --strategy all of that strategy")
    flag("--new", help="begin a new batch even if an unfinished one could be resumed")
    flag("--wait", help="on a day without a session, or after the close, wait for the next one")
    flag("--keep", help="keep simulated market and database after the session")
    market_options(parser.add_argument_group("simulated market (with --simulate)"))
    add = parser.add_argument_group("settings").add_argument
    add("--tradeplan", metavar="FILE", help="the tradeplan (default: tradeplan.toml in TRADEPLAN_DIR)")
    add("--home", metavar="DIR", help="the data folder (LIU_HOME)")
    add("--dsn", metavar="DSN", help="PostgreSQL to use (DSN; not read with --simulate unless given here)")
    add("--consumers", metavar="N", type=_whole, help="consumer processes (NUM_CONSUMERS)")
    add("--seed", metavar="N", type=_whole, help="seed of everything random (LIU_SEED, default 0)")
    return parser


def market_options(group: Any) -> None:
    """Add the options that say what the simulated market plays and how; the result has only those that were given."""
    add = partial(group.add_argument, default=argparse.SUPPRESS)
    add("--data", metavar="DIR", help="play a recorded day from this folder instead of a generated one")
    add("--date", metavar="YYYY-MM-DD", dest="day", type=_day, help="the day to play (generated: 2024-06-03)")
    add("--from", metavar="HH:MM", dest="window_from", help="begin here (New York) as if it were the open")
    add(
        "--to",
        metavar="HH:MM|DAY",
        dest="window_to",
        type=lambda text: _day(text) if "-" in text else text,
        help="end here as if it were the close; or the last day to play: the sessions follow each other on one account",
    )
    add("--state", metavar="DIR", help="trade on the account that this folder keeps, from day to day")
    speed, latency = partial(_number, zero="max"), partial(_number, zero="0")
    add(
        "--speed",
        metavar="N|max",
        type=speed,
        help="so many market seconds in a real one at most (default max; `liu simulate`: 1)",
    )
    add(
        "--quantum",
        metavar="SECONDS",
        dest="quantum_seconds",
        type=partial(_number, least=_LEAST_QUANTUM),
        help="market time between two looks (default 0.1, at least 0.001)",
    )
    add("--free-run", action="store_true", help="do not wait for the stack (overload tests)")
    add("--symbols", metavar="A,B|N", type=_symbols, help="only these symbols, or so many generated ones")
    add("--fills", choices=FILLS, help="how orders are filled (default strict)")
    add("--fees", choices=("none", "regulatory", "commission", "all"), help="what an order costs (default none)")
    latency_help = "market time to an order's effect (default 1)"
    add("--latency", metavar="MS", dest="latency_ms", type=latency, help=latency_help)
    add("--borrow", metavar="FILE", help="which shares can be borrowed, and at what cost (docs/simulated_market.md)")
    add("--faults", metavar="FILE", help="a script of what goes wrong and when (docs/simulated_market.md)")
    add("--port", metavar="N", type=_whole, help="serve the simulated market here (default: any free port)")


def _day(text: str) -> str:
    import datetime as dt

    try:
        return dt.date.fromisoformat(text).isoformat()
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a date like 2013-10-07") from None


def _number(text: str, *, zero: str = "", least: float = 0.0) -> float:
    """Return a number above 0 and not below `least`; the word `zero` stands for 0."""
    if zero and text == zero:
        return 0.0
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' is not a number above 0")
    if value < least:
        raise argparse.ArgumentTypeError(f"'{text}' is less than {least:g} seconds")
    return value


def _whole(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of 0 or more")
    return int(text)


def _symbols(text: str) -> tuple[str, ...] | int:
    from liualgotrader.common.events import SYMBOL_RULE, is_symbol

    if text.isdecimal() and int(text) > 0:
        return int(text)
    symbols = tuple(s.strip().upper() for s in text.split(",") if s.strip())
    if not symbols:
        raise argparse.ArgumentTypeError("name symbols, separated by commas, or how many")
    for symbol in symbols:
        if not is_symbol(symbol):
            raise argparse.ArgumentTypeError(f"{symbol!r:.40} is not a symbol: {SYMBOL_RULE}")
    return symbols


def configured(stated: Mapping[str, Any], *, of_session: bool = False) -> tuple[Settings, TradePlan]:
    """Return the settings and the tradeplan that they name; that of a session may leave its strategies to the database.

    Raises:
        ConfigError: naming what cannot be meant.
    """
    from liualgotrader.common.config import Settings
    from liualgotrader.common.tradeplan import parse_tradeplan, read_tradeplan

    path = Settings.resolve(stated).tradeplan_path
    table = read_tradeplan(path)
    tradeplan = parse_tradeplan(table, path, of_session=of_session)
    return Settings.resolve(stated, tradeplan=table), tradeplan


def request_from(options: argparse.Namespace) -> TraderRequest:
    """Return the session's request that the command line makes, or what it says of the simulated market alone."""
    from liualgotrader.supervisor.request import TraderRequest

    given = {name: value for name, value in vars(options).items() if name in TraderRequest.__struct_fields__}
    if isinstance(given.get("symbols"), int):
        given["symbol_count"] = given.pop("symbols")
    for name in ("state", "faults", "borrow"):
        if given.get(name):
            given[name] = str(Path(given[name]).expanduser().absolute())
    return TraderRequest(**given, dsn_given=bool(getattr(options, "dsn", "")))
