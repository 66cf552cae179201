"""A simulated market served in a thread of the test's process, played on by hand."""

from __future__ import annotations

import json
import urllib.request
from typing import Any, TypeVar

from liualgotrader.common.ports import Tape
from liualgotrader.common.session_plan import MarketSpec
from liualgotrader.simulator.subscriptions import ApiKeys
from liualgotrader.testing import StandingMarket
from tests.fakes.tapes import DAY, HandTape, at

KEY, SECRET = "PKTESTKEY", "test-secret-of-no-value"
T = TypeVar("T")


def spec_of(**changes: Any) -> MarketSpec:
    """Return a market at 09:35 of the hand-made tape that stands until it is told to go on."""
    fields: dict[str, Any] = {
        "kind": "generated",
        "day": DAY.isoformat(),
        "starts_at": at("09:35"),
        "ends_at": at("10:30"),
        "options": {"standing": True},
    }
    return MarketSpec(**(fields | changes))


class MarketThread(StandingMarket):
    """The running market as a test of ours sees it; everything here may be called from the test's thread."""

    def __init__(self, spec: MarketSpec, tape: Tape | None = None) -> None:
        self._begin(spec, ApiKeys(KEY, SECRET), tape=tape if tape is not None else HandTape())

    @property
    def ws(self) -> str:
        return self.running.websocket_url

    @property
    def now(self) -> int:
        return self.read(lambda r: r.world.now)

    def go_to(self, instant: int) -> None:
        """Let the market go on to an instant and stand there."""
        self.call(self.running.loop.run_until(instant))

    def control(self, path: str, body: dict[str, Any] | None = None, method: str = "POST") -> Any:
        """Call a control route with the token."""
        data = json.dumps(body or {}).encode() if method == "POST" else None
        request = urllib.request.Request(f"{self.url}/_sim/{path}", data=data, method=method)
        request.add_header("X-LIU-Token", self.running.world.token)
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.loads(response.read())
