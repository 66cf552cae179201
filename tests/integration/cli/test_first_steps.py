"""`liu quickstart` from the first question to the last figure, offline; `liu doctor` on machines that lack something."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from liualgotrader.cli import liu
from liualgotrader.store.postgres_store import PostgresStore
from tests.contract.test_store_contract import BATCH, batch
from tests.fakes.http_vendor import answering

pytestmark = pytest.mark.integration


@pytest.mark.parity(60)
def test_quickstart_writes_trades_and_backtests_a_strategy_and_plays_it_again_as_it_was_changed(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": ":".join(sys.path), "LIU_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-m", "liualgotrader", "quickstart"]

    def quickstart(*answers: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, input="".join(f"{line}\n" for line in answers), env=environment, cwd=tmp_path,
            capture_output=True, text=True, check=False, timeout=240,
        )  # fmt: skip

    told = quickstart("", "", "3")
    assert told.returncode == 0, told.stderr
    folder = tmp_path / "my_strategies"
    written = {path.name for path in folder.iterdir() if path.is_file()}
    assert written == {"first_strategy.py", "tradeplan.toml", "test_first_strategy.py"}
    session, backtest = told.stdout.split("2 of 2")
    traded = re.search(r"^FirstStrategy +(\d+)", session, re.MULTILINE)
    assert traded is not None
    assert int(traded[1]) > 0
    assert re.search(r"2024-05-01 to 2024-05-31: 22 sessions, 25,740 bars", backtest)  # 3 symbols x 22 x 390
    assert "change    my_strategies/first_strategy.py" in backtest.partition("Next:")[2]

    strategy = folder / "first_strategy.py"
    strategy.write_text(strategy.read_text().replace("ctx.buy(", "None and ctx.buy("))
    again = quickstart("", "", "1")
    assert "are there already, and stay as they are" in again.stdout
    assert re.search(r"^FirstStrategy +0", again.stdout, re.MULTILINE), again.stdout + again.stderr


def examined(capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, dict[str, tuple[str, str]], str]:
    status = liu.run(["doctor", "--json", *more])
    said = capsys.readouterr().out
    return status, {row["name"]: (row["state"], row["told"]) for row in json.loads(said)}, said


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A clean environment in a folder without a tradeplan, whose vendor is a port that nobody serves."""
    for name in list(os.environ):
        if name.startswith(("APCA", "ALPACA", "DSN", "LIU_", "NUM_", "TRADEPLAN")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIU_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("APCA_API_BASE_URL", "http://127.0.0.1:9")
    return monkeypatch


def test_doctor_calls_a_machine_well_that_is_offline_and_has_neither_keys_nor_a_tradeplan(
    machine: pytest.MonkeyPatch, dsn: str, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.setenv("DSN", dsn)
    status, found, _ = examined(capsys)
    assert status == 0
    assert {name: state for name, (state, _) in found.items() if not name.startswith("extra")} == {
        "Python": "ok",
        "packages": "ok",
        "time zones": "ok",
        "data folder": "ok",
        "database": "ok",
        "unfinished batches": "ok",
        "tradeplan": "--",
        "keys": "--",
        "endpoint": "ok",
        "vendor": "--",
    }
    assert "offline" in found["vendor"][1]
    assert "`liu quickstart`" in found["tradeplan"][1]
    assert "pip install 'liualgotrader[notebooks]'" in found["extra notebooks"][1]


def test_doctor_names_each_thing_that_is_wrong_with_what_mends_it_and_shows_no_secret(
    machine: pytest.MonkeyPatch, empty_dsn: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tradeplan.toml").write_text("portfolio_valeu = 1\n")
    machine.setenv("APCA_API_KEY_ID", "hush-key")
    machine.setenv("DSN", "postgresql://someone:hush-word@127.0.0.1:9/none")
    status, found, said = examined(capsys)
    assert status == 2
    assert "hush" not in said
    wrong = {name: told for name, (state, told) in found.items() if state == "no"}
    assert list(wrong) == ["database", "tradeplan", "keys"]
    assert "did you mean `portfolio_value`" in wrong["tradeplan"]
    assert "APCA_API_SECRET_KEY is not" in wrong["keys"]
    assert re.search(r"see that it runs and that DSN names it", wrong["database"])

    status, found, _ = examined(capsys, "--dsn", empty_dsn, "--tradeplan", "nowhere.toml")
    assert "`liu db migrate`, brings to this version" in found["database"][1]
    assert found["tradeplan"][0] == "no"


def test_doctor_sees_a_wrong_clock_and_keys_that_open_no_account(
    machine: pytest.MonkeyPatch, dsn: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []

    def refuse(question: str) -> tuple[int, bytes]:
        asked.append(question)
        return 401, b'{"message": "unauthorized."}'

    machine.setattr("http.server.BaseHTTPRequestHandler.date_time_string", lambda *_: "Sun, 01 Jan 2023 00:00:00 GMT")
    machine.setenv("DSN", dsn)
    with answering(refuse) as url:
        for name, value in {"BASE_URL": url, "KEY_ID": "PK0", "SECRET_KEY": "hush-hush"}.items():
            machine.setenv(f"APCA_API_{name}", value)
        status, found, said = examined(capsys)
    assert status == 2
    assert (found["vendor"][0], found["clock"][0], found["account"][0]) == ("ok", "!!", "no")
    assert "switch time synchronisation on" in found["clock"][1]
    assert f"these keys open no account at {url}" in found["account"][1]
    assert "hush" not in said
    assert asked[0] == "/v2/clock"


async def test_doctor_names_a_batch_of_the_broker_that_has_no_end(
    machine: pytest.MonkeyPatch, dsn: str, store: PostgresStore, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.setenv("DSN", dsn)
    await store.begin_batch(msgspec.structs.replace(batch(), environment="PAPER"))
    status, found, _ = await asyncio.to_thread(examined, capsys)
    assert (status, found["unfinished batch"][0]) == (0, "!!")
    assert f"`liu journal show {BATCH[:8]}`" in found["unfinished batch"][1]


def test_migrate_brings_the_database_that_dsn_names_to_this_version(
    machine: pytest.MonkeyPatch, empty_dsn: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.setenv("DSN", empty_dsn)
    assert liu.run(["db", "migrate"]) == 0
    assert capsys.readouterr().out == "The tables of the database that DSN names are those of this version.\n"
    assert not (tmp_path / "home" / "postgres").exists()
    _, found, _ = examined(capsys)
    assert found["database"] == ("ok", "the server that DSN names")


HEAVY = ("asyncio", "msgspec", "numpy", "pandas", "requests", "rich")


@pytest.mark.parametrize("module", ["trader", "backtester", "market_miner", "optimizer", "portfolios", "liu"])
def test_help_imports_nothing_that_takes_long(module: str) -> None:
    """What it costs in CPU seconds, `python -m benchmarks.help` measures."""
    code = (
        f"import sys\nfrom liualgotrader.cli.{module} import run\ntry:\n    run(['--help'])\nexcept SystemExit:\n    pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.splitlines()[-1] == "[]"
