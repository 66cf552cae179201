"""Addresses of endpoints: the one parser that decides what they mean."""

from __future__ import annotations

import ipaddress
import re

from liualgotrader.common.errors import ConfigError

_ADDRESS = re.compile(
    r"(?P<scheme>https?|wss?)://(?P<host>[a-z0-9.-]{1,253}|\[[0-9a-f:]{2,39}\])"
    r"(?::(?P<port>[1-9][0-9]{0,4}))?(?P<path>(?:/[a-z0-9._~-]+)*)/?",
    re.ASCII | re.IGNORECASE,
)
_LABEL = r"(?!..--)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"  # `??--` marks an encoded name
_NAME = re.compile(rf"(?:{_LABEL}\.)*(?=[a-z]){_LABEL}")  # some clients take `0x7f.1` for a number
_DEFAULT_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}
_AFTER_USER = re.compile("[@＠﹫]|%40")
_QUERY = re.compile("[?？#;&=]|%3[BbDdFf]|%2[36]")
_NO_PORT = re.compile(r":(?!//|[0-9]{0,5}(?:/|$))")
_ENCRYPTED = ("https", "wss")


def canonical_address(text: str, *, websocket: bool = False) -> str:
    """Return the address as `scheme://host[:port][/path]`, in the one spelling that every client reads alike.

    Everything that clients read differently is refused instead of interpreted: user names, backslashes, control
    and non-ASCII characters, escapes, encoded names, trailing dots, numbers that stand for an IP address, dot
    segments, queries. Unencrypted is for this machine only.

    Raises:
        ConfigError: saying how to write it.
    """
    scheme, host, path = _parts(text)
    kind, example = ("websocket", "wss://") if websocket else ("REST", "https://")
    if scheme.startswith("ws") != websocket:
        raise ConfigError(f"{shown_address(text)} is not the address of a {kind} endpoint: write {example} in front")
    if scheme not in _ENCRYPTED and not _is_this_machine(host):
        raise ConfigError(
            f"{scheme}://{host}{path} would get the account's keys unencrypted: write {example} (http and ws are for this machine)"
        )
    return f"{scheme}://{host}{path}"


def is_loopback(address: str) -> bool:
    """Say whether `address` is one of this machine's loopback, by number or as `localhost`."""
    try:
        return _is_this_machine(_parts(address)[1])
    except ConfigError:
        return False


def shown_address(text: str) -> str:
    """Return what may be shown of an address that cannot be meant: printable, short, and nothing that could be a key.

    A key may stand before an `@`, after a `?` and, in an address with a slip in it, after a colon that begins no port.
    """
    place = _AFTER_USER.split(text)[-1]
    before = text[: len(text) - len(place)]
    plain = _QUERY.split(place)[0]
    if _QUERY.search(before) or _NO_PORT.search(plain):
        plain = ""
    shown = ascii(f"{'…' if before else ''}{plain}{'…' if plain != place else ''}").replace(r"\u2026", "…")
    return shown if len(shown) < 120 else f"{shown[:100]}…'"


def _parts(text: str) -> tuple[str, str, str]:
    """Return scheme, host with port, and path, each in its one spelling."""
    wrong = ConfigError(
        f"{shown_address(text)} is not a plain endpoint address:"
        " write scheme, host, and port or path if need be, like https://paper-api.alpaca.markets"
    )
    found = _ADDRESS.fullmatch(text)
    if not found or int(found["port"] or 0) > 65535 or {".", ".."} & set(found["path"].split("/")):
        raise wrong
    scheme, host, port = found["scheme"].lower(), found["host"].lower(), int(found["port"] or 0)
    if not _NAME.fullmatch(host):
        try:
            number = ipaddress.ip_address(host.strip("[]"))
        except ValueError:
            raise wrong from None
        plain = f"[{number}]" if host.startswith("[") else str(number)
        if getattr(number, "ipv4_mapped", None) is not None or (number.version == 4 and plain != host):
            raise wrong  # clients could take it for another
        host = plain
    return scheme, host + (f":{port}" if port and port != _DEFAULT_PORTS[scheme] else ""), found["path"]


def _is_this_machine(host: str) -> bool:
    name = re.sub(r":\d+$", "", host)
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return name == "localhost"
