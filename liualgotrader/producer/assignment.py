"""Which consumer takes care of which symbol."""

from __future__ import annotations

from collections.abc import Mapping


class Assignment:
    """The table symbol → consumer. A new symbol goes to the consumer with the fewest, ties to the lowest index.

    An assignment is for the whole session and survives restarts, so that a symbol never has two owners.
    """

    def __init__(self, consumers: int, existing: Mapping[str, int]) -> None:
        self._consumer_of = dict(existing)
        self._counts = [0] * consumers
        for consumer in self._consumer_of.values():
            self._counts[consumer] += 1

    def of(self, symbol: str) -> int | None:
        """Return the symbol's consumer, None if it has none yet."""
        return self._consumer_of.get(symbol)

    def assign(self, symbol: str) -> int:
        """Return the symbol's consumer, choosing one if it has none."""
        known = self._consumer_of.get(symbol)
        if known is not None:
            return known
        chosen = self._counts.index(min(self._counts))
        self.give(symbol, chosen)
        return chosen

    def give(self, symbol: str, consumer: int) -> None:
        """Give a symbol that has no consumer yet to this one, which holds it."""
        self._consumer_of[symbol] = consumer
        self._counts[consumer] += 1

    def counts(self) -> list[int]:
        """Return how many symbols each consumer has."""
        return list(self._counts)
