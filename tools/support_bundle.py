"""`python -m tools.support_bundle`: a zip for whoever is to help: versions, settings, logs, row counts, what `liu doctor` finds.

Keys, passwords and account numbers are replaced by `***` wherever they stand, the home folder by `~`, the machine's name by
`HOST`. Orders, trades, the key-store and your strategies are not in it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import re
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import distributions
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import toml

from liualgotrader.cli.common import guarded, parser_of
from liualgotrader.cli.doctor import findings
from liualgotrader.common.clock import WallClock, as_datetime
from liualgotrader.common.config import MINER_FILE, VENDOR_PREFIXES, Settings
from liualgotrader.common.environment import environment
from liualgotrader.common.errors import LiuError, OutsideError
from liualgotrader.common.secret import HIDDEN, without_secrets
from liualgotrader.supervisor.batch import build_label
from liualgotrader.supervisor.request import TraderRequest
from liualgotrader.supervisor.session_database import existing_record

LOG_BYTES, MOST_LOGS = 1_000_000, 40  # the end of a log, and how many of the newest
_SHORTEST = 4  # a shorter secret would be found everywhere
_PATTERNS = (  # where a secret that nobody knows of may stand, and its shape
    re.compile(
        r"(?i)(?<=\w)?([\w.\-]*(?:passw|secret|token|api[_-]?key|key[_-]?id|credential|authorization)[\w.\-]*[\"']?\s*[=:]\s*(?:bearer\s+|basic\s+)?[\"']?)[^\s\"',;]+"
    ),
    re.compile(r"(?i)(account[\w ]*?(?:number|no|id|_)?[\"']?\s*[=:#]?\s*[\"']?)(?=[\w-]*\d)[A-Z0-9-]{6,}\b"),
    re.compile(r"()\b(?:PA|PK|AK|CK)[A-Z0-9]{8,}\b"),
    re.compile(r"()\b[A-Za-z0-9/+]{40,44}\b"),
)
_TABLES = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace ORDER BY relname"


class Mask:
    """Takes secrets out of texts: those that it is told, and what looks like one."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets for form in (secret, unquote(secret), json.dumps(secret)[1:-1])}
        self._secrets = sorted((form for form in forms if len(form) >= _SHORTEST), key=len, reverse=True)
        self._places = {str(Path.home()): "~", platform.node(): "HOST"}

    def __call__(self, text: str) -> str:
        """Return the text without them."""
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        text = str(without_secrets(text))
        for pattern in _PATTERNS:
            text = pattern.sub(rf"\1{HIDDEN}", text)
        for place, name in self._places.items():
            text = text.replace(place, name) if len(place) >= _SHORTEST else text
        return text


