"""The simulated market as a process of ours: it gets a specification and says its port, its time and its end."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from liualgotrader.common.clock import MILLISECOND, SECOND
from liualgotrader.common.control import Failed
from liualgotrader.common.errors import ConfigError, LiuError, OutsideError
from liualgotrader.common.secret import Secret
from liualgotrader.common.session_plan import Endpoints, Hours, MarketSpec
from liualgotrader.common.tradeplan import Simulation
from liualgotrader.supervisor.managed_process import CONTROL, ManagedProcess, death_text
from liualgotrader.supervisor.request import TraderRequest

log = logging.getLogger(__name__)

SPEC_FILE = "market.json"
MARKET_STATE = "market.state"
EARLY = 10 * SECOND  # simulated time begins before the open, so that the first event finds everybody waiting
_PORT_SECONDS = 120.0  # machine time; a recorded day is read first
_STOP_SECONDS = 10.0


def market_spec(
    request: TraderRequest,
    simulation: Simulation,
    hours: Hours,
    seed: int,
    page: Path,
    state: Path,
    log_dir: Path,
    account: str,
    since: str = "",
) -> MarketSpec:
    """Return what the simulated market of a session is to play."""
    return MarketSpec(
        kind="recorded" if request.data else "generated",
        day=hours.day,
        starts_at=hours.opens_at - EARLY,
        ends_at=hours.ends_at,
        seed=seed,
        folder=str(Path(request.data).absolute()) if request.data else "",
        symbols=request.symbols,
        symbol_count=request.symbol_count,
        since=since,
        speed=request.speed,
        quantum=round(request.quantum_seconds * SECOND),
        free_run=request.free_run,
        port=request.port,
        page=str(page),
        fill_profile=simulation.fills,
        fees=simulation.fees,
        latency=round(simulation.latency_ms * MILLISECOND),
        state=str(state),
        bypass=hours.bypass,
        options={"log_dir": str(log_dir), "account": account},
    )


class KeptAccount(NamedTuple):
    """An account of the simulated market that outlives its sessions."""

    number: str
    state: Path  # the market's file
    since: str  # the first day that it traded, ISO
    played: str  # the newest day that it has traded, ISO; empty: none
    now: int  # how far it has come, ns UTC

    @property
    def database(self) -> str:
        """The name of its own database: what it holds is the sum of all rows there."""
        return f"liu_{self.number.lower()}"


class _Now(msgspec.Struct):
    now: int


def kept_account(folder: Path, day: str) -> KeptAccount:
    """Return the account that a folder keeps; an empty folder gets a new one, which begins on `day`.

    Raises:
        ConfigError: if the folder cannot be used, or holds something else.
    """
    named, state = folder / "account", folder / MARKET_STATE
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not named.exists():
            named.write_text(f"SIM{secrets.token_hex(5)[1:].upper()} since {day}\n")
        known = re.fullmatch(r"(SIM[0-9A-F]{9}) since (\d{4}-\d\d-\d\d)\n", named.read_text())
        played, _, kept = state.read_bytes().partition(b"\n") if state.exists() else (b"", b"", b'{"now": 0}')
        now = msgspec.json.decode(kept, type=_Now).now
    except (OSError, ValueError) as error:
        raise ConfigError(f"the folder {folder} cannot keep an account ({error}): name another with --state") from error
    if known is None:
        raise ConfigError(f"{named} names no account of a simulated market: name another folder with --state")
    return KeptAccount(known[1], state, known[2], played.decode(), now)


def account_of(batch_id: str) -> str:
    """Return the number of a batch's account: its own, so that simulations side by side share no lock and no switch."""
    return f"SIM{batch_id.replace('-', '')[:9].upper()}"


def generated_pair() -> tuple[Secret, Secret]:
    """Return a key pair that opens this session's simulated market and nothing else."""
    return Secret("SIM" + secrets.token_hex(8).upper()), Secret(secrets.token_hex(20))


def endpoints_of(port: int, feed: str) -> Endpoints:
    """Return the addresses of the simulated market on this machine."""
    rest, stream = f"http://127.0.0.1:{port}", f"ws://127.0.0.1:{port}"
    return Endpoints(rest, rest, f"{stream}/v2/{feed}", f"{stream}/stream", loopback=True)


class SimulatedMarket:
    """The process, and what it last said. It is the outside world, so it is never restarted."""

    def __init__(self, module: str, run_dir: Path, log_dir: Path, lost: Callable[[str], None]) -> None:
        self._lost = lost
        self._port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.ended = False
        self.notes: tuple[str, ...] = ()  # how its day is made
        self.doubts: tuple[str, ...] = ()  # what a person should look at in its data
        self.skipped: tuple[str, ...] = ()  # counts of what was left out of its data
        self.report: dict[str, Any] = {}
        self._spec_path, output = run_dir / SPEC_FILE, log_dir / "simulator.out"
        arguments = (str(self._spec_path), CONTROL)
        decode = msgspec.msgpack.decode  # it reports in plain values
        self.worker = ManagedProcess("simulator", module, arguments, output, self._hear, self._died, decode)

    async def start(self, spec: MarketSpec) -> int:
        """Start it and return its port.

        Raises:
            LiuError: if it cannot start; the sentence is its own.
        """
        self._spec_path.write_bytes(msgspec.json.encode(spec))
        self.worker.start()
        try:
            async with asyncio.timeout(_PORT_SECONDS):
                return await self._port
        except TimeoutError:
            self.worker.stopping = True
            self.worker.kill()
            raise OutsideError(
                f"the simulated market did not start within {_PORT_SECONDS:.0f} s; see {self.worker.output}"
            ) from None

    async def stop(self) -> None:
        """End it."""
        worker = self.worker
        worker.stopping = True
        if not worker.alive:
            return
        worker.send({"stop": True})
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await worker.ended.wait()
        except TimeoutError:
            worker.kill()
            await worker.ended.wait()

    def waiting_for(self) -> tuple[str, ...]:
        """Return what simulated time waits for, in its own words."""
        return tuple(str(reason) for reason in self.report.get("waiting_for", ()))

    def _hear(self, worker: ManagedProcess, message: Mapping[str, Any]) -> None:
        if "port" in message and not self._port.done():
            worker.state = "ready"
            self.notes, self.doubts, self.skipped = (tuple(message.get(k, ())) for k in ("notes", "doubts", "skipped"))
            self._port.set_result(int(message["port"]))
        elif "failed" in message:
            worker.failed = Failed(str(message["failed"]), int(message["exit_code"]))
        elif message.get("ended"):
            self.ended = True
        elif "market" in message:
            self.report = dict(message)
            worker.counters = {k: float(v) for k, v in message.items() if isinstance(v, int | float)}

    def _died(self, worker: ManagedProcess, code: int) -> None:
        if not self._port.done() and worker.failed is not None:
            self._port.set_exception(error_told(worker.failed))
        elif not self._port.done():
            text = f"the simulated market could not start: it {death_text(code)}; see {worker.output}"
            self._port.set_exception(OutsideError(text))
        elif not worker.stopping:
            why = worker.failed.text if worker.failed is not None else f"it {death_text(code)}; see {worker.output}"
            self._lost(f"the simulated market is gone, so the session ends: {why}")


def error_told(failed: Failed) -> LiuError:
    """Return the error that a process reported before it ended."""
    kind = ConfigError if failed.exit_code == ConfigError.exit_code else OutsideError
    return kind(failed.text)
