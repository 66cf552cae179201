"""Which vendor a session's history and stream come from: the one place that names an adapter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from liualgotrader.common.config import Secrets, Settings
from liualgotrader.common.endpoint_address import is_loopback
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.session_plan import Endpoints
from liualgotrader.common.types import DataConnectorType
from liualgotrader.data.data_base import SIMULATED, DataAPI

if TYPE_CHECKING:
    from random import Random

    from liualgotrader.common.clock import Clock
    from liualgotrader.common.session_plan import SessionPlan
    from liualgotrader.data.alpaca_data import AlpacaData
    from liualgotrader.data.alpaca_stream import AlpacaStream
    from liualgotrader.data.streaming_base import OnEvents, StreamHooks, StreamingAPI

CONNECTORS = ("alpaca",)


def open_data(plan: SessionPlan, secrets: Secrets, *, once: bool = False) -> AlpacaData:
    """Return the history that the plan names; nothing is called yet.

    With `once`, for callers that others wait for, each question is asked once.

    Raises:
        ConfigError: if no adapter has that name.
    """
    timings = plan.timings
    seconds, tries = (timings.strategy_fetch_seconds, 1) if once else (timings.broker_timeout_seconds, 3)
    return data_for(
        plan.data_connector, plan.endpoints, secrets, feed=plan.data_feed, timeout_seconds=seconds, tries=tries
    )


def data_for(
    connector: str, endpoints: Endpoints, secrets: Secrets, *, feed: str, timeout_seconds: float, tries: int = 3
) -> AlpacaData:
    """The same for code that has no session."""
    if connector != "alpaca":
        raise ConfigError(f"DATA_CONNECTOR={connector} is not built yet; use one of: {', '.join(CONNECTORS)}")
    from liualgotrader.data.alpaca_data import AlpacaData

    return AlpacaData(
        endpoints,
        secrets.key_id.reveal(),
        secrets.secret_key.reveal(),
        feed=feed,
        timeout_seconds=timeout_seconds,
        tries=tries,
        # A backtest takes splits alone out of its history, and a session on the simulated market sees the same.
        adjustment="split" if endpoints.loopback else "all",
    )


def configured_data(
    settings: Settings, connector: str = "", *, timeout_seconds: float = 10.0
) -> tuple[AlpacaData, str]:
    """Return the history of the vendor that settings name, and what the market-data store calls it as a source.

    Raises:
        ConfigError: if no adapter has that name.
    """
    name = connector or settings.data_connector
    secrets = Secrets(key_id=settings.key_id, secret_key=settings.secret_key)
    data = data_for(name, settings.endpoints, secrets, feed=settings.data_feed, timeout_seconds=timeout_seconds)
    return data, SIMULATED if is_loopback(settings.data_url) else f"{name} {settings.data_feed}"


def data_loader_factory(connector: DataConnectorType | str | None = None) -> DataAPI:
    """Return the history of a vendor, else of the one that DATA_CONNECTOR names, as the original did.

    Raises:
        ConfigError: if no adapter has that name.
    """
    name = connector.name if isinstance(connector, DataConnectorType) else connector
    return configured_data(Settings.resolve(), name or "")[0]


def open_stream(
    plan: SessionPlan, secrets: Secrets, on_events: OnEvents, clock: Clock, rng: Random, hooks: StreamHooks
) -> StreamingAPI:
    """Return the stream that the plan names; it connects when it runs.

    Raises:
        ConfigError: if no adapter has that name.
    """
    kind = streaming_factory(plan.data_connector)
    pair = (secrets.key_id.reveal(), secrets.secret_key.reveal())
    return kind(plan.endpoints, pair, on_events, clock, rng, hooks)


def streaming_factory(connector: str | None = None) -> type[AlpacaStream]:
    """Return the class of a vendor's stream, as the original did.

    Raises:
        ConfigError: if no adapter has that name.
    """
    if connector not in (None, *CONNECTORS):
        raise ConfigError(f"DATA_CONNECTOR={connector} has no stream yet; use one of: {', '.join(CONNECTORS)}")
    from liualgotrader.data.alpaca_stream import AlpacaStream

    return AlpacaStream
