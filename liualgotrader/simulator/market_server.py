"""A simulated market, put together and served on one local port.

`MarketSpec.options` that are understood, all of them optional:

* `standing`: time stands until `/_sim/resume` or `/_sim/run_until`
* `requests_per_minute`: limit of trading requests, machine time (see `access.py`)
* `connection_limit`, `symbol_limit`: of the data stream, answered with 406 and 405; 0 for none
* `outgoing_limit_bytes`: what may wait for one data connection before it is cut off with 407
* `polygon_plan`: `free` for Polygon's plan without ticks, snapshots and stream, and with five requests a minute
* `polygon_requests_per_minute`: limit of requests to Polygon's routes, machine time
* `updates_frames`: `binary` (as on paper accounts) or `text` (as on live ones)
* `account`: the account's number, else `SIM000000001`
* `log_dir`: folder of the process's log file, else the specification's own
"""

from __future__ import annotations

import asyncio
import errno
import logging
import secrets
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from math import prod
from pathlib import Path

import msgspec
from aiohttp import WSCloseCode, web

from liualgotrader.common.borrow import borrow_fees, borrow_statuses
from liualgotrader.common.clock import WallClock
from liualgotrader.common.errors import ConfigError, OutsideError
from liualgotrader.common.files import replace_file
from liualgotrader.common.money import ZERO, exact
from liualgotrader.common.ports import Tape
from liualgotrader.common.session_plan import MarketSpec
from liualgotrader.common.tlog import say
from liualgotrader.common.tradeplan import FillProfile
from liualgotrader.common.untrusted import MOST_BYTES
from liualgotrader.exchange.exchange import Exchange
from liualgotrader.exchange.fees import FEES
from liualgotrader.exchange.rules import ExchangeSession, Rules
from liualgotrader.ipc.session_page import SessionPage
from liualgotrader.simulator import (
    account_routes,
    broker_routes,
    control_routes,
    data_routes,
    polygon_reference,
    polygon_routes,
    polygon_websocket,
    reference_routes,
    stream_routes,
    trading_routes,
    watchlist_routes,
)
from liualgotrader.simulator.access import RATE, VENDOR_RATE, RequestRate, apply_faults, check_access
from liualgotrader.simulator.asset_codes import SymbolTable
from liualgotrader.simulator.day_history import DayRecord, EquityCurve, HistorySource
from liualgotrader.simulator.faults import Faults, FaultyTape
from liualgotrader.simulator.market_hold import Hold
from liualgotrader.simulator.market_loop import MARKET, WORLD, MarketLoop, World
from liualgotrader.simulator.polygon_access import FREE_PLAN_REQUESTS, POLYGON_RATE, check_polygon, is_free
from liualgotrader.simulator.polygon_websocket import POLYGON, codec_of
from liualgotrader.simulator.practice_feed import PracticeFeed
from liualgotrader.simulator.stream_hubs import DataHub, UpdatesHub
from liualgotrader.simulator.subscriptions import ApiKeys
from liualgotrader.tapes.base import ColumnTape, asset_terms, exchange_session
from liualgotrader.tapes.splits import ratio_of

log = logging.getLogger(__name__)

_FAMILIES = (
    *(trading_routes, account_routes, watchlist_routes, data_routes, reference_routes),
    *(stream_routes, control_routes, broker_routes, polygon_routes, polygon_reference, polygon_websocket),
)
HOST = "127.0.0.1"
ACCOUNT = "SIM000000001"
TOKEN_FILE = "sim-token"  # noqa: S105 - a file's name
_CLOSE_SECONDS = 0.2
_LONGEST_LINE = 1 << 20  # what is shorter and yet too long is refused in the vendor's JSON, see access.py


@dataclass(slots=True)
class RunningMarket:
    """A simulated market that is being served. `task` ends when the tape does, or with the bug that ended it."""

    world: World
    loop: MarketLoop
    port: int
    task: asyncio.Task[None]
    _runner: web.AppRunner
    _undo: ExitStack

    @property
    def url(self) -> str:
        """The root of all REST addresses."""
        return f"http://{HOST}:{self.port}"

    @property
    def websocket_url(self) -> str:
        """The root of all websocket addresses."""
        return f"ws://{HOST}:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables that point a program of the vendors' clients at this market."""
        keys = self.world.keys
        return {
            "APCA_API_KEY_ID": keys.key_id,
            "APCA_API_SECRET_KEY": keys.secret_key,
            "APCA_API_BASE_URL": self.url,
            "APCA_API_DATA_URL": self.url,
            "ALPACA_STREAM_URL": self.websocket_url,
            "POLYGON_API_KEY": keys.secret_key,
            "POLYGON_BASE_URL": self.url,
            "POLYGON_STREAM_URL": self.websocket_url,
        }

    async def close(self) -> None:
        """End the market and every connection, within a second."""
        self.task.cancel()
        self.world.closing.set()
        for stream in (self.world.data, self.world.updates, self.world.practice.hub):
            stream.close_all(WSCloseCode.GOING_AWAY)
        await asyncio.wait([self.task])
        await self._runner.cleanup()
        self._undo.close()


