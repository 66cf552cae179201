"""The private PostgreSQL: shared, taken over, killed, upgraded."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from liualgotrader.common.errors import ConfigError, OutsideError
from liualgotrader.postgres.backup import backup, restore
from liualgotrader.postgres.cluster import birth_of
from liualgotrader.postgres.embedded_server import EmbeddedServer, cluster_of, locked_users, prepare
from liualgotrader.postgres.installation import all_programs, programs_for, server_account
from tests.fakes.postgres import liu_db

pytestmark = pytest.mark.integration

USE_AND_WAIT = """
import sys
from pathlib import Path
from liualgotrader.postgres.embedded_server import EmbeddedServer
server = EmbeddedServer.start(Path(sys.argv[1]))
print(server.postmaster_pid, flush=True)
sys.stdin.readline()
server.release()
"""


@pytest.fixture
def home() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="liu-test-")).resolve()
    yield folder
    cluster_of(folder).stop()
    shutil.rmtree(folder)


class Program:
    """Another program that uses the server."""

    def __init__(self, home: Path) -> None:
        command = [sys.executable, "-c", USE_AND_WAIT, str(home)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.postmaster = int(self.process.stdout.readline())

    def end(self) -> None:
        self.process.communicate("\n", timeout=60)

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=60)


def test_a_second_program_shares_the_server_and_the_last_one_stops_it(home: Path) -> None:
    mine = EmbeddedServer.start(home)
    other = Program(home)
    assert other.postmaster == mine.postmaster_pid
    mine.release()
    mine.release()
    assert birth_of(other.postmaster) is not None
    other.end()
    assert birth_of(other.postmaster) is None


def test_programs_that_start_at_once_get_one_server(home: Path) -> None:
    command = [sys.executable, "-c", USE_AND_WAIT, str(home)]
    programs = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    found = {process.communicate("\n", timeout=90)[0].strip() for process in programs}
    assert all(pid.isdigit() for pid in found)
    assert cluster_of(home).postmaster() is None


def test_a_killed_program_does_not_count_as_a_user(home: Path) -> None:
    other = Program(home)
    mine = EmbeddedServer.start(home)
    other.kill()
    with locked_users(home) as users:
        assert [user.pid for user in users.read().users] == [os.getpid()]
    mine.release()
    assert birth_of(other.postmaster) is None


def test_a_server_that_everybody_left_behind_is_taken_over(home: Path) -> None:
    other = Program(home)
    other.kill()
    assert birth_of(other.postmaster) is not None
    mine = EmbeddedServer.start(home)
    assert mine.postmaster_pid == other.postmaster
    mine.release()
    assert birth_of(other.postmaster) is None


def test_a_killed_postmaster_is_replaced_with_its_data(home: Path) -> None:
    server = EmbeddedServer.start(home)
    server.ensure_database("liualgotrader")
    server.run_sql("CREATE TABLE kept AS SELECT 7 AS number", database="liualgotrader")
    first = server.postmaster_pid
    assert first is not None
    assert server.restart_if_dead() is False
    os.kill(first, signal.SIGKILL)
    assert server.restart_if_dead() is True
    assert server.postmaster_pid not in (None, first)
    assert server.run_sql("SELECT number FROM kept", database="liualgotrader") == "7\n"
    server.release()


def test_everything_killed_at_once_starts_again(home: Path) -> None:
    other = Program(home)
    os.kill(other.postmaster, signal.SIGKILL)
    other.kill()
    server = EmbeddedServer.start(home)
    assert server.run_sql("SELECT 1") == "1\n"
    server.release()


def test_a_pid_file_that_names_a_stranger_does_not_stop_the_start(home: Path) -> None:
    EmbeddedServer.start(home).release()
    pid_file = home / "postgres" / "postmaster.pid"
    pid_file.write_text(f"{os.getpid()}\n{home / 'postgres'}\n1\n5432\n{home / 'run' / 'pg'}\n\n  1 2\nready   \n")
    server = EmbeddedServer.start(home)
    assert server.postmaster_pid != os.getpid()
    server.release()


def test_a_torn_list_of_users_is_started_anew(home: Path) -> None:
    server = EmbeddedServer.start(home)
    (home / "run" / "postgres.users.json").write_bytes(b'{"users": [')
    server.release()
    assert server.postmaster_pid is None


def test_a_making_that_was_interrupted_is_made_anew(home: Path) -> None:
    half_made = home / "postgres.unfinished"
    half_made.mkdir()
    (half_made / "PG_VERSION").write_text("18\n")
    server = EmbeddedServer.start(home)
    assert not half_made.exists()
    server.release()


def test_the_server_opens_no_tcp_port(home: Path) -> None:
    server = EmbeddedServer.start(home)
    assert server.postmaster_pid is not None
    family = [psutil.Process(server.postmaster_pid), *psutil.Process(server.postmaster_pid).children()]
    assert [c for process in family for c in process.net_connections("inet")] == []
    socket_file = home / "run" / "pg" / ".s.PGSQL.5432"
    assert socket_file.is_socket()
    assert socket_file.parent.stat().st_mode & 0o077 == 0
    server.release()


def test_a_data_folder_with_a_long_name_gets_a_short_socket() -> None:
    parent = Path(tempfile.mkdtemp(prefix="liu-test-")).resolve()
    home = parent / ("d" * 60) / ("e" * 60)
    server = EmbeddedServer.start(home)
    try:
        assert server.run_sql("SELECT 1") == "1\n"
        assert str(home) not in server.dsn()
    finally:
        folder = cluster_of(prepare(home)).socket_folder
        server.release()
        shutil.rmtree(parent)
        shutil.rmtree(folder)


def test_a_short_socket_folder_that_a_stranger_put_there_is_refused() -> None:
    parent = Path(tempfile.mkdtemp(prefix="liu-test-")).resolve()
    home = prepare(parent / ("d" * 60) / ("e" * 60))
    folder = cluster_of(home).socket_folder
    folder.symlink_to(parent)
    try:
        with pytest.raises(ConfigError, match="another user"):
            EmbeddedServer.start(home)
    finally:
        folder.unlink()
        shutil.rmtree(parent)


def test_a_data_folder_that_cannot_be_made_is_one_sentence(home: Path) -> None:
    (home / "file").write_text("")
    with pytest.raises(ConfigError, match="LIU_HOME"):
        EmbeddedServer.start(home / "file" / "below")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's server runs as another account")
def test_root_is_told_when_the_account_cannot_enter_the_data_folder(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: "/nowhere")
    closed = home / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(ConfigError, match="/var/lib/liualgotrader"):
        EmbeddedServer.start(closed / "home")
    assert closed.stat().st_mode & 0o077 == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's server runs as another account")
def test_programs_below_a_closed_folder_are_copied_and_the_folder_stays_closed(home: Path) -> None:
    newest = all_programs()[-1]
    package = newest.folder.parent.parent
    closed = home / "closed"
    (closed / package.name).mkdir(parents=True)
    shutil.copytree(newest.folder.parent, closed / package.name / newest.folder.parent.name, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    shutil.copytree(libraries, closed / libraries.name, symlinks=True)
    closed.chmod(0o700)
    unreachable = replace(newest, folder=closed / package.name / newest.folder.parent.name / "bin")
    copied = programs_for(unreachable, server_account(), prepare(home))
    assert closed not in copied.folder.parents
    assert closed.stat().st_mode & 0o077 == 0
    cluster = replace(cluster_of(home), programs=copied)
    cluster.make()
    cluster.start()
    assert cluster.postmaster() is not None


def test_a_backup_brings_back_what_was_there(home: Path) -> None:
    with EmbeddedServer.start(home) as server:
        server.ensure_database("liualgotrader")
        server.run_sql("CREATE TABLE kept AS SELECT 7 AS number", database="liualgotrader")
        assert backup(server.cluster, home / "backups" / "monday.tar") == ["liualgotrader"]
        server.run_sql("UPDATE kept SET number = 8", database="liualgotrader")
        assert restore(server.cluster, home / "backups" / "monday.tar") == ["liualgotrader"]
        assert server.run_sql("SELECT number FROM kept", database="liualgotrader") == "7\n"
        assert server.databases() == ["liualgotrader"]


def test_a_database_with_the_longest_name_is_brought_back(home: Path) -> None:
    name = "a" * 63
    with EmbeddedServer.start(home) as server:
        server.ensure_database(name)
        server.run_sql("CREATE TABLE kept AS SELECT 7 AS n", database=name)
        server.run_sql("CREATE DATABASE _incoming_0")  # as a restore leaves it that was killed
        backup(server.cluster, home / "b.tar")
        server.run_sql("DROP TABLE kept", database=name)
        assert restore(server.cluster, home / "b.tar") == [name]
        assert server.run_sql("SELECT n FROM kept", database=name) == "7\n"
        assert server.databases() == [name]


def test_a_file_that_is_no_backup_changes_nothing(home: Path) -> None:
    (home / "text.tar").write_text("hello")
    with EmbeddedServer.start(home) as server:
        server.ensure_database("liualgotrader")
        with pytest.raises(ConfigError, match="not a backup"):
            restore(server.cluster, home / "text.tar")
        assert server.databases() == ["liualgotrader"]


def test_while_one_database_is_in_use_none_is_replaced(home: Path) -> None:
    with EmbeddedServer.start(home) as server:
        server.ensure_database("liualgotrader")
        server.ensure_database("another")
        backup(server.cluster, home / "b.tar")
        server.run_sql("CREATE TABLE newer ()", database="another")
        session = subprocess.Popen(server.psql_command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert session.stdin is not None and session.stdout is not None
        session.stdin.write("\\t on\nSELECT 'here';\n")
        session.stdin.flush()
        while "here" not in session.stdout.readline():
            pass
        with pytest.raises(OutsideError, match="in use"):
            restore(server.cluster, home / "b.tar")
        session.communicate("\\q\n", timeout=60)
        assert server.databases() == ["another", "liualgotrader"]
        assert server.run_sql("SELECT count(*) FROM newer", database="another") == "0\n"


def test_a_strange_database_name_is_refused(home: Path) -> None:
    with EmbeddedServer.start(home) as server, pytest.raises(ConfigError, match="lower-case"):
        server.ensure_database('x"; DROP DATABASE y; --')


@pytest.mark.skipif(len(all_programs()) < 2, reason="the package brings one version of PostgreSQL only")
def test_data_of_an_older_postgresql_is_brought_to_the_installed_one(home: Path) -> None:
    older = programs_for(all_programs()[0], server_account(), prepare(home))
    old = replace(cluster_of(home), programs=older)
    old.make()
    old.start()
    command = [older.path("psql"), "-XAtq", "-h", str(old.socket_folder), "-U", "postgres"]
    subprocess.run([*command, "-c", "CREATE DATABASE liualgotrader"], check=True)
    subprocess.run([*command, "-d", "liualgotrader", "-c", "CREATE TABLE kept AS SELECT 7 AS number"], check=True)
    old.stop()
    with EmbeddedServer.start(home) as server:
        assert server.run_sql("SELECT number FROM kept", database="liualgotrader") == "7\n"
        assert (home / "postgres" / "PG_VERSION").read_text().strip() == str(all_programs()[-1].major)
    assert (home / f"postgres.{older.major}").is_dir()
    EmbeddedServer.start(home).release()


def test_data_of_a_newer_postgresql_is_left_alone(home: Path) -> None:
    EmbeddedServer.start(home).release()
    version = home / "postgres" / "PG_VERSION"
    version.write_text("99\n")
    with pytest.raises(ConfigError, match="newer"):
        EmbeddedServer.start(home)
    assert version.read_text() == "99\n"


def test_data_whose_programs_are_gone_is_one_sentence(home: Path) -> None:
    EmbeddedServer.start(home).release()
    (home / "postgres" / "PG_VERSION").write_text("9\n")
    with pytest.raises(ConfigError, match="liu db backup"):
        EmbeddedServer.start(home)


def test_the_dead_and_those_of_an_earlier_boot_are_no_users(home: Path) -> None:
    prepare(home)
    with locked_users(home) as users:
        users.add("me")
        text = (home / "run" / "postgres.users.json").read_text()
        (home / "run" / "postgres.users.json").write_text(text.replace('"birth":"', '"birth":"another boot:'))
        assert users.read().users == ()


def test_the_socket_answers_only_while_the_server_is_used(home: Path) -> None:
    server = EmbeddedServer.start(home)
    address = str(home / "run" / "pg" / ".s.PGSQL.5432")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(address)
    server.release()
    with socket.socket(socket.AF_UNIX) as client, pytest.raises(OSError):
        client.connect(address)


def test_psql_takes_its_own_arguments_behind_the_databases_name(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with EmbeddedServer.start(home) as server:
        server.ensure_database("mine")
        assert liu_db(["psql", "mine", "-At", "-c", "select current_database()"], home) == 0
        assert liu_db(["psql", "-At", "-c", "select current_database()"], home) == 0
        assert liu_db(["psql", "mine", "-At", "-c", "select nothing"], home) != 0
    assert capfd.readouterr().out.splitlines() == ["mine", "liualgotrader"]
