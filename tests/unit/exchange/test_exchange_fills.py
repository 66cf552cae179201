"""Fills worked by hand; each case is a play that a trader can check."""

from __future__ import annotations

from decimal import Decimal

import pytest

from liualgotrader.common.tradeplan import FillProfile
from liualgotrader.exchange.rules import Rules
from tests.fakes.exchange import Floor

STRICT = """
== a market order takes displayed size at the far side and waits with the rest for that side's next quote
quote 9.99 x 300 / 10.01 x 200
buy 250 market as a
=> a 200 @ 10.01
status a partially_filled
quote 9.98 x 300 / 10.01 x 200      # only the bid changed: what we took of the ask stays taken
=> nothing
quote 9.98 x 300 / 10.02 x 200
=> a 50 @ 10.02
status a filled
quote 9.98 x 300 / 10.02 x 200      # still the same ask: 150 are left of it
buy 200 market as b
=> b 150 @ 10.02
== a marketable limit is filled at the quote, not at its limit
quote 9.99 x 300 / 10.01 x 200
buy 100 limit 10.50 as a
=> a 100 @ 10.01
sell 100 limit 9.00 as b
=> b 100 @ 9.99
== a marketable limit rests with what the displayed size leaves over
quote 9.99 x 300 / 10.01 x 60
buy 100 limit 10.02 as a
=> a 60 @ 10.01
quote 9.99 x 300 / 10.03 x 500
=> nothing
quote 9.99 x 300 / 10.02 x 500
=> a 40 @ 10.02
== a resting limit is filled when the opposite quote comes to it
quote 9.99 x 300 / 10.01 x 200
buy 100 limit 9.95 as a
=> nothing
quote 9.93 x 300 / 9.94 x 80
=> a 80 @ 9.94
quote 9.93 x 300 / 9.95 x 80
=> a 20 @ 9.95
== a touched limit is not filled: the shares displayed before it print first
quote 10.00 x 300 / 10.02 x 200
buy 100 limit 10.00 as a
trade 10.00 x 200
=> nothing
trade 10.00 x 150                   # 100 of these are still before us
=> a 50 @ 10.00
trade 10.00 x 500
=> a 50 @ 10.00
== a limit that improves the bid is first in its queue
quote 10.00 x 300 / 10.05 x 200
buy 100 limit 10.02 as a
trade 10.02 x 40
=> a 40 @ 10.02
== a limit below the bid has no place in a queue until the bid comes to it
quote 10.00 x 300 / 10.02 x 200
buy 100 limit 9.98 as a
trade 9.98 x 1000
=> nothing
quote 9.98 x 120 / 10.00 x 200
trade 9.98 x 120
=> nothing
trade 9.98 x 30
=> a 30 @ 9.98
== shares that leave the queue let us move up
quote 10.00 x 300 / 10.02 x 200
buy 100 limit 10.00 as a
quote 10.00 x 50 / 10.02 x 200
trade 10.00 x 80
=> a 30 @ 10.00
== a print through the limit fills it at the limit, as many shares as the print had
quote 9.99 x 300 / 10.02 x 200
buy 100 limit 10.00 as a
trade 9.99 x 70
=> a 70 @ 10.00
sell 30 limit 10.03 as b
trade 10.04 x 500
=> b 30 @ 10.03
== a print far outside the quote is bad and fills nothing
quote 9.99 x 300 / 10.01 x 200
buy 100 limit 9.90 as a
trade 9.00 x 1000
=> nothing
== a sell stop is set off by a print at the stop and sold at the bid, not at the stop
quote 9.99 x 300 / 10.01 x 200
trade 10.00 x 100
buy 100 market as a
=> a 100 @ 10.01
sell 100 stop 9.80 as b
quote 9.79 x 300 / 9.81 x 200
=> nothing
trade 9.80 x 100
=> b 100 @ 9.79
== a stop that the price gaps through is sold where the market is
quote 9.99 x 300 / 10.01 x 200
buy 100 market as a
sell 100 stop 9.80 as b
quote 8.00 x 300 / 8.02 x 200
trade 8.01 x 100
=> a 100 @ 10.01, b 100 @ 8.00
== a print outside the quote does not set off a stop
quote 9.99 x 300 / 10.01 x 200
buy 100 market as a
sell 100 stop 9.98 as b
trade 9.98 x 100
=> a 100 @ 10.01
status b new
== a buy stop becomes a limit 4 % above the stop, so a larger gap is not bought
quote 9.99 x 300 / 10.01 x 200
trade 10.00 x 100
buy 100 stop 10.50 as a
quote 10.94 x 300 / 10.95 x 200
trade 10.94 x 100
=> nothing
quote 10.90 x 300 / 10.92 x 200     # 10.50 x 1.04 = 10.92
=> a 100 @ 10.92
== a stop limit waits at its limit after it was set off
quote 9.99 x 300 / 10.01 x 200
buy 100 market as a
sell 100 stop_limit 9.80 9.78 as b
quote 9.70 x 300 / 9.81 x 200
trade 9.80 x 100
=> a 100 @ 10.01
quote 9.78 x 300 / 9.82 x 200
=> b 100 @ 9.78
== a trailing stop follows the best print and never loosens
quote 9.99 x 300 / 10.01 x 200
trade 10.00 x 100
buy 100 market as a
sell 100 trailing_stop 0.50 as b    # stop 9.50
quote 10.99 x 300 / 11.01 x 200
trade 11.00 x 100                   # stop 10.50
quote 10.59 x 300 / 10.61 x 200
trade 10.60 x 100
=> a 100 @ 10.01
quote 10.49 x 300 / 10.51 x 200
trade 10.50 x 100
=> b 100 @ 10.49
== nothing trades in a halt, and after it nothing at a quote from before its end
quote 9.99 x 300 / 10.01 x 200
buy 100 limit 13.00 as z
=> z 100 @ 10.01
buy 100 limit 9.95 as a
halt
quote 9.90 x 300 / 9.91 x 200
trade 9.91 x 100
buy 100 limit 13.00 as b
=> nothing
resume
buy 100 limit 13.00 as c
wait 1
=> nothing
quote 12.97 x 300 / 12.98 x 150
=> b 100 @ 12.98, c 50 @ 12.98
quote 9.91 x 300 / 9.92 x 200
=> c 50 @ 9.92, a 100 @ 9.92
== without quotes the first print after a halt is traded with
trade 10.00 x 300
halt
buy 100 limit 13.00 as a
resume
wait 1
=> nothing
trade 12.00 x 300
=> a 100 @ 12.0050
== crossed, locked and one-sided quotes fill nothing
quote 10.05 x 300 / 10.01 x 200
buy 100 market as a
=> nothing
quote 10.01 x 300 / 10.01 x 200
=> nothing
quote 0 x 0 / 10.01 x 200
=> nothing
quote 10.00 x 300 / 10.01 x 200
=> a 100 @ 10.01
== a stale quote fills nothing
quote 10.00 x 300 / 10.01 x 200
wait 301
buy 100 market as a
=> nothing
quote 10.00 x 300 / 10.01 x 200
=> a 100 @ 10.01
== immediate-or-cancel takes what there is
quote 9.99 x 300 / 10.01 x 60
buy 100 market ioc as a
=> a 60 @ 10.01
status a canceled
== fill-or-kill takes all or nothing
quote 9.99 x 300 / 10.01 x 60
buy 100 limit 10.05 fok as a
=> nothing
status a canceled
buy 60 limit 10.05 fok as b
=> b 60 @ 10.01
status b filled
"""

