"""`portfolio`: money set aside for strategies, made, listed, valued and booked anew."""

from __future__ import annotations

import argparse
import functools
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NoReturn

from liualgotrader.cli.common import amount, guarded, parser_of
from liualgotrader.common.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

DESCRIPTION = """\
Creates portfolios, and shows what is in them.

A portfolio is an amount of money with an account of its own. A strategy trades for it when its table in the
tradeplan says `portfolio_id = "…"`: every fill moves the account, exactly once.

  portfolio create 25000            an account with 25,000 US dollars
  portfolio create 25000 5000       which may go 5,000 below zero
  portfolio list
  portfolio equity ID               the positions, at the newest price
  portfolio account ID              what moved in the account
  portfolio trades ID               the executions
  portfolio recalc ID --yes         book the account anew, from the executions alone

The database is the one that DSN names, else the embedded one; simulated sessions keep their own (--simulated)."""
ASSETS = ("US_EQUITIES", "CRYPTO")


def main() -> NoReturn:
    """Run the program."""
    guarded("portfolio", run)


def run(arguments: Sequence[str], program: str = "portfolio") -> int:
    """Do what the command line says and return the exit status.

    Raises:
        LiuError: in one sentence.
    """
    parser = _parser(program)
    options = parser.parse_args(arguments)
    if options.word is None:
        parser.print_help()
        return 0
    import asyncio

    return asyncio.run(_with_database(options))


def _parser(program: str) -> argparse.ArgumentParser:
    parser = parser_of(program, DESCRIPTION)
    words = parser.add_subparsers(dest="word", metavar="command")
    create = words.add_parser("create", help="make a portfolio with an account, and print its id")
    some = functools.partial(amount, least=0.01)
    create.add_argument("account_size", type=some, help="US dollars to begin with")
    below = "US dollars that the account may lie below zero (default 0)"
    create.add_argument("credit_line", nargs="?", default="0", type=amount, help=below)
    create.add_argument("asset_type", nargs="?", default=ASSETS[0], type=str.upper, choices=ASSETS)
    commands = [create, words.add_parser("list", help="the portfolios that have not expired")]
    for name, (text, _) in SHOWN.items():
        commands.append(words.add_parser(name, help=text))
        commands[-1].add_argument("portfolio_id")
    again = "remove the account's movements and book its executions anew; this cannot be taken back"
    commands.append(words.add_parser("recalc", help=again, description=again))
    commands[-1].add_argument("portfolio_id")
    commands[-1].add_argument("--yes", action="store_true", help="do it without asking")
    for command in commands:
        command.add_argument("--dsn", help="PostgreSQL to use (DSN)")
        command.add_argument("--home", help="the data folder (LIU_HOME)")
        command.add_argument("--simulated", action="store_true", help="the database of simulated sessions")
        command.add_argument("--json", action="store_true", help="print JSON")
    return parser


async def _with_database(options: argparse.Namespace) -> int:
    """Do what is asked for, with the program's database open."""
    from liualgotrader.common import config
    from liualgotrader.models.connection import create_db_connection
    from liualgotrader.store.database import set_pool

    await create_db_connection(options.dsn, options.home, simulated=options.simulated)
    try:
        return await _COMMANDS.get(options.word, show)(options)
    except LookupError as error:
        raise ConfigError(f"{error.args[0]}: `portfolio list` shows those there are") from error
    finally:
        await config.db_conn_pool.close()
        set_pool(None)
        config.show_pool(None)


async def create(options: argparse.Namespace) -> int:
    """Make a portfolio and print its id."""
    from liualgotrader.models.portfolio import Portfolio

    size, credit = Decimal(options.account_size), Decimal(options.credit_line)
    portfolio_id = str(uuid.uuid4())
    await Portfolio.save(portfolio_id, size, credit, {}, options.asset_type)
    _document({"portfolio_id": portfolio_id}) if options.json else print(f"Portfolio ID {portfolio_id} created")
    return 0


async def list_portfolios(options: argparse.Namespace) -> int:
    """Print the portfolios, one row each."""
    from liualgotrader.models.portfolio import Portfolio

    found = await Portfolio.list_portfolios()
    header = {
        "portfolio_id": "Id",
        "tstamp": "Created",
        "last_transaction": "Last Used",
        "size": "Size",
        "balance": "Balance",
        "assets": "Asset Type",
        "parameters": "Parameters",
    }
    _table("Portfolio(s):", found, header, options)
    return 0


