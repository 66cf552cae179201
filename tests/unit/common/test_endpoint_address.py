"""One parser says where an address leads: no client that gets what it accepted connects elsewhere."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import urlsplit

import picows.url
import pytest
import requests
import urllib3.util
import websockets.uri
import yarl
from hypothesis import example, given
from hypothesis import strategies as st

from liualgotrader.common.endpoint_address import canonical_address, is_loopback
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.session_plan import Endpoints
from tests.examples import examples

PAPER, LIVE = "paper-api.alpaca.markets", "api.alpaca.markets"
HOSTS = [PAPER, LIVE, "localhost", "127.0.0.1", "[::1]", "evil.example", "2130706433", "0x7f000001", "127.1", "[::ffff:127.0.0.1]"]  # fmt: skip
MARKS = ["\\", "@", "\\@", "/", "//", "/..", "/.", "?", "#", ":", "::", ":443", ":80", ":0", ":8080", ":99999", "%2e", "%40",
         "%2F", "%00", "\n", "\r", "\t", " ", "\x00", "\x7f", "｡", "。", "．", "ａ", "й", "ß", "ſ", "K", "\u200b", "\u202e", "xn--", ".", "..",
         "-", "_", "*", "[", "]", "|", ";", ",", "user:pass@", "v2", "/v2", "A"]  # fmt: skip
SCHEMES = [
    "https://",
    "http://",
    "wss://",
    "ws://",
    "HTTPS://",
    "https:/",
    "https:",
    "//",
    "ftp://",
    "file://",
    "https:\\\\",
    "",
]

addresses = st.builds(
    lambda scheme, pieces: scheme + "".join(pieces),
    st.sampled_from(SCHEMES),
    st.lists(st.sampled_from(HOSTS + MARKS) | st.text(max_size=3), min_size=1, max_size=6),
)


def _requests(url: str) -> str:
    prepared = requests.PreparedRequest()
    prepared.prepare_url(url.replace("ws", "http", 1) if url.lower().startswith("ws") else url, None)
    return urllib3.util.parse_url(prepared.url or "").host or ""  # what its adapter connects to


def _websockets(url: str) -> str:
    return websockets.uri.parse_uri("ws" + url[4:] if url.lower().startswith("http") else url).host


CLIENTS: list[Callable[[str], str | None]] = [
    _requests,
    _websockets,
    lambda url: urllib3.util.parse_url(url).host,
    lambda url: yarl.URL(url).host,
    lambda url: urlsplit(url).hostname,
    lambda url: picows.url.parse_url(url, check_scheme=False).host,
]


def _same(host: str) -> str:
    bare = host.strip("[]").lower()
    with suppress(ValueError):
        return str(ipaddress.ip_address(bare))
    return bare


def accepted(text: str) -> str:
    for websocket in (False, True):
        with suppress(ConfigError):
            return canonical_address(text, websocket=websocket)
    return ""


@given(addresses)
@example(r"https://api.alpaca.markets\@paper-api.alpaca.markets/..")
@example("https://api.alpaca.markets#@paper-api.alpaca.markets")
@example("https://api.alpaca.markets%2f@paper-api.alpaca.markets")
@examples(500)
def test_every_client_sees_the_host_that_was_checked_in_any_address_that_is_accepted(text: str) -> None:
    address = accepted(text)
    if not address:
        return
    authority = address.partition("://")[2].partition("/")[0]
    host = authority if authority.endswith("]") else authority.rpartition(":")[0] or authority
    for client in CLIENTS:
        assert _same(client(address) or "") == _same(client(text) or "") == _same(host)
    assert accepted(address) == address
    assert is_loopback(address) == bool(re.fullmatch(r"localhost|127(\.\d+){3}|\[::1\]", host))


@given(st.sampled_from(HOSTS[:3]), st.text(alphabet="aA1.:-/", max_size=8))
def test_what_follows_a_host_does_not_change_whose_it_is(host: str, more: str) -> None:
    address = accepted(f"https://{host}{more}")
    assert not address or all((client(address) or "").startswith(host) for client in CLIENTS)


@pytest.mark.parametrize(
    "text",
    [
        r"https://api.alpaca.markets\@paper-api.alpaca.markets/..",
        r"https://paper-api.alpaca.markets\.evil.example",
        "https://user:password@paper-api.alpaca.markets",
        "https://@paper-api.alpaca.markets",
        "https://paper-api.alpaca.markets.",
        "https://paper-api..alpaca.markets",
        "https://paper-api.alpaca.markets:",
        "https://paper-api.alpaca.markets:0",
        "https://paper-api.alpaca.markets:0443",
        "https://paper-api.alpaca.markets:65536",
        "https://paper-api.alpaca.markets:４４３",
        "https://paper-api.alpaca.markets/v2/../..",
        "https://paper-api.alpaca.markets/./v2",
        "https://paper-api.alpaca.markets//v2",
        "https://paper-api.alpaca.markets?v2",
        "https://paper-api.alpaca.markets#v2",
        "https://paper-api%2ealpaca.markets",
        "https://paper-api.alpaca.markets\n",
        "https://paper-api.alpaca.markets\r\nHost: evil.example",
        " https://paper-api.alpaca.markets",
        "https://paper-api.alpaca.markets\x00",
        "https://pаper-api.alpaca.markets",  # a Cyrillic letter
        "https://paper-api。alpaca.markets",
        "https://xn--pper-api-7fg.alpaca.markets",
        "https://2130706433",
        "https://0x7f000001",
        "https://0x7f.1",
        "https://0177.0.0.1",
        "https://127.1",
        "https://127.0.0.01",
        "https://[::ffff:127.0.0.1]",
        "https://[::ffff:7f00:1]",
        "https://[::1%25eth0]",
        "https://[::1",
        "https://::1",
        "ftp://paper-api.alpaca.markets",
        "file:///etc/passwd",
        "https:paper-api.alpaca.markets",
        "//paper-api.alpaca.markets",
        "paper-api.alpaca.markets",
        "https://",
        "",
    ],
)  # fmt: skip
def test_an_address_that_could_be_read_in_two_ways_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^[ -~…]* is not a plain endpoint address: write scheme, host,") as refused:
        canonical_address(text)
    assert "password" not in str(refused.value)


@given(
    st.sampled_from([*SCHEMES, "https ://", "https;//", " https://"]),
    st.sampled_from(["{key}:{secret}@", "{key}@", "{key}:{secret}%40", "{key}:{secret}＠", "{key}:?{secret}@", "@{secret}@", ""]),
    st.sampled_from(HOSTS[:5] + MARKS),
    st.sampled_from(["", "?key_id={key}&secret={secret}", "/v2?{secret}", "#{secret}", ":{secret}", "/:{secret}", "&secret={secret}"]),
)  # fmt: skip
def test_no_key_and_no_secret_of_a_mistyped_address_is_ever_shown(
    scheme: str, user: str, host: str, query: str
) -> None:
    text = f"{scheme}{user}{host}{query}".format(key="PKABCDEF", secret="s3cr3t/tr3s")
    for websocket in (False, True):
        with suppress(ConfigError):
            canonical_address(text, websocket=websocket)
            assert not user + query
            continue
        with pytest.raises(ConfigError) as refused:
            canonical_address(text, websocket=websocket)
        assert not re.search("PKABC|s3cr3t|tr3s", str(refused.value))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("https://paper-api.alpaca.markets", "https://paper-api.alpaca.markets"),
        ("HTTPS://Paper-API.alpaca.markets:443/v2/", "https://paper-api.alpaca.markets/v2"),
        ("https://proxy.example:8443/alpaca", "https://proxy.example:8443/alpaca"),
        ("http://127.0.0.1:80", "http://127.0.0.1"),
        ("http://localhost:8000/", "http://localhost:8000"),
        ("http://[0:0::1]:8000", "http://[::1]:8000"),
    ],
)
def test_an_address_has_one_spelling(text: str, address: str) -> None:
    assert canonical_address(text) == address


@pytest.mark.parametrize(
    "address", ["http://paper-api.alpaca.markets", "http://10.0.0.1", "http://127.0.0.1.evil.example"]
)
def test_keys_leave_this_machine_encrypted_or_not_at_all(address: str) -> None:
    with pytest.raises(ConfigError, match="unencrypted: write https"):
        canonical_address(address)
    with pytest.raises(ConfigError, match="unencrypted: write wss"):
        canonical_address(address.replace("http", "ws"), websocket=True)


@pytest.mark.parametrize(
    "addresses",
    [
        (r"https://api.alpaca.markets\@paper-api.alpaca.markets/..", "", "", ""),
        ("", "https://data.alpaca.markets/", "", ""),
        ("", "", "wss://user@stream.data.alpaca.markets/v2/sip", ""),
        ("", "", "", "https://paper-api.alpaca.markets/stream"),
    ],
)
def test_no_client_can_be_given_an_address_that_was_not_checked(addresses: tuple[str, str, str, str]) -> None:
    with pytest.raises(ConfigError):
        Endpoints(*addresses, loopback=False)


@pytest.mark.parametrize("url", ["wss://stream.data.alpaca.markets/v2/sip", "ws://192.0.2.1:1/x", "wss://10.0.0.8/x"])
def test_a_simulation_cannot_be_given_an_address_beyond_this_machine(url: str) -> None:
    for addresses in ((url.replace("ws", "http"), "", "", ""), ("", "", url, ""), ("", "", "", url)):
        with pytest.raises(ConfigError, match=r"outside this machine|unencrypted"):
            Endpoints(*addresses, loopback=True)


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
