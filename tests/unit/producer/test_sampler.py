"""What a home is told of a symbol between its bars."""

from __future__ import annotations

from liualgotrader.common.events import Counts, FeedEvent, Quote, TradeTick
from liualgotrader.producer.sampler import Sampler

ROUND, ODD = TradeTick("A", 1, 10.0, 500.0), TradeTick("A", 2, 12.34, 3.0, int(Counts.VOLUME))


def test_a_print_that_makes_no_price_displaces_none_that_does() -> None:
    got: list[FeedEvent] = []
    sampler = Sampler(got.append)
    sampler.take(ROUND)
    sampler.take(ODD)
    sampler.sample()
    assert got == [ROUND, ODD]


def test_a_sample_keeps_the_order_of_arrival() -> None:
    got: list[FeedEvent] = []
    sampler = Sampler(got.append)
    quote, newer = Quote("A", 3, 9.9, 1.0, 10.1, 1.0), TradeTick("A", 4, 10.1, 100.0)
    for event in (ROUND, ODD, quote, newer):
        sampler.take(event)
    sampler.sample()
    assert got == [ODD, quote, newer]
