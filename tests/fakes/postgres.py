"""A real PostgreSQL for tests: one server per test process, started when first asked for, a fresh database per test."""

from __future__ import annotations

import asyncio
import atexit
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import count
from pathlib import Path

import pytest

from liualgotrader.cli import liu
from liualgotrader.cli.common import guarded
from liualgotrader.postgres.embedded_server import EmbeddedServer
from liualgotrader.store.store_factory import open_store

TEMPLATE = "liu_template"


def liu_db(arguments: Sequence[str], home: Path) -> int:
    """Run `liu db ...` on a data folder and return the exit status; an error of ours is a line on stderr."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIU_HOME", str(home))
        with pytest.raises(SystemExit) as ended:
            guarded("liu", liu.run, ["db", *arguments])
    return int(ended.value.code or 0)


_numbers = count(1)


@cache
def shared_server() -> EmbeddedServer:
    """Return the server of this test process, with a migrated template; it ends with the process."""
    home = Path(tempfile.mkdtemp(prefix="liu-test-"))  # short: a socket's path has at most 107 bytes
    server = EmbeddedServer.start(home)
    atexit.register(shutil.rmtree, home, ignore_errors=True)  # runs after `release`, which is registered later
    atexit.unregister(server.release)
    atexit.register(server.release)
    server.ensure_database(TEMPLATE)
    asyncio.run(_migrate(server.dsn(TEMPLATE)))
    return server


async def _migrate(dsn: str) -> None:
    await (await open_store(dsn, migrate=True)).close()


def fresh_database(*, migrated: bool = True) -> Iterator[str]:
    """Yield the address of a database nobody else uses, removed afterwards."""
    server = shared_server()
    name = f"test_{next(_numbers)}"
    server.ensure_database(name, template=TEMPLATE if migrated else "template1")
    yield server.dsn(name)
    server.drop_database(name)
