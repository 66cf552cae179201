"""Real money: the conditions under which a session may open positions with it, and the banner it shows first."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from liualgotrader.common.clock import Clock, as_datetime
from liualgotrader.common.config import Secrets, Settings
from liualgotrader.common.errors import ConfigError, LiuError
from liualgotrader.common.files import replace_file
from liualgotrader.common.orders import BrokerAccount
from liualgotrader.common.session_plan import LIVE_URL, PAPER_URL, PLAN_FILE, Arming, SessionPlan, read_plan
from liualgotrader.common.tradeplan import Limits, TradePlan
from liualgotrader.supervisor.batch import may_go_on
from liualgotrader.supervisor.plan_inspection import inspect_tradeplan
from liualgotrader.supervisor.request import TraderRequest
from liualgotrader.supervisor.session_database import has_record, open_record
from liualgotrader.supervisor.view import Screen, equity_text

LIVE = "PROD"  # the environment of rows about real money
FIRST_SHARE = 0.1  # of its limits for a plan that trades real money for the first time
READING_SECONDS = 10.0  # machine time between the banner and the start
_LAST_DIGITS = 4
_OF_ENTRIES = (
    "order_equity_fraction",
    "order_dollars",
    "position_equity_fraction",
    "gross_equity_fraction",
    "short_equity_fraction",
    "daily_loss_stop_fraction",
)  # not `daily_loss_flatten_fraction`: a plan that is edited must not close what is open


def environment_of(request: TraderRequest, settings: Settings) -> str:
    """Return the environment that rows of a session carry."""
    if request.simulate:
        return "SIMULATED"
    return LIVE if settings.endpoints.is_live else "PAPER"


def session_limits(tradeplan: TradePlan, settings: Settings) -> Limits:
    """Return the limits of the tradeplan, with the setting for symbols where one was made."""
    if settings.source("max_symbols") == "default":
        return tradeplan.limits
    return msgspec.structs.replace(tradeplan.limits, max_symbols=settings.max_symbols)


def first_limits(limits: Limits) -> Limits:
    """Return the limits of a plan's first session with real money: a tenth of whatever bounds what it opens."""
    return msgspec.structs.replace(limits, **{name: FIRST_SHARE * getattr(limits, name) for name in _OF_ENTRIES})


