"""No call leaves the address that was checked, and none waits for ever."""

from __future__ import annotations

import socket

import pytest
import requests

from liualgotrader.common.errors import OutsideError
from liualgotrader.common.http_guard import guard


def test_a_guarded_session_refuses_another_host_before_it_connects() -> None:
    with requests.Session() as session:
        guard(session, "https://paper-api.alpaca.markets", timeout_seconds=1.0)
        for url in (
            "http://example.com/v2/orders",
            "https://paper-api.alpaca.markets.example.com/v2",
            "https://paper-api.alpaca.markets@example.com/v2",
            "http://paper-api.alpaca.markets/v2",
        ):
            with pytest.raises(OutsideError, match=r"calls https://paper-api\.alpaca\.markets only"):
                session.get(url)


def test_a_server_that_never_answers_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute, requests.Session() as session:
        address = f"http://127.0.0.1:{mute.getsockname()[1]}"
        guard(session, address, timeout_seconds=0.1)
        with pytest.raises(requests.exceptions.ReadTimeout):
            session.get(f"{address}/")
