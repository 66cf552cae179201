"""What compose.yaml starts, as processes: a PostgreSQL with a password behind TCP, `trader` and the pages with their environment.

Docker itself is not run. `trader --simulate` stands for the paper account, and this machine's address for those of the services.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import yaml

from liualgotrader.cli.new import new
from liualgotrader.postgres.installation import (
    Programs,
    ServerAccount,
    installed_programs,
    programs_for,
    run_program,
    server_account,
)
from tests.session.running import GUARD_SECONDS, TraderRun, bare_environment
from tools.doc_blocks import HOUSE

pytestmark = [pytest.mark.docs, pytest.mark.timeout(600)]
GIVEN = {"POSTGRES_PASSWORD": "s3cretWord"}  # what a user writes into .env
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((HOUSE / "compose.yaml").read_text())["services"]


def as_compose_does(text: str) -> str:
    """Return a value of compose.yaml with its variables filled in."""
    return re.sub(r"\$\{(\w+)(?::\?[^}]*)?\}", lambda found: GIVEN[found[1]], text).replace("$$", "$")


def variables_of(service: str) -> dict[str, str]:
    return {name: as_compose_does(value) for name, value in SERVICES[service]["environment"].items()}


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="liu-c-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def database(folder: Path) -> Iterator[int]:
    """The port of a server as the image makes one from the service's variables, healthy by the service's own check."""
    account, variables = server_account(), variables_of("postgres")
    programs = programs_for(installed_programs(), account, folder)
    data, word = folder / "record", folder / "word"
    word.write_text(variables["POSTGRES_PASSWORD"])
    data.mkdir(mode=0o700)
    for path in (word, data):
        account.own(path)
    user = variables["POSTGRES_USER"]
    making = ["initdb", "-D", str(data), "-U", user, f"--pwfile={word}", "--auth=scram-sha-256", "--no-instructions"]
    pg(programs, account, *making)
    port = free_port()
    options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories=''"
    pg(programs, account, "pg_ctl", "start", "-w", "-D", str(data), "-l", str(data / "log"), "-o", options)
    try:
        reach = {
            "PGPORT": str(port),
            "PGPASSWORD": variables["POSTGRES_PASSWORD"],
            "PATH": f"{programs.folder}:/bin:/usr/bin",
        }
        made = ["createdb", "-h", "127.0.0.1", "-U", user, variables["POSTGRES_DB"]]
        subprocess.run(made, env=reach, check=True)
        kind, check = SERVICES["postgres"]["healthcheck"]["test"]
        assert kind == "CMD-SHELL"
        subprocess.run(as_compose_does(check), shell=True, env=reach | variables, check=True, stdout=subprocess.DEVNULL)
        yield port
    finally:
        pg(programs, account, "pg_ctl", "stop", "-m", "immediate", "-D", str(data))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def pg(programs: Programs, account: ServerAccount, name: str, *arguments: str) -> None:
    run_program([programs.path(name), *arguments], account=account)


@pytest.fixture
def run(folder: Path, database: int) -> Iterator[TraderRun]:
    """The service's command, beside a strategy of the user's in the folder that is mounted."""
    service = SERVICES["trader"]
    assert service["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    mounted = dict(volume.split(":")[:2][::-1] for volume in service["volumes"])
    assert mounted == {"/trading": "./trading", "/data": "home"}
    dsn = variables_of("trader")["DSN"].replace("@postgres:5432/", f"@127.0.0.1:{database}/")
    trading, home = folder / "trading", folder / "home"
    for made in (trading, home):
        made.mkdir()
    new("strategy", "MyIdea", str(trading))
    program, *arguments = service["command"]
    command = [str(Path(sys.executable).parent / program), *arguments]
    simulated = ["--simulate", "--dsn", dsn, "--symbols", "10", "--from", "09:30"]
    made_run = TraderRun(
        home, simulated, {"DSN": dsn, "TRADEPLAN_DIR": str(trading), "PYTHONPATH": str(HOUSE)}, command
    )
    yield made_run
    if made_run._process is not None and made_run.process.poll() is None:
        os.killpg(made_run.process.pid, signal.SIGKILL)


def fills(run: TraderRun) -> int:
    """Count the fills in the database of the DSN, as a user of `psql` would."""
    query = "select count(*) from new_trades join algo_run using (algo_run_id) where algo_env = 'SIMULATED'"
    asked = [str(installed_programs().path("psql")), run.environment["DSN"], "-tAc", query]
    return int(subprocess.run(asked, check=True, capture_output=True, text=True, env=bare_environment()).stdout)


def test_the_services_trade_into_the_database_that_the_dsn_names(run: TraderRun) -> None:
    run.arguments += ["--to", "10:00"]
    assert run.start().ended() == 0, run.output
    assert fills(run) > 10
    assert GIVEN["POSTGRES_PASSWORD"] not in run.output
    assert not (run.home / "postgres").exists()  # no server of its own beside the service's


def test_the_pages_are_served_beside_the_same_database(folder: Path, database: int) -> None:
    service, port = SERVICES["pages"], str(free_port())
    assert (service["environment"], service["ports"]) == (SERVICES["trader"]["environment"], ["127.0.0.1:8501:8501"])
    here = {"0.0.0.0": "127.0.0.1", "liu": str(Path(sys.executable).parent / "liu")}
    command = [here.get(word, word) for word in service["command"]]
    dsn = variables_of("pages")["DSN"].replace("@postgres:5432/", f"@127.0.0.1:{database}/")
    environment = bare_environment() | {"DSN": dsn, "LIU_HOME": str(folder / "home"), "PYTHONPATH": str(HOUSE)}
    with subprocess.Popen([*command, "--port", port], env=environment, stdout=subprocess.PIPE, text=True) as pages:
        try:
            assert pages.stdout is not None
            while not (line := pages.stdout.readline()).strip().startswith("URL:"):
                assert line, "the pages have ended"
            with urlopen(f"http://127.0.0.1:{port}/_stcore/health") as answer:
                assert answer.read() == b"ok"
        finally:
            pages.kill()  # told to end, streamlit prints a line, and stays if nobody reads it any more


def test_docker_stop_ends_the_session_in_order_within_its_grace(run: TraderRun) -> None:
    run.arguments += ["--speed", "60"]
    run.start().wait_for_market("09:40:00")
    run.process.send_signal(signal.SIGTERM)
    assert SERVICES["trader"]["stop_grace_period"] == "90s"
    assert run.ended(GUARD_SECONDS) == 0, run.output
    assert "the session ends (stopped)" in run.output


def test_the_image_copies_whatever_building_the_package_needs(folder: Path) -> None:
    copied = re.findall(r"^COPY (.+) \S+$", (HOUSE / "Dockerfile").read_text(), re.MULTILINE)
    names = [name for line in copied for name in line.split()]
    let_in = re.findall(r"^!(.+)$", (HOUSE / ".dockerignore").read_text(), re.MULTILINE)
    assert set(names) == set(let_in)
    for name in names:
        source = HOUSE / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        "out",
        ".[report]",
    ]
    subprocess.run(build, cwd=folder, check=True)
    [wheel] = (folder / "out").glob("liualgotrader-*.whl")
    assert wheel.stat().st_size > 100_000
