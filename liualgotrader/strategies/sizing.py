"""How many shares a position may have: by the money at risk to its stop, and by its cost."""

from __future__ import annotations

import math


def shares_at_risk(
    equity: float, price: float, stop: float, *, risk_fraction: float, cost_fraction: float = 0.05
) -> int:
    """Return the whole shares that lose at most `risk_fraction` of `equity` between `price` and `stop`.

    `price` is the worst one the entry may be filled at, that of its limit. The shares cost at most `cost_fraction`
    of equity; 0 when the stop is at the price, when one share is too much, or when there is no equity.

    >>> shares_at_risk(100_000.0, 50.0, 48.0, risk_fraction=0.001)
    50
    >>> shares_at_risk(100_000.0, 50.0, 49.9, risk_fraction=0.001)
    100
    """
    risk_per_share = abs(price - stop)
    if risk_per_share <= 0 or price <= 0 or equity <= 0:
        return 0
    by_risk = equity * risk_fraction / risk_per_share
    by_cost = equity * cost_fraction / price
    return math.floor(min(by_risk, by_cost) + 1e-9)  # 99.99999999999999 is a hundred
