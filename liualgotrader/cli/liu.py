"""`liu`: the database, new strategies, the kill switch, and positions that differ."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from liualgotrader.cli.common import guarded, parser_of
from liualgotrader.cli.positions import add_positions
from liualgotrader.common.config import Settings

DESCRIPTION = """\
The tools beside `trader`.

  liu db …               the embedded PostgreSQL: start, stop, status, psql, migrate, backup, restore
  liu new strategy NAME  write a strategy, a tradeplan and a test that runs it on the simulated market
  liu kill-switch        cancel all our orders in a running session and let no entries through
  liu positions …        adopt, flatten or ignore shares in which our books and the account differ

`liu ui`, `liu quickstart` and `liu create portfolio` are not built yet and end with 2."""

_TO_COME = ("ui", "quickstart", "create")


def main() -> None:
    """Run the program."""
    guarded("liu", run)


def run(arguments: Sequence[str]) -> int:
    """Do what the command line says and return the exit status.

    Raises:
        LiuError: in one sentence.
    """
    if arguments[:1] == ["db"]:
        from liualgotrader.models.server_commands import run_db_command

        return run_db_command(list(arguments[1:]), Settings.resolve().home_path)
    options = _parser().parse_args(arguments)
    if options.word is None:
        _parser().print_help()
        return 0
    if options.word in _TO_COME:
        print(f"liu {options.word}: this is not built yet; `liu --help` says what is", file=sys.stderr)
        return 2
    if options.word == "new":
        from liualgotrader.cli.new_strategy import new_strategy

        return new_strategy(options.name, options.folder)
    if options.word == "positions":
        from liualgotrader.cli.positions import settle

        return settle(options)
    return _kill_switch(options)


def _kill_switch(options: argparse.Namespace) -> int:
    from liualgotrader.cli.operate import order

    request = {"do": "kill_switch", "flatten": options.flatten, "whole_account": options.whole_account or ""}
    return order(Settings.resolve({"home": options.home}), request, options.batch)


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("liu", DESCRIPTION)
    words = parser.add_subparsers(dest="word", metavar="word")
    words.add_parser("db", help="the embedded PostgreSQL; `liu db` lists its commands", add_help=False)
    new = words.add_parser("new", help="write a new strategy with its test")
    new.add_argument("kind", choices=["strategy"])
    new.add_argument("name", help="the class's name, for example OpeningBreakout")
    new.add_argument("--folder", default=".", help="where to write it (default: here)")
    switch = words.add_parser("kill-switch", help="cancel all our orders and stop entries; `trader resume` lifts it")
    switch.add_argument("--flatten", action="store_true", help="also close our positions at market")
    switch.add_argument(
        "--whole-account", metavar="LAST4", help="act on everything in the account; its last four digits"
    )
    switch.add_argument("--batch", default="", help="the session, if several are running")
    switch.add_argument("--home", help="the data folder (LIU_HOME)")
    add_positions(words)
    for word in _TO_COME:
        later = words.add_parser(word, help="not built yet")
        later.add_argument("rest", nargs="*", help=argparse.SUPPRESS)
    return parser