async def serve(spec: MarketSpec, keys: ApiKeys, *, tape: Tape | None = None) -> RunningMarket:
    """Serve the market that `spec` describes and start its time; `tape` instead of the one that it names.

    Raises:
        ConfigError: if the specification names something that there is not.
        OutsideError: if the port is taken.
    """
    played = tape if tape is not None else tape_of(spec)
    with ExitStack() as undo:
        if spec.page:
            page = SessionPage(Path(spec.page))
        else:  # one of the market's own
            folder = undo.enter_context(tempfile.TemporaryDirectory(prefix="liu-market-"))
            page = SessionPage.create(Path(folder) / "page", (), ())
        world = make_world(spec, keys, page, played)
        undo.callback(world.token_path.unlink, missing_ok=True)
        hold = Hold(page, lambda: world.data.absent() + world.updates.absent())
        undo.callback(hold.close)
        loop = MarketLoop(world, hold)
        loop.prepare()
        runner = web.AppRunner(
            application(world, loop), access_log=None, shutdown_timeout=_CLOSE_SECONDS, max_line_size=_LONGEST_LINE
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, HOST, spec.port).start()
        except OSError as e:
            await runner.cleanup()
            if e.errno != errno.EADDRINUSE:
                raise
            raise OutsideError(f"Port {spec.port} is in use; name another one, or 0 for any free one.") from e
        task = asyncio.create_task(loop.run(), name="market")
        return RunningMarket(world, loop, runner.addresses[0][1], task, runner, undo.pop_all())


def application(world: World, loop: MarketLoop) -> web.Application:
    """Return the server's routes: one family a file."""
    app = web.Application(middlewares=[check_access, check_polygon, apply_faults], client_max_size=MOST_BYTES)
    app[WORLD], app[MARKET] = world, loop
    if per_minute := int(
        world.spec.options.get("requests_per_minute", VENDOR_RATE if 0 < world.spec.speed <= 1 else 0)
    ):
        app[RATE] = RequestRate(world.clock, per_minute)
    app[watchlist_routes.LISTS] = {}
    app[POLYGON] = codec_of(world.record)
    if polygon_requests := int(
        world.spec.options.get("polygon_requests_per_minute", FREE_PLAN_REQUESTS if is_free(world) else 0)
    ):
        app[POLYGON_RATE] = RequestRate(world.clock, polygon_requests)
    for family in _FAMILIES:
        app.add_routes(family.routes)
    return app


def tape_of(spec: MarketSpec) -> Tape:
    """Return the tape that a specification names, loaded.

    Raises:
        ConfigError: if there is none, or its data cannot be.
    """
    from liualgotrader.tapes.tape_factory import tape_from

    tape = tape_from(
        spec.kind,
        day=date.fromisoformat(spec.day),
        folder=spec.folder or None,
        seed=spec.seed,
        symbols=spec.symbols or None,
        count=spec.symbol_count,
        since=date.fromisoformat(spec.since) if spec.since else None,
        bypass=spec.bypass,
    )
    if any(fault.halt or fault.split for fault in spec.faults):
        tape = FaultyTape(tape, spec.faults)
    tape.load()
    return tape


def about(tape: Tape) -> dict[str, list[str]]:
    """Return what an operator should know of a loaded tape: how it was made, what looks odd, what was left out."""
    if not isinstance(tape, ColumnTape):
        return {}
    found = {"notes": [*tape.notes(), *tape.adjustments()], "doubts": tape.doubts(), "skipped": tape.skipped()}
    for kind, sentences in found.items():
        for sentence in sentences:
            say(log, f"tape_{kind}", text=sentence)
    return found