def secrets_of(variables: Mapping[str, str], tables: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the secrets among the variables of an environment and in the tables of tradeplans."""
    for name, value in variables.items():
        of_a_vendor = name.startswith(VENDOR_PREFIXES) and not re.search("URL|FEED", name)
        if of_a_vendor or name == "LIU_LIVE" or (name != "PWD" and without_secrets({name: value})[name] == HIDDEN):
            yield value
        try:
            address = urlsplit(value)
            yield address.password or ""
            yield from parse_qs(address.query).get("password", ())
        except ValueError:
            continue
    for table in tables:
        yield from hidden_values(table, without_secrets(table))


def hidden_values(told: Any, shown: Any) -> Iterator[str]:
    """Yield the texts that were there and are hidden now."""
    if isinstance(told, Mapping):
        for key, value in told.items():
            yield from hidden_values(value, shown if shown == HIDDEN else shown[key])
    elif isinstance(told, list):
        for place, value in enumerate(told):
            yield from hidden_values(value, shown if shown == HIDDEN else shown[place])
    elif shown == HIDDEN:
        yield str(told)


async def row_counts(settings: Settings, request: TraderRequest) -> dict[str, int] | str:
    """Return how many rows each table has, or why that is not known."""
    try:
        if (record := await existing_record(settings, request)) is None:
            return "there is no such database"
    except LiuError as error:
        return str(error)
    try:
        store: Any = record.store
        names = [row["relname"] for row in await store.fetch(_TABLES)]
        quoted = {name: name.replace('"', '""') for name in names}
        counts = [await store.fetch(f'SELECT count(*) AS rows FROM "{quoted[name]}"') for name in names]  # noqa: S608
        return {name: found[0]["rows"] for name, found in zip(names, counts, strict=True)}
    finally:
        await record.close()


def logs(home: Path) -> Iterator[tuple[str, str]]:
    """Yield the newest logs, each by its path below the data folder and with its end."""
    found = [path for path in (home / "logs").rglob("*") if path.is_file()]
    for path in sorted(found, key=lambda one: one.stat().st_mtime, reverse=True)[:MOST_LOGS]:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - LOG_BYTES))
            yield path.relative_to(home).as_posix(), file.read().decode("utf-8", "replace")


def parts(options: argparse.Namespace, settings: Settings, plans: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the parts of the bundle by name, secrets and all."""
    packages = {one.metadata["Name"]: one.version for one in distributions()}
    machine = {"python": sys.version, "system": platform.platform(), "build": build_label(), "cores": os.cpu_count()}
    yield "versions.json", json.dumps(machine | {"packages": dict(sorted(packages.items()))}, indent=2)
    yield "doctor.json", json.dumps([one._asdict() for one in findings(options)], indent=2)
    yield (
        "settings.json",
        json.dumps([dict(zip(("name", "value", "source"), row, strict=True)) for row in settings.shown()], indent=2),
    )
    for name, table in plans.items():
        yield name, json.dumps(without_secrets(table), indent=2, default=str)
    here, simulated = TraderRequest(dsn_given=bool(options.dsn)), TraderRequest(simulate=True)
    counts = {"sessions and backtests": here, "simulated sessions": simulated}
    yield "rows.json", json.dumps({n: asyncio.run(row_counts(settings, r)) for n, r in counts.items()}, indent=2)
    yield from logs(settings.home_path)


def run(arguments: Iterable[str]) -> int:
    """Write the bundle, say what is in it and return the exit status.

    Raises:
        LiuError: in one sentence.
    """
    parser = parser_of("support_bundle", __doc__ or "")
    parser.add_argument("--output", metavar="FILE.zip", default="", help="(default liu-support-TIME.zip here)")
    parser.add_argument("--tradeplan", metavar="FILE", help="the tradeplan (default: tradeplan.toml in TRADEPLAN_DIR)")
    parser.add_argument("--home", metavar="DIR", help="the data folder (LIU_HOME)")
    parser.add_argument("--dsn", metavar="DSN", help="PostgreSQL to use (DSN)")
    options = parser.parse_args(list(arguments))
    settings = Settings.resolve({name: getattr(options, name) for name in ("home", "dsn", "tradeplan")})
    plans: dict[str, Any] = {}
    for path in (settings.tradeplan_path, Path(MINER_FILE)):
        try:
            plans[f"{path.name}.json"] = toml.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            plans[f"{path.name}.json"] = {"not read": type(error).__name__}
    mask = Mask(secrets_of(environment() | ({"DSN_GIVEN": options.dsn} if options.dsn else {}), plans.values()))
    place = Path(options.output or f"liu-support-{as_datetime(WallClock().now()):%Y%m%d-%H%M%S}.zip")
    try:
        with (
            open(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file,
            zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as bundle,
        ):
            for name, text in parts(options, settings, plans):
                bundle.writestr(mask(name), mask(text))
    except OSError as error:
        raise OutsideError(f"{place} cannot be written ({error.strerror}): name another file with --output") from error
    sys.stdout.write(f"{place}: {', '.join(zipfile.ZipFile(place).namelist())}\nLook through it before you send it.\n")
    return 0


if __name__ == "__main__":
    guarded("support_bundle", run)
