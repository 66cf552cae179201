"""The session's plan, which the supervisor gives its processes before they start.

The plan is written into the session's runtime folder and holds no secret: keys and the DSN travel in
each child's environment.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from liualgotrader.common.borrow import BorrowRows
from liualgotrader.common.clock import MINUTE, QUANTUM, SECOND
from liualgotrader.common.endpoint_address import canonical_address, is_loopback
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.fault_script import ScriptedFault
from liualgotrader.common.files import replace_file
from liualgotrader.common.tradeplan import FillProfile, Limits, Timings, TradePlan

PAPER_URL = "https://paper-api.alpaca.markets"
BROKER_SANDBOX_URL = "https://broker-api.sandbox.alpaca.markets"
LIVE_URL = "https://api.alpaca.markets"

EARLY = 10 * SECOND  # simulated time begins before the open, so that the first event finds everybody waiting
AFTER_CLOSE = 5 * MINUTE  # the time to hear of the last fills

DECLINED = "create() said no"  # why a slot does not run whose strategy did not want to


_VENDOR_HOSTS = {
    "alpaca": ((".alpaca.markets",), "APCA_API_DATA_URL and ALPACA_STREAM_URL"),
    "polygon": ((".polygon.io", ".massive.com"), "POLYGON_BASE_URL and POLYGON_STREAM_URL"),
}


class SlotPlan(msgspec.Struct, frozen=True):
    """One strategy in one consumer: the row of `algo_run` its orders belong to."""

    slot: int
    strategy: str
    consumer: int
    algo_run_id: int
    run_all: bool = False
    account_id: int | None = None  # of the strategy's portfolio, if it has one
    stopped: str = ""  # why it must not run (any more): `no answer`, …
    day_trade: bool = True  # what its class says; where that says nothing, what must not stay overnight is closed
    own_process: bool = False  # it has the consumer to itself
    funds: Decimal | None = (
        None  # what its portfolio may spend as the batch begins: balance and credit line, US dollars
    )
    sub_account: str = ""  # at the broker, for which the strategy's portfolio trades; empty: the account of the keys

    @property
    def has_home(self) -> bool:
        """Whether the strategy lives in this consumer only, for all of its symbols."""
        return self.run_all or self.own_process


class Endpoints(msgspec.Struct, frozen=True):
    """Where the outside world is. Adapters get all addresses from here and know no other.

    An address is empty or in the one spelling that all clients read alike; no other can be put in.
    """

    trading_url: str  # REST root without a trailing slash
    data_url: str
    stream_url: str  # the whole market-data websocket address
    updates_url: str  # the whole trade_updates websocket address
    loopback: bool  # no address of another host can be put in
    broker_url: str = ""  # of the Broker API, which takes the orders of sub-accounts
    data_vendor: str = "alpaca"  # who gets the requests to `data_url` and `stream_url`

    def __post_init__(self) -> None:
        """Check the addresses, wherever they come from.

        Raises:
            ConfigError: for one that is not canonical, or beyond this machine where only loopback is allowed, or that
                would get keys while real money is traded and is not the vendor's.
        """
        rest, streams = (self.trading_url, self.data_url, self.broker_url), (self.stream_url, self.updates_url)
        for address in filter(None, (*rest, *streams)):
            if canonical_address(address, websocket=address in streams) != address:
                raise ConfigError(f"{address} is not the canonical form of this address")
            if self.loopback and not is_loopback(address):
                raise ConfigError(f"a simulation calls nothing outside this machine, but {address} was to be called")
            vendor = self.data_vendor if address in (self.data_url, self.stream_url) else "alpaca"
            names, variables = _VENDOR_HOSTS.get(vendor, _VENDOR_HOSTS["alpaca"])
            if self.is_live and not (is_loopback(address) or str(urlsplit(address).hostname).endswith(names)):
                raise ConfigError(
                    f"keys of real money are sent to {vendor.capitalize()}'s hosts only, and {address} is not one: leave"
                    f" {variables} out"
                )

    @property
    def is_live(self) -> bool:
        """Whether orders would be for real money."""
        return self.trading_url == LIVE_URL


class Arming(msgspec.Struct, frozen=True):
    """The account on which a session may open positions with real money, by the end of its number, or why it may not."""

    account: str = ""
    refusal: str = ""  # why nothing is opened; open positions are managed all the same


def updates_address(trading_url: str) -> str:
    """Return where the news of orders come from: the host that takes the orders."""
    return f"ws{trading_url.removeprefix('http')}/stream"


class Hours(msgspec.Struct, frozen=True):
    """The session as integers, ns UTC, so that no child needs a calendar."""

    day: str  # ISO date, New York
    opens_at: int
    closes_at: int  # of the window being traded; the exchange's own close if there is no window
    liquidates_at: int  # DAY_TRADE entries stop and positions are closed
    ends_at: int  # every process is done
    previous: tuple[tuple[int, int], ...] = ()  # (opens_at, closes_at) of the sessions before, newest first
    bypass: bool = False  # `bypass_market_schedule`: windows are always open
    next_opens_at: int = 0  # of the batch's next session, for which orders after the close wait; 0: there is none

    def waits(self, now: int) -> bool:
        """Whether what is ordered now waits for the batch's next session."""
        return 0 < self.closes_at <= now < self.next_opens_at

    def day_trading_has_ended(self, now: int) -> bool:
        """Whether DAY_TRADE strategies open nothing any more in this session."""
        return not self.bypass and 0 < self.liquidates_at <= now and not self.waits(now)


