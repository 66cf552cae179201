"""What a run showed, whether it kept up, and the search for the highest rate that does."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

MOST_BEHIND_US = 50_000.0  # the median of the last third of a run that keeps up
_LATE_FRACTION, _LATE_SECONDS = 0.02, 0.03  # what a server that keeps the rate may need beyond the planned time

FIGURES = ("p50_us", "p99_us", "p999_us")


class Sent(msgspec.Struct, frozen=True):
    """What the feed server did in a run. Lateness is of a frame against its plan, when it was handed to the socket."""

    events: int
    planned_events: int
    seconds: float
    planned_seconds: float
    late_p50_us: float
    late_max_us: float

    @property
    def in_time(self) -> bool:
        """Whether everything planned was sent, and no later than planned."""
        limit = self.planned_seconds * (1 + _LATE_FRACTION) + _LATE_SECONDS
        return self.events == self.planned_events and self.seconds <= limit


class Run(msgspec.Struct, frozen=True):
    """One run of one side. Times are wire to strategy, of all events that were handled."""

    side: str
    purpose: str
    repeat: int
    offered: int  # events per second
    sent: int
    handled: int
    kept: bool
    p50_us: float
    p99_us: float
    p999_us: float
    max_us: float
    last_third_p50_us: float
    feed: Sent
    cpu_us_an_event: Mapping[str, float]
    other_cores: float  # busy with anything but the processes named in `cpu_us_an_event`, on average


def judge(taken: Sequence[NDArray[np.int64]], sent: Sent, cpu_seconds: Mapping[str, float], **facts: Any) -> Run:
    """Return what a run showed; `taken` are the times in ns of each consumer, in the order of arrival."""
    handled = sum(len(one) for one in taken)
    whole = np.concatenate(taken) if handled else np.zeros(1, dtype=np.int64)
    tails = np.concatenate([one[len(one) * 2 // 3 :] for one in taken]) if handled else whole
    p50, p99, p999 = (float(p) / 1000 for p in np.percentile(whole, [50, 99, 99.9]))
    behind = float(np.median(tails)) / 1000
    kept = sent.in_time and handled == sent.events and behind < MOST_BEHIND_US
    return Run(
        sent=sent.events,
        handled=handled,
        kept=kept,
        p50_us=round(p50, 1),
        p99_us=round(p99, 1),
        p999_us=round(p999, 1),
        max_us=round(float(whole.max()) / 1000, 1),
        last_third_p50_us=round(behind, 1),
        feed=sent,
        cpu_us_an_event={name: round(s * 1e6 / max(1, sent.events), 3) for name, s in cpu_seconds.items()},
        **facts,
    )


class Search:
    """Finds the highest rate that is kept: doubling or halving to a bracket, then bisecting it.

    A rate counts as lost when two runs in a row lose it, so that one disturbance decides nothing.
    """

    def __init__(self, first: int, resolution: float, lowest: int = 1000) -> None:
        self._low, self._high = 0, 0  # kept, lost; 0 = not known yet
        self._rate = first
        self._resolution = resolution
        self._lowest = lowest
        self._lost_once = False

    def next(self) -> int | None:
        """Return the rate to be tried next, None when the answer is known."""
        low, high = self._low, self._high
        found = (high and high <= self._lowest) or (low and high and high <= low * (1 + self._resolution))
        return None if found else self._rate

    def tell(self, *, kept: bool) -> None:
        """State whether the rate was kept."""
        if not kept and not self._lost_once:
            self._lost_once = True
            return
        self._lost_once = False
        if kept:
            self._low = self._rate
        else:
            self._high = self._rate
        if not self._high:
            self._rate = self._low * 2
        elif not self._low:
            self._rate = max(self._lowest, self._high // 2)
        else:
            self._rate = round((self._low * self._high) ** 0.5)

    @property
    def ceiling(self) -> int:
        """The highest rate that was kept, 0 if none was."""
        return self._low


def medians(runs: Sequence[Run], ceilings: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """Return, per side, the medians over the repeats: of the ceiling, and of each figure at each rate."""
    found: dict[str, Any] = {}
    for side, each in ceilings.items():
        found[side] = {"ceiling": statistics.median(each) if each else None}
        for rate in sorted({r.offered for r in runs if r.side == side and r.purpose == "latency"}):
            found[side][f"at_{rate}"] = _middle([r for r in runs if _is_latency(r, side, rate)])
    return found


def ratios(runs: Sequence[Run], ceilings: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """Return product over bare, of the same repeat each, with its median: of the ceiling and of each figure."""
    pairs = list(zip(ceilings.get("product", ()), ceilings.get("bare", ()), strict=False))
    found: dict[str, Any] = {"ceiling": _summary([p / b for p, b in pairs if b])}
    for rate in sorted({r.offered for r in runs if r.purpose == "latency"}):
        product = {r.repeat: r for r in runs if _is_latency(r, "product", rate)}
        bare = {r.repeat: r for r in runs if _is_latency(r, "bare", rate)}
        both = sorted(product.keys() & bare.keys())
        found[f"at_{rate}"] = {
            name: _summary([getattr(product[n], name) / getattr(bare[n], name) for n in both]) for name in FIGURES
        }
    return found


def _is_latency(run: Run, side: str, rate: int) -> bool:
    return run.side == side and run.purpose == "latency" and run.offered == rate


def _middle(runs: Sequence[Run]) -> dict[str, Any]:
    kept = {"kept": sum(r.kept for r in runs), "runs": len(runs)}
    cpu = {name: round(statistics.median(r.cpu_us_an_event[name] for r in runs), 3) for name in runs[0].cpu_us_an_event}
    return {name: statistics.median(getattr(r, name) for r in runs) for name in FIGURES} | kept | {"cpu_us": cpu}


def _summary(values: Sequence[float]) -> dict[str, Any]:
    each = [round(v, 3) for v in values]
    return {"median": round(statistics.median(values), 3) if values else None, "each": each}