def hash_of(settings: Settings, tradeplan: TradePlan, files: Iterable[str]) -> str:
    """Return a hash over everything that decides what a plan trades: each key, the limits, each file of the user's.

    Files are named relative to the tradeplan's folder, so that a plan may move as a whole.

    Raises:
        ConfigError: if a file that was loaded cannot be read any more.
    """
    folder = settings.tradeplan_path.absolute().parent.resolve()

    def placed(tables: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        return {
            name: {k: os.path.relpath(v, folder) if k == "filename" else v for k, v in table.items()}
            for name, table in tables.items()
        }

    values = tradeplan.as_dict()
    values |= {"strategies": placed(values["strategies"]), "scanners": placed(values["scanners"])}
    try:
        contents = {os.path.relpath(p, folder): hashlib.sha256(Path(p).read_bytes()).hexdigest() for p in files}
    except OSError as error:
        raise ConfigError(f"{error.filename} was loaded and cannot be read any more ({error.strerror})") from None
    whole = {"tradeplan": values, "limits": session_limits(tradeplan, settings), "files": contents}
    return hashlib.sha256(msgspec.json.encode(whole, order="sorted")).hexdigest()


def why_unspoken(request: TraderRequest, settings: Settings) -> str:
    """Return why real money is not requested; empty if it is."""
    if not (request.live or settings.live):
        return (
            f"{LIVE_URL} is real money: say so with `trader --live` (a service: LIU_LIVE=<last four of the account number>),"
            f" or set APCA_API_BASE_URL to {PAPER_URL}"
        )
    if settings.live and (len(settings.live) != _LAST_DIGITS or not settings.live.isalnum()):
        return (
            "LIU_LIVE must be the last four letters or digits of the account number, but"
            f" {len(settings.live)} characters are set"
        )
    return ""


def why_unarmed(request: TraderRequest, settings: Settings, tradeplan: TradePlan, proofs: Mapping[str, Proof]) -> str:
    """Return why a session may not open positions with real money, in one sentence; empty if it may."""
    if why := why_unspoken(request, settings):
        return why
    if request.shadow:  # nothing is sent
        return ""
    if tradeplan.protection != "local":
        return (
            'stops that rest at the broker (protection = "broker", the default for real money) are not built yet: set'
            ' protection = "local" in the tradeplan to trade with stops that only this program keeps'
        )
    if not proofs.keys() & {"SIMULATED", "PAPER"}:
        return (
            "this tradeplan, with its limits and files as they are now, has not ended a paper or simulated session in"
            " which it traded: let it do so first, with `trader --simulate` or on the paper account"
        )
    return ""


def armed_text(
    request: TraderRequest, settings: Settings, tradeplan: TradePlan, files: tuple[str, ...] | None = None
) -> str:
    """Return whether real money is armed and with which limits; `files` are those that the plan's classes loaded.

    Raises:
        ConfigError: why it is not.
    """
    if environment_of(request, settings) != LIVE:
        raise ConfigError(
            f"orders go to {'the simulated market' if request.simulate else settings.endpoints.trading_url}"
        )
    files = inspect_tradeplan(tradeplan).files if files is None else files
    proofs = proofs_of(settings.home_path, hash_of(settings, tradeplan, files))
    if why := why_unarmed(request, settings, tradeplan, proofs):
        raise ConfigError(why)
    return f"armed, {share_text(full_size=is_full_size(settings, proofs))}"


def is_full_size(settings: Settings, proofs: Mapping[str, Proof]) -> bool:
    """Whether a new batch trades at its whole limits."""
    return settings.full_size or LIVE in proofs


def share_text(*, full_size: bool) -> str:
    """Return which part of its limits a session may use."""
    if full_size:
        return "at all of the tradeplan's limits"
    return (
        "at a tenth of the tradeplan's limits until it has ended a session with real money (all of them: --full-size)"
    )


async def live_account(settings: Settings) -> BrokerAccount:
    """Return the account that the keys open.

    Raises:
        LiuError: if the broker does not tell.
    """
    from liualgotrader.trading.trader_factory import open_broker

    secrets = Secrets(settings.key_id, settings.secret_key)
    broker = await open_broker(settings.broker, settings.endpoints, secrets)
    try:
        return await broker.account()
    finally:
        await broker.close()


def last_four(account: BrokerAccount, settings: Settings) -> str:
    """Return the last four of the account's number.

    Raises:
        ConfigError: if LIU_LIVE names another.
    """
    digits = account.account_number[-_LAST_DIGITS:]
    if settings.live and digits != settings.live:
        raise ConfigError(
            f"LIU_LIVE names the account …{settings.live[-_LAST_DIGITS:]}, but the keys open …{digits}: set the keys of the account that"
            " you mean, or its last four"
        )
    return digits


def unfinished_plan(home: Path) -> SessionPlan | None:
    """Return the newest plan of a session with real money that this data folder holds as unfinished, None without one."""
    plans: list[SessionPlan] = []
    for path in (home / "run").glob(f"*/{PLAN_FILE}"):
        try:
            plans.append(read_plan(path.parent))
        except (OSError, LiuError, msgspec.DecodeError):
            continue
    return max((p for p in plans if p.environment == LIVE), key=lambda p: p.hours.opens_at, default=None)


class UnfinishedLive(msgspec.Struct, frozen=True):
    """What earlier sessions with real money left: a batch of `today` that goes on, or something that may be `open`."""

    today: bool = False
    open: bool = False
    plan: str = ""  # the hash of the plan that the batch of `today` was made with


@dataclass(frozen=True, slots=True)
class LiveMoney:
    """Decides for one session with real money whether it may open positions, and says whose money it is."""

    request: TraderRequest
    settings: Settings
    tradeplan: TradePlan
    screen: Screen
    waits: Callable[[str], None]
    clock: Clock

    async def earlier(self) -> UnfinishedLive:
        """Return what earlier sessions left, as the record has it.

        Raises:
            LiuError: if the record cannot be opened, or if there is none and real money is not requested.
        """
        if not has_record(self.settings, self.request):
            if why := why_unspoken(self.request, self.settings):
                raise ConfigError(why)
            return UnfinishedLive()
        record = await open_record(self.settings, self.request)
        try:
            unfinished = await record.store.unfinished_batches(LIVE)
            held = [await record.store.carried_positions(LIVE, name, "") for name in self.tradeplan.strategies]
        finally:
            await record.close()
        today = as_datetime(self.clock.now()).date().isoformat()
        found = next((b for b in unfinished if may_go_on(b, today, shadow=self.request.shadow)), None)
        if found is None or self.request.new:
            return UnfinishedLive(open=bool(unfinished) or any(held))
        return UnfinishedLive(today=True, open=True, plan=found.configuration.get("plan", ""))

    def refusal(self, files: tuple[str, ...]) -> str:
        """Return why the plan may not open positions as its files are now; empty if it may."""
        return why_unarmed(self.request, self.settings, self.tradeplan, self._proofs(files))

    async def arm(self, files: tuple[str, ...], trouble: str, earlier: UnfinishedLive) -> Arming:
        """Return whether positions may be opened, after a person could read whose money it is.

        Only entries depend on it. A batch of today is taken up whatever was said and shown, and without a wait unless
        another plan than its own is to open positions in it; what other sessions left open is managed once an operator
        requests real money.

        Raises:
            ConfigError: why nothing is started, in one sentence.
            OutsideError: if the broker does not tell whose account it is.
        """
        why = trouble or self.refusal(files)
        if why and not earlier.today and (trouble or not earlier.open or why_unspoken(self.request, self.settings)):
            raise ConfigError(why)
        digits, equity = "", ""
        if not (why and earlier.today):
            try:
                account = await live_account(self.settings)
                digits, equity = last_four(account, self.settings), equity_text(account.equity)
            except LiuError as error:
                if not earlier.today:
                    raise
                why = str(error)
        if why:
            self.screen.warn(f"open positions are managed, and no new ones are opened: {why}")
        elif not earlier.today or earlier.plan != hash_of(self.settings, self.tradeplan, files):
            await self._show(digits, equity, files)
        return Arming(digits, why)

    def share(self, files: tuple[str, ...], arming: Arming) -> bool | None:
        """Return whether a new batch trades at all of its limits, None if it opens nothing."""
        return None if arming.refusal else self._is_full(files)

    def limits(self, files: tuple[str, ...], arming: Arming, configuration: Mapping[str, Any]) -> Limits:
        """Return the limits of a batch that was made with that `configuration`: all of them if there is nothing to open.

        The batch keeps the share of them that it began with, but only for the plan that it began with.
        """
        limits = session_limits(self.tradeplan, self.settings)
        same = configuration.get("plan") == hash_of(self.settings, self.tradeplan, files)
        share = configuration.get("full_size") if same else None
        full = share if share is not None else bool(arming.refusal) or self._is_full(files)
        return limits if full else first_limits(limits)

    async def _show(self, digits: str, equity: str, files: tuple[str, ...]) -> None:
        full = self._is_full(files)
        limits = self.limits(files, Arming(digits), {})
        shadow = ", shadow: nothing is sent" if self.request.shadow else ""
        for line in (
            f"REAL MONEY: account …{digits}, {LIVE}, {equity}{shadow}",
            f"limits: an order {limits.order_equity_fraction:.1%} of equity and {limits.order_dollars:,.0f} $,"
            f" a position {limits.position_equity_fraction:.1%}, all {limits.gross_equity_fraction:.1%},"
            f" short {limits.short_equity_fraction:.1%}; after a loss of {limits.daily_loss_stop_fraction:.2%} in a day"
            f" nothing is opened, after {limits.daily_loss_flatten_fraction:.2%} everything of ours is closed",
            f"this session trades {share_text(full_size=full)}",
            "protection: local; stops and targets are kept by this program only, none rests at the broker",
            f"nothing starts for {READING_SECONDS:.0f} seconds; Ctrl-C ends it",
        ):
            self.screen.line(line)
        self.waits("says whose money it is, and starts in a few seconds")
        await self.clock.sleep(READING_SECONDS)

    def _proofs(self, files: tuple[str, ...]) -> Mapping[str, Proof]:
        return proofs_of(self.settings.home_path, hash_of(self.settings, self.tradeplan, files))

    def _is_full(self, files: tuple[str, ...]) -> bool:
        return is_full_size(self.settings, self._proofs(files))


class Proof(msgspec.Struct, frozen=True):
    """A session that ended in order and traded."""

    batch_id: str
    day: str
    executions: int


def proofs_of(home: Path, plan: str) -> Mapping[str, Proof]:
    """Return by environment a session of the plan with that hash that ended in order and traded."""
    try:
        return msgspec.json.decode(_file(home, plan).read_bytes(), type=dict[str, Proof])
    except (OSError, msgspec.DecodeError):
        return {}


def keep_proof(home: Path, plan: str, environment: str, proof: Proof) -> None:
    """Write down that the plan with that hash has traded and ended in order."""
    path = _file(home, plan)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    replace_file(path, msgspec.json.encode({**proofs_of(home, plan), environment: proof}))


def _file(home: Path, plan: str) -> Path:
    return home / "proofs" / f"{plan}.json"
