"""Which bars the adapter brings from a vendor whose `end` belongs to what is asked for."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from liualgotrader.common.clock import MINUTE, SECOND, as_utc, instant
from liualgotrader.common.session_plan import Endpoints
from liualgotrader.common.types import TimeScale
from liualgotrader.data.alpaca import AlpacaData
from liualgotrader.data.loader import DataLoader

TEN = instant(datetime(2024, 3, 8, 15, 0, tzinfo=UTC))  # New York
MINUTES = tuple(TEN + n * MINUTE for n in range(-2, 3))


@pytest.fixture
def vendor() -> Iterator[AlpacaData]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = parse_qs(urlsplit(self.path).query)
            first, last = (datetime.fromisoformat(asked[name][0]) for name in ("start", "end"))
            labels = [as_utc(at) for at in MINUTES if first <= as_utc(at) <= last]
            bars = [{"t": f"{t:%Y-%m-%dT%H:%M:%SZ}", "o": 1, "h": 1, "l": 1, "c": t.minute, "v": 1} for t in labels]
            body = json.dumps({"bars": {"AAPL": bars}, "next_page_token": None}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    yield AlpacaData(Endpoints(url, url, "", "", loopback=True), "id", "secret", feed="sip", timeout_seconds=2.0)
    server.shutdown()
    thread.join(5)
    server.server_close()


@pytest.mark.parametrize(("end", "count"), [(TEN, 2), (TEN + 1, 3), (TEN + SECOND, 3), (TEN + MINUTE, 3)])
def test_bars_that_begin_before_the_end_are_brought_and_no_others(vendor: AlpacaData, end: int, count: int) -> None:
    found = vendor.bars_now(["AAPL"], TEN - MINUTE * 2, end, minutes=1)
    assert tuple(bar.opened_at for bar in found["AAPL"]) == MINUTES[:count]


def test_a_bar_is_found_by_its_own_time(vendor: AlpacaData) -> None:
    loader = DataLoader(TimeScale.minute, data_api=vendor)
    assert loader["AAPL"].close["2024-03-08 10:00:00"] == 0
    assert loader["AAPL"].close["2024-03-08 09:59:30"] == 59
