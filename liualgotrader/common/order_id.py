"""The ids of our orders at the broker; only they show whose an order is.

`liu-<batch>-<slot>-<number>` is a strategy's order, `liu-<batch>-<slot>-0-d<own>` one of the desk's own, and
`<id>-r<replacement>` the order that replaces another.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

PREFIX = "liu-"  # what every id of ours begins with, whatever its batch


class OrderId(NamedTuple):
    """One of our ids, taken apart."""

    batch: str  # the first 12 hex digits of the batch's id
    slot: int
    number: int  # the slot's orders count from 1; 0 is one of the desk's own
    own: int = 0  # which of the desk's own
    replacement: int = 0  # which order of its chain of replacements, 0 for the first

    @classmethod
    def parse(cls, text: str) -> OrderId | None:
        """Return the parts of an id, None if it is not one of ours.

        >>> OrderId.parse("liu-0b5e7a4e0000-3-17-r2")
        OrderId(batch='0b5e7a4e0000', slot=3, number=17, own=0, replacement=2)
        >>> OrderId.parse("somebody-else's")
        """
        parts = text.split("-")
        if len(parts) < 4 or parts[0] != "liu" or not (parts[2].isdecimal() and parts[3].isdecimal()):
            return None
        if len(parts) == 4:
            return cls(parts[1], int(parts[2]), int(parts[3]))
        counts = {part[0]: int(part[1:]) for part in reversed(parts[4:]) if part[1:].isdecimal()}
        return cls(parts[1], int(parts[2]), int(parts[3]), counts.get("d", 0), counts.get("r", 0))

    def __str__(self) -> str:
        """Return the id as the broker has it."""
        own = f"-d{self.own}" if self.own else ""
        replacement = f"-r{self.replacement}" if self.replacement else ""
        return f"{PREFIX}{self.batch}-{self.slot}-{self.number}{own}{replacement}"


@lru_cache(64)
def batch_part(batch_id: str) -> str:
    """Return what stands for a batch in the ids of its orders.

    >>> batch_part("0b5e7a4e-0000-4000-8000-000000000000")
    '0b5e7a4e0000'
    """
    return batch_id.replace("-", "")[:12]


def client_order_id(batch_id: str, slot: int, number: int) -> str:
    """Return the id of order `number` of a slot.

    >>> client_order_id("0b5e7a4e-0000-4000-8000-000000000000", 3, 17)
    'liu-0b5e7a4e0000-3-17'
    """
    return f"{PREFIX}{batch_part(batch_id)}-{slot}-{number}"


def replacement_id(root: str, replacement: int) -> str:
    """Return the id of a replacement in the chain that begins with the order `root`."""
    return f"{root}-r{replacement}"
