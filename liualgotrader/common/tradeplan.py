"""Reads `tradeplan.toml`: every documented key with its type, and one sentence for each mistake."""

from __future__ import annotations

import datetime as dt
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_type_hints

import msgspec

from liualgotrader.common.errors import ConfigError, nearest
from liualgotrader.common.secret import without_secrets

T = TypeVar("T")

LONGEST_SESSION = 390  # minutes of regular trading
EventKind = Literal["second", "minute", "trade", "quote"]
Share = Annotated[float, msgspec.Meta(gt=0, le=1)]
Count = Annotated[int, msgspec.Meta(ge=0)]
_Number = Annotated[float, msgspec.Meta(ge=-1e15, le=1e15)]  # not infinite
_NotNegative = Annotated[float, msgspec.Meta(ge=0, le=1e15)]
_Positive = Annotated[float, msgspec.Meta(gt=0, le=1e15)]
_PositiveCount = Annotated[int, msgspec.Meta(ge=1)]
_MinuteOfSession = Annotated[float, msgspec.Meta(ge=0, lt=LONGEST_SESSION)]
_Link = Literal["seqpacket", "queue"]
ParameterKind = Literal["int", "float", "choice"]  # of a parameter that the optimizer varies
_Protection = Literal["", "broker", "local"]
EVENT_KINDS: tuple[EventKind, ...] = ("second", "minute", "trade", "quote")

BUILT_IN_SCANNER = "momentum"


class Timings(msgspec.Struct, frozen=True):
    """Durations, each with the clock that it runs by."""

    stale_after_seconds: _Positive = 5.0  # machine: older market data is not acted on
    intent_valid_seconds: _Positive = 5.0  # machine: a later entry is refused
    exit_valid_seconds: _Positive = 30.0  # machine: the same for orders that reduce a position
    run_all_seconds: _Positive = 60.0  # market: period of run_all
    order_lifetime_seconds: _Positive = 60.0  # market: an order of `run` that still works then is cancelled
    strategy_answer_seconds: _Positive = 5.0  # machine: a strategy that does not answer is stopped
    strategy_fetch_seconds: _Positive = (
        2.0  # machine: what one call may take for questions of its own to the data vendor
    )
    scanner_answer_seconds: _Positive = 60.0  # machine: a run of a scanner that takes longer is left alone
    broker_timeout_seconds: _Positive = 5.0  # machine: a REST call
    reconcile_seconds: _Positive = 60.0  # market: the broker's books are compared with ours
    database_outage_seconds: _NotNegative = 60.0  # machine: after it no entries
    feed_mute_seconds: _Positive = 30.0  # machine: a feed without market data in market hours; see `data.liveness`
    unpick_minutes: _Positive = 30.0  # market: a symbol not picked for so long is let go
    history_sessions: Annotated[int, msgspec.Meta(ge=0, le=100)] = (
        2  # sessions of minute bars loaded before the first call
    )


class Limits(msgspec.Struct, frozen=True):
    """Pre-trade limits of the whole account. Fractions are of equity."""

    order_equity_fraction: _Positive = 0.10
    order_dollars: _Positive = 25_000.0
    position_equity_fraction: _Positive = 0.20
    gross_equity_fraction: _Positive = 1.0
    short_equity_fraction: _NotNegative = 0.5
    daily_loss_stop_fraction: _NotNegative = 0.02  # no entries
    daily_loss_flatten_fraction: _NotNegative = 0.04  # everything of ours is closed
    orders_per_minute: _PositiveCount = 60  # market time
    open_orders: _PositiveCount = 50
    collar_fraction: _Positive = 0.03  # an order may be priced this far from the newest price
    quote_age_seconds: _NotNegative = 5.0  # market: entries on an older price are refused; 0 switches it off
    max_symbols: _PositiveCount = 1000


class FillProfile(StrEnum):
    """How orders find their fills.

    STRICT takes displayed size only, rests limits in a queue; PAPER is the vendor's paper environment
    (size ignored, a random tenth of fills is partial); TOUCH fills everything whole at the touch, and so does SIIS,
    whose rules these are.
    """

    STRICT = "strict"
    PAPER = "paper"
    TOUCH = "touch"
    SIIS = "siis"


class Simulation(msgspec.Struct, frozen=True):
    """How the simulated market fills, charges and delays orders."""

    fills: FillProfile = FillProfile.STRICT
    fees: Literal["none", "regulatory", "commission", "all"] = "none"
    latency_ms: _NotNegative = 1.0  # market time from a request to its effect


class Window(msgspec.Struct, frozen=True):
    """When a strategy may open positions: `start` minutes after the open, for `duration` minutes."""

    start: _MinuteOfSession
    duration: _Positive


