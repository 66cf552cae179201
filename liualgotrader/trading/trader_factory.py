"""Which broker a session trades with: the one place that names an adapter."""

from __future__ import annotations

from liualgotrader.common.config import Secrets
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.ports import Broker
from liualgotrader.common.session_plan import Endpoints
from liualgotrader.common.tradeplan import Timings
from liualgotrader.trading.alpaca import AlpacaTrader
from liualgotrader.trading.base import Trader

BROKERS = ("alpaca",)


def trader_factory(*args: object, **kwargs: object) -> Trader:
    """Return what answers about the session that goes on or comes next, as the original did for code without one."""
    return AlpacaTrader()


def get_trader_by_name(name: str) -> Trader:
    """Return the same for a broker of that name.

    Raises:
        ConfigError: if no adapter has that name.
    """
    if name.lower() not in BROKERS:
        raise ConfigError(f"a broker {name} is not built yet; use one of: {', '.join(BROKERS)}")
    return trader_factory()


async def open_broker(
    name: str,
    endpoints: Endpoints,
    secrets: Secrets,
    timeout_seconds: float = Timings().broker_timeout_seconds,
    sub_account: str = "",
) -> Broker:
    """Return the broker of that name, not connected yet; with `sub_account` that account at it.

    Raises:
        ConfigError: if no adapter has that name.
    """
    if name != "alpaca":
        raise ConfigError(f"LIU_BROKER={name} is not built yet; use one of: {', '.join(BROKERS)}")
    if sub_account:
        from liualgotrader.trading.alpaca_sub_account import AlpacaSubAccount

        pair = secrets.broker_api_key.reveal(), secrets.broker_api_secret.reveal()
        return AlpacaSubAccount(endpoints, *pair, sub_account, timeout_seconds=timeout_seconds)
    from liualgotrader.trading.alpaca_broker import AlpacaBroker

    keys = secrets.key_id.reveal(), secrets.secret_key.reveal()
    return AlpacaBroker(endpoints, *keys, timeout_seconds=timeout_seconds)
