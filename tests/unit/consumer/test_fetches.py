"""A strategy's own questions to the data vendor: what they may cost the others."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from liualgotrader.common import config
from liualgotrader.common.clock import SECOND, WallClock, machine_now
from liualgotrader.common.config import Secrets
from liualgotrader.common.errors import DataUnavailable
from liualgotrader.common.events import Bar
from liualgotrader.common.ports import Asset, SymbolSnapshot
from liualgotrader.common.secret import Secret
from liualgotrader.common.session_plan import Endpoints
from liualgotrader.common.tradeplan import Timings
from liualgotrader.consumer.fetches import Fetches
from liualgotrader.consumer.main import open_dependencies
from liualgotrader.data.data_base import DataAPI
from tests.fakes.session import make_plan

DAILY = Bar("AAPL", 5, 6, 10.0, 12.0, 9.0, 11.0, 100.0, 10.5, 3)


class Vendor(DataAPI):
    """Answers at once or, while `slow`, not before the test is over."""

    def __init__(self) -> None:
        self.slow = False
        self.asked = 0
        self.over = threading.Event()

    def bars_now(self, symbols: Sequence[str], start: int, end: int, *, minutes: int) -> Mapping[str, Sequence[Bar]]:
        self.asked += 1
        if self.slow:
            self.over.wait(30)
        if "NONE" in symbols:
            raise DataUnavailable("400 invalid symbol: NONE")
        return {symbol: (DAILY,) if minutes == 1440 else () for symbol in symbols}

    def snapshots_now(self, symbols: Sequence[str]) -> Mapping[str, SymbolSnapshot]:
        return {}

    def assets_now(self) -> Mapping[str, Asset]:
        return {}


class Calls:
    calls = 1
    is_calling = True
    is_making = False


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    made = Vendor()
    yield made
    made.over.set()


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture
def fetches(vendor: Vendor, calls: Calls) -> Iterator[Fetches]:
    made = Fetches(vendor, calls, seconds=0.2, making_seconds=0.6)
    yield made
    made.close()


def ask(fetches: Fetches, *symbols: str) -> Any:
    return fetches.bars_now(symbols or ("AAPL",), 0, 1, minutes=1)


def fail(fetches: Fetches) -> float:
    """Ask a vendor that does not answer before the test is over, and return the seconds that took."""
    begun = machine_now()
    with pytest.raises(DataUnavailable, match=r"AAPL: no answer within the 0\.\d s"):
        ask(fetches)
    return (machine_now() - begun) / SECOND


def test_daily_bars_that_came_are_known_afterwards(fetches: Fetches) -> None:
    ask(fetches)
    assert fetches.days == {}
    for _ in range(2):
        assert fetches.bars_now(["AAPL"], 0, 9, minutes=1440) == {"AAPL": (DAILY,)}
    assert fetches.days == {"AAPL": {5: DAILY}}


def test_a_vendor_that_does_not_answer_is_asked_once_and_given_up(vendor: Vendor, fetches: Fetches) -> None:
    vendor.slow = True
    assert fail(fetches) > 0.15
    assert (vendor.asked, fetches.asked, fetches.failed) == (1, 1, 1)


def test_all_questions_of_one_call_share_its_time(vendor: Vendor, calls: Calls, fetches: Fetches) -> None:
    vendor.slow = True
    fail(fetches)
    fail(fetches)
    assert vendor.asked == 1, "no time was left to ask in"
    calls.calls += 1
    assert fail(fetches) > 0.15
    assert vendor.asked == 2


def test_a_call_that_has_really_waited_does_not_pay_for_another(vendor: Vendor, calls: Calls, fetches: Fetches) -> None:
    vendor.slow = True
    fail(fetches)
    calls.is_calling = False
    assert fail(fetches) > 0.15


@pytest.mark.slow
def test_while_a_strategy_is_made_each_question_has_longer(vendor: Vendor, calls: Calls, fetches: Fetches) -> None:
    vendor.slow, calls.is_making = True, True
    assert fail(fetches) > 0.5
    assert fail(fetches) > 0.5


def test_what_the_vendor_says_is_passed_on(fetches: Fetches) -> None:
    with pytest.raises(DataUnavailable, match="invalid symbol"):
        ask(fetches, "NONE")
    assert ask(fetches) == {"AAPL": ()}
    assert (fetches.asked, fetches.failed) == (2, 1)


def test_a_burst_of_failures_is_logged_once(fetches: Fetches, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "liualgotrader.consumer.fetches")
    for symbol in ("NONE", "NONE", "NONE", "AAPL", "AAPL", "NONE"):
        try:
            ask(fetches, symbol)
        except DataUnavailable:
            continue
    said = [record.getMessage().split()[0] for record in caplog.records]
    assert said == ["fetch_failed", "fetches_answered_again", "fetch_failed"]


@pytest.mark.slow
def test_a_consumers_loader_gives_up_a_silent_vendor_before_the_watchdog_would_act(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, config.session_view():
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        endpoints = Endpoints(url, url, "", "", loopback=True)
        plan = make_plan(
            tmp_path, endpoints=endpoints, timings=Timings(strategy_fetch_seconds=2.0, strategy_answer_seconds=0.4)
        )
        child: Any = SimpleNamespace(plan=plan, clock=WallClock(), status=Calls())
        dependencies = open_dependencies(child, Secrets(Secret("id"), Secret("secret"), Secret("")))
        assert dependencies.fetches is not None
        loader: Any = dependencies.make_loader(lambda symbol: None)
        with pytest.raises(ValueError, match="AAPL"):  # the vendor's client is imported by now or will be
            loader["AAPL"].close[-1]
        dependencies.fetches._calls.calls += 1  # type: ignore[misc]
        with pytest.raises(ValueError, match=r"returned no bars of AAPL: no answer within the 0\.32 s"):
            loader["AAPL"].close[-1]
        assert dependencies.fetches.failed == 2
        dependencies.fetches.close()