class SessionPlan(msgspec.Struct, frozen=True):
    """Everything but secrets that a process of one session needs."""

    batch_id: str
    environment: str
    hours: Hours
    simulated_clock: bool
    endpoints: Endpoints
    run_dir: str  # sockets and the page
    journal_dir: str
    log_dir: str
    consumers: int
    slots: tuple[SlotPlan, ...]
    tradeplan: TradePlan
    tradeplan_dir: str  # relative `filename`s are resolved against it
    seed: int
    data_connector: str = "alpaca"
    broker: str = "alpaca"
    data_feed: str = "sip"
    link: str = "seqpacket"  # or "queue"
    timings: Timings = Timings()
    limits: Limits = Limits()
    shadow: bool = False  # decide everything, send nothing
    build_number: str = ""
    debug: bool = False
    trace: bool = False  # log how long each call of a strategy takes
    verbose: bool = False  # show every order and fill
    account_is_new: bool = False  # it holds nothing of earlier sessions: that of a simulation which keeps none
    arming: Arming | None = None  # of a session with real money
    records_dir: str = ""  # for what strategies record; empty: beside the journals
    kept_bars_bytes: int = 0  # of minutes that strategies saw, beside what they record
    sub_account: str = ""  # at the broker, that the session trades for; empty: the account of the keys
    announces: bool = False  # the supervisor shows account and equity before anything may be ordered

    @property
    def page_path(self) -> Path:
        """Where the session page lies."""
        return Path(self.run_dir) / "page"

    def link_path(self, name: str) -> Path:
        """Return the address of a link: market-<i>, intents-<i>, news-<i>, needs-<i>, picks."""
        return Path(self.run_dir) / f"{name}.link"

    def process_names(self) -> list[str]:
        """Return the names of all processes of the session but the supervisor and the simulated market."""
        return ["order_gateway", "producer", "scanners_runner", *(f"consumer-{i}" for i in range(self.consumers))]

    def link_names(self) -> list[str]:
        """Return the names of all links."""
        per_consumer = [f"{kind}-{i}" for i in range(self.consumers) for kind in ("market", "intents", "news", "needs")]
        return ["picks", *per_consumer]

    @property
    def sharing_consumers(self) -> int:
        """How many consumers share the symbols; those of strategies with a process of their own come after them."""
        return self.consumers - len({slot.consumer for slot in self.slots if slot.own_process})

    def joined_by(self, slots: Sequence[SlotPlan], table: dict[str, Any]) -> SessionPlan:
        """Return the plan with the slots of one more strategy, made from `table`; slots that are there stay as they are."""
        known = {slot.slot for slot in self.slots}
        tables = self.tradeplan.strategies | {slot.strategy: table for slot in slots if slot.slot not in known}
        return msgspec.structs.replace(
            self,
            slots=(*self.slots, *(slot for slot in slots if slot.slot not in known)),
            tradeplan=msgspec.structs.replace(self.tradeplan, strategies=tables),
        )

    def slots_of(self, consumer: int) -> list[SlotPlan]:
        """Return the slots that live in one consumer, by slot number."""
        return [s for s in self.slots if s.consumer == consumer]


PLAN_FILE = "session.json"


def write_plan(plan: SessionPlan) -> Path:
    """Write the plan into its runtime folder, readable by its owner only, and return the file."""
    path = Path(plan.run_dir) / PLAN_FILE
    values = msgspec.structs.asdict(plan) | {"tradeplan": plan.tradeplan.as_dict()}
    replace_file(path, msgspec.json.encode(values))
    return path


def read_plan(run_dir: Path) -> SessionPlan:
    """Return the plan of the session that lives in `run_dir`."""
    values = msgspec.json.decode((run_dir / PLAN_FILE).read_bytes())
    return msgspec.convert(values | {"tradeplan": TradePlan.from_dict(values["tradeplan"])}, SessionPlan)


class MarketSpec(msgspec.Struct, frozen=True):
    """What the simulated market is to play, handed to its process as a file without secrets."""

    kind: str  # generated | recorded
    day: str  # ISO date
    starts_at: int  # ns UTC: where simulated time begins
    ends_at: int  # where it ends; the market then stands still
    seed: int = 0
    folder: str = ""
    symbols: tuple[str, ...] = ()
    symbol_count: int = 200
    since: str = ""  # ISO date: the first of the generated days that lead to this one
    speed: float = 0.0  # upper limit, market per machine; 0 = as fast as the stack follows
    quantum: int = QUANTUM  # ns of market time
    free_run: bool = False  # do not wait for the stack
    port: int = 0
    page: str = ""  # of the session whose clock it owns; empty: it makes one of its own
    cash: str = "100000"
    fill_profile: str = FillProfile.STRICT
    fees: str = "none"
    latency: int = 1_000_000  # ns of market time from acceptance to the book
    state: str = ""  # a file: accounts are kept over restarts
    bypass: bool = False  # the exchange may have been shut on the day
    faults: tuple[ScriptedFault, ...] = ()
    borrow: BorrowRows = ()
    options: dict[str, Any] = {}
