"""What the adapter makes of a vendor that refuses a question, and of one that cannot answer now."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from liualgotrader.common.errors import DataRefused, DataUnavailable
from liualgotrader.common.session_plan import Endpoints
from liualgotrader.data.alpaca_data import AlpacaData
from tests.fakes.http_vendor import answering


@contextmanager
def refusing(status: int) -> Iterator[tuple[str, list[str]]]:
    """A vendor that answers every question with a status; its address, and what it was asked."""
    asked: list[str] = []

    def answer(path: str) -> tuple[int, bytes]:
        asked.append(path)
        return status, b'{"message": "invalid symbol: BF-B"}'

    with answering(answer) as url:
        yield url, asked


def ask(url: str, tries: int = 1) -> None:
    data = AlpacaData(
        Endpoints(url, url, "", "", loopback=True), "id", "secret", feed="sip", timeout_seconds=60.0, tries=tries
    )
    data.bars_now(["AAPL", "BF-B"], 0, 60_000_000_000, minutes=1)


@pytest.mark.parametrize("status", [400, 404, 422])
def test_a_wrong_question_is_refused_and_not_asked_again(status: int) -> None:
    with refusing(status) as (url, asked), pytest.raises(DataRefused, match="BF-B"):
        ask(url, tries=3)
    assert len(asked) == 1


@pytest.mark.parametrize("status", [401, 403, 500])
def test_a_vendor_that_cannot_or_may_not_answer_refuses_no_question(status: int) -> None:
    with refusing(status) as (url, _), pytest.raises(DataUnavailable) as caught:
        ask(url)
    assert not isinstance(caught.value, DataRefused)


def test_a_vendor_in_a_hurry_is_asked_once() -> None:
    with refusing(503) as (url, asked), pytest.raises(DataUnavailable):
        ask(url, tries=1)
    assert len(asked) == 1
