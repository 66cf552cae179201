"""Orders that were refused: counted by rule for each strategy, and each rule explained once."""

from __future__ import annotations

from collections import Counter

from liualgotrader.common.session_plan import Limits

SIZE = "size"
SHADOW = "shadow"  # the rule of a session that sends nothing: what it keeps back was not refused


class Refusals:
    """One strategy's refused orders: `counts` by rule, and what has been said about them."""

    def __init__(self, strategy: str, limits: Limits) -> None:
        self.counts: Counter[str] = Counter()
        self._strategy, self._limits = strategy, limits
        self._said: set[tuple[str, str]] = set()

    def note(self, rule: str, symbol: str, *, leaving: bool) -> str:
        """Count a refused order and return what is to be said about it, empty if that was said before.

        A refused entry is said once for each rule, an order that was to reduce the position (`leaving`) once for each
        rule and symbol.
        """
        self.counts[rule] += 1
        key = (rule, symbol if leaving else "")
        if key in self._said:
            return ""
        self._said.add(key)
        what = f"could not leave {symbol}" if leaving else f"was refused an order in {symbol}"
        return (
            f"strategy {self._strategy} {what} by the rule {rule}{_because(rule, self._limits)}; more are only counted"
        )


def _because(rule: str, limits: Limits) -> str:
    """Return what a rule allows, with the keys that set it; empty for a rule whose name says it all."""
    sized = "ctx.affordable() and ctx.shares() stay below it"
    terms = {
        "order_value": f"an order may cost {limits.order_equity_fraction:.0%} of equity and {limits.order_dollars:,.0f} $"
        f" ([limits] order_equity_fraction, order_dollars); {sized}",
        "position_value": f"a position may come to {limits.position_equity_fraction:.0%} of equity"
        f" ([limits] position_equity_fraction); {sized}",
        "gross_exposure": f"all positions and working orders may come to {limits.gross_equity_fraction:.0%} of equity"
        " ([limits] gross_equity_fraction)",
        "short_exposure": f"short positions may come to {limits.short_equity_fraction:.0%} of equity"
        " ([limits] short_equity_fraction)",
        "price_collar": f"a limit may lie {limits.collar_fraction:.0%} beyond the newest price ([limits] collar_fraction)",
        "price_too_old": f"an entry needs a price that is at most {limits.quote_age_seconds:g} s old"
        " ([limits] quote_age_seconds)",
        "order_rate": f"{limits.orders_per_minute} requests a minute, a quarter of them kept for exits"
        " ([limits] orders_per_minute)",
        "open_orders": f"{limits.open_orders} orders may work at once ([limits] open_orders)",
        SIZE: "an order needs a number of shares above 0, with at most nine decimals",
    }
    return f" ({terms[rule]})" if rule in terms else ""
