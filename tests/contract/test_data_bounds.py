"""Which bars the adapter brings from a vendor whose `end` belongs to what is asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest

from liualgotrader.common.clock import MINUTE, SECOND, as_utc, instant
from liualgotrader.common.session_plan import Endpoints
from liualgotrader.common.types import TimeScale
from liualgotrader.data.alpaca_data import AlpacaData
from liualgotrader.data.loader import DataLoader
from tests.fakes.http_vendor import answering

TEN = instant(datetime(2024, 3, 8, 15, 0, tzinfo=UTC))  # New York
MINUTES = tuple(TEN + n * MINUTE for n in range(-2, 3))


@pytest.fixture
def vendor() -> Iterator[AlpacaData]:
    def answer(path: str) -> tuple[int, bytes]:
        asked = parse_qs(urlsplit(path).query)
        first, last = (datetime.fromisoformat(asked[name][0]) for name in ("start", "end"))
        labels = [as_utc(at) for at in MINUTES if first <= as_utc(at) <= last]
        bars = [{"t": f"{t:%Y-%m-%dT%H:%M:%SZ}", "o": 1, "h": 99, "l": 1, "c": t.minute or 60, "v": 1} for t in labels]
        return 200, json.dumps({"bars": {"AAPL": bars}, "next_page_token": None}).encode()

    with answering(answer) as url:
        yield AlpacaData(Endpoints(url, url, "", "", loopback=True), "id", "secret", feed="sip", timeout_seconds=60.0)


@pytest.mark.parametrize(("end", "count"), [(TEN, 2), (TEN + 1, 3), (TEN + SECOND, 3), (TEN + MINUTE, 3)])
def test_bars_that_begin_before_the_end_are_brought_and_no_others(vendor: AlpacaData, end: int, count: int) -> None:
    found = vendor.bars_now(["AAPL"], TEN - MINUTE * 2, end, minutes=1)
    assert tuple(bar.opened_at for bar in found["AAPL"]) == MINUTES[:count]


def test_a_bar_is_found_by_its_own_time(vendor: AlpacaData) -> None:
    loader = DataLoader(TimeScale.minute, data_api=vendor)
    assert loader["AAPL"].close["2024-03-08 10:00:00"] == 60
    assert loader["AAPL"].close["2024-03-08 09:59:30"] == 59
