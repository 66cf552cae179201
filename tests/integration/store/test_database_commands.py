"""`liu db`, as a person types it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from liualgotrader.postgres.embedded_server import EmbeddedServer, cluster_of
from tests.fakes.postgres import liu_db

pytestmark = pytest.mark.integration


@pytest.fixture
def home() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="liu-test-")).resolve()
    yield folder
    cluster_of(folder).stop()
    shutil.rmtree(folder)


def test_a_started_server_stays_until_it_is_stopped(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert liu_db(["start"], home) == 0
    assert "DSN=postgresql://" in capsys.readouterr().out
    EmbeddedServer.start(home).release()
    assert liu_db(["status"], home) == 0
    assert "used by      nobody" in capsys.readouterr().out
    assert liu_db(["stop"], home) == 0
    assert liu_db(["stop"], home) == 0
    assert liu_db(["status"], home) == 0
    assert capsys.readouterr().out.endswith("stopped\n")


def test_a_server_in_use_stops_only_by_force(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server = EmbeddedServer.start(home)
    assert liu_db(["stop"], home) == 3
    assert "in use by process" in capsys.readouterr().out
    assert liu_db(["stop", "--force"], home) == 0
    assert server.postmaster_pid is None
    server.release()


def test_a_backup_goes_there_and_back(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert liu_db(["migrate"], home) == 0
    assert liu_db(["backup", str(home / "a.tar")], home) == 0
    assert liu_db(["restore", str(home / "a.tar")], home) == 0
    assert "Restored liualgotrader" in capsys.readouterr().out
    assert cluster_of(home).postmaster() is None


def test_a_backup_that_is_there_is_replaced_with_force_only(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = home / "a.tar"
    path.write_text("dear")
    assert liu_db(["backup", str(path)], home) == 2
    assert capsys.readouterr().err == f"liu: {path} already exists: name another file, or replace it with --force\n"
    assert path.read_text() == "dear"
    assert liu_db(["restore", str(path)], home) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert liu_db(["backup", str(path), "--force"], home) == 0
    assert path.read_bytes() != b"dear"


def test_a_backup_below_a_file_is_one_sentence(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "a.txt").write_text("dear")
    assert liu_db(["backup", str(home / "a.txt" / "b.tar")], home) == 3
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("args", "status"),
    [
        ([], 2),
        (["--help"], 0),
        (["backup", "--help"], 0),
        (["backup", "--forse"], 2),
        (["restore", "--list"], 2),
        (["migrate", "--dry-run"], 2),
        (["explode"], 2),
        (["backup"], 2),
        (["restore", "/nowhere/x.tar"], 2),
        (["start", "now"], 2),
    ],
)
def test_a_wrong_command_says_what_is_right(
    home: Path, capsys: pytest.CaptureFixture[str], args: list[str], status: int
) -> None:
    assert liu_db(args, home) == status
    shown = capsys.readouterr()
    assert bool(shown.out) == (status == 0)
    assert bool(shown.err) == (status == 2)
    assert not shown.err.startswith("usage:") or not list(home.iterdir())


@pytest.mark.parametrize("command", ["psql", "migrate"])
def test_a_database_that_is_not_there_is_not_made(home: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    with EmbeddedServer.start(home) as server:
        server.ensure_database("liu_simulated")
        assert liu_db([command, "liu_simulatd"], home) == 2
        assert capsys.readouterr().err == "liu: there is no database liu_simulatd; there is liu_simulated\n"
        assert list(server.databases()) == ["liu_simulated"]
