"""Read `tradeplan.toml`: every documented key with its type, and one sentence for whatever is wrong with it."""

from __future__ import annotations

import datetime as dt
import math
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints

import msgspec

from liualgotrader.common.errors import ConfigError
from liualgotrader.common.redact import without_secrets
from liualgotrader.common.session_plan import Limits, Simulation, Timings
from liualgotrader.common.tradeplan_tables import (
    LONGEST_SESSION,
    Window,
    is_number,
    nearest,
    scanner_table,
    strategy_table,
)

EventKind = Literal["second", "minute", "trade", "quote"]
Share = Annotated[float, msgspec.Meta(gt=0, le=1)]
Count = Annotated[int, msgspec.Meta(ge=0)]
_Link = Literal["seqpacket", "queue"]
_Protection = Literal["", "broker", "local"]
EVENT_KINDS: tuple[EventKind, ...] = ("second", "minute", "trade", "quote")

MOST_HISTORY = 100  # sessions of minutes that are loaded for each symbol


class TradePlan(msgspec.Struct, frozen=True, kw_only=True):
    """A whole tradeplan. Scanner and strategy tables are as written, with `filename` made absolute.

    The first group of keys is the original's, the second ours.
    """

    portfolio_value: Annotated[float, msgspec.Meta(gt=0)] | None = None
    risk: Share = 0.001
    file_only: bool = False
    market_liquidation_end_time_minutes: Count = 15
    bypass_market_schedule: bool = False
    skip_existing: bool = False
    test_scanners: bool = False
    events: tuple[EventKind, ...] = EVENT_KINDS
    gcp_monitor_measure_prefix: str = ""
    scanners: dict[str, dict[str, Any]] = {}
    strategies: dict[str, dict[str, Any]] = {}
    optimizer: dict[str, Any] = {}

    consumers: Count = 0
    seed: Count | None = None
    timings: Timings = Timings()
    limits: Limits = Limits()
    simulation: Simulation = Simulation()
    real_frames: bool = False
    keep_picks: bool = False
    link: _Link = "seqpacket"
    protection: _Protection = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the plan in the shape of its file, defaults filled in, fit for JSON; `from_dict` reads it back."""
        plain: dict[str, Any] = _packed(msgspec.to_builtins(self, builtin_types=(dt.datetime, dt.date, dt.time)))
        return plain

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TradePlan:
        """Return the plan that `as_dict` wrote."""
        return msgspec.convert(_unpacked(values), cls)

    def schedule(self, strategy: str) -> tuple[Window, ...]:
        """Return a strategy's windows, in the order of the file."""
        return msgspec.convert(self.strategies[strategy].get("schedule", ()), tuple[Window, ...])


def load_tradeplan(path: Path) -> TradePlan:
    """Return the plan in the file `path`.

    Raises:
        ConfigError: if it is missing, is not TOML, or says something that cannot be meant; one sentence.
    """
    return parse_tradeplan(read_tradeplan(path), path)


def read_tradeplan(path: Path) -> dict[str, Any]:
    """Return what the file `path` says, in its own shape: only the keys that somebody wrote.

    Raises:
        ConfigError: if it is missing or is not TOML; one sentence.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # editors of Windows begin a file with a mark
    except FileNotFoundError:
        raise ConfigError(
            f"there is no tradeplan {path}: name yours with --tradeplan or its folder with TRADEPLAN_DIR, or let"
            " `liu new strategy NAME` write one"
        ) from None
    except IsADirectoryError:
        raise ConfigError(f"{path} is a folder: name the tradeplan in it with --tradeplan") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"tradeplan file {path} cannot be read: {error}") from error
    try:
        return _events_at_the_top(tomllib.loads(text), path)
    except (
        ValueError,
        RecursionError,
    ) as error:  # also a number of thousands of digits, brackets in brackets without end
        raise ConfigError(f"tradeplan file {path} is not valid TOML: {error}") from error


def _events_at_the_top(table: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return the table with `events` where it belongs: samples of the original have it inside `[scanners]`."""
    scanners = table.get("scanners")
    if not isinstance(scanners, dict) or "events" not in scanners or isinstance(scanners["events"], dict):
        return table
    rest = dict(scanners)
    events = rest.pop("events")
    if table.get("events", events) != events:
        raise ConfigError(f"{path}: `events` stands at the top and in [scanners], and they differ: leave one out")
    return {**table, "scanners": rest, "events": events}


def parse_tradeplan(table: Mapping[str, Any], path: Path) -> TradePlan:
    """Return the plan that a parsed file says; `path` is named in errors, and its folder holds the `filename`s."""
    _known_keys(table, _names(TradePlan), f"{path}")
    for name, kind in (("timings", Timings), ("limits", Limits), ("simulation", Simulation)):
        if isinstance(table.get(name), Mapping):
            _known_keys(table[name], _names(kind), f"{path}: [{name}]")
    try:
        plan = msgspec.convert(dict(table), TradePlan)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {_in_words(str(error))}") from None
    if not plan.strategies and not plan.test_scanners:
        raise ConfigError(f"{path}: must have at least one strategy configured; add a [strategies.<Class>] table")
    _sensible(plan, path)
    strategies = {name: strategy_table(name, values, path) for name, values in plan.strategies.items()}
    scanners = {name: scanner_table(name, values, path, strategies) for name, values in plan.scanners.items()}
    return msgspec.structs.replace(plan, strategies=strategies, scanners=scanners)


