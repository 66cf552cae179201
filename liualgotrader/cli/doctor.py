"""`liu doctor`: what is missing on this machine, account, database and configuration, and how to fix it."""

from __future__ import annotations

import argparse
import asyncio
import platform
import re
import sys
from collections.abc import Generator, Iterator
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from liualgotrader.cli.check import Checked, broker_account, data_folder, found_by, plan_checks, said
from liualgotrader.cli.trader import allowed
from liualgotrader.cli.trader_arguments import configured
from liualgotrader.common.clock import SECOND, WallClock, as_datetime
from liualgotrader.common.config import Settings, credential_names
from liualgotrader.common.environment import environment
from liualgotrader.common.errors import ConfigError, LiuError
from liualgotrader.common.rows import BatchRow
from liualgotrader.common.session_plan import PAPER_URL
from liualgotrader.supervisor.operator_socket import running_sessions
from liualgotrader.supervisor.request import TraderRequest
from liualgotrader.supervisor.session_database import existing_record, look_at_record

EXTRAS = {
    "report": "HTML reports",
    "original": "indicators of the original's files: TA-Lib, stockstats",
    "tpe": "optimizer --sampler tpe",
    "dask": "optimizer --backend dask",
    "fast": "compiled loops for array signals",
    "ui": "the pages",
    "notebooks": "notebooks",
}
ABSENT = "--"  # not there, and not needed
_WARNING = "!!"
_VENDOR_SECONDS = 3.0  # machine time for an answer
_MOST_SKEW = 5  # seconds
_REQUIREMENT = re.compile(r'([A-Za-z0-9_.-]+)[^;]*(?:;\s*extra == "(\w+)"|;(.*))?')


def doctor(options: argparse.Namespace) -> int:
    """Print what is found and return 0, or 2 if something that is needed is missing."""
    failed = sum(one.state == "no" for one in said(findings(options), as_document=options.json))
    if not options.json:
        print(f"{failed} of these must be fixed first (marked no)" if failed else "all that is needed is there")
    return ConfigError.exit_code if failed else 0


def findings(options: argparse.Namespace) -> Iterator[Checked]:
    """Yield what is found, the machine first; no order is sent, and no table is changed."""
    yield Checked("ok", "Python", f"{platform.python_version()} at {sys.executable}, {platform.platform()}")
    yield from packages()
    yield found_by("time zones", time_zones)
    stated = {"home": options.home, "dsn": options.dsn, "tradeplan": options.tradeplan}
    try:
        settings = Settings.resolve(stated)
    except ConfigError as error:
        yield Checked("no", "settings", str(error))
        return
    folder = found_by("data folder", lambda: data_folder(settings.home_path))
    yield folder
    request = TraderRequest(dsn_given=bool(options.dsn))
    if folder.state == "ok":
        database = found_by("database", lambda: asyncio.run(look_at_record(settings, request)))
        yield database
        if database.state == "ok":
            yield from unfinished(settings, request)
    yield from plan_here(stated, settings, request)
    yield from account_here(settings)


def packages() -> Iterator[Checked]:
    """Yield whether what the package needs is installed, and which of its extras."""
    needed: dict[str, list[str]] = {}
    try:
        every = requires("liualgotrader") or []
    except PackageNotFoundError:
        yield Checked("no", "packages", f"liualgotrader is not installed: {sys.executable} -m pip install -e .")
        return
    for requirement in every:
        if (parts := _REQUIREMENT.fullmatch(requirement)) and not (parts[3] and platform.system() == "Windows"):
            needed.setdefault(parts[2] or "", []).append(parts[1])
    for extra, purpose in {"": "", **EXTRAS}.items():
        names = [name for name in needed.get(extra, ()) if extra == "" or name not in needed[""]]
        lacking = [name for name in names if not _installed(name)]
        what = f"extra {extra}" if extra else "packages"
        pip = f"{sys.executable} -m pip install 'liualgotrader{f'[{extra}]' * bool(extra)}'"
        if lacking:
            told = f"{f'{purpose}: ' * bool(purpose)}{', '.join(lacking)} not installed; {pip}"
            yield Checked(ABSENT if extra else "no", what, told)
        else:
            told = purpose or f"liualgotrader {metadata('liualgotrader')['Version']}"
            yield Checked("ok", what, f"{told} ({', '.join(f'{name} {version(name)}' for name in names)})")


def _installed(name: str) -> bool:
    try:
        return bool(version(name))
    except PackageNotFoundError:
        return False


def time_zones() -> str:
    """Return what the clock says in New York.

    Raises:
        ConfigError: without time zone data.
    """
    try:
        ZoneInfo("America/New_York")
    except ZoneInfoNotFoundError as error:
        raise ConfigError("New York's is not known: pip install tzdata") from error
    return f"New York's is known; this machine's clock says {as_datetime(WallClock().now()):%Y-%m-%d %H:%M:%S} there"


