"""Everything a person can get wrong before a session begins: one sentence, the documented exit code, nothing started."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

STRATEGY = """
from liualgotrader.strategies.base import Strategy, StrategyType

class Breakout(Strategy):
    def __init__(self, batch_id, schedule=None, ref_run_id=None, data_loader=None):
        super().__init__("Breakout", StrategyType.DAY_TRADE, batch_id, schedule or [], ref_run_id, data_loader)

    async def run(self, symbol, shortable, position, now, minute_history, **_):
        return False, {}
"""
PLAN = '[strategies.Breakout]\nfilename = "breakout.py"\n'
FILES = {"portfolio": "portfolios"}
KEYS = {"APCA_API_KEY_ID": "PKTEST", "APCA_API_SECRET_KEY": "hush-hush-hush"}


@pytest.fixture
def program(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs one of our programs in a folder with a good tradeplan."""
    (tmp_path / "breakout.py").write_text(STRATEGY)
    (tmp_path / "tradeplan.toml").write_text(PLAN)

    def run(name: str, *arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        main = f"{FILES.get(name, name)} import main as {name}"
        ours = ("APCA", "ALPACA", "DSN", "LIU_", "POLYGON", "NUM_", "CPU_", "TRADEPLAN", "DATA_CONNECTOR")
        clean = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
        return subprocess.run(
            [sys.executable, "-c", f"from liualgotrader.cli.{main}; {name}()", *arguments],
            env=clean | {"LIU_HOME": str(tmp_path / "home")} | (environment or {}),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def must_say(result: subprocess.CompletedProcess[str], code: int, sentence: str) -> None:
    assert (result.returncode, result.stderr.count("\n")) == (code, 1), result.stderr
    assert re.search(sentence, result.stderr), result.stderr
    assert "Traceback" not in result.stderr + result.stdout
    assert "hush" not in result.stderr + result.stdout


@pytest.mark.parity(2)
@pytest.mark.parametrize(
    ("arguments", "environment", "code", "sentence"),
    [
        ((), {}, 2, "APCA_API_KEY_ID and APCA_API_SECRET_KEY are not set.*--simulate"),
        ((), {"APCA_API_KEY_ID": "PK"}, 2, "APCA_API_SECRET_KEY is not set"),
        ((), {"ALPACA_SECRET_KEY": "hush"}, 2, "ALPACA_API_KEY is not set, so there is no account"),
        (
            (),
            {"APCA_API_KEY_ID": "PK", "ALPACA_SECRET_KEY": "hush"},
            2,
            "APCA_API_SECRET_KEY is not set, .*: ALPACA_SECRET_KEY cannot stand for it",
        ),
        (
            (),
            {"ALPACA_API_KEY": "PK", "ALPACA_SECRET_KEY": "hush", "LIU_BROKER": "gemini"},
            2,
            "LIU_BROKER is 'gemini'",
        ),
        (
            (),
            KEYS | {"APCA_API_BASE_URL": "https://api.alpaca.markets"},
            2,
            "is real money: say so with `trader --live`",
        ),
        (("--live",), KEYS, 2, "^trader: --live is for real money, but orders would go to https://paper"),
        (("--full-size",), KEYS, 2, "^trader: --full-size is for real money, but orders would go to https://paper"),
        (
            ("--live",),
            KEYS | {"APCA_API_BASE_URL": "https://api.alpaca.markets:8443"},
            2,
            "orders would go to https://api.alpaca.markets:8443: set",
        ),
        (
            (),
            KEYS | {"APCA_API_BASE_URL": "http://paper-api.alpaca.markets"},
            2,
            "would get the account's keys unencryp",
        ),
        *(
            (
                ("--live",),
                KEYS
                | {"APCA_API_BASE_URL": "https://api.alpaca.markets", variable: f"{scheme}://data.alpaca.markets.evil"},
                2,
                "^trader: keys of real money are sent to Alpaca's hosts only, and .*evil",
            )
            for variable, scheme in (("APCA_API_DATA_URL", "https"), ("ALPACA_STREAM_URL", "wss"))
        ),
        (
            (),
            KEYS | {"ALPACA_STREAM_URL": "ws://stream.data.alpaca.markets"},
            2,
            "^trader: ALPACA_STREAM_URL: ws://.* unencrypted",
        ),
        (
            (),
            KEYS | {"APCA_API_BASE_URL": "http://[bad"},
            2,
            r"^trader: APCA_API_BASE_URL: 'http://\[bad' is not a plain endpoint address",
        ),
        (("--live", "--simulate"), {}, 2, "--live and --simulate exclude each other"),
        (("--speed", "5"), KEYS, 2, "--speed is an option of the simulated market; add --simulate"),
        ((), KEYS | {"LIU_BROKER": "gemini"}, 2, "LIU_BROKER is 'gemini', which is not built yet"),
        ((), KEYS | {"DATA_CONNECTOR": "gemini"}, 2, "DATA_CONNECTOR is 'gemini', which is not built yet"),
        ((), KEYS | {"DATA_CONNECTOR": "polygon"}, 2, "DATA_CONNECTOR is 'polygon', but POLYGON_API_KEY is not set"),
        (
            ("--live",),
            KEYS
            | {"APCA_API_BASE_URL": "https://api.alpaca.markets", "DATA_CONNECTOR": "polygon", "POLYGON_API_KEY": "k"}
            | {"POLYGON_BASE_URL": "https://api.polygon.io.evil"},
            2,
            "^trader: keys of real money are sent to Polygon's hosts only, and .*evil",
        ),
        (("--simulate", "--tradeplan", "nowhere.toml"), {}, 2, "there is no tradeplan nowhere.toml"),
        (("--simulate",), {"TRADEPLAN_DIR": "/nowhere"}, 2, "there is no tradeplan /nowhere/tradeplan.toml"),
        (("--simulate",), {"NUM_CONSUMERS": "x"}, 2, "NUM_CONSUMERS is 'x', but it must be a whole number"),
        (("--simulate", "--data", "d"), {}, 2, "--data needs --date"),
        (("--simulate", "--date", "2024-07-04"), {}, 2, "the exchange was closed on 2024-07-04"),
        (("--simulate", "--from", "03:00"), {}, 2, "the window must lie inside the session"),
        (("--simulate", "--from", "half past"), {}, 2, "--from is 'half past'"),
        (("--simulate", "--from", "13:30Z"), {}, 2, "--from is '13:30Z', but it must be a time like 09:30"),
        (("--simulate", "--consumers", "500"), {}, 2, "500 consumers are asked for, but a session has at most 100"),
        (("--simulate", "--port", "70000"), {}, 2, "--port is 70000"),
        (("stop",), {}, 2, "no session is running"),
        (("resume", "--batch", "abc"), {}, 2, "no session whose batch begins with abc is running"),
        (("--simulate", "--dsn", "postgresql://u:hush@127.0.0.1:1/x"), {}, 3, "cannot be reached|not reached|refused"),
        (("--simulate", "--home", "/proc/nothing"), {}, 2, "data folder /proc/nothing"),
    ],
)
def test_trader_says_what_is_wrong(
    program: Callable[..., subprocess.CompletedProcess[str]], arguments: Any, environment: Any, code: Any, sentence: Any
) -> None:
    must_say(program("trader", *arguments, environment=environment), code, sentence)


@pytest.mark.parametrize("name", ["trades", "tick/abc/20240311_trade.zip"], ids=["files", "lean"])
def test_a_folder_without_the_day_lists_its_days_before_anything_is_started(
    program: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, name: str
) -> None:
    path = tmp_path / "days" / name if "." in name else tmp_path / "days" / "trades.csv"
    path.parent.mkdir(parents=True)
    path.write_text("symbol,at,price,size\nABC,2024-03-11T15:00:00Z,10,100\n")
    result = program("trader", "--simulate", "--data", "days", "--date", "2024-03-12")
    must_say(result, 2, r"^trader: days holds no market data for 2024-03-12; it has 2024-03-11\.$")
    assert not (tmp_path / "home" / "postgres").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("--simulate", "--date", "soon"),
        ("--simulate", "--speed", "0"),
        ("--simulate", "--symbols", ","),
        ("--simulate", "--symbols", "-3"),
        ("--simulate", "--symbols", "SPY,../X"),
        ("--simulate", "--symbols", "%s"),
        ("--simulate", "--symbols", "X" * 300),
        ("--simulate", "--quantum", "0.0000000001"),
        ("dance",),
        ("--fast",),
    ],
)
def test_an_argument_that_makes_no_sense_ends_with_2_and_a_sentence(
    program: Callable[..., subprocess.CompletedProcess[str]], arguments: Any
) -> None:
    must_say(program("trader", *arguments), 2, r"^trader: .*; see `trader --help`$")


