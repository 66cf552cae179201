"""One HTTP session set-up for the vendors' clients: every call ends, and none leaves the address that was checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from liualgotrader.common.endpoint_address import is_loopback, shown_address
from liualgotrader.common.errors import OutsideError

if TYPE_CHECKING:
    from requests import PreparedRequest, Response, Session


def guard(session: Session, address: str, *, timeout_seconds: float) -> None:
    """Keep every request of `session` at the canonical `address`, and give it a time-out (machine time).

    The vendors' clients set no time-out of their own: a server that never answers would hang them for ever.
    A redirect is no answer of the vendor's, whose address was checked and no other.
    """
    from requests import TooManyRedirects
    from requests.adapters import HTTPAdapter

    class GuardedAdapter(HTTPAdapter):
        def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
            url = str(request.url)
            if not url.startswith(f"{address}/"):
                raise OutsideError(f"{shown_address(url)} was requested, but this session calls {address} only")
            kwargs["timeout"] = kwargs.get("timeout") or timeout_seconds
            response = super().send(request, *args, **kwargs)
            if 300 <= response.status_code < 400:
                response.close()
                raise TooManyRedirects(
                    f"{address} answered with a redirect ({response.status_code}), which is not followed"
                )
            return response

    for scheme in ("http://", "https://"):
        session.mount(scheme, GuardedAdapter(pool_connections=2, pool_maxsize=4))
    session.trust_env = not is_loopback(address)  # a proxy of the environment would lead out of the machine
