"""The command line of `liu data`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import date

DESCRIPTIONS = {
    "import": """\
Reads the bars, trades, quotes, splits and dividends of a folder into the market-data store: Lean's layout, or the CSV and
Parquet files of docs/market_data_files.md. What the folder has of a day replaces what was stored of that day.

  liu data import ~/lean/Data/equity/usa --symbols SPY,AAPL --period minute --from 2020-01-02""",
    "fetch": """\
Asks the configured data vendor for daily or minute bars, and for splits and dividends, whatever the store lacks of them.
Days that are not over yet are left out.

  liu data fetch SPY,AAPL --from 2020-01-02 --to 2023-12-29 --period minute""",
    "import-constituents": """\
Keeps which symbols an index held when, for `sp500_historical_constituents` and miners. The CSV file has the columns
`date,tickers` (all symbols from that day on), or `symbol,from,to` (to: the first day out, empty for a member of today).

  liu data import-constituents sp500_history.csv""",
    "list": """\
Shows what the store holds.

  liu data list --symbols SPY""",
    "check": """\
Looks for what is wrong: sessions without bars and long holes, crossed quotes, zero prices, times out of order or twice,
highs below lows, closes outside the bar, jumps as over a split that is not known, and damaged files. The exit status is
3 if something is.

  liu data check --symbols SPY,AAPL""",
    "export": """\
Writes what the store holds, at raw prices, as files that `liu data import` reads.

  liu data export backup --symbols SPY --period minute --format parquet""",
}
PERIODS = ("tick", "second", "minute", "hour", "day")


def add_data_commands(words: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `liu data …` to the command line."""
    commands = words.add_parser(
        "data", help="the market-data store: import, fetch, import-constituents, list, check, export"
    ).add_subparsers(dest="command", metavar="command", required=True)
    for name, text in DESCRIPTIONS.items():
        parser = commands.add_parser(
            name,
            help=text.split(":")[0].splitlines()[0],
            description=text,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if name == "import-constituents":
            parser.add_argument("file", help="the CSV file")
            parser.add_argument("--index", default="SP500", choices=("SP500",), help="the index (default SP500)")
            parser.add_argument("--home", help="the data folder (LIU_HOME)")
            continue
        if name in ("import", "export"):
            parser.add_argument("folder", help="the folder to read" if name == "import" else "a new folder to write")
        if name == "fetch":
            parser.add_argument("symbols", help="symbols with commas between them")
        else:
            parser.add_argument("--symbols", default="", metavar="A,B", help="only these")
        if name in ("import", "fetch", "export"):
            needed = name == "fetch"
            parser.add_argument(
                "--from",
                dest="first",
                type=_day,
                required=needed,
                metavar="DAY",
                help="the first day",
            )
            parser.add_argument("--to", dest="last", type=_day, required=needed, metavar="DAY", help="the last day")
        periods = ("minute", "day") if name == "fetch" else PERIODS
        what = "(default day)" if name == "fetch" else "(default all of them)"
        parser.add_argument("--period", choices=periods, default="day" if name == "fetch" else "", help=what)
        if name == "export":
            parser.add_argument("--format", choices=("csv", "parquet"), default="csv", help="default csv")
        if name in ("list", "check"):
            parser.add_argument("--json", action="store_true", help="one JSON object a line")
        parser.add_argument("--home", help="the data folder (LIU_HOME)")


def _day(text: str) -> date:
    from datetime import date

    from liualgotrader.common.calendar import FIRST_DAY, LAST_DAY

    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a day as YYYY-MM-DD") from None
    if not FIRST_DAY <= day <= LAST_DAY:
        raise argparse.ArgumentTypeError(f"{day} is not between {FIRST_DAY} and {LAST_DAY}")
    return day