TOUCH = """
== a market order is filled whole at the ask, whatever its size
quote 99.00 x 1 / 99.50 x 1
buy 900 market as a
=> a 900 @ 99.50
== a limit buy is filled at the current ask once that is at or below the limit
quote 99.00 x 1 / 100.50 x 1
buy 100 limit 100.00 as a
=> nothing
quote 99.00 x 1 / 99.50 x 1
=> a 100 @ 99.50
== a stop is set off by the opposite side and filled at its own price
quote 99.00 x 1 / 99.50 x 1
buy 10 market as a
sell 10 stop 98.00 as b
quote 97.00 x 1 / 97.50 x 1
=> a 10 @ 99.50, b 10 @ 98.00
"""

IMPACT = """
== what exceeds the displayed size walks ten basis points for each further displayed size
quote 99.90 x 100 / 100.00 x 100
buy 300 market as a                 # 100 displayed, 200 at the third level: 100.00 x 1.002
=> a 100 @ 100.00, a 200 @ 100.20
quote 99.90 x 100 / 100.00 x 150
sell 300 market as b
=> b 100 @ 99.90, b 200 @ 99.70
== a limit does not walk beyond its price
quote 99.90 x 100 / 100.00 x 100
buy 300 limit 100.10 as a
=> a 100 @ 100.00
"""