@pytest.mark.parametrize(
    ("name", "arguments", "nearest"),
    [
        ("trader", ("statsu",), "unknown command 'statsu'; did you mean `status`?"),
        ("trader", ("--simulat", "--speed", "max"), "unknown option --simulat; did you mean `--simulate`?"),
        ("trader", ("--simulate", "--symbol", "3"), "unknown option --symbol; did you mean `--symbols`?"),
        ("trader", ("--spead=max",), "unknown option --spead; did you mean `--speed`?"),
        ("trader", ("--simulate", "--fills", "strikt"), "--fills cannot be 'strikt'; did you mean `strict`?"),
        ("liu", ("kil-switch",), "unknown command 'kil-switch'; did you mean `kill-switch`?"),
        ("liu", ("kill-switch", "--flaten"), "unknown option --flaten; did you mean `--flatten`?"),
        ("liu", ("db", "backap", "x"), "unknown command 'backap'; did you mean `backup`?"),
        ("liu", ("positions", "flaten", "IBM"), "unknown command 'flaten'; did you mean `flatten`?"),
    ],
)
def test_an_unknown_word_or_option_names_the_nearest(
    program: Callable[..., subprocess.CompletedProcess[str]], name: str, arguments: tuple[Any, ...], nearest: str
) -> None:
    result = program(name, *arguments)
    assert result.returncode == 2
    assert nearest in result.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("plan", "strategy", "sentence"),
    [
        ("x = [", STRATEGY, "is not valid TOML"),
        ("portfolio_valeu = 1\n" + PLAN, STRATEGY, "did you mean `portfolio_value`"),
        ("", STRATEGY, "must have at least one strategy configured"),
        (PLAN, "raise RuntimeError('no luck')", "cannot be imported: RuntimeError: no luck"),
        (PLAN, "class Breakout: pass", "must extend"),
    ],
)
def test_a_bad_tradeplan_or_strategy_is_known_before_anything_starts(
    program: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, plan: Any, strategy: Any, sentence: str
) -> None:
    (tmp_path / "tradeplan.toml").write_text(plan)
    (tmp_path / "breakout.py").write_text(strategy)
    must_say(program("trader", "--simulate"), 2, sentence)
    assert not (tmp_path / "home" / "postgres").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("--data", "nowhere", "--date", "2013-10-07"),
            "no  simulated market: The data folder .*nowhere does not exist",
        ),
        (("--symbols", "0"), "no  simulated market: The session generated for 2024-06-03 holds nothing for 0"),
        (("--port", "70000"), "no  simulated market: --port is 70000, but a port is a number"),
    ],
)
def test_check_does_not_call_a_market_ready_that_cannot_open(
    program: Callable[..., subprocess.CompletedProcess[str]], arguments: tuple[Any, ...], sentence: str
) -> None:
    told = program("trader", "--simulate", "--check", *arguments)
    assert (told.returncode, told.stderr) == (2, "")
    assert re.search(sentence, told.stdout), told.stdout
    assert told.stdout.endswith("1 of these must be fixed first\n")


