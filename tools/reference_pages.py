"""The generated pages: `python -m tools.reference_pages` writes `tradeplan.md`, `defaults.md` and `commands.md` into `docs`.

They list every key of a tradeplan and every environment variable with meaning, unit, clock, default and reason, and every
option of every program.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from liualgotrader.cli import backtester, liu, market_miner, optimizer, portfolios, trader_arguments
from liualgotrader.common.config import OPTIONS, Settings
from liualgotrader.common.secret import Secret
from liualgotrader.common.tradeplan import Limits, Simulation, Timings, TradePlan


class Why(NamedTuple):
    """What a number counts, which clock it runs by (if it is a duration), and why it is what it is."""

    unit: str
    reason: str
    clock: str = ""


TIMINGS: Mapping[str, Why] = {
    "stale_after_seconds": Why(
        "seconds", "older market data is no ground to act on; bars still enter history", "machine"
    ),
    "intent_valid_seconds": Why("seconds", "an entry decided so long ago was decided about another market", "machine"),
    "exit_valid_seconds": Why("seconds", "getting out late is better than not getting out", "machine"),
    "run_all_seconds": Why("seconds", "the original's documented minute", "market"),
    "order_lifetime_seconds": Why("seconds", "the original cancels an order of `run` after a minute", "market"),
    "strategy_answer_seconds": Why(
        "seconds", "a strategy that computes so long stops all others of its consumer", "machine"
    ),
    "strategy_fetch_seconds": Why(
        "seconds",
        "what one call may take in all for questions of its own to the data vendor; everybody else waits meanwhile, so"
        " each is asked once; never more than four fifths of `strategy_answer_seconds`",
        "machine",
    ),
    "scanner_answer_seconds": Why("seconds", "a scan of the whole market by REST may take half a minute", "machine"),
    "broker_timeout_seconds": Why("seconds", "no answer by then: the order is asked for by its id", "machine"),
    "reconcile_seconds": Why("seconds", "a difference to the broker's books is found within a minute", "market"),
    "database_outage_seconds": Why("seconds", "entries stop when the record is away so long; exits go on", "machine"),
    "feed_mute_seconds": Why(
        "seconds",
        "a connection that has brought no market data for so long, in market hours and by the market's clock too, is"
        " made anew; the limit grows to four times the longest silence between data so far, so that illiquid symbols"
        " raise no alarm, and is twenty times as long, shared by the symbols, until twenty seconds with data were heard",
        "machine",
    ),
    "unpick_minutes": Why(
        "minutes",
        "a symbol that no scanner picks any more, and that nobody holds or has on order, makes room for others; "
        "the picks of a scanner without `recurrence` last all day",
        "market",
    ),
    "history_sessions": Why("sessions", "yesterday and the day before: what a day trader compares with"),
}
LIMITS: Mapping[str, Why] = {
    "order_equity_fraction": Why("of equity", "one order cannot sink the account"),
    "order_dollars": Why("US dollars", "a slip of the decimal point stays affordable"),
    "position_equity_fraction": Why("of equity", "five equal positions fill the account"),
    "gross_equity_fraction": Why("of equity", "no borrowed money unless somebody asks for it"),
    "short_equity_fraction": Why("of equity", "a short position can lose more than it brought"),
    "daily_loss_stop_fraction": Why("of equity", "a bad day takes no new positions"),
    "daily_loss_flatten_fraction": Why("of equity", "a very bad day ends"),
    "orders_per_minute": Why("orders", "a runaway strategy is slower than the broker's own limit of 200", "market"),
    "open_orders": Why("orders", "more than anybody can look at"),
    "collar_fraction": Why("of the newest price", "an order far from the market is a mistake"),
    "quote_age_seconds": Why("seconds", "an entry needs a price of now; 0 switches it off", "market"),
    "max_symbols": Why("symbols", "what two consumers follow with ease; newest picks lose"),
}
SIMULATION: Mapping[str, Why] = {
    "fills": Why("", "the most honest one: displayed size, a queue, prints that go through"),
    "fees": Why("", "the vendor charges nothing on paper"),
    "latency_ms": Why("milliseconds", "an order that acts at once would trade on what nobody else could", "market"),
}
PLAN: Mapping[str, Why] = {
    "portfolio_value": Why("US dollars", "None: the account's equity is handed to strategies"),
    "risk": Why("of the portfolio", "the original's fraction at risk per position"),
    "file_only": Why("", "trade plans in the database run too, as in the original; true: the file alone counts"),
    "market_liquidation_end_time_minutes": Why(
        "minutes before the close", "time to close DAY_TRADE positions", "market"
    ),
    "bypass_market_schedule": Why(
        "", "true: windows are always open, nothing waits for the open, and day trades are not closed before the close"
    ),
    "skip_existing": Why("", "true: positions of earlier batches are not taken up"),
    "test_scanners": Why("", "true: only the scanners run"),
    "events": Why("kinds", "everything the feed has, as documented"),
    "consumers": Why("processes", "0: min(4, cores - 1), at least 1"),
    "seed": Why("", "None: 0, or LIU_SEED"),
    "real_frames": Why("", "false: frames build only the columns touched, which is faster"),
    "keep_picks": Why("", "true: symbols are never let go, as in the original"),
    "link": Why("", "survives kill -9 of either end; `queue` where the system has no SEQPACKET"),
    "protection": Why("", "empty: `broker` for real money, `local` everywhere else"),
}


class Key(NamedTuple):
    """A key whose default stands in no type: what it may be, and what it means."""

    kind: str
    meaning: str
    default: str = "required"


MEANINGS: Mapping[str, str] = {
    "portfolio_value": "handed to strategies as `portfolio_value` instead of the account's equity",
    "risk": "`config.risk`: what strategies of the original put at risk per position",
    "file_only": "run the strategies of this file only, none of the table `trade_plan`",
    "market_liquidation_end_time_minutes": "so long before the close DAY_TRADE positions are closed and nothing is opened",
    "bypass_market_schedule": "trade outside market hours: windows are always open, nothing is closed before the close; a recorded day may be one on which the exchange was shut",
    "skip_existing": "leave alone what earlier sessions left open",
    "test_scanners": "run the scanners only, show what they pick, trade nothing",
    "events": "which events call `run`: `second`, `minute`, `trade`, `quote`; may also stand inside `[scanners]`",
    "gcp_monitor_measure_prefix": "accepted for the original's sake; has no effect",
    "consumers": "processes that run strategies, 100 at most; 0 counts the cores; fixed when a batch begins",
    "seed": "of the session's random numbers and of the generated market",
    "real_frames": "hand `run` a true DataFrame instead of one that builds the columns touched",
    "keep_picks": "follow a picked symbol to the end of the session",
    "link": "how the processes are connected: `seqpacket`, or `queue` where the system has no such sockets",
    "protection": "where the stops of open positions rest: `local`, kept by this program while it runs; `broker`, which is not built yet and"
    " refuses real money",
    "timings": "a table, below",
    "limits": "a table, below",
    "simulation": "a table, below",
    "scanners": "tables, below",
    "strategies": "tables, below",
    "optimizer": "tables, below",
}
TIMING_MEANINGS: Mapping[str, str] = {
    "stale_after_seconds": "market data that a consumer reads later than this calls no strategy",
    "intent_valid_seconds": "an order that opens or grows a position is refused when it reaches the gateway later",
    "exit_valid_seconds": "the same for an order that reduces one",
    "run_all_seconds": "period of `run_all`",
    "order_lifetime_seconds": "an order of `run` that still works then is cancelled",
    "strategy_answer_seconds": "a strategy whose call takes longer is stopped for the session, alone",
    "strategy_fetch_seconds": "how long market data that a strategy asks for inside a call may take",
    "feed_mute_seconds": "a market-data connection that says nothing for so long is made anew",
    "scanner_answer_seconds": "a scanner's run that takes longer is left alone",
    "broker_timeout_seconds": "how long one call of the broker may take",
    "reconcile_seconds": "period in which our books are compared with the broker's",
    "database_outage_seconds": "nothing is opened while the database has been unavailable for so long",
    "unpick_minutes": "a symbol that is not picked again for so long, not held and without orders, is let go",
    "history_sessions": "sessions of minute bars that are loaded before the first call for a symbol; 100 at most",
}
LIMIT_MEANINGS: Mapping[str, str] = {
    "order_equity_fraction": "the most that one order may cost",
    "order_dollars": "the most that one order may cost",
    "position_equity_fraction": "the most that one position may come to",
    "gross_equity_fraction": "the most that all positions may come to, long and short added",
    "short_equity_fraction": "the most that all short positions may come to",
    "daily_loss_stop_fraction": "after such a loss of our positions since the previous close nothing is opened",
    "daily_loss_flatten_fraction": "after such a loss of our positions since the previous close, by two looks at the broker's prices, everything of ours is closed",
    "orders_per_minute": "requests to the broker; a quarter is kept for exits and cancels",
    "open_orders": "the most orders that may work at once",
    "collar_fraction": "how far beyond the newest price a limit may lie",
    "quote_age_seconds": "an entry needs a price no older than this",
    "max_symbols": "the most symbols that a session follows; the newest picks lose",
}
SIMULATION_MEANINGS: Mapping[str, str] = {
    "fills": "`strict` takes displayed size only and queues limits; `paper` fills like the vendor's paper environment, one"
    " fill in ten in part; `touch` and `siis` fill everything at the best price",
    "fees": "`none`; `regulatory`: the SEC's and FINRA's fees on sales at the rates of the day; `commission`: 0.005 $ a share,"
    " at least 1 $ an order, at most 1 % of its value; `all`: both",
    "latency_ms": "from a request to its effect, for new orders, replacements and cancellations alike",
}
SCANNER: Mapping[str, Key] = {
    "filename": Key(
        "text", "the file that holds the class named like the table, beside the tradeplan or in the working directory"
    ),
    "recurrence": Key("minutes, market time", "period of the runs, counted from the open", "runs once, at the open"),
    "target_strategy_name": Key("text", "the strategy that the picks are for", "all strategies"),
    "anything else": Key(
        "any", "goes to the constructor; a key that it does not take is an error", "the constructor's"
    ),
}
MOMENTUM: Mapping[str, Key] = {
    "today_change_percent": Key(
        "percent (3.5 is 3.5 %)", "least gap of today's open over yesterday's close; older plans say `min_gap`"
    ),
    "min_last_dv": Key("US dollars", "yesterday's close times volume must be above it"),
    "min_share_price": Key("US dollars", "least last price"),
    "max_share_price": Key("US dollars", "largest last price"),
    "min_volume": Key("shares", "today's volume must be above it"),
    "from_market_open": Key("minutes after the open, market time", "nothing is picked before"),
    "max_symbols": Key("symbols", "the largest gaps win", "100"),
    "recurrence": Key("minutes, market time", "period of the runs", "picks once, at `from_market_open`"),
    "target_strategy_name": Key("text", "the strategy that the picks are for", "all strategies"),
    "provider": Key("text", "accepted for the original's sake; has no effect", "none"),
}
STRATEGY: Mapping[str, Key] = {
    "filename": SCANNER["filename"],
    "schedule": Key("list of windows", "when the strategy may open positions", "always"),
    "schedule.start": Key("minutes after the open, market time", "when a window begins, 0 to 389"),
    "schedule.duration": Key("minutes, market time", "how long it lasts"),
    "portfolio_id": Key(
        "text", "a portfolio in the database: its account pays, and `account_id` names it", "none: the whole account"
    ),
    "events": Key(
        "list",
        "which events call this strategy, for a `run_all` strategy that needs ticks",
        "the plan's; for `run_all` minutes",
    ),
    "class": Key("text", "the class in the file, so that one class may run under two names", "the table's name"),
    "own_process": Key(
        "true or false",
        "it runs in a consumer process of its own, one for all its symbols, beside those of `consumers`",
        "false",
    ),
    "anything else": Key(
        "any", "goes to the constructor; a key that it does not take is an error", "the constructor's"
    ),
}
OPTIMIZER: Mapping[str, Key] = {
    "start_date": Key("day", "the first day that `optimizer` plays, as `backtester` takes it", "`--from`"),
    "end_date": Key("day", "the last day", "`--to`"),
    "objective": Key(
        "text", "the figure that is to be large, or `own.py:function`; `--objective` comes first", "sharpe_ratio"
    ),
    "constraints": Key("list", 'what a combination must meet, like `["fast<slow", "trips>=30"]`', "none"),
    "hyperparameters.strategies.<Class>.<parameter>": Key(
        "table",
        '`{param_type = "int", min = 5, max = 15}`, with `delta` in steps; `{param_type = "float", min = 0.01, max = 0.05,'
        ' delta = 0.01}`; `{param_type = "choice", values = ["close", "vwap"]}`; all combinations are played',
    ),
    "parameters.strategies.<Class>.<parameter>": Key(
        "table",
        '`{param_type = "portfolio", size = 10000, credit = 1000}`: the id of a fresh portfolio in each backtest, which is'
        " played with its money",
        "none",
    ),
}


def defaults_page() -> str:
    """Return the page: Markdown, one table per group of keys of the tradeplan."""
    return "\n".join(
        [
            "# Defaults",
            "",
            "Written from the code's types by `python -m tools.reference_pages`; a test keeps it so. What each key means stands in",
            "[The tradeplan and the environment](tradeplan.md).",
            "Durations name their clock: *market* time is what exchange and strategy see, *machine* time our own.",
            "",
            *_table("The tradeplan's top level", TradePlan(), PLAN),
            *_table("`[timings]`", Timings(), TIMINGS),
            *_table("`[limits]`", Limits(), LIMITS),
            *_table("`[simulation]`", Simulation(), SIMULATION),
        ]
    )


def _table(title: str, values: msgspec.Struct, whys: Mapping[str, Why]) -> Iterable[str]:
    yield f"## {title}"
    yield ""
    yield "| key | default | unit | clock | reason |"
    yield "|---|---|---|---|---|"
    for name, why in whys.items():
        yield f"| `{name}` | {in_toml(getattr(values, name))} | {why.unit} | {why.clock} | {why.reason} |"
    yield ""


def in_toml(value: Any) -> str:
    """Return a default as a person writes it: `none` where there is none."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ", ".join(value)
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def tradeplan_page() -> str:
    """Return the page: Markdown, one table per table of the tradeplan, and one of the environment."""
    return "\n".join(
        [
            "# The tradeplan and the environment",
            "",
            "Written from the code's types by `python -m tools.reference_pages`; a test keeps it so. Why each default is what it",
            "is stands in [Defaults](defaults.md). *Market* time is what exchange and strategy see, *machine* time our own. A key that is not here is an",
            "error that names the nearest one.",
            "",
            *_typed("Top level", TradePlan(), MEANINGS, PLAN),
            *_typed("`[timings]`", Timings(), TIMING_MEANINGS, TIMINGS),
            *_typed("`[limits]`", Limits(), LIMIT_MEANINGS, LIMITS),
            *_typed("`[simulation]`, the simulated market", Simulation(), SIMULATION_MEANINGS, SIMULATION),
            *_named("`[scanners.momentum]`, the built-in scanner", MOMENTUM),
            *_named("`[scanners.<Class>]`, your own", SCANNER),
            *_named("`[strategies.<Class>]`", STRATEGY),
            *_named("`[optimizer]`", OPTIMIZER),
            *_environment(),
        ]
    )


