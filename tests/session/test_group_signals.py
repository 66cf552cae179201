"""What a whole process group is told at once: a service manager's stop, and a terminal that is closed."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.session.audit import Record, audit
from tests.session.running import TraderRun, bare_environment, trader

pytestmark = [pytest.mark.session, pytest.mark.timeout(600)]

WINDOW = ("--from", "09:30", "--to", "09:50")


def ended_so(run: TraderRun, *, flat: bool) -> Record:
    """Return the record of a session that somebody stopped, audited."""
    run.nothing_is_left()
    with run.database() as dsn:
        record = audit(run.state, dsn, run.home / "logs", flat=flat)
    assert {row["end_reason"] for row in record.rows("batch")} == {"stopped"}
    assert {row["end_reason"] for row in record.rows("algo_run")} == {"stopped"}
    assert len(record.rows("batch")) == 1
    supervisor = "".join(path.read_text() for path in run.home.glob("logs/*/supervisor.log"))
    assert "process_killed_at_stop" not in supervisor
    return record


def test_a_stop_of_the_whole_service_flattens_first_although_postgresql_is_told_to_end_as_well() -> None:
    with trader(*WINDOW, "--speed", "30", "--flatten") as run:
        run.start().wait_for_market("09:38:00")  # Rotator holds what it bought at 09:37 until 09:40
        servers = [p for p in run.processes() if p.name().startswith("postgres")]
        assert servers
        os.killpg(run.process.pid, signal.SIGTERM)
        for server in servers:  # it has a session of its own, which a service manager does not mind
            server.send_signal(signal.SIGTERM)
        assert run.ended() == 0, run.output
        assert "Traceback" not in run.output
        assert "did not end in order" not in run.output
        record = ended_so(run, flat=True)
    closing = [row for row in record.rows("orders") if "flatten" in (row["indicators"] or "")]
    assert closing, "nothing was open, so nothing is proved"
    assert {row["state"] for row in closing} == {"filled"}


def test_a_closed_terminal_ends_the_session_in_order() -> None:
    with trader(*WINDOW) as run:
        terminal = Terminal(run)
        run.wait_for_market("09:36:00")
        group = run.process.pid
        members = [p.pid for p in psutil.process_iter() if _group_of(p) == group]
        assert len(members) >= 7, "supervisor, simulated market and five processes of the stack"
        terminal.close()
        os.killpg(group, signal.SIGHUP)  # as a shell does, too
        assert run.ended() == 0
        record = ended_so(run, flat=False)
    assert record.rows("new_trades")


@pytest.mark.parametrize("made", ["postgres.unfinished", "postgres/postmaster.pid"])
def test_a_terminal_closed_while_postgresql_starts_leaves_no_server_behind(made: str) -> None:
    with trader(*WINDOW) as run:
        run.start().until((run.home / made).exists, f"there is no {made}", 60)
        for _ in range(2):
            os.killpg(run.process.pid, signal.SIGHUP)
        assert run.ended() == 0, run.output
        run.nothing_is_left()


TAKE_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)


class Terminal:
    """A terminal with a run as its foreground group; what the run shows goes where its output belongs."""

    def __init__(self, run: TraderRun) -> None:
        self._ours, theirs = pty.openpty()
        run._process = subprocess.Popen(
            [sys.executable, "-c", TAKE_TERMINAL, *run.program, *run.arguments],
            env=bare_environment() | {"LIU_HOME": str(run.home), "TERM": "xterm"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self._closing = threading.Event()
        self._reader = threading.Thread(target=self._read, args=(run.home / "output.txt",), daemon=True)
        self._reader.start()

    def _read(self, output: Path) -> None:
        with output.open("wb") as copy, suppress(OSError):  # the run is gone
            while not self._closing.is_set():
                if select.select([self._ours], [], [], 0.1)[0]:
                    copy.write(os.read(self._ours, 65536))
                    copy.flush()

    def close(self) -> None:
        """Close the window: the kernel sends SIGHUP to the group, and every write of the group fails from then on."""
        self._closing.set()
        self._reader.join()
        os.close(self._ours)


def _group_of(process: psutil.Process) -> int:
    try:
        return os.getpgid(process.pid)
    except ProcessLookupError:
        return 0