def unfinished(settings: Settings, request: TraderRequest) -> Iterator[Checked]:
    """Yield the batches of broker accounts that have no end and do not run."""
    try:
        running = {session.batch_id for session in running_sessions(settings.home_path)}
        found = [
            batch for batch in asyncio.run(batches_without_end(settings, request)) if batch.batch_id not in running
        ]
    except LiuError as error:
        yield Checked(ABSENT, "unfinished batches", str(error))
        return
    for batch in found:
        told = f"{batch.batch_id} of {batch.session_date} ({batch.environment}) has no end: on its day the next `trader` takes it"
        yield Checked(
            _WARNING, "unfinished batch", f"{told} up; `liu journal show {batch.batch_id[:8]}` shows what it did"
        )
    if not found:
        yield Checked("ok", "unfinished batches", "none")


async def batches_without_end(settings: Settings, request: TraderRequest) -> list[BatchRow]:
    """Return the batches of broker accounts that have no end."""
    if (record := await existing_record(settings, request)) is None:
        return []
    try:
        return [batch for name in ("PAPER", "PROD") for batch in await record.store.unfinished_batches(name)]
    finally:
        await record.close()


def plan_here(stated: dict[str, str | None], settings: Settings, request: TraderRequest) -> Iterator[Checked]:
    """Yield what is found of the tradeplan, if there is one."""
    path = settings.tradeplan_path
    if not stated["tradeplan"] and not path.exists():
        written = "`liu quickstart` or `liu new strategy NAME` writes one"
        yield Checked(ABSENT, "tradeplan", f"there is no {path}; {written}")
        return
    try:
        settings, plan = configured(stated)
    except LiuError as error:
        yield Checked("no", "tradeplan", str(error))
        return
    yield Checked("ok", "tradeplan", str(path))
    simulated = msgspec.structs.replace(request, simulate=True)  # whether real money is armed, `trader --check` says
    yield from (one for one in plan_checks(settings, plan, simulated) if one.name != "simulated market")


def account_here(settings: Settings) -> Iterator[Checked]:
    """Yield what is found of keys, endpoint and vendor; the keys go nowhere else than `trader` sends them."""
    names = credential_names(environment())
    have = [name for name, key in zip(names, (settings.key_id, settings.secret_key), strict=True) if key]
    if len(have) == 1:
        lacking = next(name for name in names if name not in have)
        yield Checked("no", "keys", f"{have[0]} is set, but {lacking} is not: set both, or neither")
    elif have:
        yield Checked("ok", "keys", f"{' and '.join(names)} are set")
    else:
        told = "not set: only the simulated market and backtests are traded; set those of a paper account"
        yield Checked(ABSENT, "keys", f"{' and '.join(names)} are {told}")
    try:
        url, is_live = settings.endpoints.trading_url, settings.endpoints.is_live
        kind = "real money" if is_live else "paper" if url == PAPER_URL else "this machine"
        if len(have) == len(names):
            allowed(argparse.Namespace(simulate=False, live=False, full_size=False), settings)
    except ConfigError as error:
        yield Checked("no", "endpoint", str(error))
        return
    yield Checked("ok", "endpoint", f"{url}: {kind}")
    answered = yield from vendor(url)
    if answered and len(have) == len(names):
        account = found_by("account", lambda: asyncio.run(broker_account(settings)))
        why = "" if account.state == "ok" else f"these keys open no account at {url}: set those of its API page; "
        yield account._replace(told=why + account.told)


def vendor(url: str) -> Generator[Checked, None, bool]:
    """Yield whether the vendor answers, without keys, and how far this machine's clock is from its; return the former."""
    import requests

    from liualgotrader.common.http_guard import guard

    with requests.Session() as session:
        guard(session, url, timeout_seconds=_VENDOR_SECONDS)
        try:
            answer = session.get(f"{url}/v2/clock")
        except (requests.RequestException, LiuError) as error:
            told = f"{url} does not answer ({type(error).__name__}): offline; sessions on the simulated market"
            yield Checked(ABSENT, "vendor", f"{told} and backtests go on")
            return False
    yield Checked("ok", "vendor", f"{url} answers")
    if sent := answer.headers.get("Date"):
        skew = WallClock().now() / SECOND - parsedate_to_datetime(sent).timestamp()
        told = f"{abs(skew):.0f} seconds {'ahead of' if skew > 0 else 'behind'} the vendor's"
        is_near = abs(skew) <= _MOST_SKEW
        more = "" if is_near else ": switch time synchronisation on (timedatectl set-ntp true)"
        yield Checked("ok" if is_near else _WARNING, "clock", told + more)
    return True
