"""Who holds the market, counted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class Hold:
    """Counts who holds the market."""

    def __init__(self) -> None:
        self.count = 0

    @contextmanager
    def busy(self) -> Iterator[None]:
        self.count += 1
        try:
            yield
        finally:
            self.count -= 1
