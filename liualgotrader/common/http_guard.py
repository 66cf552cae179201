"""One HTTP session set-up for the vendors' clients: every call ends, and a simulation never leaves the machine."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from liualgotrader.common.errors import OutsideError

if TYPE_CHECKING:
    from requests import PreparedRequest, Response, Session


def is_loopback(url: str) -> bool:
    """Say whether the host of `url` is this machine's loopback, by address or as `localhost`."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def refuse_beyond_loopback(url: str) -> None:
    """Raise unless `url` stays on this machine.

    Raises:
        OutsideError: naming the host that was about to be called.
    """
    if not is_loopback(url):
        raise OutsideError(f"a simulation calls nobody outside this machine, yet {urlsplit(url).hostname} was asked")


def guard(session: Session, *, timeout_seconds: float, loopback: bool) -> None:
    """Give every request of `session` a time-out (machine time) and, if `loopback`, refuse other hosts.

    The vendors' clients set no time-out of their own: a server that never answers would hang them for ever.
    """
    from requests.adapters import HTTPAdapter

    class GuardedAdapter(HTTPAdapter):
        def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
            if loopback:
                refuse_beyond_loopback(str(request.url))
            kwargs["timeout"] = kwargs.get("timeout") or timeout_seconds
            return super().send(request, *args, **kwargs)

    for scheme in ("http://", "https://"):
        session.mount(scheme, GuardedAdapter(pool_connections=2, pool_maxsize=4))
    session.trust_env = not loopback  # a proxy of the environment would lead out of the machine