def test_check_says_once_which_setting_cannot_be_meant(
    program: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    told = program("trader", "--simulate", "--check", environment={"NUM_CONSUMERS": "x"})
    sentence = "  no  tradeplan: NUM_CONSUMERS is 'x', but it must be a whole number\n"
    assert (told.returncode, told.stdout, told.stderr) == (2, f"{sentence}1 of these must be fixed first\n", "")


def test_a_file_named_like_a_module_of_pythons_in_the_working_directory_ends_no_process(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "trader.py"  # a script, as the installed one: the working directory is not on its path
    script.write_text("from liualgotrader.cli.trader import main\n\nif __name__ == '__main__':\n    main()\n")
    (tmp_path / "breakout.py").write_text(STRATEGY + "import os\nassert 'PYTHONSAFEPATH' not in os.environ\n")
    (tmp_path / "tradeplan.toml").write_text(PLAN)
    (tmp_path / "signal.py").write_text("raise RuntimeError('a strategy of mine')\n")
    environment = {"LIU_HOME": str(tmp_path / "home"), "PYTHONPATH": ":".join(filter(None, sys.path)), "PATH": ""}
    told = subprocess.run(
        [sys.executable, str(script), "--simulate", "--check"],
        env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "ok  strategies and scanners: Breakout" in told.stdout, told.stdout + told.stderr


def test_a_port_in_use_is_said(program: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        must_say(program("trader", "--simulate", "--port", port), 3, f"port {port} cannot be used.*--port")


@pytest.mark.parity(78)
def test_a_traceback_is_shown_only_when_asked_for(program: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    for said in ("1", "True"):
        assert "Traceback" in program("trader", environment={"LIU_DEBUG_ENABLED": said}).stderr


@pytest.mark.parity(1)
@pytest.mark.parametrize("name", ["trader", "backtester", "market_miner", "optimizer", "portfolio", "liu"])
def test_every_program_has_help_and_a_version(
    program: Callable[..., subprocess.CompletedProcess[str]], name: Any
) -> None:
    told = program(name, "--help")
    assert (told.returncode, told.stderr) == (0, "")
    assert "exit codes:" in told.stdout
    assert re.fullmatch(rf"{name} \d+\.\d+.*\n", program(name, "--version").stdout)


def test_no_running_session_is_no_error_for_status(program: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    told = program("trader", "status")
    assert (told.returncode, told.stderr) == (0, "")
    assert "no session is running" in told.stdout


def test_show_config_prints_each_value_with_its_source_and_no_secret(
    program: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    told = program("trader", "--show-config", "--consumers", "3", environment=KEYS | {"DSN": "postgresql://u:hush@h/d"})
    assert told.returncode == 0, told.stderr
    names = [line.split()[0] for line in told.stdout.splitlines()]
    assert len(names) == len(set(names))
    assert {"seed", "link", "max_symbols"} <= set(names)
    assert "limits.max_symbols" not in names
    rows = {line.split()[0]: line.split()[1:] for line in told.stdout.splitlines()}
    assert rows["consumers"] == ["3", "command", "line"]
    assert rows["key_id"] == ["***", "environment"]
    assert rows["dsn"] == ["***", "environment"]
    assert rows["limits.open_orders"] == ["50", "default"]
    assert "hush" not in told.stdout
