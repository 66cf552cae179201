"""Faults on demand, switched by `POST /_sim/faults/{name}`.

A request fault is named `<target>_<fault>` and replaces the next `count` answers of its target. Others act at once.
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum


class Fault(StrEnum):
    """What happens to a request instead of its answer."""

    ERROR_500 = "500"  # nothing is executed, the answer is 500
    TIMEOUT_504_AFTER = "504_after"  # the request is executed, the answer is 504
    NEVER = "never"  # nothing is executed and no answer comes
    NEVER_AFTER = "never_after"  # the request is executed and no answer comes


TARGETS = {"POST": "order", "PATCH": "replace", "DELETE": "cancel", "GET": "read"}  # of the trading requests
REQUEST_FAULTS = {f"{target}_{fault}": (target, fault) for target in TARGETS.values() for fault in Fault}
DROP_WEBSOCKETS = "drop_websockets"  # every websocket breaks without a close frame
MUTES = ("mute", "mute_data", "mute_updates")  # {"on": true | false}: websockets stay open and send nothing
NAMES = (*REQUEST_FAULTS, DROP_WEBSOCKETS, *MUTES)


class Faults:
    """The request faults still to come, first in first out."""

    def __init__(self) -> None:
        self._pending: dict[str, deque[Fault]] = {target: deque() for target in TARGETS.values()}

    def add(self, name: str, count: int) -> None:
        """Schedule the fault for `count` more requests; 0 takes back all of it."""
        target, fault = REQUEST_FAULTS[name]
        coming = self._pending[target]
        if count <= 0:
            self._pending[target] = deque(f for f in coming if f is not fault)
        coming.extend([fault] * count)

    def next_for(self, method: str) -> Fault | None:
        """Return the fault of the present trading request, None without one."""
        coming = self._pending.get(TARGETS.get(method, ""))
        return coming.popleft() if coming else None

    def pending(self) -> dict[str, int]:
        """Return how often each request fault is still to come."""
        return {
            name: self._pending[target].count(fault)
            for name, (target, fault) in REQUEST_FAULTS.items()
            if fault in self._pending[target]
        }