class StrategyKeys(msgspec.Struct, frozen=True):
    """Our keys of a strategy's table; its constructor gets the others."""

    filename: str = ""
    class_: str = msgspec.field(default="", name="class")
    portfolio_id: str = ""
    own_process: bool = False
    schedule: tuple[Window, ...] = ()


class ScannerKeys(msgspec.Struct, frozen=True, kw_only=True):
    """Our keys of a scanner's table; its constructor gets the others."""

    filename: str = ""
    recurrence: _Positive | None = None  # minutes
    target_strategy_name: str = ""


class MomentumKeys(ScannerKeys, frozen=True, kw_only=True):
    """The table of the built-in scanner."""

    min_last_dv: _Number
    min_share_price: _Number
    max_share_price: _Number
    min_volume: _Number
    from_market_open: _MinuteOfSession
    max_symbols: Annotated[float, msgspec.Meta(ge=1, multiple_of=1)] = 1
    today_change_percent: _Number | None = None
    min_gap: _Number | None = None  # its name in older plans


class TradePlan(msgspec.Struct, frozen=True, kw_only=True):
    """A whole tradeplan. Scanner and strategy tables are as written, with `filename` made absolute.

    The first group of keys is the original's, the second ours.
    """

    portfolio_value: _Positive | None = None
    risk: Share = 0.001
    file_only: bool = False
    market_liquidation_end_time_minutes: Annotated[int, msgspec.Meta(ge=1, lt=LONGEST_SESSION)] = 15
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
        ConfigError: if it is missing, is not TOML, or has a wrong key or value; one sentence.
    """
    return parse_tradeplan(read_tradeplan(path), path)


def read_tradeplan(path: Path) -> dict[str, Any]:
    """Return the contents of the file `path`, without defaults.

    Raises:
        ConfigError: if it is missing or is not TOML; one sentence.
    """
    table = read_toml(
        path,
        "tradeplan",
        "name yours with --tradeplan or its folder with TRADEPLAN_DIR, or let `liu new strategy NAME` write one",
    )
    scanners = table.get("scanners")
    if isinstance(scanners, dict) and not isinstance(scanners.get("events", {}), dict):  # as in the original's samples
        events = scanners.pop("events")
        if table.setdefault("events", events) != events:
            raise ConfigError(f"{path}: `events` stands at the top and in [scanners], and they differ: leave one out")
    return table


def read_toml(path: Path, what: str, if_missing: str) -> dict[str, Any]:
    """Return the tables of a TOML file; `what` it is and what to do `if_missing` stand in the errors.

    Raises:
        ConfigError: if it is missing, cannot be read or is not TOML.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # editors of Windows begin a file with a mark
    except FileNotFoundError:
        raise ConfigError(f"there is no {what} {path}: {if_missing}") from None
    except IsADirectoryError:
        raise ConfigError(f"{path} is a folder: name the {what} in it") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{what} file {path} cannot be read: {error}") from error
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # RecursionError: brackets in brackets without end
        raise ConfigError(f"{what} file {path} is not valid TOML: {error}") from error


def parse_tradeplan(table: Mapping[str, Any], path: Path, *, of_session: bool = False) -> TradePlan:
    """Return the plan of a parsed file; `path` is named in errors, and its folder holds the `filename`s.

    That of a session may leave all strategies to the database, if it says so: `file_only = false`.
    """
    check_keys(table, TradePlan.__struct_fields__, f"{path}")
    for name, kind in (("timings", Timings), ("limits", Limits), ("simulation", Simulation)):
        check_keys(table.get(name), kind.__struct_fields__, f"{path}: [{name}]")
    plan = converted(dict(table), TradePlan, f"{path}:")
    others_run = of_session and table.get("file_only") is False  # those of the database, whose names are not known here
    if not plan.strategies and not plan.test_scanners and not others_run:
        raise ConfigError(f"{path}: must have at least one strategy configured; add a [strategies.<Class>] table")
    if not plan.events:
        raise ConfigError(f"{path}: `events` is empty; name at least one of {', '.join(EVENT_KINDS)}")
    strategies = {name: strategy_table(name, values, path) for name, values in plan.strategies.items()}
    scanners = {
        name: scanner_table(name, values, path, {} if others_run else strategies)
        for name, values in plan.scanners.items()
    }
    return msgspec.structs.replace(plan, strategies=strategies, scanners=scanners)


def check_keys(table: object, known: Sequence[str], where: str) -> None:
    """Check that a table has no other keys than those that are known.

    Raises:
        ConfigError: naming the nearest one.
    """
    for key in table if isinstance(table, Mapping) else ():
        if key not in known:
            raise ConfigError(f"{where}: unknown key `{key}`{nearest(key, known)}")


def converted(table: Mapping[str, Any], kind: type[T], where: str) -> T:
    """Return a table as a value of its type.

    Raises:
        ConfigError: in the words of TOML, after `where`.
    """
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where} {_in_words(str(error))}") from None


_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "object": "a table",
    "array": "a list",
    "null": "nothing",
}