def _names(kind: type[msgspec.Struct]) -> tuple[str, ...]:
    return tuple(f.name for f in msgspec.structs.fields(kind))


def _known_keys(table: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    known = tuple(known)
    for key in table:
        if key not in known:
            raise ConfigError(f"{where}: there is no key `{key}`{nearest(key, known)}")


_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "object": "a table",
    "array": "a list",
    "null": "nothing",
}


def _in_words(error: str) -> str:
    """Return msgspec's complaint in the words of somebody who writes TOML."""
    where = re.search(r" - at `(?:key in )?\$\.?([^`]*)`$", error)
    key = where[1].replace("[...]", ".<name>") if where else ""
    if bad := re.match(r"Invalid enum value '(.*)' - at", error):
        literals = get_type_hints(Simulation) | {"protection": _Protection, "link": _Link}
        choices = tuple(filter(None, get_args(literals.get(key.removeprefix("simulation."), _Link))))
        choices = EVENT_KINDS if key.startswith("events") else choices
        return f"`{key}` cannot be '{bad[1]}'; it may be {', '.join(choices)}"
    if kinds := re.match(r"Expected `([^`]*)`, got `([^`]*)`", error):
        wanted = " or ".join(_WORDS.get(k.strip(), k) for k in kinds[1].split("|") if k.strip() != "null")
        return f"`{key}` must be {wanted}, not {_WORDS.get(kinds[2], kinds[2])}"
    if bound := re.match(r"Expected `([^`]*)` (>=|<=|>|<) (\S+)", error):
        words = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}
        return f"`{key}` must be {words[bound[2]]} {float(bound[3]):g}"
    return f"`{key}`: {error.partition(' - at ')[0]}"


_ABOVE_NOTHING: Mapping[str, tuple[str, ...]] = {
    "timings": (
        "run_all_seconds",
        "strategy_answer_seconds",
        "scanner_answer_seconds",
        "broker_timeout_seconds",
        "intent_valid_seconds",
        "exit_valid_seconds",
        "stale_after_seconds",
        "order_lifetime_seconds",
        "reconcile_seconds",
        "unpick_minutes",
        "strategy_fetch_seconds",
        "feed_mute_seconds",
    ),
    "limits": (  # with 0 nothing could ever be bought
        "order_equity_fraction",
        "order_dollars",
        "position_equity_fraction",
        "gross_equity_fraction",
        "orders_per_minute",
        "open_orders",
        "collar_fraction",
        "max_symbols",
    ),
}


def _sensible(plan: TradePlan, path: Path) -> None:
    for table, values in (("timings", plan.timings), ("limits", plan.limits), ("simulation", plan.simulation)):
        for name in values.__struct_fields__:
            number = getattr(values, name)
            if isinstance(number, str):
                continue
            if not is_number(number) or number < 0:
                raise ConfigError(f"{path}: [{table}] `{name}` must be a number of at least 0, not {number}")
            if number == 0 and name in _ABOVE_NOTHING.get(table, ()):
                raise ConfigError(f"{path}: [{table}] `{name}` must be more than 0")
    if plan.timings.history_sessions > MOST_HISTORY:
        raise ConfigError(
            f"{path}: [timings] `history_sessions` is {plan.timings.history_sessions}, but at most {MOST_HISTORY} are loaded"
        )
    if not plan.events:
        raise ConfigError(f"{path}: `events` is empty; name at least one of {', '.join(EVENT_KINDS)}")
    if plan.portfolio_value is not None and not math.isfinite(plan.portfolio_value):
        raise ConfigError(f"{path}: `portfolio_value` must be an amount of dollars, not {plan.portfolio_value}")
    minutes = plan.market_liquidation_end_time_minutes
    if not 1 <= minutes < LONGEST_SESSION:
        raise ConfigError(
            f"{path}: `market_liquidation_end_time_minutes` is {minutes}, but it says how many minutes before the close"
            f" DAY_TRADE positions are closed: 1 to {LONGEST_SESSION - 1}"
        )


def shown(plan: TradePlan, stated: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return (key, value, source) of every key, secrets as `***`; `stated` is what the file says."""
    rows: list[tuple[str, str, str]] = []
    for key, value in without_secrets(plan.as_dict()).items():
        if isinstance(value, Mapping):
            said = stated.get(key, {})
            rows += [(f"{key}.{name}", str(v), _source(name, said)) for name, v in value.items()]
        else:
            rows.append((key, str(value), _source(key, stated)))
    return rows


def _source(key: str, stated: Mapping[str, Any]) -> str:
    return "tradeplan" if key in stated else "default"


# --- tables to JSON and back -------------------------------------------------------------------------

_TOML = "$toml"  # JSON has no dates and no infinity; a strategy's parameter may be one


def _packed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _packed(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_packed(v) for v in value]
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return {_TOML: value.isoformat()}
    if isinstance(value, float) and not math.isfinite(value):
        return {_TOML: str(value)}
    return value


def _unpacked(value: Any) -> Any:
    if isinstance(value, Mapping):
        if value.keys() == {_TOML}:
            return tomllib.loads(f"value = {value[_TOML]}")["value"]
        return {key: _unpacked(v) for key, v in value.items()}
    return [_unpacked(v) for v in value] if isinstance(value, list) else value
