"""The user's settings, each with where it came from. Nothing else reads the process environment.

Precedence: command line > environment > tradeplan > default. Secrets are `Secret` values whose text
appears only where `reveal()` is called.

Code written for the original reads `config.risk`, `config.batch_id` and the like as attributes of this module. Those of
the running session come from the module's `__getattr__`, which reads what the process passed to `show_session`. This is
one of two compatibility views that hold state of the process (the other is `common/trading_data.py`). The state belongs
to the process and not to a task: a process runs one session, and user code reads these names in its own threads too.
"""

from __future__ import annotations

import math
import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from enum import EnumMeta
from pathlib import Path
from typing import Any, Literal, get_type_hints
from urllib.parse import urlsplit

import msgspec

from liualgotrader.common.clock import as_datetime
from liualgotrader.common.endpoint_address import canonical_address
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.secret import NO_SECRET, Secret
from liualgotrader.common.session_plan import BROKER_SANDBOX_URL, PAPER_URL, Endpoints, SessionPlan, updates_address
from liualgotrader.common.tradeplan import FillProfile, Limits, Simulation
from liualgotrader.common.types import BrokerType, DataConnectorType

DATA_URL = "https://data.alpaca.markets"
STREAM_URL = "wss://stream.data.alpaca.markets"
POLYGON_URL = "https://api.polygon.io"
FINNHUB_URL = "https://finnhub.io"
POLYGON_STREAM_URL = "wss://socket.polygon.io"

TRADEPLAN_FILE = "tradeplan.toml"
MINER_FILE = "miner.toml"

ROOT_HOME = Path("/var/lib/liualgotrader")
"""Data folder of root: PostgreSQL runs as another user then, and /root is closed to other users."""

VENDOR_PREFIXES = ("APCA_", "ALPACA_", "POLYGON_", "TRADIER_", "GEMINI_", "FINNHUB_")
"""Variables that name or open an account somewhere; the simulated market's processes see none of them."""

SESSION_DSN = "LIU_SESSION_DSN"
MOST_CONSUMERS = 4


@dataclass(frozen=True, slots=True)
class Secrets:
    """The account's keys and the database of one session; what is not set is empty and false."""

    key_id: Secret = NO_SECRET
    secret_key: Secret = NO_SECRET
    dsn: Secret = NO_SECRET
    broker_api_key: Secret = NO_SECRET
    broker_api_secret: Secret = NO_SECRET
    polygon_key: Secret = NO_SECRET
    finnhub_key: Secret = NO_SECRET

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Secrets:
        """Return the secrets that the supervisor put into this process's environment."""
        values = os.environ if environment is None else environment
        return cls(
            key_id=Secret(values.get("APCA_API_KEY_ID", "")),
            secret_key=Secret(values.get("APCA_API_SECRET_KEY", "")),
            dsn=Secret(values.get(SESSION_DSN, "")),
            broker_api_key=Secret(values.get("ALPACA_BROKER_API_KEY", "")),
            broker_api_secret=Secret(values.get("ALPACA_BROKER_API_SECRET", "")),
            polygon_key=Secret(values.get("POLYGON_API_KEY", "")),
            finnhub_key=Secret(values.get("FINNHUB_API_KEY", "")),
        )

    def hide(self, text: str) -> str:
        """Return `text` with each of these secrets, and the DSN's password, replaced by `***`."""
        dsn = self.dsn.reveal()
        try:
            password = urlsplit(dsn).password or ""
        except ValueError:
            password = ""
        vendors = (self.polygon_key, self.finnhub_key)
        keys = (self.key_id, self.secret_key, *vendors, self.broker_api_key, self.broker_api_secret)
        for secret in (*(key.reveal() for key in keys), dsn, password):
            if len(secret) > 3:
                text = text.replace(secret, "***")
        return text


@dataclass(frozen=True, slots=True)
class Option:
    """Where a setting may come from. On the command line it has its own name."""

    variable: str = ""
    plan_key: str = ""
    meaning: str = ""


