"""`liu data fetch` from the simulated market over the vendor's protocol, and what the vendor says of splits and dividends."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

from liualgotrader.cli import liu
from liualgotrader.common.calendar import new_york
from liualgotrader.common.clock import DAY, MINUTE, NEVER
from liualgotrader.common.errors import ConfigError, DataUnavailable
from liualgotrader.common.session_plan import Endpoints
from liualgotrader.data.alpaca_data import AlpacaData
from liualgotrader.data.market_store import MarketStore
from liualgotrader.tapes.splits import Split
from tests.fakes.http_vendor import answering
from tests.fakes.simulated_market import KEY, SECRET, MarketThread
from tests.fakes.tapes import DAILY_CLOSES, at
from tools.store_repair import run

FETCH = ("data", "fetch", "abc,penny.x", "--from", "2024-02-28", "--to", "2024-03-08")


@pytest.fixture(params=["alpaca", "polygon"])
def _keys(monkeypatch: pytest.MonkeyPatch, market: MarketThread, request: pytest.FixtureRequest) -> None:
    monkeypatch.setenv("DATA_CONNECTOR", request.param)
    if request.param == "polygon":
        monkeypatch.setenv("POLYGON_API_KEY", SECRET)
        monkeypatch.setenv("POLYGON_BASE_URL", market.url)
        return
    for name, value in (("APCA_API_KEY_ID", KEY), ("APCA_API_SECRET_KEY", SECRET)):
        monkeypatch.setenv(name, value)
    for name in ("APCA_API_BASE_URL", "APCA_API_DATA_URL"):
        monkeypatch.setenv(name, market.url)


@pytest.mark.usefixtures("_keys")
def test_days_before_the_simulated_one_are_stored_and_fetched_no_second_time(
    market: MarketThread, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    market.go_to(at("09:40"))
    for _ in range(2):
        assert liu.run([*FETCH, "--home", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines() == ["day: 6 rows, symbols: 2, from simulated"] * 2
    store = MarketStore(tmp_path / "market")
    days = store.read("ABC", DAY, 0, NEVER)
    assert days.close.tolist() == list(DAILY_CLOSES.values())
    assert days.opened_at.tolist() == [new_york(day, time(9, 30)) for day in DAILY_CLOSES]
    today = new_york(date(2024, 3, 8), time())
    assert store.missing("PENNY.X", "bars", DAY, new_york(date(2024, 2, 28), time()), today) == []  # known to be empty
    assert store.missing("ABC", "bars", DAY, today, today + 1) != []
    assert liu.run([*FETCH, "--home", str(tmp_path), "--period", "minute"]) == 0
    assert store.read("ABC", MINUTE, 0, NEVER).open.tolist() == [90.0 + n for n in range(10)]


def test_without_keys_nothing_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("APCA_API_KEY_ID", "APCA_API_SECRET_KEY", "ALPACA_API_KEY", "ALPACA_SECRET_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match="set APCA_API_KEY_ID and APCA_API_SECRET_KEY"):
        liu.run([*FETCH, "--home", str(tmp_path)])
    monkeypatch.setenv("DATA_CONNECTOR", "polygon")
    monkeypatch.delenv("POLYGON_API_KEY", raising=False)
    with pytest.raises(ConfigError, match="set POLYGON_API_KEY"):
        liu.run([*FETCH, "--home", str(tmp_path)])


def told(answer: Callable[[dict[str, list[str]]], dict[str, Any]]) -> Any:
    """Return what the adapter makes of an answer about splits and dividends of ABC in March 2024."""
    march = (new_york(date(2024, 3, 1), time()), new_york(date(2024, 4, 1), time()))

    def body(path: str) -> tuple[int, bytes]:
        parts = urlsplit(path)
        assert parts.path == "/v1/corporate-actions"
        return 200, json.dumps(answer(parse_qs(parts.query))).encode()

    with answering(body) as url:
        endpoints = Endpoints(url, url, "", "", loopback=True)
        return AlpacaData(endpoints, "id", "secret", feed="sip", timeout_seconds=10.0, tries=1).actions_now(
            ["ABC"], *march
        )


def test_splits_and_dividends_of_all_pages_are_read_by_their_ex_date() -> None:
    """Field names as in the vendor's own client: `alpaca.data.models.corporate_actions`."""
    pages: dict[str, dict[str, Any]] = {
        "": {
            "forward_splits": [{"symbol": "ABC", "new_rate": 7, "old_rate": 1, "ex_date": "2024-03-11"}],
            "cash_dividends": [{"symbol": "ABC", "rate": 0.47, "special": False, "ex_date": "2024-03-20"}],
        },
        "2": {
            "reverse_splits": [{"symbol": "ABC", "new_rate": 1, "old_rate": 10, "ex_date": "2024-03-04"}],
            "stock_dividends": [{"symbol": "ABC", "rate": 0.05, "ex_date": "2024-03-25"}],
            "cash_dividends": [{"symbol": "ABC", "rate": 1, "special": True, "ex_date": "2024-03-20"}],
        },
    }

    def answer(query: dict[str, list[str]]) -> dict[str, Any]:
        assert (query["symbols"], query["start"], query["end"]) == (["ABC"], ["2024-03-01"], ["2024-03-31"])
        token = query.get("page_token", [""])[0]
        return {"corporate_actions": pages[token], "next_page_token": None if token else "2"}

    splits, cash = told(answer)["ABC"]
    assert splits == [Split(date(2024, 3, 4), 0.1), Split(date(2024, 3, 11), 7.0), Split(date(2024, 3, 25), 1.05)]
    assert cash == [(date(2024, 3, 20), 1.47)]


@pytest.mark.parametrize(
    ("odd", "field"),
    [
        (
            {"forward_splits": [{"symbol": "ABC", "new_rate": 0, "old_rate": 1, "ex_date": "2024-03-11"}]},
            "new_rate is 0, not above zero",
        ),
        ({"cash_dividends": [{"symbol": "ABC", "rate": 1, "ex_date": "soon"}]}, "ex_date is 'soon', not a time"),
        ({"cash_dividends": 7}, "cash_dividends is 7, not a list"),
        ([], "a list instead of an object"),
    ],
)
def test_a_split_that_cannot_be_is_said_with_its_field(odd: object, field: str) -> None:
    with pytest.raises(DataUnavailable, match=field):
        told(lambda query: {"corporate_actions": odd, "next_page_token": None})


@pytest.mark.usefixtures("_keys")
def test_a_damaged_file_of_a_vendor_s_is_fetched_again(market: MarketThread, tmp_path: Path) -> None:
    market.go_to(at("09:40"))
    assert liu.run([*FETCH, "--home", str(tmp_path)]) == 0
    path = tmp_path / "market/bars/day/ABC.arrow"
    good = path.read_bytes()
    first = np.float64(next(iter(DAILY_CLOSES.values()))).tobytes()
    path.write_bytes(good.replace(first, np.float64(1.0).tobytes(), 1))
    assert run(["--home", str(tmp_path)]) == 3
    assert run(["--home", str(tmp_path), "--fix"]) == 0
    assert path.read_bytes() == good
