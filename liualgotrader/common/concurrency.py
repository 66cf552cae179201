"""The original's count of consumers, at its address."""

from __future__ import annotations

from liualgotrader.common.config import Settings


def calc_num_consumer_processes() -> int:
    """Return how many consumers a session gets: NUM_CONSUMERS, else by cores and CPU_FACTOR, at least 1."""
    return Settings.resolve().consumer_count()
