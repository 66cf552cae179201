"""`market_miner`: the jobs of miner.toml."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from liualgotrader.cli.common import guarded, parser_of

DESCRIPTION = """\
Runs the miners of miner.toml one after the other, in the order of the file. Each fills tables that strategies,
scanners and notebooks read.

  [miners.StockCluster]   ticker_data: what companies are and do (Polygon, or a CSV file)
  [miners.DailyOHLC]      stock_ohlc: daily bars with indicators
  [miners.gainloss]       gain_loss and trade_analysis of the last days, worked out again
  [miners.portfolio]      a portfolio picked by momentum, sized by risk

Any other table names a class and, with `filename`, the file that holds it. docs/miners.md describes their keys.
What a miner has written stays: run it again, and it goes on where it was cut off. A miner that fails ends the
program, with 3; those after it are not run."""


def main() -> NoReturn:
    """Run the program."""
    guarded("market_miner", run)


def run(arguments: Sequence[str], program: str = "market_miner") -> int:
    """Do what the command line says and return the exit status.

    Raises:
        LiuError: in one sentence.
    """
    options = _parser(program).parse_args(arguments)
    from liualgotrader.common.config import Settings
    from liualgotrader.supervisor.mining import MiningRequest, mine, read_miners

    settings = Settings.resolve({"home": options.home, "dsn": options.dsn})
    request = MiningRequest(
        file=Path(options.file).expanduser(),
        only=tuple(options.only),
        data=str(Path(options.data).expanduser()) if options.data else "",
        generated=options.generated,
        seed=options.seed,
        simulated=options.simulated,
        dsn_given=bool(options.dsn),
        dry_run=options.dry_run,
    )
    if options.list:
        kinds = {name: type(miner) for name, miner in read_miners(request.file, request.only).items()}
        does = {name: (kind.__doc__ or kind.__name__).splitlines()[0] for name, kind in kinds.items()}
        if options.json:
            print(json.dumps([{"name": name, "does": text} for name, text in does.items()]))
        else:
            print("\n".join(f"{name}: {text}" for name, text in does.items()))
        return 0
    import asyncio

    from rich.progress import Progress

    with Progress(transient=True, disable=options.dry_run) as bar:
        task = bar.add_task("", total=None)
        say = bar.console.print if bar.console.is_terminal else print
        asyncio.run(mine(settings, request, say, lambda done, total: bar.update(task, completed=done, total=total)))
    if not options.dry_run:
        print("*** market_miner completed ***")
    return 0


def _parser(program: str) -> argparse.ArgumentParser:
    parser = parser_of(program, DESCRIPTION)
    add = parser.add_argument
    add("--file", default="miner.toml", help="the miners (default: miner.toml here)")
    add("--only", action="append", default=[], metavar="NAME", help="only this table; may be said several times")
    add("--list", action="store_true", help="say what the miners of the file are, and run none")
    add("--dry-run", action="store_true", help="say of which symbols, rows and days each would be, and write nothing")
    add("--json", action="store_true", help="with --list: one JSON document")
    markets = parser.add_mutually_exclusive_group()
    markets.add_argument("--data", metavar="FOLDER", help="daily bars from a folder, instead of the configured vendor")
    markets.add_argument("--generated", type=int, metavar="N", help="daily bars of an invented market of N symbols")
    add("--seed", type=int, default=0, help="of the invented market (default 0)")
    add("--dsn", help="PostgreSQL to use (DSN)")
    add("--home", help="the data folder (LIU_HOME)")
    add("--simulated", action="store_true", help="the database of simulated sessions")
    return parser