def _typed(title: str, values: msgspec.Struct, meanings: Mapping[str, str], whys: Mapping[str, Why]) -> Iterable[str]:
    yield from _head(title, "key", "default", "unit", "clock", "meaning")
    for name, meaning in meanings.items():
        why = whys.get(name, Why("", ""))
        value = getattr(values, name)
        shown = "" if isinstance(value, dict | msgspec.Struct) else in_toml(value) or "empty"
        yield f"| `{name}` | {shown} | {why.unit} | {why.clock} | {meaning} |"
    yield ""


def _named(title: str, keys: Mapping[str, Key]) -> Iterable[str]:
    yield from _head(title, "key", "default", "unit or kind", "meaning")
    for name, key in keys.items():
        shown = name if " " in name else f"`{name}`"
        yield f"| {shown} | {key.default} | {key.kind} | {key.meaning} |"
    yield ""


def _environment() -> Iterable[str]:
    yield from _head("Environment variables", "variable", "default", "same as", "meaning")
    default = Settings()
    for name, option in OPTIONS.items():
        if not option.variable:
            continue
        value: Any = getattr(default, name)
        shown = "" if isinstance(value, Secret) else in_toml(value)
        also = f"`{option.plan_key}`" if option.plan_key else ""
        yield f"| `{option.variable}` | {shown or 'none'} | {also} | {option.meaning} |"
    yield ""
    yield "The command line comes before the environment, the environment before the tradeplan, and that before the default:"
    yield "`trader --show-config` prints each value with where it came from. No other variable is read."
    yield ""


