"""Fills on bars, worked by hand; a bar is `open high low close [x volume]`, a minute long."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liualgotrader.common.tradeplan import FillProfile
from liualgotrader.exchange.rules import Rules
from tests.examples import examples
from tests.fakes.exchange import CLOSE, OPEN, SECOND, Floor

STRICT = """
== a market order trades at the open of the first bar after it
buy 100 market as a
=> nothing
bar 10.00 10.20 9.90 10.10
=> a 100 @ 10.00
== a price of six decimals is kept
buy 100 market as a
bar 10.015625 10.20 9.90 10.10
=> a 100 @ 10.015625
== an open beyond the limit is traded at, not the limit
buy 100 limit 10.00 as a
bar 9.80 9.95 9.70 9.90
=> a 100 @ 9.80
== an open beyond a stop elects it and is what it gets
buy 100 market as a
bar 10.00 10.10 9.90 10.00
=> a 100 @ 10.00
sell 100 stop 9.50 as b
bar 9.20 9.40 9.10 9.30
=> b 100 @ 9.20
== a stop inside the bar trades at its own price
buy 100 market as a
bar 10.00 10.10 9.90 10.00
=> a 100 @ 10.00
sell 100 stop 9.50 as b
bar 9.80 9.90 9.40 9.70
=> b 100 @ 9.50
== a limit that is only touched waits; a bar that goes through it fills it
buy 100 limit 9.90 as a
bar 10.00 10.10 9.90 10.00
=> nothing
bar 10.00 10.10 9.89 10.00
=> a 100 @ 9.90
== a tenth of a bar's volume is all there is; the rest waits for the next open
buy 250 market as a
bar 10.00 10.20 9.90 10.10 x 1000
=> a 100 @ 10.00
bar 10.30 10.40 10.20 10.30 x 1000
=> a 100 @ 10.30
bar 10.50 10.60 10.40 10.50 x 1009
=> a 50 @ 10.50
== a bar without volume fills nothing
buy 100 market as a
bar 10.00 10.00 10.00 10.00 x 0
=> nothing
== immediate or cancel takes what the next open has
buy 250 market ioc as a
bar 10.00 10.20 9.90 10.10 x 1000
=> a 100 @ 10.00
status a canceled
== fill or kill takes nothing of too small a bar
buy 250 market fok as a
bar 10.00 10.20 9.90 10.10 x 1000
=> nothing
status a canceled
== a stop limit whose limit the stop's price does not reach waits
buy 100 stop_limit 10.50 10.40 as a
bar 10.00 10.60 9.90 10.55
=> nothing
bar 10.55 10.60 10.45 10.50
=> nothing
bar 10.50 10.50 10.30 10.35
=> a 100 @ 10.40
== a trailing stop follows the bar's best price and is hit by the close that falls back
buy 100 market as a
bar 10.00 10.00 10.00 10.00
=> a 100 @ 10.00
sell 100 trailing_stop 0.50 as b
bar 10.00 11.00 9.80 10.40
=> b 100 @ 10.50
== a trailing stop is not hit by a low that may have come before the high
buy 100 market as a
bar 10.00 10.00 10.00 10.00
=> a 100 @ 10.00
sell 100 trailing_stop 0.50 as b
bar 10.00 11.00 9.80 10.80
=> nothing
bar 10.80 10.90 10.20 10.30
=> b 100 @ 10.50
"""

TOUCH = """
== a limit that is touched fills, whatever the volume
buy 500 limit 9.90 as a
bar 10.00 10.10 9.90 10.00 x 100
=> a 500 @ 9.90
"""


def floor_of_bars(profile: FillProfile = FillProfile.STRICT) -> Floor:
    """An exchange that plays bars and has seen a price of 10."""
    rules = Rules(latency_ns=0, match_on_arrival=False, synthetic_quotes=False, profile=profile)
    return Floor(rules, closes={"X": 10.0}.get)


def cases(plays: str) -> pytest.MarkDecorator:
    found = [part.strip().partition("\n") for part in plays.split("== ")[1:]]
    return pytest.mark.parametrize("play", [text for _, _, text in found], ids=[title for title, _, _ in found])


@cases(STRICT)
def test_strict_on_bars(play: str) -> None:
    floor_of_bars().play(play)


@cases(TOUCH)
def test_touch_on_bars(play: str) -> None:
    floor_of_bars(FillProfile.TOUCH).play(play)


def test_orders_without_a_limit_slip_and_limits_do_not() -> None:
    rules = Rules(latency_ns=0, match_on_arrival=False, synthetic_quotes=False, slippage_bps=Decimal(5))
    floor = Floor(rules, closes={"X": 10.0}.get)
    floor.play(
        """
        buy 100 market as a
        buy 100 limit 9.90 as b
        bar 10.00 10.20 9.80 10.10
        => a 100 @ 10.0050, b 100 @ 9.90
        sell 100 stop 9.50 as c
        bar 10.00 10.10 9.40 9.60
        => c 100 @ 9.495250
        sell 100 market as d
        bar 10.00 10.20 9.80 10.10
        => d 100 @ 9.9950
        """
    )


BRACKET = {"order_class": "bracket", "take_profit_limit": "10.50", "stop_loss_stop": "9.50"}


@pytest.mark.parametrize(
    ("bars", "fills"),
    [
        ([(10.0, 10.6, 9.4, 10.0)], ["10.00", "9.50"]),  # both inside the entry's bar: stopped out
        ([(10.0, 10.6, 9.8, 10.0)], ["10.00", "10.50"]),  # entered at the open, so the high comes after
        ([(10.0, 10.1, 9.9, 10.0), (10.0, 10.6, 9.4, 10.0)], ["10.00", "9.50"]),
        ([(10.0, 10.1, 9.9, 10.0), (10.7, 10.8, 9.4, 10.0)], ["10.00", "10.70"]),  # a gap beyond the target
        ([(10.0, 10.1, 9.9, 10.0), (9.3, 10.8, 9.2, 10.0)], ["10.00", "9.30"]),  # a gap beyond the stop
    ],
)
def test_of_stop_and_target_in_one_bar_the_stop_counts(
    bars: list[tuple[float, float, float, float]], fills: list[str]
) -> None:
    floor = floor_of_bars()
    floor.send("buy", "100", client_order_id="a", **BRACKET)
    for bar in bars:
        floor.bar(*bar)
    assert [fill.split("@ ")[1] for fill in floor.fills()] == fills
    assert not [o for o in floor.exchange.orders("me", status="open")]


def test_an_entry_inside_a_bar_may_be_stopped_out_by_it_but_reaches_no_target_in_it() -> None:
    floor = floor_of_bars()
    floor.send("buy", "100", "limit", limit_price="9.90", client_order_id="a", **BRACKET)
    floor.bar(10.0, 10.6, 9.8, 10.0)
    assert floor.fills() == ["a 100 @ 9.90"]  # the high may have come before the entry
    floor.bar(10.0, 10.6, 9.8, 10.0)
    assert [fill.split("@ ")[1] for fill in floor.fills()] == ["9.90", "10.50"]
    floor = floor_of_bars()
    floor.send("buy", "100", "limit", limit_price="9.90", client_order_id="a", **BRACKET)
    floor.bar(10.0, 10.1, 9.4, 10.0)
    assert [fill.split("@ ")[1] for fill in floor.fills()] == ["9.90", "9.50"]


def test_an_order_for_the_closing_auction_trades_at_the_last_close() -> None:
    floor = floor_of_bars()
    floor.send("buy", "100", client_order_id="cls", time_in_force="cls")
    floor.bar(10.0, 10.1, 9.9, 10.0)
    assert floor.fills() == []
    floor.seconds = (CLOSE - OPEN) / SECOND - 60
    floor.bar(10.2, 10.4, 10.1, 10.3)
    assert floor.fills() == ["cls 100 @ 10.30"]


prices = st.integers(900, 1100).map(lambda cents: cents / 100)


@st.composite
def walks(draw: st.DrawFn) -> list[tuple[float, float, float, float, int]]:
    found = []
    for _ in range(draw(st.integers(1, 8))):
        opening, close = draw(prices), draw(prices)
        high = max(opening, close) + draw(st.integers(0, 30)) / 100
        low = min(opening, close) - draw(st.integers(0, 30)) / 100
        found.append((opening, round(high, 2), round(low, 2), close, draw(st.integers(0, 3000))))
    return found


@examples(200)
@given(
    walks(),
    st.sampled_from(["market", "limit", "stop"]),
    st.sampled_from(["buy", "sell"]),
    st.integers(1, 400),
    st.integers(-50, 50),
    st.sampled_from([FillProfile.STRICT, FillProfile.TOUCH]),
)
def test_every_fill_lies_inside_its_bar_and_never_beyond_the_order(
    bars: list[tuple[float, float, float, float, int]],
    kind: str,
    side: str,
    quantity: int,
    away: int,
    profile: FillProfile,
) -> None:
    floor = floor_of_bars(profile)
    sign = 1 if side == "buy" else -1
    price = f"{10 + (sign * (abs(away) + 1) if kind == 'stop' else away) / 100:.2f}"
    terms = {"limit": {"limit_price": price}, "stop": {"stop_price": price}}.get(kind, {})
    floor.send(side, str(quantity), kind, client_order_id="a", **terms)
    filled, waits = 0, False
    for bar in bars:
        before = len(floor.fills())
        floor.bar(*bar)
        new = [u.execution for u in floor.updates if u.execution is not None][before:]
        for execution in new:
            at = float(execution.price)
            assert bar[2] <= at <= bar[1], (bar, at)
            if kind == "limit":
                assert sign * (float(price) - at) >= 0
            if kind == "stop" and profile == "touch" and not waits:  # without volume to take it waits for the next open
                assert sign * (at - float(price)) >= 0
        # A buy stop that a bar leaps over by more than its collar is a limit order from then on.
        waits |= not new and sign * ((bar[1] if sign > 0 else bar[2]) - float(price)) >= 0
        taken = sum(float(e.quantity) for e in new)
        assert profile == "touch" or taken <= bar[4] / 10
        filled += int(taken)
    assert filled <= quantity


CRYPTO = """
== a tenth of a bar's coins fills a part of a whole order; the rest waits for the next open
buy 2 market gtc as a
bar 60000.00 60100.00 59900.00 60050.00 x 3.5
=> a 0.35 @ 60000.00
bar 60050.00 60200.00 60000.00 60100.00 x 100
=> a 1.65 @ 60050.00
== an order of parts rests as long as a whole one, and fills at its limit when a bar goes through it
buy 0.123456789 limit 59950.00 gtc as a
bar 60000.00 60100.00 59950.00 60050.00 x 100
=> nothing
bar 60000.00 60100.00 59949.99 60050.00 x 100
=> a 0.123456789 @ 59950.00
sell 0.123456789 stop 59000.00 gtc as b
bar 58000.00 58500.00 57900.00 58100.00 x 100
=> b 0.123456789 @ 58000.00
"""


@cases(CRYPTO)
def test_coins_trade_in_parts(play: str) -> None:
    rules = Rules(latency_ns=0, match_on_arrival=False, synthetic_quotes=False, divisible=True)
    Floor(rules, cash="1000000", closes={"X": 60000.0}.get).play(play)