_UNITS = {
    "start": "minutes after the open",
    "duration": "minutes",
    "from_market_open": "minutes after the open",
    "market_liquidation_end_time_minutes": "minutes before the close",
    "recurrence": "minutes",
}


def _in_words(error: str) -> str:
    """Return msgspec's error in the words of TOML."""
    where = re.search(r" - at `(?:key in )?\$\.?([^`]*)`$", error)
    key = where[1].replace("[...]", ".<name>") if where else ""
    if bad := re.match(r"Invalid enum value '(.*)' - at", error):
        literals = get_type_hints(Simulation) | {"protection": _Protection, "link": _Link, "param_type": ParameterKind}
        kind = literals.get(key.removeprefix("simulation."), _Link)
        choices = tuple(kind) if kind is FillProfile else tuple(filter(None, get_args(kind)))
        choices = EVENT_KINDS if key.startswith("events") else choices
        return f"`{key}` cannot be '{bad[1]}'; it may be {', '.join(choices)}"
    if kinds := re.match(r"Expected `([^`]*)`, got `([^`]*)`", error):
        wanted = " or ".join(_WORDS.get(k.strip(), k) for k in kinds[1].split("|") if k.strip() != "null")
        return f"`{key}` must be {wanted}, not {_WORDS.get(kinds[2], kinds[2])}"
    if bound := re.match(r"Expected `([^`]*)` (>=|<=|>|<) (\S+)", error):
        words = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}
        unit = _UNITS.get(key.rpartition(".")[2])
        return f"`{key}` must be {words[bound[2]]} {float(bound[3]):g}" + (f" ({unit})" if unit else "")
    if lacking := re.match(r"Object missing required field `([^`]*)`", error):
        return f"`{key}` needs `{lacking[1]}`" if key else f"needs `{lacking[1]}`"
    if "multiple of" in error:
        return f"`{key}` must be a whole number"
    return f"`{key}`: {error.partition(' - at ')[0]}"


def shown(plan: TradePlan, stated: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return (key, value, source) of every key, secrets as `***`; `stated` is what the file holds."""
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


# --- tables that name classes: [strategies.X], [scanners.X] ---------------------------------------


def strategy_table(name: str, values: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return a strategy's table with its `filename` absolute; `path` is the tradeplan's file.

    Raises:
        ConfigError: naming table and key.
    """
    where = f"{path}: [strategies.{name}]"
    schedule = values.get("schedule")
    for window in schedule if isinstance(schedule, list) else ():
        check_keys(window, Window.__struct_fields__, f"{where} `schedule`")
    return dict(values, filename=_absolute_file(converted(values, StrategyKeys, where).filename, where, path))


def scanner_table(name: str, values: Mapping[str, Any], path: Path, strategies: Mapping[str, Any]) -> dict[str, Any]:
    """Return a scanner's table with its `filename` absolute; its target must be one of `strategies`.

    Raises:
        ConfigError: naming table and key.
    """
    where = f"{path}: [scanners.{name}]"
    found = dict(values)
    if name == BUILT_IN_SCANNER and "filename" not in values:
        momentum = converted(values, MomentumKeys, where)
        if momentum.today_change_percent is None and momentum.min_gap is None:
            raise ConfigError(f"{where} needs `today_change_percent` (older plans say `min_gap`)")
        if momentum.min_share_price > momentum.max_share_price:
            raise ConfigError(f"{where} `min_share_price` is above `max_share_price`, so no symbol would pass")
        target = momentum.target_strategy_name
    else:
        keys = converted(values, ScannerKeys, where)
        if not keys.filename and (hint := nearest(name, [BUILT_IN_SCANNER])):
            raise ConfigError(f"{where} needs `filename`, the Python file that holds the class{hint}")
        found["filename"] = _absolute_file(keys.filename, where, path)
        target = keys.target_strategy_name
    if target and strategies and target not in strategies:
        raise ConfigError(
            f"{where} `target_strategy_name` is '{target}', which is not a strategy{nearest(target, strategies)}"
        )
    return found


def _absolute_file(filename: str, where: str, path: Path) -> str:
    """Return the absolute file that `filename` means: beside the tradeplan, else in the working directory."""
    if not filename:
        raise ConfigError(f"{where} needs `filename`, the Python file that holds the class")
    named = Path(filename)
    try:
        named = named.expanduser()
        for folder in (path.absolute().parent, Path()):
            if (folder / named).is_file():
                return str((folder / named).resolve())
        meant = path.absolute().parent / named
        wrong = f"{meant} is a folder: name the Python file in it" if meant.is_dir() else f"{meant} does not exist"
    except RuntimeError:
        wrong = "there is no such home folder"
    except OSError as error:
        wrong = f"it cannot be read: {error.strerror}"
    raise ConfigError(f"{where} `filename` is '{named}', but {wrong}")


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
