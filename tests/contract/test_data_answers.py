"""What the adapter makes of history that cannot be true: the symbol, the time and the field are named, the others stand."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from liualgotrader.common.clock import MINUTE, SECOND
from liualgotrader.common.errors import DataUnavailable, DataUnusable
from liualgotrader.common.session_plan import Endpoints
from liualgotrader.data.alpaca_data import AlpacaData
from tests.fakes.http_vendor import answering

T0 = 1_709_908_200 * SECOND  # 2024-03-08 14:30 UTC
GOOD: dict[str, Any] = {"t": "2024-03-08T14:30:00Z", "o": 10, "h": 12.5, "l": 9, "c": 11, "v": 100, "n": 3, "vw": 10.5}
ROW: list[Any] = [GOOD]


def asked(url: str, *symbols: str) -> Any:
    endpoints = Endpoints(url, url, "", "", loopback=True)
    data = AlpacaData(endpoints, "id", "secret", feed="sip", timeout_seconds=2.0, tries=1)
    return data.bars_now(symbols, T0, T0 + 10 * MINUTE, minutes=1)


def told(body: object, *symbols: str) -> Any:
    with answering(lambda path: (200, body if isinstance(body, bytes) else json.dumps(body).encode())) as url:
        return asked(url, *symbols)


@pytest.mark.parametrize(
    ("odd", "field"),
    [
        ({"c": None}, "c is None"),
        ({"v": None}, "v is None"),
        ({"t": None}, "t is None"),
        ({"t": "2024-03-08T14:30:01Z"}, "t is '2024-03-08T14:30:01Z'"),
        ({"t": "yesterday"}, "t is 'yesterday'"),
        ({"c": float("nan")}, "c is nan"),
        ({"l": 0}, "l is 0"),
        ({"c": -1}, "c is -1"),
        ({"h": 8}, "h is 8"),
        ({"c": 13}, "c is 13"),
        ({"o": 8.99}, "o is 8.99"),
        ({"h": 1e300}, "h is 1e[+]300"),
        ({"v": 1e308}, "v is 1e[+]308"),
        ({"v": -1}, "v is -1"),
        ({"c": "11"}, "c is '11'"),
        ({"c": True}, "c is True"),
        ({"vw": "x"}, "vw is 'x'"),
        ({"n": []}, "n is a list"),
    ],
)
def test_a_bar_that_cannot_be_true_names_symbol_and_field_and_costs_the_others_nothing(odd: Any, field: str) -> None:
    with pytest.raises(DataUnusable, match=f"ODD: .*{field}") as caught:
        told({"bars": {"ODD": [GOOD | odd], "AAPL": ROW}, "next_page_token": None}, "ODD", "AAPL")
    assert [bar.close for bar in caught.value.good["AAPL"]] == [11.0]
    assert list(caught.value.bad) == ["ODD"]
    if "t" not in odd:
        assert GOOD["t"] in str(caught.value)


@pytest.mark.parametrize("rows", [None, {}, "", 7, [None], [[]], ["x"], [GOOD, GOOD | {"c": 12}]])
def test_history_of_another_form_costs_the_others_nothing(rows: Any) -> None:
    with pytest.raises(DataUnusable, match="ODD") as caught:
        told({"bars": {"ODD": rows, "AAPL": ROW}, "next_page_token": None}, "ODD", "AAPL")
    assert (list(caught.value.bad), list(caught.value.good)) == (["ODD"], ["AAPL"])


@pytest.mark.parametrize(
    "page", [{"bars": None}, {}, {"bars": []}, {"bars": {"A": ROW}, "next_page_token": 7}, [], b"", b"null"]
)
def test_a_page_of_another_form_says_nothing_of_any_symbol(page: Any) -> None:
    with pytest.raises(DataUnusable) as caught:
        told(page, "A", "B")
    assert (set(caught.value.bad), caught.value.good) == ({"A", "B"}, {})


@pytest.mark.parametrize("body", [b"<html>", b"[" * 100_000])
def test_a_body_that_is_no_json_is_no_answer(body: bytes) -> None:
    with pytest.raises(DataUnavailable, match="does not answer"):
        told(body, "A")


def test_a_page_token_that_comes_again_ends_the_question() -> None:
    with pytest.raises(DataUnusable, match="next_page_token is 'x', not a new one"):
        told({"bars": {"A": []}, "next_page_token": "x"}, "A")


def test_rows_in_another_order_and_twice_are_the_same_history() -> None:
    later = GOOD | {"t": "2024-03-08T14:31:00Z"}
    pages = {"": {"bars": {"A": [later, GOOD]}, "next_page_token": "2"}, "2": {"bars": {"A": [later]}}}

    def answer(path: str) -> tuple[int, bytes]:
        token = parse_qs(urlsplit(path).query).get("page_token", [""])[0]
        return 200, json.dumps(pages[token]).encode()

    with answering(answer) as url:
        assert [bar.opened_at for bar in asked(url, "A")["A"]] == [T0, T0 + MINUTE]


def of_snapshots(read: Callable[[AlpacaData], Any], body: object) -> Any:
    with answering(lambda path: (200, json.dumps(body).encode())) as url:
        endpoints = Endpoints(url, url, "", "", loopback=True)
        return read(AlpacaData(endpoints, "id", "secret", feed="sip", timeout_seconds=2.0, tries=1))


@pytest.mark.parametrize("odd", [None, [], 7, {"p": None}, {"p": "NaN"}, {"p": -1}, {"p": 0}, {"p": 1e300}, {}])
def test_a_snapshot_says_none_of_what_cannot_be_true_of_it(odd: Any) -> None:
    body = {"ODD": {"latestTrade": odd, "dailyBar": GOOD | {"h": 1}, "prevDailyBar": GOOD}}
    (facts,) = of_snapshots(lambda data: data.snapshots_now(["ODD"]), body).values()
    assert (facts.last_price, facts.daily_bar, facts.previous_daily_bar.close) == (None, None, 11.0)


def test_a_list_of_assets_leaves_out_what_it_cannot_read() -> None:
    rows = [
        None,
        {"symbol": None, "tradable": True},
        {"symbol": "A", "tradable": "true"},
        {"symbol": "B", "tradable": True},
    ]
    assert list(of_snapshots(AlpacaData.assets_now, rows)) == ["B"]
    with pytest.raises(DataUnavailable, match="list of assets is a dict, not a list"):
        of_snapshots(AlpacaData.assets_now, {})
