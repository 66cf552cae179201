"""What the contract suites of the simulated market share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from liualgotrader.tapes.files_tape import FilesTape
from liualgotrader.testing import simulated_market  # noqa: F401 - a fixture
from tests.fakes.simulated_market import MarketThread, spec_of
from tests.fakes.tapes import DAY


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


@pytest.fixture(scope="module")
def split_market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MarketThread]:
    """Return a market whose ABC was split 3:1 on 2024-03-06 and paid 0.99 dollars on 2024-03-07 after a close of 33."""
    folder = tmp_path_factory.mktemp("splits")
    tables = {
        "trades": ["symbol,at,price,size", "ABC,2024-03-08T09:30:00-05:00,33.50,300", "ABC,2024-03-08T09:31:00-05:00,34,200"],
        "bars": [
            "symbol,opened_at,open,high,low,close,volume",
            "ABC,2024-03-05T09:30:00-05:00,99,99.3,98.7,99,1000",
            "ABC,2024-03-07T09:30:00-05:00,32,32.5,31.5,32,3000",
        ],
        "daily": [
            "symbol,day,open,high,low,close,volume",
            "ABC,2024-03-05,97,100,96,99,10000",
            "ABC,2024-03-06,32,34,31,33,30000",
            "ABC,2024-03-07,32,33,31,32,30000",
        ],
        "splits": ["symbol,day,ratio", "ABC,2024-03-06,3", "ABC,2024-03-11,0.5"],
        "dividends": ["symbol,day,amount", "ABC,2024-03-07,0.99"],
        "assets": ["symbol,name,exchange", "ABC,Alphabet Soup,NASDAQ"],
    }  # fmt: skip
    for name, lines in tables.items():
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    market = MarketThread(spec_of(), FilesTape(folder, DAY))
    yield market
    market.close()
