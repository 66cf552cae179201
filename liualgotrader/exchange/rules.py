"""The settings of a simulated market, and the phases of its day."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from enum import StrEnum

import msgspec

from liualgotrader.common.clock import DAY, HOUR, MILLISECOND, MINUTE, as_utc
from liualgotrader.common.tradeplan import FillProfile
from liualgotrader.exchange.fees import FeeModel, NoFees


class Phase(StrEnum):
    """The part of the day that an instant lies in."""

    CLOSED = "closed"
    PRE = "pre"
    REGULAR = "regular"
    POST = "post"


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about the exchange that can be chosen. Durations are ns of market time."""

    profile: FillProfile = FillProfile.STRICT
    fees: FeeModel = msgspec.field(default_factory=NoFees)
    latency_ns: int = 20 * MILLISECOND  # from a request to its effect, for submit, replace and cancel alike
    match_on_arrival: bool = True  # False: an order trades only with market events after it has arrived
    impact_bps: Decimal | None = None  # None: what exceeds the displayed size waits; else it walks, see fills.py
    max_quote_age_ns: int = 5 * MINUTE  # an older quote is stale and fills nothing; 0: never
    print_tolerance: Decimal = Decimal("0.01")  # a print further outside the NBBO than this part of its price is bad
    synthetic_quotes: bool = True  # a symbol without any quote is quoted at its last trade +- half a tick
    auction_wait_ns: int = 2 * MINUTE  # how long opg and cls orders wait for the auction's print
    marked_auction_wait_ns: int = 30 * MINUTE  # the same where that print is known to come
    margin_multiplier: int = 2  # 1: cash account; 2: Reg T; 4: former day-trading margin
    minimum_margin_equity: Decimal = Decimal(2000)  # below it no margin and no new shorts
    maximum_gross: Decimal = Decimal(6)  # gross position as a multiple of equity; above it closing only
    short_check_factor: Decimal = Decimal("1.03")  # of the ask, for the buying power of short sales
    fractional_types: tuple[str, ...] = ("market", "limit", "stop", "stop_limit")
    minimum_notional: Decimal = Decimal(1)
    gtc_days: int = 90
    partial_probability: float = 0.1  # profile paper
    slippage_bps: Decimal = Decimal(0)  # by which orders without a limit trade worse than what they meet
    bar_participation: Decimal = Decimal("0.1")  # profile strict: the part of a bar's volume that our orders may take
    divisible: bool = False  # crypto: parts trade as whole ones do, whatever the order
    pattern_day_trading: bool = False  # the rule that FINRA retired on 2026-06-04


class ExchangeSession(msgspec.Struct, frozen=True, kw_only=True):
    """One trading day; instants ns UTC. It reaches from 5.5 hours before the open to 4 after the close, unless it has 24 hours.

    `previous_closes` are US dollars by symbol. `splits` (new shares per old) and `dividends` (dollars a
    share) take effect when the session begins. `borrow` says what is easy or hard to borrow, or not at all (`none`),
    before the asset itself does; `borrow_fees` are the parts of a short position's value that the nights before cost.
    `opening_crosses` and `closing_crosses` are the symbols in
    whose events the print of that auction is marked; in any other the first print from then on stands for it.
    """

    opens_at: int
    closes_at: int
    previous_closes: Mapping[str, Decimal] = {}
    splits: Mapping[str, Decimal] = {}
    dividends: Mapping[str, Decimal] = {}
    borrow: Mapping[str, str] = {}
    borrow_fees: Mapping[str, Decimal] = {}
    opening_crosses: frozenset[str] = frozenset()
    closing_crosses: frozenset[str] = frozenset()

    @property
    def day(self) -> date:
        """The day that is traded: where New York opens it is the same day in UTC."""
        return as_utc(self.opens_at).date()

    @property
    def pre_opens_at(self) -> int:
        """When pre-market trading begins."""
        return self.opens_at - (0 if self._around_the_clock else 5 * HOUR + HOUR // 2)

    @property
    def post_closes_at(self) -> int:
        """When after-hours trading ends."""
        return self.closes_at + (0 if self._around_the_clock else 4 * HOUR)

    @property
    def _around_the_clock(self) -> bool:
        return self.closes_at - self.opens_at >= DAY

    def phase(self, at: int) -> Phase:
        """Return the phase of an instant; bounds belong to the phase they begin."""
        if self.opens_at <= at < self.closes_at:
            return Phase.REGULAR
        if at < self.opens_at:
            return Phase.PRE if at >= self.pre_opens_at else Phase.CLOSED
        return Phase.POST if at < self.post_closes_at else Phase.CLOSED

    def phase_began_at(self, at: int) -> int:
        """Return when the phase of `at` began; after-hours go on with the quotes of the day."""
        return self.opens_at if at >= self.opens_at else self.pre_opens_at
