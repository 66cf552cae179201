"""`design/defaults.md`: every limit, duration and default of a session with its unit, its clock and its reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from liualgotrader.common.session_plan import Limits, Simulation, Timings
from liualgotrader.common.tradeplan import TradePlan


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
    "file_only": Why("", "strategies always come from the file; true: nothing is said of trade plans in the database"),
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


def defaults_page() -> str:
    """Return the page: Markdown, one table per group of keys of the tradeplan."""
    return "\n".join(
        [
            "# Defaults",
            "",
            "Generated from the configuration types by `liualgotrader.common.defaults.defaults_page()`; a test keeps it so.",
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
