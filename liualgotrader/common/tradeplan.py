"""Read `tradeplan.toml`: every documented key with its type, and one sentence for whatever is wrong with it."""

from __future__ import annotations

import datetime as dt
import difflib
import math
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from liualgotrader.common.errors import ConfigError
from liualgotrader.common.session_plan import Limits, Timings

EventKind = Literal["second", "minute", "trade", "quote"]
Share = Annotated[float, msgspec.Meta(gt=0, le=1)]
Count = Annotated[int, msgspec.Meta(ge=0)]
EVENT_KINDS: tuple[EventKind, ...] = ("second", "minute", "trade", "quote")
BUILT_IN_SCANNER = "momentum"
_MOMENTUM_NUMBERS = ("min_last_dv", "min_share_price", "max_share_price", "min_volume", "from_market_open")
_MOMENTUM_CHANGE = ("today_change_percent", "min_gap")  # older plans say min_gap


class Window(msgspec.Struct, frozen=True):
    """When a strategy may open positions: `start` minutes after the open, for `duration` minutes."""

    start: float
    duration: Annotated[float, msgspec.Meta(gt=0)]


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
    real_frames: bool = False
    keep_picks: bool = False
    link: Literal["seqpacket", "queue"] = "seqpacket"

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
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            f"could not locate tradeplan file {path}; write one, or name its folder with TRADEPLAN_DIR"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"tradeplan file {path} cannot be read: {error}") from error
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"tradeplan file {path} is not valid TOML: {error}") from error
    return parse_tradeplan(table, path)


def parse_tradeplan(table: Mapping[str, Any], path: Path) -> TradePlan:
    """Return the plan that a parsed file says; `path` is named in errors, and its folder holds the `filename`s."""
    _known_keys(table, _names(TradePlan), f"{path}")
    for name, kind in (("timings", Timings), ("limits", Limits)):
        if isinstance(table.get(name), Mapping):
            _known_keys(table[name], _names(kind), f"{path}: [{name}]")
    try:
        plan = msgspec.convert(dict(table), TradePlan)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {_in_words(str(error))}") from None
    if not plan.strategies and not plan.test_scanners:
        raise ConfigError(f"{path}: must have at least one strategy configured; add a [strategies.<Class>] table")
    _sensible(plan, path)
    strategies = {name: _strategy(name, values, path) for name, values in plan.strategies.items()}
    scanners = {name: _scanner(name, values, path, strategies) for name, values in plan.scanners.items()}
    return msgspec.structs.replace(plan, strategies=strategies, scanners=scanners)


def _names(kind: type[msgspec.Struct]) -> tuple[str, ...]:
    return tuple(f.name for f in msgspec.structs.fields(kind))


