"""`design/tradeplan.md`: every key of a tradeplan and every environment variable, what it means, its unit, clock and default."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from liualgotrader.common.config import OPTIONS, Secret, Settings
from liualgotrader.common.defaults import LIMITS, PLAN, SIMULATION, TIMINGS, Why, in_toml
from liualgotrader.common.session_plan import Limits, Simulation, Timings
from liualgotrader.common.tradeplan import TradePlan


class Key(NamedTuple):
    """A key whose default stands in no type: what it may be, and what it means."""

    kind: str
    meaning: str
    default: str = "required"


MEANINGS: Mapping[str, str] = {
    "portfolio_value": "handed to strategies as `portfolio_value` instead of the account's equity",
    "risk": "`config.risk`: what strategies of the original put at risk per position",
    "file_only": "say nothing of trade plans in the database; this version trades none of them either way",
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
    "optimizer": "accepted; the optimizer is not built yet",
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
    "database_outage_seconds": "nothing is opened while the database has been away for so long",
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
    " fill in ten in part; `touch` fills everything at the best price",
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
    "own_process": Key(
        "true or false",
        "it runs in a consumer process of its own, one for all its symbols, beside those of `consumers`",
        "false",
    ),
    "anything else": Key(
        "any", "goes to the constructor; a key that it does not take is an error", "the constructor's"
    ),
}


def tradeplan_page() -> str:
    """Return the page: Markdown, one table per table of the tradeplan, and one of the environment."""
    return "\n".join(
        [
            "# The tradeplan and the environment",
            "",
            "Generated from the types by `liualgotrader.common.reference.tradeplan_page()`; a test keeps it so. Why each default is what it",
            "is stands in `defaults.md`. *Market* time is what exchange and strategy see, *machine* time our own. A key that is not here is an",
            "error that names the nearest one.",
            "",
            *_typed("Top level", TradePlan(), MEANINGS, PLAN),
            *_typed("`[timings]`", Timings(), TIMING_MEANINGS, TIMINGS),
            *_typed("`[limits]`", Limits(), LIMIT_MEANINGS, LIMITS),
            *_typed("`[simulation]`, the simulated market", Simulation(), SIMULATION_MEANINGS, SIMULATION),
            *_named("`[scanners.momentum]`, the built-in scanner", MOMENTUM),
            *_named("`[scanners.<Class>]`, your own", SCANNER),
            *_named("`[strategies.<Class>]`", STRATEGY),
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
