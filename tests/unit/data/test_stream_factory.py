"""Which stream a session gets."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from liualgotrader.common.clock import WallClock
from liualgotrader.common.config import Secrets
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.types import WSEventType
from liualgotrader.data.alpaca_stream import AlpacaStream
from liualgotrader.data.data_factory import open_stream, streaming_factory
from liualgotrader.data.polygon_stream import PolygonStream
from liualgotrader.data.streaming_base import StreamHooks, event_types
from tests.fakes.session import make_plan


def test_the_plans_connector_decides(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    stream = open_stream(plan, Secrets(), lambda events, frames: None, WallClock(), Random(1), StreamHooks())
    assert isinstance(stream, AlpacaStream)
    assert streaming_factory() is streaming_factory("alpaca") is AlpacaStream
    plan = make_plan(tmp_path, data_connector="polygon")
    stream = open_stream(plan, Secrets(), lambda events, frames: None, WallClock(), Random(1), StreamHooks())
    assert isinstance(stream, PolygonStream)


def test_a_vendor_without_a_stream_is_one_sentence(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, data_connector="finnhub")
    with pytest.raises(ConfigError, match="DATA_CONNECTOR=finnhub has no stream"):
        open_stream(plan, Secrets(), lambda events, frames: None, WallClock(), Random(1), StreamHooks())
    with pytest.raises(ConfigError, match="DATA_CONNECTOR=finnhub has no stream"):
        streaming_factory("finnhub")


def test_the_tradeplans_words_mean_the_originals_event_types() -> None:
    assert event_types(["second", "minute", "trade", "quote"]) == [
        WSEventType.SEC_AGG, WSEventType.MIN_AGG, WSEventType.TRADE, WSEventType.QUOTE,
    ]  # fmt: skip
