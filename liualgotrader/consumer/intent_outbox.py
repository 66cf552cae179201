"""Intents on their way to the order gateway: kept until its news shows that they have arrived."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from liualgotrader.common.orders import (
    CancelIntent,
    Declare,
    Fill,
    Intent,
    News,
    OrderIntent,
    OrderNews,
    OrderState,
    Protect,
    Protection,
    ReplaceIntent,
)
from liualgotrader.consumer.order_numbers import OrderNumbers
from liualgotrader.ipc.batch_codec import encode_intents, frames
from liualgotrader.ipc.links import Writer
from liualgotrader.ipc.process_status import MarketHold

_A_MESSAGE = 32  # intents put into one message
_NEVER_WORKED = (OrderState.REFUSED, OrderState.REJECTED)  # in a replacement's place the order before works on

Key = tuple[str, ...]


class IntentOutbox:
    """Sends intents in order. On every new connection the slots are declared first, then what is unanswered is sent.

    The market is held while something cannot be sent.
    """

    def __init__(
        self, writer: Writer, numbers: OrderNumbers, declarations: Callable[[], Sequence[Declare]], hold: MarketHold
    ) -> None:
        self._writer, self._numbers, self._declarations, self._hold = writer, numbers, declarations, hold
        self._kept: dict[Key, Intent] = {}
        self._unsent: list[Intent] = []
        self.orders = 0
        writer.on_connected(self._connected)
        writer.on_room(self.flush)

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to reach the gateway."""
        self._writer.attach(loop)

    @property
    def unanswered(self) -> int:
        """How many intents no news has answered yet."""
        return len(self._kept)

    def add(self, intents: Sequence[Intent]) -> None:
        """Take intents and send them; an order's number is remembered before it leaves."""
        for intent in intents:
            if isinstance(intent, OrderIntent):
                self._numbers.use(intent.slot, int(intent.client_order_id.rsplit("-", 1)[1]))
                self.orders += 1
            key = _key_of(intent)
            if key is not None:
                self._kept.pop(key, None)  # a newer Protect takes the place of an older one
                self._kept[key] = intent
        self._unsent += intents
        self.flush()

    def heard(self, news: Sequence[News]) -> None:
        """Forget the intents that the news answers."""
        if not self._kept:
            return
        for one in news:
            if isinstance(one, Protection):
                self._echoed(one)
            elif isinstance(one, (OrderNews, Fill)):
                self._answered(one)

    def _echoed(self, echo: Protection) -> None:
        """Forget a moved stop that has arrived; the echo of an older one answers nothing."""
        key = ("protect", str(echo.slot), echo.symbol)
        kept = self._kept.get(key)
        if isinstance(kept, Protect) and (kept.planned_stop, kept.planned_target) == (
            echo.planned_stop,
            echo.planned_target,
        ):
            del self._kept[key]

    def _answered(self, news: OrderNews | Fill) -> None:
        chain = (news.chain if isinstance(news, OrderNews) else "") or news.client_order_id
        self._kept.pop(("order", chain), None)
        state = news.state if isinstance(news, OrderNews) else None
        if state is None:
            return
        replaces = chain != news.client_order_id
        ends_all = state.is_final and state is not OrderState.REPLACED
        if state is OrderState.PENDING_CANCEL or (ends_all and not (replaces and state in _NEVER_WORKED)):
            self._kept.pop(("cancel", news.client_order_id), None)
            self._kept.pop(("cancel", chain), None)
        if state.is_final or state is OrderState.PENDING_REPLACE or replaces:
            self._kept.pop(("replace", chain), None)

    def flush(self) -> None:
        """Send what is unsent, as far as there is room."""
        while self._unsent and self._writer.connected:
            some = self._unsent[:_A_MESSAGE]
            if not all(self._writer.send(frame) for frame in frames(some, encode_intents)):
                break
            del self._unsent[:_A_MESSAGE]
        self._hold.hold_while(bool(self._unsent))

    def _connected(self) -> None:
        self._unsent = [*self._declarations(), *self._kept.values()]
        self.flush()

    def close(self) -> None:
        """Send nothing more."""
        self._hold.end()
        self._writer.close()


def _key_of(intent: Intent) -> Key | None:
    """Return what stands for an intent until it is answered; a declaration is answered by the news that follow."""
    match intent:
        case OrderIntent():
            return ("order", intent.client_order_id)
        case CancelIntent():
            return ("cancel", intent.client_order_id)
        case ReplaceIntent():
            return ("replace", intent.client_order_id)
        case Protect():
            return ("protect", str(intent.slot), intent.symbol)
        case Declare():
            return None
