"""The lock on real money: until it is lifted, orders go to this machine or to the vendor's paper account only."""

from __future__ import annotations

from urllib.parse import urlsplit

from liualgotrader.common.config import PAPER_URL
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.http_guard import is_loopback
from liualgotrader.common.session_plan import Endpoints

PAPER_HOST = urlsplit(PAPER_URL).hostname


_ENCRYPTED = ("https", "wss")


def refuse_real_money(endpoints: Endpoints) -> None:
    """Return if every address that orders or order news pass through is loopback or the paper host, and encrypted there.

    Raises:
        ConfigError: naming the host that is neither, or the address that would get the keys in clear.
    """
    for url in (endpoints.trading_url, endpoints.updates_url):
        host = urlsplit(url).hostname or ""
        if host and not is_loopback(url) and urlsplit(url).scheme not in _ENCRYPTED:
            raise ConfigError(
                f"{url} would get the account's keys unencrypted: write https:// in APCA_API_BASE_URL (http is for this machine)."
            )
        if not is_loopback(url) and (host != PAPER_HOST or endpoints.loopback):
            raise ConfigError(
                f"orders would go to {host or url!r}: this version trades at {PAPER_HOST} or on this machine only, "
                "set APCA_API_BASE_URL accordingly."
            )
