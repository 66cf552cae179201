"""Which vendor a session's history and stream come from: the one place that names an adapter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
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
    from liualgotrader.data.feed_stream import FeedStream
    from liualgotrader.data.streaming_base import OnEvents, StreamHooks, StreamingAPI
    from liualgotrader.data.threaded_data import ThreadedData

CONNECTORS = ("alpaca", "polygon")  # those of sessions
HISTORIES = (*CONNECTORS, "finnhub")


def require_connector(settings: Settings) -> None:
    """Check that market data can come from the vendor that settings name.

    Raises:
        ConfigError: if it is not built yet, or its key is missing. Alpaca's keys are the account's, which others check.
    """
    if settings.data_connector == "finnhub":
        raise ConfigError(
            f"DATA_CONNECTOR is 'finnhub', which has history and no stream: for sessions use one of {', '.join(CONNECTORS)}"
        )
    if settings.data_connector not in CONNECTORS:
        raise ConfigError(
            f"DATA_CONNECTOR is '{settings.data_connector}', which is not built yet; use one of {', '.join(CONNECTORS)}, or"
            " --simulate"
        )
    if settings.data_connector == "polygon" and not settings.polygon_key:
        raise ConfigError("DATA_CONNECTOR is 'polygon', but POLYGON_API_KEY is not set: set it to Polygon's key")


def lacks_key(settings: Settings, connector: str = "") -> bool:
    """Return whether the key is missing without which the vendor answers nothing."""
    return any(not getattr(settings, name) for name in key_names(connector or settings.data_connector))


def key_names(connector: str) -> tuple[str, ...]:
    """Return the settings that hold the keys of a vendor."""
    return {"polygon": ("polygon_key",), "finnhub": ("finnhub_key",)}.get(connector, ("key_id", "secret_key"))


def open_data(plan: SessionPlan, secrets: Secrets, *, once: bool = False) -> ThreadedData:
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
) -> ThreadedData:
    """The same for code that has no session."""
    if connector == "polygon":
        from liualgotrader.data.polygon_data import PolygonData

        key = secrets.polygon_key.reveal()
        return PolygonData(endpoints, key, timeout_seconds=timeout_seconds, tries=tries)
    if connector == "finnhub":
        from liualgotrader.data.finnhub_data import FinnhubData

        return FinnhubData(endpoints, secrets.finnhub_key.reveal(), timeout_seconds=timeout_seconds, tries=tries)
    if connector != "alpaca":
        raise ConfigError(f"DATA_CONNECTOR={connector} is not built yet; use one of: {', '.join(HISTORIES)}")
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
) -> tuple[ThreadedData, str]:
    """Return the history of the vendor that settings name, and what the market-data store calls it as a source.

    Raises:
        ConfigError: if no adapter has that name.
    """
    name = connector or settings.data_connector
    keys = {"polygon_key": settings.polygon_key, "finnhub_key": settings.finnhub_key}
    secrets = Secrets(settings.key_id, settings.secret_key, **keys)
    chosen = replace(settings, data_connector=name)  # type: ignore[arg-type]  # `data_for` refuses what is none
    endpoints = chosen.endpoints
    data = data_for(name, endpoints, secrets, feed=settings.data_feed, timeout_seconds=timeout_seconds)
    source = f"{name} {settings.data_feed}" if name == "alpaca" else name
    return data, SIMULATED if is_loopback(endpoints.data_url) else source


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
    keys = (secrets.key_id.reveal(), secrets.secret_key.reveal())
    key = secrets.polygon_key.reveal() if plan.data_connector == "polygon" else keys
    return kind(plan.endpoints, key, on_events, clock, rng, hooks)


def streaming_factory(connector: str | None = None) -> Callable[..., FeedStream]:
    """Return the class of a vendor's stream, as the original did.

    Raises:
        ConfigError: if no adapter has that name.
    """
    if connector not in (None, *CONNECTORS):
        raise ConfigError(f"DATA_CONNECTOR={connector} has no stream yet; use one of: {', '.join(CONNECTORS)}")
    if connector == "polygon":
        from liualgotrader.data.polygon_stream import PolygonStream

        return PolygonStream
    from liualgotrader.data.alpaca_stream import AlpacaStream

    return AlpacaStream
