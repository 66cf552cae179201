"""Which broker a session trades with: the one place that names an adapter."""

from __future__ import annotations

from liualgotrader.common.config import Secrets
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.ports import Broker
from liualgotrader.common.session_plan import SessionPlan

BROKERS = ("alpaca",)


async def open_broker(plan: SessionPlan, secrets: Secrets) -> Broker:
    """Return the broker that the plan names, not connected yet.

    Raises:
        ConfigError: if no adapter has that name.
    """
    if plan.broker != "alpaca":
        raise ConfigError(f"LIU_BROKER={plan.broker} is not built yet; use one of: {', '.join(BROKERS)}")
    from liualgotrader.trading.alpaca_broker import AlpacaBroker

    return AlpacaBroker(
        plan.endpoints,
        secrets.key_id.reveal(),
        secrets.secret_key.reveal(),
        timeout_seconds=plan.timings.broker_timeout_seconds,
    )