async def show(options: argparse.Namespace) -> int:
    """Print what a portfolio holds, moved or traded."""
    from liualgotrader.analytics import analysis
    from liualgotrader.models.accounts import Accounts
    from liualgotrader.models.portfolio import Portfolio

    portfolio = await Portfolio.load_by_portfolio_id(options.portfolio_id)
    if options.word == "equity":
        found = await analysis.get_portfolio_equity(portfolio.portfolio_id)
    elif options.word == "trades":
        found = await analysis.load_trades_by_portfolio(portfolio.portfolio_id)
        found = found.sort_values("client_time", kind="stable").assign(total=found["qty"] * found["price"])
    elif portfolio.account_id is None:
        raise ConfigError(f"portfolio {portfolio.portfolio_id} has no account")
    else:
        found = (await Accounts.get_transactions(portfolio.account_id)).reset_index()
    _table(options.word.capitalize(), found, SHOWN[options.word][1], options)
    if not options.json:
        print(f"Number of {_COUNTED[options.word]}: {len(found)}")
        if options.word == "account" and portfolio.account_id is not None:
            print(f"Balance: {await Accounts.get_balance(portfolio.account_id):,.2f} $")
    return 0


async def recalculate(options: argparse.Namespace) -> int:
    """Book a portfolio's account anew."""
    from liualgotrader.models.portfolio import Portfolio

    if not options.yes:
        asked = f"Remove every movement of portfolio {options.portfolio_id} and book its executions anew? [y/N] "
        from asyncio import to_thread

        answer = await to_thread(input, asked) if sys.stdin.isatty() else ""
        if answer.strip().lower() not in ("y", "yes"):
            raise ConfigError("nothing was changed: say --yes")
    removed, booked = await Portfolio.recalculate(options.portfolio_id)
    balance = await Portfolio.get_portfolio_account_balance(options.portfolio_id)
    if options.json:
        _document({"removed": removed, "booked": booked, "balance": balance})
    else:
        print(f"{removed} movements removed, {booked} executions booked; the balance is {balance:,.2f} $")
    return 0


_COMMANDS = {"create": create, "list": list_portfolios, "recalc": recalculate}
_COUNTED = {"equity": "stocks", "account": "transactions", "trades": "trades"}
SHOWN: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "equity": (
        "its positions at the newest price",
        {"symbol": "symbol", "qty": "qty", "price": "price ($)", "total": "total ($)", "priced_at": "price of (UTC)"},
    ),
    "account": ("what moved in its account", {"tstamp": "when (UTC)", "amount": "amount ($)"}),
    "trades": (
        "its executions",
        {
            "client_time": "when (UTC)",
            "symbol": "symbol",
            "operation": "op",
            "qty": "qty",
            "price": "price ($)",
            "total": "total ($)",
        },
    ),
}


def _table(title: str, frame: pd.DataFrame, header: Mapping[str, str], options: argparse.Namespace) -> None:
    """Print the columns of a frame that `header` names: as JSON by their own names, else as a table."""
    rows = [dict(zip(header, values, strict=True)) for values in frame[list(header)].itertuples(index=False)]
    if options.json:
        _document(rows)
        return
    from liualgotrader.cli.screen import screen_for

    cells = [[_CELL.get(name, _text)(value) for name, value in row.items()] for row in rows]
    screen_for().table(title, list(header.values()), cells)


def _text(value: Any) -> str:
    if value is None or str(value) == "NaT":
        return "-"
    return f"{value:%Y-%m-%d %H:%M:%S}" if hasattr(value, "tzinfo") else str(value)


def _dollars(value: Any) -> str:
    return f"{value:,.2f}"


_CELL: dict[str, Callable[[Any], str]] = dict.fromkeys(("size", "balance", "price", "total", "amount"), _dollars)
_CELL["qty"] = lambda shares: f"{shares:.10f}".rstrip("0").rstrip(".")


def _document(value: Any) -> None:
    import msgspec

    encoder = msgspec.json.Encoder(
        decimal_format="number", enc_hook=lambda other: None if str(other) == "NaT" else str(other)
    )
    print(encoder.encode(value).decode())
