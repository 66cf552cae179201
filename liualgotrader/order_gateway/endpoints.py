"""The lock on real money: until it is lifted, orders go to this machine or to the vendor's paper account only."""

from __future__ import annotations

from liualgotrader.common.endpoint_address import is_loopback
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.session_plan import PAPER_URL, Endpoints, updates_address


def refuse_real_money(endpoints: Endpoints) -> None:
    """Return if orders go to this machine or to exactly the paper address, and their news come from there.

    Raises:
        ConfigError: naming the address that is neither.
    """
    trading = endpoints.trading_url
    if trading != PAPER_URL and not is_loopback(trading):
        raise ConfigError(
            f"orders would go to {trading!r}: this version trades at {PAPER_URL} or on this machine only, "
            "set APCA_API_BASE_URL accordingly."
        )
    if endpoints.updates_url != updates_address(trading):
        raise ConfigError(f"orders would go to {trading}, but their news would come from {endpoints.updates_url!r}.")
