"""Which broker a session trades with: the one place that names an adapter."""

from __future__ import annotations

from liualgotrader.common.config import Secrets
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.ports import Broker
from liualgotrader.common.session_plan import Endpoints
from liualgotrader.common.tradeplan import Timings

BROKERS = ("alpaca",)


async def open_broker(
    name: str, endpoints: Endpoints, secrets: Secrets, timeout_seconds: float = Timings().broker_timeout_seconds
) -> Broker:
    """Return the broker of that name, not connected yet.

    Raises:
        ConfigError: if no adapter has that name.
    """
    if name != "alpaca":
        raise ConfigError(f"LIU_BROKER={name} is not built yet; use one of: {', '.join(BROKERS)}")
    from liualgotrader.trading.alpaca_broker import AlpacaBroker

    keys = secrets.key_id.reveal(), secrets.secret_key.reveal()
    return AlpacaBroker(endpoints, *keys, timeout_seconds=timeout_seconds)
