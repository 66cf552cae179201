"""Finnhub's history against answers as its reference describes them, and against odd ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from liualgotrader.common.clock import DAY, MINUTE, SECOND
from liualgotrader.common.config import Settings
from liualgotrader.common.data_loader import DataLoader
from liualgotrader.common.errors import ConfigError, DataRefused, DataUnavailable, DataUnusable
from liualgotrader.common.types import DataConnectorType, TimeScale
from liualgotrader.data.data_factory import data_loader_factory, require_connector
from tests.fakes.http_vendor import answering

MONDAY = 1_717_372_800  # 2024-06-03, midnight UTC, seconds
OPENS = 1_717_421_400  # 09:30 New York
CANDLES = {"s": "ok", "t": [OPENS, OPENS + 60], "o": [10, 10.5], "h": [11, 10.75], "l": [9.5, 10.25], "c": [10.5, 10.5],
           "v": [1000, 250]}  # fmt: skip
DAILY = {"s": "ok", "t": [MONDAY], "o": [10], "h": [12], "l": [9], "c": [11], "v": [5_000_000]}

Answer = Callable[[str], tuple[int, bytes]]


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINNHUB_API_KEY", "a-key-of-no-value")


def vendor(monkeypatch: pytest.MonkeyPatch, url: str) -> Any:
    monkeypatch.setenv("FINNHUB_BASE_URL", url)
    return data_loader_factory("finnhub")


def always(body: object, status: int = 200) -> Answer:
    return lambda path: (status, json.dumps(body).encode())


@pytest.mark.parity(42)
def test_bars_of_minutes_and_days_and_the_list_of_symbols(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(path: str) -> tuple[int, bytes]:
        asked.append(path)
        if "symbol?" in path:
            return 200, b'[{"symbol": "ABC", "description": "A B C"}, {"symbol": "x y"}, {"symbol": null}, 3]'
        return 200, json.dumps(DAILY if "resolution=D" in path else CANDLES).encode()

    with answering(answer) as url:
        data = vendor(monkeypatch, url)
        minutes = data.bars_now(["ABC"], OPENS * SECOND, (OPENS + 60) * SECOND, minutes=1)["ABC"]
        assert [(b.opened_at, b.closed_at, b.open, b.high, b.low, b.close, b.volume) for b in minutes] == [
            (OPENS * SECOND, OPENS * SECOND + MINUTE, 10.0, 11.0, 9.5, 10.5, 1000.0)
        ]
        (day,) = data.bars_now(["ABC"], MONDAY * SECOND, MONDAY * SECOND + DAY, minutes=1440)["ABC"]
        assert (day.opened_at, day.close, day.volume) == ((MONDAY + 4 * 3600) * SECOND, 11.0, 5_000_000.0)
        assert list(data.assets_now()) == ["ABC"]
        loader: Any = DataLoader(TimeScale.day, connector=DataConnectorType.finnhub)
        assert loader["ABC"].close["2024-06-03":"2024-06-03"].iloc[0] == 11
    assert all("a-key-of-no-value" not in path for path in asked)  # it is sent as a header


def test_a_symbol_without_bars_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(always({"s": "no_data"})) as url:
        assert vendor(monkeypatch, url).bars_now(["ABC"], 0, DAY, minutes=1) == {"ABC": []}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"s": "error"}, "ABC: Finnhub's candles: s is"),
        ({"t": None}, "ABC: Finnhub's candles: s is"),
        ({"c": [10]}, "as long as the lists of prices"),
        ({"t": ["soon", OPENS]}, "a time of this century"),
        ({"h": [8, 11]}, "h is 8"),
        ({"v": [None, 1]}, "v is None"),
        ({"o": [True, 1]}, "o is True"),
        ({"l": [-1, 10.25]}, "l is -1"),
    ],
)
def test_bars_that_cannot_be_true_are_refused_by_symbol_time_and_field(
    monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], says: str
) -> None:
    with answering(always(CANDLES | change)) as url, pytest.raises(DataUnusable) as refused:
        vendor(monkeypatch, url).bars_now(["ABC"], OPENS * SECOND, (OPENS + 120) * SECOND, minutes=1)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("body", "status", "kind", "says"),
    [
        ({"error": "You don't have access"}, 403, DataUnavailable, "check FINNHUB_API_KEY"),
        ({"error": "no"}, 422, DataRefused, "Finnhub has no bars of ABC: 422"),
    ],
)
def test_a_refusal_is_one_sentence_without_the_key(
    monkeypatch: pytest.MonkeyPatch, body: object, status: int, kind: type[Exception], says: str
) -> None:
    with answering(always(body, status)) as url, pytest.raises(kind) as refused:
        vendor(monkeypatch, url).bars_now(["ABC"], 0, DAY, minutes=1)
    assert says in str(refused.value)
    assert "a-key-of-no-value" not in str(refused.value)


def test_without_a_key_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.delenv("FINNHUB_API_KEY")

    def answer(path: str) -> tuple[int, bytes]:
        asked.append(path)
        return 200, b"[]"

    with answering(answer) as url:
        data = vendor(monkeypatch, url)
        with pytest.raises(ConfigError, match="set FINNHUB_API_KEY"):
            data.bars_now(["ABC"], 0, DAY, minutes=1)
        with pytest.raises(ConfigError, match="set FINNHUB_API_KEY"):
            data.assets_now()
    assert asked == []


def test_a_session_on_finnhub_is_refused_since_it_has_no_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_CONNECTOR", "finnhub")
    with pytest.raises(ConfigError, match="has history and no stream: for sessions use one of alpaca, polygon"):
        require_connector(Settings.resolve({}))