def make_world(spec: MarketSpec, keys: ApiKeys, page: SessionPage, tape: Tape) -> World:
    """Return the parts of a market; nothing runs yet."""
    listed = borrow_statuses(spec.borrow, tape.day)
    terms = [
        one
        if (status := listed.get(one.symbol)) is None
        else msgspec.structs.replace(one, shortable=status != "none", easy_to_borrow=status == "easy")
        for one in asset_terms(tape.assets())
    ]
    symbols = SymbolTable(terms)
    record = DayRecord(tape.opens_at, tape.closes_at)
    history = HistorySource(tape, record)
    session = exchange_session(tape)
    exchange = Exchange(terms, session=session, rules=rules_of(spec), seed=spec.seed)
    account_id = str(spec.options.get("account", ACCOUNT))
    if not restore(exchange, spec, session, tape):
        exchange.open_account(account_id, exact(spec.cash))
    token, token_path = write_token(page.path.parent)
    return World(
        spec=spec,
        keys=keys,
        account_id=account_id,
        clock=WallClock(),
        tape=tape,
        symbols=symbols,
        exchange=exchange,
        record=record,
        history=history,
        equity=EquityCurve(),
        data=DataHub(symbols, page),
        updates=UpdatesHub(page),
        practice=PracticeFeed(page),
        page=page,
        token=token,
        token_path=token_path,
        now=spec.starts_at,
        faults=Faults(spec.faults, tape.day, spec.starts_at),
    )


def rules_of(spec: MarketSpec) -> Rules:
    """Return the exchange's rules. Raises `ConfigError` for a profile or fees that there are not."""
    if spec.fill_profile not in list(FillProfile):
        raise ConfigError(f"Unknown fill profile {spec.fill_profile}; choose one of: {', '.join(FillProfile)}.")
    if spec.fees not in FEES:
        raise ConfigError(f"Unknown fees {spec.fees}; choose one of: {', '.join(FEES)}.")
    return Rules(profile=FillProfile(spec.fill_profile), fees=FEES[spec.fees], latency_ns=spec.latency)


def write_token(folder: Path) -> tuple[str, Path]:
    """Write a fresh control token beside the page, readable by its owner only, and return it and its file."""
    token, path = secrets.token_urlsafe(24), folder / TOKEN_FILE
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(token)
    return token, path


# --- accounts that outlive the process: the first line of the file is the day (ISO), the rest the exchange's own snapshot


def restore(exchange: Exchange, spec: MarketSpec, session: ExchangeSession, tape: Tape) -> bool:
    """Take the accounts from the state file, into a new day if it is an older one's; False if there is no file.

    Shares and open orders are split as the tape says, for every split since that day; dividends are paid, and short
    positions pay for what they have borrowed.

    Raises:
        ConfigError: if the file is not one of ours, or lies ahead of the day that is to be played.
    """
    path = Path(spec.state) if spec.state else None
    if path is None or not path.exists():
        return False
    day, _, state = path.read_bytes().partition(b"\n")
    try:
        exchange.restore_state(state)
    except ValueError as e:
        raise ConfigError(f"{path} is not a market's state; name another file or delete it.") from e
    if day.decode() > spec.day:
        raise ConfigError(f"{path} holds accounts as of {day.decode()}, which is after {spec.day}; choose a later day.")
    if day.decode() < spec.day:
        since, ratios = date.fromisoformat(day.decode()), {}
        if isinstance(tape, ColumnTape):
            for symbol in tape.symbols():
                ratio = prod(split.ratio for split in tape.splits(symbol) if since < split.day <= tape.day)
                if ratio != 1:
                    ratios[symbol] = exact(round(ratio, 9))
        paid = _dividends(tape, since)
        fees = borrow_fees(spec.borrow, since, tape.day)
        exchange.begin_session(msgspec.structs.replace(session, splits=ratios, dividends=paid, borrow_fees=fees))
    return True


def _dividends(tape: Tape, since: date) -> dict[str, Decimal]:
    """Return by symbol the dollars that each of today's shares has been paid since that day."""
    paid: dict[str, Decimal] = {}
    if not isinstance(tape, ColumnTape):
        return paid
    for symbol in tape.symbols():
        for dividend in tape.dividends(symbol):
            if since < dividend.day <= tape.day:
                later = ratio_of(split for split in tape.splits(symbol) if dividend.day < split.day <= tape.day)
                paid[symbol] = paid.get(symbol, ZERO) + round(exact(dividend.amount) / later, 9)
    return paid


def keep(exchange: Exchange, spec: MarketSpec) -> None:
    """Write the accounts into the state file, whole or not at all; nothing without such a file.

    Raises:
        OutsideError: if the disk is full, or the file cannot be written for another reason.
    """
    if not spec.state:
        return
    path = Path(spec.state)
    try:
        replace_file(path, spec.day.encode() + b"\n" + exchange.snapshot_state())
    except OSError as e:
        raise OutsideError(
            f"the market's accounts cannot be written to {path}: {e.strerror}; free some space there"
        ) from e