def _head(title: str, *columns: str) -> Iterable[str]:
    yield f"## {title}"
    yield ""
    yield "| " + " | ".join(columns) + " |"
    yield "|" + "---|" * len(columns)


TITLES = {"options": "option", "positional arguments": "argument"}


def commands_page() -> str:
    """Return the page: Markdown, a section for each program and command with what its `--help` says."""
    lines = [
        "# Commands",
        "",
        "What `PROGRAM --help` prints, written from the programs by `python -m tools.reference_pages`; a test keeps it so. `--version`",
        "prints the version. `python -m liualgotrader` is `liu`.",
        "",
    ]
    for parser in (
        trader_arguments._parser(),
        backtester.make_parser("backtester"),
        optimizer._parser("optimizer"),
        market_miner._parser("market_miner"),
        portfolios._parser("portfolio"),
        liu._parser(),
    ):
        lines += _command(parser, level=2)
    return "\n".join(lines)


def _command(parser: argparse.ArgumentParser, level: int, upper_epilog: str | None = None) -> Iterable[str]:
    """Yield the section of a program or command, then those of its own commands that have something to say."""
    words = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    yield f"{'#' * level} `{parser.prog.strip()}`"
    yield ""
    if parser.description:
        yield from ("```text", parser.description.strip(), "```", "")
    rows = [(action.dest, action.help or "") for word in words for action in word._choices_actions]
    yield from _rows(("command", "does"), rows)
    for group in parser._action_groups:
        actions = [
            a
            for a in group._group_actions
            if a not in words and a.dest not in ("help", "version") and a.help != argparse.SUPPRESS
        ]
        told = [(_usage(a), parser._get_formatter()._expand_help(a) if a.help else "") for a in actions]
        title = group.title or ""
        yield from _rows((TITLES.get(title, title), "meaning"), told)
    if parser.epilog and parser.epilog != upper_epilog:
        yield from ("```text", parser.epilog.strip(), "```", "")
    for word in words:
        for command in word.choices.values():
            if len(command._actions) > 1 or command.description:
                yield from _command(command, level + 1, parser.epilog)


def _usage(action: argparse.Action) -> str:
    words = "|".join(map(str, action.choices)) if action.choices and action.metavar is None else action.metavar
    value = "" if action.nargs == 0 else str(words or (action.dest.upper() if action.option_strings else action.dest))
    value = f"[{value}]" if action.nargs == "?" else f"[{value} …]" if action.nargs == "*" else value
    return ", ".join(f"`{' '.join((name, value)).strip()}`" for name in action.option_strings or [""])


def _rows(header: tuple[str, str], rows: list[tuple[str, str]]) -> Iterable[str]:
    if rows:
        yield from (f"| {header[0]} | {header[1]} |", "|---|---|")
        for first, second in rows:
            name = first if first.startswith("`") else f"`{first}`"
            yield "| {} | {} |".format(*(" ".join(text.split()).replace("|", "\\|") for text in (name, second)))
        yield ""


PAGES: Mapping[str, Callable[[], str]] = {
    "tradeplan.md": tradeplan_page,
    "defaults.md": defaults_page,
    "commands.md": commands_page,
}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (Path(__file__).parents[1] / "docs" / name).write_text(page(), encoding="utf-8")