OPTIONS: Mapping[str, Option] = {
    "tradeplan_dir": Option("TRADEPLAN_DIR", "", "folder of tradeplan.toml"),
    "tradeplan": Option("", "", "the tradeplan file, instead of tradeplan.toml in that folder"),
    "home": Option("LIU_HOME", "", "the data folder; none: the user's own, for root /var/lib/liualgotrader"),
    "dsn": Option(
        "DSN", "", "PostgreSQL to use instead of the embedded one: postgresql://user:password@host:port/database"
    ),
    "consumers": Option("NUM_CONSUMERS", "consumers", "consumer processes; 0 counts the cores"),
    "cpu_factor": Option("CPU_FACTOR", "", "consumers per core, instead of the automatic number"),
    "seed": Option("LIU_SEED", "seed", "seed of the session's random numbers and of the generated market"),
    "max_symbols": Option("LIU_MAX_SYMBOLS", "limits.max_symbols", "most symbols a session follows"),
    "fills": Option("", "simulation.fills", f"how the simulated market fills orders: {', '.join(FillProfile)}"),
    "fees": Option("", "simulation.fees", "what it charges: none, regulatory, commission or all"),
    "latency_ms": Option("", "simulation.latency_ms", "its latency, milliseconds of market time"),
    "link": Option("", "link", "how processes are connected: seqpacket or queue"),
    "data_connector": Option("DATA_CONNECTOR", "", "who delivers market data"),
    "broker": Option("LIU_BROKER", "", "who executes orders"),
    "trading_url": Option("APCA_API_BASE_URL", "", "trading REST endpoint"),
    "data_url": Option("APCA_API_DATA_URL", "", "market-data REST endpoint"),
    "stream_url": Option("ALPACA_STREAM_URL", "", "market-data websocket endpoint"),
    "data_feed": Option("ALPACA_DATA_FEED", "", "sip, or iex for the free plan"),
    "key_id": Option("APCA_API_KEY_ID", "", "the account's key; or ALPACA_API_KEY, if neither of this pair is set"),
    "secret_key": Option("APCA_API_SECRET_KEY", "", "the account's secret; or ALPACA_SECRET_KEY, likewise"),
    "polygon_key": Option("POLYGON_API_KEY", "", "Polygon's key, for DATA_CONNECTOR=polygon and companies"),
    "polygon_url": Option("POLYGON_BASE_URL", "", "Polygon's REST endpoint"),
    "polygon_stream_url": Option("POLYGON_STREAM_URL", "", "Polygon's websocket endpoint"),
    "finnhub_key": Option("FINNHUB_API_KEY", "", "Finnhub's key, for DATA_CONNECTOR=finnhub"),
    "finnhub_url": Option("FINNHUB_BASE_URL", "", "Finnhub's REST endpoint"),
    "broker_api_url": Option("ALPACA_BROKER_API_BASEURL", "", "Broker API, for portfolios that name a sub-account"),
    "broker_api_key": Option("ALPACA_BROKER_API_KEY", "", "its key"),
    "broker_api_secret": Option("ALPACA_BROKER_API_SECRET", "", "its secret"),
    "live": Option("LIU_LIVE", "", "arms real money, as `--live` does: the last four of the account number"),
    "full_size": Option(
        "LIU_FULL_SIZE", "", "0 or 1: trade at all of the limits in a plan's first session with real money"
    ),
    "keep_bars_mb": Option(
        "LIU_KEEP_BARS_MB", "", "megabytes of bars that a batch keeps of what its strategies saw; 0: none"
    ),
    "debug": Option("LIU_DEBUG_ENABLED", "", "tracebacks and verbose logs"),
    "trace": Option(
        "LIU_TRACE_ENABLED",
        "",
        "logs how long each call of a strategy takes, and each function under `decorators.trace`",
    ),
    "gcp_stackdriver": Option("GCP_STACKDRIVER", "", "accepted for the original's sake; has no effect"),
}


