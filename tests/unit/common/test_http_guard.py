"""A simulation calls nobody outside this machine, and no call waits for ever."""

from __future__ import annotations

import socket

import pytest
import requests

from liualgotrader.common.errors import OutsideError
from liualgotrader.common.http_guard import guard, is_loopback


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://127.0.0.1:80/v2", True),
        ("http://localhost/v2", True),
        ("ws://[::1]:5/stream", True),
        ("https://paper-api.alpaca.markets", False),
        ("http://127.0.0.1.example.com", False),
        ("http://10.0.0.1", False),
        ("", False),
    ],
)
def test_loopback_is_told_from_everything_else(url: str, local: bool) -> None:
    assert is_loopback(url) is local


def test_a_guarded_session_refuses_another_host_before_it_connects() -> None:
    with requests.Session() as session:
        guard(session, timeout_seconds=1.0, loopback=True)
        with pytest.raises(OutsideError, match=r"example\.com"):
            session.get("http://example.com/v2/orders")


def test_a_server_that_never_answers_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute, requests.Session() as session:
        guard(session, timeout_seconds=0.1, loopback=True)
        with pytest.raises(requests.exceptions.ReadTimeout):
            session.get(f"http://127.0.0.1:{mute.getsockname()[1]}/")
