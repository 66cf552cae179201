"""Lists in parts, at the original's address."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def chunks(lst: Sequence[T], n: int) -> Iterator[Sequence[T]]:
    """Yield `n` elements after the other, and at last what is left.

    Raises:
        ValueError: if `n` is not above 0.
    """
    if n < 1:
        raise ValueError(f"n is {n}: a part has at least one element")
    for first in range(0, len(lst), n):
        yield lst[first : first + n]
