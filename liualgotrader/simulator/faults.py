"""What can be made to go wrong on purpose: one table, switched by `POST /_sim/faults/{name}`.

An order fault holds for the next `count` order requests (POST /v2/orders). Others act at once.
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum


class OrderFault(StrEnum):
    """What happens to an order request instead of its answer."""

    ERROR_500 = "order_500"  # nothing is executed, the answer is 500
    TIMEOUT_504_AFTER = "order_504_after"  # the order is taken, the answer is 504
    NEVER = "order_never"  # nothing is executed and no answer comes
    NEVER_AFTER = "order_never_after"  # the order is taken and no answer comes

    @property
    def executes(self) -> bool:
        """Whether the exchange gets the order all the same."""
        return self in (OrderFault.TIMEOUT_504_AFTER, OrderFault.NEVER_AFTER)

    @property
    def answers(self) -> bool:
        """Whether any answer comes."""
        return self in (OrderFault.ERROR_500, OrderFault.TIMEOUT_504_AFTER)


DROP_WEBSOCKETS = "drop_websockets"  # every websocket breaks without a close frame
MUTE = "mute"  # {"on": true | false}: websockets stay open and say nothing
NAMES = (*(str(f) for f in OrderFault), DROP_WEBSOCKETS, MUTE)


class Faults:
    """The order faults that are still to come, first in first out."""

    def __init__(self) -> None:
        self._orders: deque[OrderFault] = deque()

    def expect(self, fault: OrderFault, count: int) -> None:
        """Let the fault befall `count` more order requests; 0 takes back all that are left of it."""
        if count <= 0:
            self._orders = deque(f for f in self._orders if f is not fault)
        self._orders.extend([fault] * count)

    def next_order(self) -> OrderFault | None:
        """Return what befalls the present order request, None for nothing."""
        return self._orders.popleft() if self._orders else None

    def left(self) -> dict[str, int]:
        """Return how often each order fault is still to come."""
        return {str(f): self._orders.count(f) for f in OrderFault if f in self._orders}
