"""What the contract suites of the simulated market share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from liualgotrader.testing import simulated_market  # noqa: F401 - a fixture
from tests.fakes.simulated_market import MarketThread, spec_of


@pytest.fixture
def market_of() -> Iterator[Callable[..., MarketThread]]:
    """Return a function that serves a market, with changes to its specification; all end with the test."""
    markets: list[MarketThread] = []

    def make(**changes: Any) -> MarketThread:
        markets.append(MarketThread(spec_of(**changes)))
        return markets[-1]

    yield make
    for market in markets:
        market.close()


@pytest.fixture
def market(market_of: Callable[..., MarketThread]) -> MarketThread:
    """Return a market that stands at 09:35."""
    return market_of()
