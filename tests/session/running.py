"""A whole `trader --simulate` as a process of its own, with a data folder of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date
from datetime import time as time_of_day
from pathlib import Path
from typing import Any, TypeVar, cast

import psutil

from liualgotrader.common.calendar import new_york
from liualgotrader.common.session_plan import read_plan
from liualgotrader.ipc.session_page import Cell, Life, SessionPage
from liualgotrader.postgres.embedded_server import EmbeddedServer
from liualgotrader.simulator.market_server import TOKEN_FILE

TRADER = (sys.executable, "-c", "from liualgotrader.cli.trader import main; main()")
REPOSITORY = Path(__file__).parents[2]
PLANS = Path(__file__).parent / "plans"
T = TypeVar("T")

DATABASE = "liu_simulated"
DAY = date(2024, 6, 3)  # the day of a generated session unless another is named
GUARD_SECONDS = 120.0  # what is waited for comes long before, however busy the machine: no test asserts on its time
_LOOK_SECONDS = 0.005


class Gone(AssertionError):
    """The session ended before what was waited for."""


@dataclass
class TraderRun:
    """One run. `home` holds its data; several runs one after another may share it."""

    home: Path
    arguments: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    program: list[str] = field(default_factory=lambda: [*TRADER])
    _process: subprocess.Popen[bytes] | None = None
    _page: SessionPage | None = None
    _old_pages: list[tuple[Path, int]] = field(default_factory=list)

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The supervisor's process."""
        assert self._process is not None
        return self._process

    @property
    def output(self) -> str:
        """What the run has printed so far."""
        return (self.home / "output.txt").read_text(errors="replace")

    def start(self) -> TraderRun:
        """Start it and return at once."""
        with (self.home / "output.txt").open("ab") as output:
            self._process = subprocess.Popen(
                [*self.program, *self.arguments],
                env=bare_environment() | {"LIU_HOME": str(self.home)} | self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    def ended(self, seconds: float = 2 * GUARD_SECONDS) -> int:
        """Wait for its end and return the exit status."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise AssertionError(f"the session did not end within {seconds} s:\n{self.output[-4000:]}") from None

    def page(self, seconds: float = GUARD_SECONDS) -> SessionPage:
        """Return the session's page once there is one whose clock runs."""
        if self._page is None:
            fresh = self.until(
                lambda: [p for p in self._pages() if p not in self._old_pages], "no session page", seconds
            )
            self._page = SessionPage(fresh[0][0])
        return self._page

    def _pages(self) -> list[tuple[Path, int]]:
        found = []
        for folder, _, names in os.walk(self.home / "run"):  # folders vanish meanwhile: `glob` would raise
            with suppress(FileNotFoundError):
                found += [(path := Path(folder, name), path.stat().st_ino) for name in names if name == "page"]
        return found

    def wait_for_market(self, clock: str, seconds: float = GUARD_SECONDS, day: date = DAY) -> None:
        """Return once the simulated market has reached `HH:MM:SS` New York."""
        goal = new_york(day, time_of_day.fromisoformat(clock))
        page = self.page()

        def reached() -> bool:
            anchor = page.anchor()
            return anchor is not None and anchor.market0 >= goal

        self.until(reached, f"the market did not reach {clock}", seconds)

    def pid(self, name: str) -> int:
        """Return the process id of one of the session's processes, once it has arrived."""
        page = self.page()
        return self.until(lambda: page.get(page.process(name), Cell.PID), f"{name} did not arrive")

    def living_pid(self, name: str) -> int:
        """The same, of one that is not dead."""
        return self.until(lambda: pid if _alive(pid := self.pid(name)) else 0, f"{name} was not started again")

    def life(self, name: str) -> Life:
        """Return what one of the session's processes is doing, as the page shows it."""
        page = self.page()
        return Life(page.get(page.process(name), Cell.LIFE))

    def kill(self, name: str) -> int:
        """Kill one of the session's processes without warning and return its id."""
        pid = self.pid(name)
        os.kill(pid, signal.SIGKILL)
        return pid

    def control(self, path: str, body: dict[str, object] | None = None) -> dict[str, Any]:
        """Ask the simulated market's control route, with the token that lies beside the page.

        Raises:
            Gone: if there is no market any more.
        """
        folder = self.page().path.parent
        try:
            token = (folder / TOKEN_FILE).read_text()
            asked = urllib.request.Request(f"{read_plan(folder).endpoints.trading_url}/_sim/{path}")
            asked.add_header("X-LIU-Token", token)
            if body is not None:
                asked.data = json.dumps(body).encode()
            with urllib.request.urlopen(asked, timeout=GUARD_SECONDS) as answer:
                return cast("dict[str, Any]", json.load(answer))
        except OSError as error:
            raise Gone(f"the market does not answer: {error}") from None

    def postmaster(self) -> psutil.Process:
        """Return PostgreSQL's first process.

        Raises:
            ProcessLookupError: if there is none.
        """
        try:
            return psutil.Process(int((self.home / "postgres" / "postmaster.pid").read_text().split()[0]))
        except (OSError, ValueError, IndexError, psutil.NoSuchProcess):
            raise ProcessLookupError("no postmaster") from None

    def kill_postmaster(self) -> None:
        """Kill PostgreSQL's first process without warning."""
        pid = self.postmaster().pid
        os.kill(pid, signal.SIGKILL)
        self.wait_for_exit(pid, "the killed postmaster")

    def keep_database_down(self, seconds: float) -> None:
        """Stop PostgreSQL in order, and again as often as somebody starts it within so many seconds."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with suppress(ProcessLookupError):
                self.postmaster().send_signal(signal.SIGINT)
            time.sleep(_LOOK_SECONDS)

    def stop_for(self, name: str, seconds: float) -> None:
        """Let a process stand still for so long, or until it is killed for it; `postgresql` stands for all of its own."""
        if name == "postgresql":
            first = self.postmaster()
            processes = [first, *first.children(recursive=True)]
        else:
            processes = [psutil.Process(self.process.pid if name == "supervisor" else self.pid(name))]
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.suspend()
        end = time.monotonic() + seconds
        while time.monotonic() < end and any(_alive(process.pid) for process in processes):
            time.sleep(_LOOK_SECONDS)
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.resume()

    def kill_supervisor(self) -> None:
        """Kill the supervisor without warning; every process it started must end by itself."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for child in children:
            if not _is_postgres(child):
                self.wait_for_exit(child.pid, f"{_described(child)}, whose supervisor was killed")
        self.forget_page()

    def wait_for_intents(self) -> None:
        """Return while what a consumer has decided is on its way to the gateway or being dealt with there."""
        page = self.page()
        links = [page.link(name) for name in page.links if name.startswith("intents-")]
        end = time.monotonic() + GUARD_SECONDS
        while not any(page.sent(link) > page.handled(link) for link in links):
            if self.process.poll() is not None or time.monotonic() > end:
                raise Gone("no intent was sent any more")

    def require_market_goes_on(self) -> None:
        """Wait a moment; there is none left of a session that is over.

        Raises:
            Gone: if the market has ended, or the session.
        """
        if self.process.poll() is not None or self.control("status")["ended"]:
            raise Gone("the market has ended")
        time.sleep(_LOOK_SECONDS)

    def kill_market(self) -> None:
        """Kill the simulated market without warning: the supervisor's child that holds a port, once there is one."""
        while not (pids := [p.pid for p in psutil.Process(self.process.pid).children() if _holds_port(p)]):
            if self.process.poll() is not None:
                raise Gone("the session has ended")
            time.sleep(_LOOK_SECONDS)
        os.kill(pids[0], signal.SIGKILL)

    def wait_for_exit(self, pid: int, what: str) -> None:
        """Return once a process is gone; `what` says which."""
        end = time.monotonic() + GUARD_SECONDS
        while _alive(pid):
            assert time.monotonic() < end, f"process {pid} does not end: {what}"
            time.sleep(_LOOK_SECONDS)

    def forget_page(self) -> None:
        """Look for a new page next time, not the one that lies there: the session is started again."""
        self._page = None
        self._old_pages = self._pages()

    def until(self, look: Callable[[], T], missing: str, seconds: float = GUARD_SECONDS) -> T:
        """Return what `look` finds, once it finds something while the session runs; `missing` says what did not come."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = look()
            if found:
                return found
            if self.process.poll() is not None:
                raise Gone(f"the session ended early ({self.process.returncode}):\n{self.output[-4000:]}")
            time.sleep(_LOOK_SECONDS)
        raise AssertionError(f"{missing} within {seconds:.0f} s:\n{self.output[-4000:]}")

    def processes(self) -> list[psutil.Process]:
        """Return every process that works for this data folder, PostgreSQL's included."""
        return [p for p in psutil.process_iter() if _works_for(p, str(self.home))]

    def nothing_is_left(self) -> None:
        """Check that the session has left no process, no socket and nothing of its own in `run/`."""
        end = time.monotonic() + GUARD_SECONDS
        while left := [_described(p) for p in self.processes()]:
            assert time.monotonic() < end, left
            time.sleep(_LOOK_SECONDS)
        run = self.home / "run"
        files = [p for p in run.rglob("*") if p.is_file() or p.is_socket()]
        expected = ("postgres.lock", "postgres.users.json")
        over = [p for p in files if p.name not in expected and not p.name.startswith("account-")]
        assert not over, f"left in run/: {[str(p.relative_to(run)) for p in over]}"

    @property
    def money_journal(self) -> Path:
        """The gateway's journal of the newest batch, once there is one."""
        found = self.until(lambda: [*self.home.glob("journal/*/money.journal")], "no money journal was made")
        return max(found, key=lambda path: path.stat().st_mtime)

    @property
    def state(self) -> Path:
        """The simulated market's state file of the newest batch."""
        kept = self.home / "kept" / "market.state"
        if kept.exists():
            return kept
        return max(self.home.glob("journal/*/market.state"), key=lambda path: path.stat().st_mtime)

    @contextmanager
    def database(self) -> Iterator[str]:
        """The address of the record, with the server running."""
        server = EmbeddedServer.start(self.home)
        account = self.home / "kept" / "account"
        try:
            yield server.dsn(f"liu_{account.read_text().split()[0].lower()}" if account.exists() else DATABASE)
        finally:
            server.release()


def bare_environment() -> dict[str, str]:
    """Return this process's environment without anything that is a setting of ours or opens an account."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("APCA_", "DSN", "LIU_", "TRADEPLAN"))}


def start_kept(run: TraderRun, plan: str, day: str, *, until: str) -> None:
    """Start one more session of a run on an account that is kept; its output is what the run shows from then on."""
    run.forget_page()
    run.arguments = ["--simulate", "--tradeplan", str(PLANS / plan), "--speed", "max", "--symbols", "6"]
    run.arguments += ["--date", day, "--from", "09:30", "--to", until, "--state", str(run.home / "kept")]
    (run.home / "output.txt").unlink(missing_ok=True)
    run.start()


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _described(process: psutil.Process) -> str:
    try:
        return f"{process.pid} {process.status()} {' '.join(process.cmdline())[:200]}"
    except psutil.NoSuchProcess:
        return f"{process.pid} (gone)"


def _is_postgres(process: psutil.Process) -> bool:
    try:
        return process.name().startswith("postgres")
    except psutil.NoSuchProcess:
        return False


def _works_for(process: psutil.Process, home: str) -> bool:
    if process.pid == os.getpid():
        return False
    try:
        return process.environ().get("LIU_HOME") == home or any(home in word for word in process.cmdline())
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


def _holds_port(process: psutil.Process) -> bool:
    return any(c.status == psutil.CONN_LISTEN for c in process.net_connections("inet"))


@contextmanager
def trader(*arguments: str, plan: str = "quick.toml", home: Path | None = None) -> Iterator[TraderRun]:
    """Start `trader --simulate` with a plan of this folder; what is left of it ends with the block."""
    if home is None:
        home = Path(tempfile.mkdtemp(prefix="liu-s-"))
    home.mkdir(mode=0o700, exist_ok=True)
    run = TraderRun(home, ["--simulate", "--tradeplan", str(PLANS / plan), "--speed", "max", *arguments])
    try:
        yield run
    finally:
        if run._process is not None and run.process.poll() is None:
            os.killpg(run.process.pid, signal.SIGKILL)
            run.process.wait()
        shutil.rmtree(home, ignore_errors=True)
