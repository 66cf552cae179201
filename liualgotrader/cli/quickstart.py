"""`liu quickstart`: a strategy of the user's own, a session that it trades, and its backtest, offline."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from liualgotrader.cli import backtester, trader
from liualgotrader.cli.common import flush_output
from liualgotrader.cli.new import files_of, write
from liualgotrader.common.config import program_call
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.tradeplan import load_tradeplan

_MOST_SYMBOLS = 50
_HOUR = ("--from", "09:30", "--to", "10:30", "--speed", "max")
_MONTH = ("from", "2024-05-01", "--to", "2024-05-31", "--scale", "minute")

T = TypeVar("T")


def quickstart(options: argparse.Namespace) -> int:
    """Ask, write the strategy unless it is there, trade and backtest it; return the status of the step that failed.

    Raises:
        LiuError: in one sentence.
    """
    print("A strategy of yours trades an hour on an invented market, then a month of it. Enter takes the default.")
    folder = _answer("Folder for your files", "my_strategies", options.yes, _folder)
    name = _answer("Name of the strategy", "FirstStrategy", options.yes, lambda text: _named(text, folder))
    symbols = _answer(f"Symbols of the market (1 to {_MOST_SYMBOLS})", "5", options.yes, _symbols)
    strategy, plan = _written(name, folder)
    home = ("--home", options.home) if options.home else ()
    session = ("--simulate", "--tradeplan", str(plan), "--symbols", symbols, *_HOUR, *home)
    backtest = (*_MONTH, "--generated", symbols, "--tradeplan", str(plan), *home)
    for step, program, run, arguments in (
        ("1 of 2: an hour on the simulated market, through the real processes", "trader", trader.run, session),
        ("2 of 2: May 2024 of another invented market, in the backtester", "backtester", backtester.run, backtest),
    ):
        print(f"\n{step}\n$ {_typed(program, *arguments)}\n")
        flush_output()
        if status := run(arguments):
            print(f"\n{strategy} and {plan} stay as they are; `liu quickstart` goes on with them")
            return status
    print(
        f"\nNext:\n  change    {strategy} (when to buy and sell) or {plan} (its parameters, the scanner)\n"
        f"  trade     {_typed('trader', *session)}\n"
        f"  backtest  {_typed('backtester', *backtest)}\n"
        f"  test      {_typed('python', str(strategy.with_name(f'test_{strategy.name}')))}\n"
        f"  on paper  set APCA_API_KEY_ID and APCA_API_SECRET_KEY of a paper account, then {_typed('liu', 'doctor')}\n"
        f"            and {_typed('trader', '--tradeplan', str(plan))}\n"
        "Both markets were invented: gains on them say nothing about a strategy."
    )
    return 0


def _written(name: str, folder: str) -> tuple[Path, Path]:
    """Return the files of the strategy and its tradeplan, written unless the strategy is there with a tradeplan."""
    strategy, plan, _ = files_of("strategy", name, folder)
    if not strategy.exists():
        print(f"wrote {', '.join(map(str, write('strategy', name, folder)))}")
        return strategy, plan
    for there in (plan, Path(folder) / "tradeplan.toml"):
        table = load_tradeplan(there).strategies.get(name) if there.exists() else None
        if table is not None and Path(str(table.get("filename", ""))).resolve() == strategy.resolve():
            print(f"{strategy} and {there} are there already, and stay as they are")
            return strategy, there
    raise ConfigError(f"{strategy} is there already, but no tradeplan in {folder} names it: choose another name")


def _typed(program: str, *arguments: str) -> str:
    return f"{program_call(program)} {shlex.join(arguments)}"


def _answer(question: str, default: str, is_quiet: bool, checked: Callable[[str], T]) -> T:
    """Return the answer, asked again until it can be; empty is the default."""
    if is_quiet:
        return checked(default)
    while True:
        print(f"{question} [{default}]: ", end="", flush=True)
        if not (line := sys.stdin.readline()):
            print()
            raise ConfigError("nobody answers on the standard input: `liu quickstart --yes` takes every default")
        if not sys.stdin.isatty():
            print(line.strip())
        try:
            return checked(line.strip() or default)
        except ConfigError as error:
            print(f"  {error}")


def _folder(text: str) -> str:
    path = Path(text).expanduser()
    if path.exists() and not path.is_dir():
        raise ConfigError(f"{path} is a file, not a folder")
    return str(path)


def _named(text: str, folder: str) -> str:
    files_of("strategy", text, folder)
    return text


def _symbols(text: str) -> str:
    if not text.isdecimal() or not 1 <= int(text) <= _MOST_SYMBOLS:
        raise ConfigError(f"'{text}' is not a whole number from 1 to {_MOST_SYMBOLS}")
    return text