CREDENTIALS = (("APCA_API_KEY_ID", "APCA_API_SECRET_KEY"), ("ALPACA_API_KEY", "ALPACA_SECRET_KEY"))


def credential_names(environment: Mapping[str, str]) -> tuple[str, str]:
    """Return the variables of the account's key and secret: the first pair of which one is set, never one of each."""
    return next((pair for pair in CREDENTIALS if any(environment.get(name) for name in pair)), CREDENTIALS[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting of a run, with `sources` naming where each came from (`default` if absent)."""

    tradeplan_dir: str = "."
    tradeplan: str = ""
    home: str = ""
    dsn: Secret = NO_SECRET
    consumers: int = 0
    cpu_factor: float | None = None
    seed: int | None = None
    max_symbols: int = Limits().max_symbols
    fills: FillProfile = FillProfile.STRICT
    fees: Literal["none", "regulatory", "commission", "all"] = "none"
    latency_ms: float = 1.0
    link: Literal["seqpacket", "queue"] = "seqpacket"
    data_connector: Literal["alpaca", "polygon", "finnhub", "gemini", "tradier"] = "alpaca"
    broker: Literal["alpaca", "gemini", "tradier"] = "alpaca"
    trading_url: str = PAPER_URL
    data_url: str = DATA_URL
    stream_url: str = STREAM_URL
    data_feed: Literal["sip", "iex"] = "sip"
    key_id: Secret = NO_SECRET
    secret_key: Secret = NO_SECRET
    polygon_key: Secret = NO_SECRET
    broker_api_url: str = BROKER_SANDBOX_URL
    broker_api_key: Secret = NO_SECRET
    broker_api_secret: Secret = NO_SECRET
    polygon_url: str = POLYGON_URL
    polygon_stream_url: str = POLYGON_STREAM_URL
    finnhub_key: Secret = NO_SECRET
    finnhub_url: str = FINNHUB_URL
    live: str = ""
    full_size: bool = False
    keep_bars_mb: int = 200
    debug: bool = False
    trace: bool = False
    gcp_stackdriver: bool = False
    sources: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def resolve(
        cls,
        command_line: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
        tradeplan: Mapping[str, Any] | None = None,
    ) -> Settings:
        """Return the settings, each from the first place that states it; None and empty text state nothing.

        Raises:
            ConfigError: naming the option, variable or key with a wrong value.
        """
        variables = os.environ if environment is None else environment
        credentials = dict(zip(("key_id", "secret_key"), credential_names(variables), strict=True))
        values: dict[str, Any] = {}
        sources: dict[str, str] = {}
        for name, option in OPTIONS.items():
            for place, stated, name_there in (
                ("command line", command_line, name),
                ("environment", variables, credentials.get(name, option.variable)),
                ("tradeplan", tradeplan, option.plan_key),
            ):
                found = _look_up(stated or {}, name_there) if name_there else None
                if found not in (None, ""):
                    values[name] = _checked(name, name_there, place, found)
                    sources[name] = place
                    break
        return cls(**values, sources=sources)

    def source(self, name: str) -> str:
        """Return where a setting came from: command line, environment, tradeplan or default."""
        return self.sources.get(name, "default")

    def shown(self) -> list[tuple[str, str, str]]:
        """Return (name, value, source) of every setting, secrets as `***`, and no more than four of an account number."""
        values = {f.name: str(getattr(self, f.name)) for f in fields(self) if f.name != "sources"}
        values["live"] = f"…{self.live[-4:]}" if len(self.live) > 4 else self.live
        return [(name, value, self.source(name)) for name, value in values.items()]

    @property
    def tradeplan_path(self) -> Path:
        """The tradeplan's file."""
        return Path(self.tradeplan) if self.tradeplan else Path(self.tradeplan_dir) / TRADEPLAN_FILE

    @property
    def home_path(self) -> Path:
        """The data folder, absolute.

        Raises:
            ConfigError: if LIU_HOME names the home folder of an unknown user.
        """
        try:
            return Path(self.home).expanduser().absolute() if self.home else default_home()
        except RuntimeError:
            said = f"LIU_HOME is '{self.home}', and there" if self.home else "there"
            raise ConfigError(f"{said} is no such home folder: set LIU_HOME to the data folder's full path") from None

    @property
    def endpoints(self) -> Endpoints:
        """The vendor's addresses in canonical form.

        Raises:
            ConfigError: naming the variable whose address is not plain.
        """
        trading = self._address("trading_url").removesuffix("/v2")
        if self.data_connector == "polygon":
            data, stream = self._address("polygon_url"), f"{self._address('polygon_stream_url', websocket=True)}/stocks"
        else:
            data = self._address("finnhub_url" if self.data_connector == "finnhub" else "data_url")
            stream = f"{self._address('stream_url', websocket=True)}/v2/{self.data_feed}"
        return Endpoints(
            trading_url=trading,
            data_url=data,
            stream_url=stream,
            updates_url=updates_address(trading),
            loopback=False,
            broker_url=self._address("broker_api_url").removesuffix("/v1"),
            data_vendor=self.data_connector,
        )

    def _address(self, name: str, *, websocket: bool = False) -> str:
        try:
            return canonical_address(getattr(self, name), websocket=websocket)
        except ConfigError as error:
            raise ConfigError(f"{OPTIONS[name].variable}: {error}") from None

    @property
    def simulation(self) -> Simulation:
        """How the simulated market fills, charges and delays orders."""
        return Simulation(self.fills, self.fees, self.latency_ms)

    def consumer_count(self, cores: int | None = None) -> int:
        """Return how many consumers a new batch gets: what is set, else by the machine's cores, at least 1.

        With CPU_FACTOR it is ceil(cores x CPU_FACTOR), the original's documented formula; else min(4, cores - 1). The
        machine's load plays no part.
        """
        if self.consumers > 0:
            return self.consumers
        if cores is None:
            cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        if self.cpu_factor is not None:
            return max(1, math.ceil(cores * self.cpu_factor))
        return max(1, min(MOST_CONSUMERS, cores - 1))


def _look_up(place: Mapping[str, Any], name: str) -> Any:
    if name in place:
        return place[name]
    found: Any = place
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


_KINDS = get_type_hints(Settings)
_AT_LEAST = {"consumers": 0, "cpu_factor": 0, "seed": 0, "max_symbols": 1, "latency_ms": 0, "keep_bars_mb": 0}


def _checked(name: str, name_there: str, place: str, found: Any) -> Any:
    kind = _KINDS[name]
    if kind is Secret:
        return found if isinstance(found, Secret) else Secret(str(found))
    said = {"command line": f"--{name.replace('_', '-')}", "environment": name_there}.get(place, f"`{name_there}`")
    try:
        value = msgspec.convert(found, kind, strict=place == "tradeplan")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError
    except ValueError:
        raise ConfigError(f"{said} is {found!r}, but it must be {_in_words(kind)}") from None
    least = _AT_LEAST.get(name)
    if least is not None and value is not None and not value >= least:
        raise ConfigError(f"{said} is {found!r}, but it must be at least {least}")
    return value


def _in_words(kind: Any) -> str:
    choices = [*kind] if isinstance(kind, EnumMeta) else getattr(kind, "__args__", ())
    if choices and all(isinstance(c, str) for c in choices):
        return "one of " + ", ".join(choices)
    inner = [c for c in choices if c is not type(None)] or [kind]
    return {int: "a whole number", float: "a number", bool: "0 or 1"}.get(inner[0], "text")


def default_home() -> Path:
    """Return the data folder without LIU_HOME: the platform's place for a user's data."""
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return ROOT_HOME
    from platformdirs import user_data_path

    return user_data_path("liualgotrader", appauthor=False)


def program_call(name: str) -> str:
    """Return what to type for a program of this installation: its name where the shell finds it, else its path, quoted."""
    beside = Path(sys.executable).with_name(name)
    found = shutil.which(name)
    if not beside.exists() or (found is not None and Path(found).absolute() == beside):
        return name
    return shlex.quote(str(beside))


def enter_session_environment(secrets: Secrets, *, keep_vendors: bool) -> None:
    """Set the environment that the session's processes inherit.

    Without `keep_vendors` every variable that names or opens an account anywhere is removed first, so that
    a process of the simulated market could not reach one even by mistake.
    """
    for name in list(os.environ):
        if name.startswith(VENDOR_PREFIXES) and not keep_vendors:
            del os.environ[name]
    os.environ["APCA_API_KEY_ID"] = secrets.key_id.reveal()
    os.environ["APCA_API_SECRET_KEY"] = secrets.secret_key.reveal()
    if secrets.polygon_key:
        os.environ["POLYGON_API_KEY"] = secrets.polygon_key.reveal()
    os.environ[SESSION_DSN] = secrets.dsn.reveal()
    os.environ.pop("DSN", None)


# --- what the original's code reads from this module -----------------------------------------------

default_stop = 0.95
group_margin = 0.02
total_tickers = 9000  # the original's last release says 0 and ignores it
finnhub_websocket_limit = 50
polygon_seconds_timeout = 60
configuration_filename = TRADEPLAN_FILE
miner_configuration_filename = MINER_FILE
gcp_logger = None
detailed_dl_debug_enabled = False

_OF_THE_SESSION: Mapping[str, Any] = {
    "risk": 0.001,  # fraction of the portfolio put at risk per position
    "market_liquidation_end_time_minutes": 15,
    "portfolio_value": None,
    "batch_id": "",
    "db_conn_pool": None,  # an asyncpg pool while a session runs
    "env": "",  # PAPER, PROD, BACKTEST or SIMULATED
    "build_label": "",
    "filename": "",
    "bypass_market_schedule": False,
    "market_open": None,  # aware datetimes, New York
    "market_close": None,
    "trace_enabled": False,
    "debug_enabled": False,
}
_view: dict[str, Any] = {}


@contextmanager
def session_view(**values: Any) -> Iterator[None]:
    """While the block runs, answer these of the original's module attributes with the session's values.

    Raises:
        TypeError: for a name that is not one of them.
    """
    unknown = sorted(set(values) - set(_OF_THE_SESSION))
    if unknown:
        raise TypeError(f"config has no session attribute {unknown[0]!r}")
    before = dict(_view)
    _view.update(values)
    try:
        yield
    finally:
        _view.clear()
        _view.update(before)


def show_hours(opens_at: int, closes_at: int) -> None:
    """From now on, answer when the market opens and closes (ns UTC) with another session's hours."""
    _view.update(market_open=as_datetime(opens_at), market_close=as_datetime(closes_at))


def show_pool(db_conn_pool: Any) -> None:
    """From now on, answer `db_conn_pool` with this pool."""
    _view.update(db_conn_pool=db_conn_pool)


def show_session(plan: SessionPlan, db_conn_pool: Any = None) -> None:
    """From now on, answer the original's module attributes with this process's session."""
    _view.update(
        risk=plan.tradeplan.risk,
        market_liquidation_end_time_minutes=plan.tradeplan.market_liquidation_end_time_minutes,
        portfolio_value=plan.tradeplan.portfolio_value,
        batch_id=plan.batch_id,
        db_conn_pool=db_conn_pool,
        env=plan.environment,
        build_label=plan.build_number,
        bypass_market_schedule=plan.hours.bypass,
        debug_enabled=plan.debug,
        trace_enabled=plan.trace,
    )
    show_hours(plan.hours.opens_at, plan.hours.closes_at)


def __getattr__(name: str) -> Any:
    if name in _OF_THE_SESSION:
        return _view.get(name, _OF_THE_SESSION[name])
    if name == "data_connector":
        return DataConnectorType[Settings.resolve().data_connector]
    if name == "broker":
        return BrokerType[Settings.resolve().broker]
    if name == "dsn":
        return Settings.resolve().dsn.reveal()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
