"""The consumer's figures for the live table."""

from __future__ import annotations

from collections.abc import Mapping

from liualgotrader.common.clock import MILLISECOND
from liualgotrader.common.control import MARK_OF
from liualgotrader.consumer.fetches import Fetches
from liualgotrader.consumer.intent_outbox import IntentOutbox
from liualgotrader.engine.engine import Engine
from liualgotrader.engine.freshness import Freshness
from liualgotrader.engine.slot import StrategySlot


class Lags:
    """How old market data was when it was read, since the last look."""

    def __init__(self) -> None:
        self._seen: list[int] = []

    def note(self, age: int) -> None:
        """Take note of one batch's age, machine ns."""
        self._seen.append(age)

    def take(self) -> tuple[float, float]:
        """Return the median and the largest age in milliseconds, and forget them."""
        seen, self._seen = sorted(self._seen), []
        if not seen:
            return 0.0, 0.0
        return max(0, seen[len(seen) // 2]) / MILLISECOND, max(0, seen[-1]) / MILLISECOND


class ConsumerCounters:
    """Totals since the start, and gauges of this moment."""

    def __init__(
        self, engine: Engine, freshness: Freshness, outbox: IntentOutbox, fetches: Fetches | None = None
    ) -> None:
        self._fetches = fetches
        self._engine, self._freshness, self._outbox = engine, freshness, outbox
        self.lags = Lags()
        self.dropped = 0

    def values(self) -> Mapping[str, float]:
        """Return all figures by name.

        `mark.<symbol>`, the newest price of what is held, is in US dollars; `positions.<strategy>` and `refused.<strategy>.<rule>` are counts, the latter
        of orders that risk or the engine said no to.
        """
        engine, median_and_worst = self._engine, self.lags.take()
        found: dict[str, float] = {
            "events": engine.events,
            "symbols": len(engine.symbols),
            "dropped_before_us": self.dropped,
            "stale": self._freshness.stale_events,
            "stale_bursts": self._freshness.bursts,
            "lag_p50_ms": median_and_worst[0],
            "lag_ms": median_and_worst[1],
            "orders_decided": self._outbox.orders,
            "unanswered": self._outbox.unanswered,
            "fills_booked": engine.fills,
            "ignored": engine.market.ignored,
            "late_trades": sum(state.bars.late for state in engine.symbols.values()),
        }
        if self._fetches is not None:
            found["fetches"], found["fetches_failed"] = self._fetches.asked, self._fetches.failed
        for slot in engine.slots.values():
            found[f"positions.{slot.name}"] = sum(1 for q in slot.book.quantities.values() if q)
            found[f"missed_periods.{slot.name}"] = slot.missed_ticks
            found |= self._marks(slot)
            found |= {f"refused.{slot.name}.{rule}": count for rule, count in slot.refusals.counts.items()}
        return found

    def _marks(self, slot: StrategySlot) -> dict[str, float]:
        held = (symbol for symbol, quantity in slot.book.quantities.items() if quantity)
        return {f"{MARK_OF}{symbol}": price for symbol in held if (price := slot.port.last(symbol)) is not None}
