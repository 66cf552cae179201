"""A session's state in words and numbers, for every kind of screen."""

from __future__ import annotations

from liualgotrader.common.clock import SECOND, clock_text
from liualgotrader.supervisor.view import View


def state_line(view: View) -> str:
    """Return a session's state in one line."""
    strategies = " ".join(f"{s.name}={s.gain:+.2f}$" for s in view.strategies)
    unwell = " ".join(f"{p.name}:{p.state}" for p in view.processes if p.state != "ready")
    refused = view.refusals().total()
    parts = (
        f"market {clock_text(view.market_at)}",
        *figures(view),
        f"refused={refused}" if refused else "",
        strategies,
        unwell,
    )
    return "  ".join(part for part in parts if part)


def figures(view: View) -> list[str]:
    """Return the counts and gauges that tell whether all is well."""
    return [
        f"symbols={view.worst('symbols'):.0f}",
        f"events/s={view.events_per_second:.0f}",
        f"lag={lag_text(view.lag_ms())}",
        f"dropped={view.dropped()}",
        f"orders={view.counted('orders'):.0f}",
        f"fills={sum(s.fills for s in view.strategies)}",
    ]


def progress(view: View) -> str:
    """Return how far the session is, and how long the rest takes at the pace of now."""
    whole = max(view.closes_at - view.opens_at, 1)
    share = min(max((view.market_at - view.opens_at) / whole, 0.0), 1.0)
    left = max(view.closes_at - view.market_at, 0) / SECOND
    if view.speed is None:
        return f"{share:.0%}  {_span(left)} to the close"
    if not view.speed:
        return f"{share:.0%}  the market stands"
    return f"{share:.0%}  x{view.speed:,.0f}  {_span(left / view.speed)} left"


def lag_text(milliseconds: float | None) -> str:
    """Return how old market data was, `-` if nobody can say."""
    if milliseconds is None:
        return "-"
    if milliseconds < 10_000:
        return f"{milliseconds:.1f}ms"
    seconds = milliseconds / 1000
    return f"{seconds:.0f}s" if seconds < 600 else f"{seconds / 60:.0f}min"


def _span(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