def _known_keys(table: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    known = tuple(known)
    for key in table:
        if key not in known:
            raise ConfigError(f"{where}: there is no key `{key}`{nearest(key, known)}")


def nearest(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean ...?` naming the known word most like `word`, empty if there is none like it.

    >>> nearest("portfolio_valeu", ["risk", "portfolio_value"])
    '; did you mean `portfolio_value`?'
    """
    known = list(known)
    folded = {k.lower(): k for k in known}
    found = difflib.get_close_matches(word.lower(), folded, n=1, cutoff=0.3)
    return f"; did you mean `{folded[found[0]]}`?" if found else ""


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
        choices = EVENT_KINDS if key.startswith("events") else ("seqpacket", "queue")
        return f"`{key}` cannot be '{bad[1]}'; it may be {', '.join(choices)}"
    if kinds := re.match(r"Expected `([^`]*)`, got `([^`]*)`", error):
        wanted = " or ".join(_WORDS.get(k.strip(), k) for k in kinds[1].split("|") if k.strip() != "null")
        return f"`{key}` must be {wanted}, not {_WORDS.get(kinds[2], kinds[2])}"
    if bound := re.match(r"Expected `([^`]*)` (>=|<=|>|<) (\S+)", error):
        words = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}
        return f"`{key}` must be {words[bound[2]]} {float(bound[3]):g}"
    return f"`{key}`: {error.partition(' - at ')[0]}"


def _sensible(plan: TradePlan, path: Path) -> None:
    for table, values in (("timings", plan.timings), ("limits", plan.limits)):
        for name in values.__struct_fields__:
            number = getattr(values, name)
            if not math.isfinite(number) or number < 0:
                raise ConfigError(f"{path}: [{table}] `{name}` must be a number of at least 0, not {number}")
    for name in (
        "run_all_seconds",
        "strategy_answer_seconds",
        "scanner_answer_seconds",
        "broker_timeout_seconds",
        "intent_valid_seconds",
    ):
        if not getattr(plan.timings, name) > 0:
            raise ConfigError(f"{path}: [timings] `{name}` must be more than 0")
    if not plan.events:
        raise ConfigError(f"{path}: `events` is empty; name at least one of {', '.join(EVENT_KINDS)}")


def _strategy(name: str, values: Mapping[str, Any], path: Path) -> dict[str, Any]:
    where = f"{path}: [strategies.{name}]"
    found = dict(values, filename=_file(values, where, path))
    _text(values, "portfolio_id", where)
    try:
        msgspec.convert(values.get("schedule", ()), tuple[Window, ...])
    except msgspec.ValidationError:
        raise ConfigError(
            f"{where} `schedule` must be a list of tables with the minutes `start` and `duration`"
        ) from None
    return found


def _scanner(name: str, values: Mapping[str, Any], path: Path, strategies: Mapping[str, Any]) -> dict[str, Any]:
    where = f"{path}: [scanners.{name}]"
    found = dict(values)
    if name == BUILT_IN_SCANNER and "filename" not in values:
        _momentum(values, where)
    else:
        found["filename"] = _file(values, where, path)
    recurrence = values.get("recurrence")
    if recurrence is not None and not (_is_number(recurrence) and 0 < recurrence < math.inf):
        raise ConfigError(f"{where} `recurrence` must be a number of minutes above 0, not {recurrence!r}")
    _text(values, "target_strategy_name", where)
    target = values.get("target_strategy_name")
    if target and strategies and target not in strategies:
        raise ConfigError(
            f"{where} `target_strategy_name` is '{target}', which is no strategy{nearest(target, strategies)}"
        )
    return found


def _momentum(values: Mapping[str, Any], where: str) -> None:
    if not any(key in values for key in _MOMENTUM_CHANGE):
        raise ConfigError(f"{where} needs `today_change_percent` (older plans say `min_gap`)")
    for key in _MOMENTUM_NUMBERS:
        if key not in values:
            raise ConfigError(f"{where} needs `{key}`")
    for key in (*_MOMENTUM_NUMBERS, *_MOMENTUM_CHANGE, "max_symbols"):
        if key in values and not _is_number(values[key]):
            raise ConfigError(f"{where} `{key}` must be a number, not {values[key]!r}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(values: Mapping[str, Any], key: str, where: str) -> None:
    if key in values and not isinstance(values[key], str):
        raise ConfigError(f"{where} `{key}` must be text, not {values[key]!r}")


def _file(values: Mapping[str, Any], where: str, path: Path) -> str:
    """Return the absolute file that `filename` means: beside the tradeplan, else in the working directory."""
    if "filename" not in values:
        raise ConfigError(f"{where} needs `filename`, the Python file that holds the class")
    _text(values, "filename", where)
    named = Path(values["filename"]).expanduser()
    for folder in (path.absolute().parent, Path.cwd()):
        if (folder / named).is_file():
            return str((folder / named).resolve())
    raise ConfigError(f"{where} `filename` is '{named}', but {path.absolute().parent / named} does not exist")


def shown(plan: TradePlan) -> list[tuple[str, str, str]]:
    """Return (key, value, source) of every key, secrets as `***`; a value that is the default says so."""
    default = TradePlan().as_dict()
    rows: list[tuple[str, str, str]] = []
    for key, value in without_secrets(plan.as_dict()).items():
        if isinstance(value, Mapping):
            stated = default[key] if isinstance(default[key], Mapping) else {}
            rows += [
                (f"{key}.{name}", str(v), "default" if stated.get(name, _NOTHING) == v else "tradeplan")
                for name, v in value.items()
            ]
        else:
            rows.append((key, str(value), "default" if default[key] == value else "tradeplan"))
    return rows


_NOTHING = object()

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


_SECRET_KEY = re.compile(r"secret|password|passwd|token|api_?key|credential|\bdsn\b", re.IGNORECASE)


def without_secrets(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy in which every value whose key sounds like a secret is `***`, for rows and screens."""
    return {
        key: "***" if _SECRET_KEY.search(key) else without_secrets(v) if isinstance(v, Mapping) else v
        for key, v in values.items()
    }