def plays(text: str) -> list[tuple[str, str]]:
    return [(name.strip(), play) for name, _, play in (p.partition("\n") for p in text.split("==")[1:])]


def cases(text: str) -> pytest.MarkDecorator:
    found = plays(text)
    return pytest.mark.parametrize("play", [p for _, p in found], ids=[n for n, _ in found])


@cases(STRICT)
def test_strict(play: str) -> None:
    Floor().play(play)


@cases(TOUCH)
def test_touch(play: str) -> None:
    Floor(Rules(latency_ns=0, profile=FillProfile.TOUCH)).play(play)


@cases(TOUCH)
def test_siis_fills_by_the_same_rules(play: str) -> None:
    Floor(Rules(latency_ns=0, profile=FillProfile.SIIS)).play(play)


@cases(IMPACT)
def test_impact(play: str) -> None:
    Floor(Rules(latency_ns=0, impact_bps=Decimal(10))).play(play)


def test_a_symbol_without_quotes_is_quoted_at_its_last_trade_and_says_so() -> None:
    floor = Floor()
    floor.trade(10.00, 300)
    floor.send("buy", "100", client_order_id="a")
    assert floor.fills() == ["a 100 @ 10.0050"]
    executions = [u.execution for u in floor.updates if u.execution]
    assert executions[0].synthetic


def test_without_matching_on_arrival_only_later_events_fill() -> None:
    floor = Floor(Rules(latency_ns=10_000_000, match_on_arrival=False))
    floor.quote(9.99, 100, 10.01, 100)
    floor.send("buy", "100", client_order_id="a")
    floor.wait()
    assert floor.fills() == []
    floor.quote(9.99, 100, 10.02, 100)
    assert floor.fills() == ["a 100 @ 10.02"]


def test_an_order_meets_the_market_as_it_is_when_it_arrives() -> None:
    floor = Floor(Rules(latency_ns=1_500_000_000))
    floor.quote(9.99, 100, 10.01, 100)
    floor.send("buy", "100", client_order_id="a")
    floor.quote(9.99, 100, 10.05, 100)
    floor.wait()
    assert floor.fills() == ["a 100 @ 10.05"]


def test_the_paper_profile_ignores_size_and_fills_a_tenth_in_parts() -> None:
    floor = Floor(Rules(latency_ns=0, profile=FillProfile.PAPER), cash="100000000")
    floor.quote(9.99, 1, 10.01, 1)
    for i in range(400):
        floor.send("buy", "1000", client_order_id=f"n{i:03}")
    floor.trade(10.00)
    partial = {u.order.client_order_id for u in floor.updates if u.event == "partial_fill"}
    assert 20 <= len(partial) <= 60
    assert {f.split("@")[1].strip() for f in floor.fills()} == {"10.01"}


def test_price_then_time_decides_who_gets_a_scarce_offer() -> None:
    floor = Floor()
    floor.exchange.open_account("other", Decimal(100000))
    floor.quote(9.99, 100, 10.10, 100)
    floor.send("buy", "100", "limit", limit_price="10.00", client_order_id="early")
    floor.send("buy", "100", "limit", limit_price="10.00", client_order_id="a-late", account="other")
    floor.send("buy", "100", "limit", limit_price="10.01", client_order_id="best", account="other")
    floor.quote(9.90, 100, 9.99, 250)
    assert floor.fills() == ["best 100 @ 9.99", "early 100 @ 9.99", "a-late 50 @ 9.99"]


def test_a_print_fills_an_order_whose_limit_lies_beyond_the_quote_no_worse_than_the_quote() -> None:
    floor = Floor()
    floor.quote(9.99, 100, 10.01, 100)
    floor.send("buy", "300", "limit", limit_price="10.05")
    floor.trade(10.00, 50)
    floor.trade(10.03, 40)
    fills = [(u.execution.price, u.execution.quantity) for u in floor.updates if u.execution is not None]
    assert fills == [(Decimal("10.01"), 100), (Decimal("10.01"), 50), (Decimal("10.03"), 40)]
