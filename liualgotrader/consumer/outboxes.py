"""What a consumer sends to other processes: intents to the order gateway, needs and rejects to the producer."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Sequence
from pathlib import Path

from liualgotrader.common.events import FromConsumer, Needs, Rejected
from liualgotrader.common.order_id import OrderId
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
from liualgotrader.engine.engine import Engine
from liualgotrader.ipc.batch_codec import encode_intents, encode_needs, frames
from liualgotrader.ipc.links import Writer
from liualgotrader.ipc.process_status import MarketHold

_INTENTS_A_MESSAGE = 32
_SYMBOLS_A_MESSAGE = 1000  # of one `Rejected`
_NUMBER_BYTES = 8
_NEVER_WORKED = (OrderState.REFUSED, OrderState.REJECTED)  # as the state of a replacement: the order before it works on

Key = tuple[str, ...]


class OrderNumbers:
    """The highest order number that each slot has used, in a small mapped file, so that no id is ever given twice.

    A number outlives the process as soon as it is written. After the loss of the whole machine the file may lag; the
    gateway's `CaughtUp` then says the next free number.
    """

    def __init__(self, path: Path, slots: Sequence[int]) -> None:
        self._path = path
        self._open(slots)

    def take_in(self, slots: Sequence[int]) -> None:
        """Have room for these slots too."""
        self.close()
        self._open(slots)

    def _open(self, slots: Sequence[int]) -> None:
        path, size = self._path, (max(slots, default=0) + 1) * _NUMBER_BYTES
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        if path.stat().st_size < size:
            with path.open("ab") as file:
                file.write(bytes(size - path.stat().st_size))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self._cells = memoryview(self._map).cast("q")

    def highest(self, slot: int) -> int:
        """Return the highest number used by a slot, 0 if none."""
        return self._cells[slot]

    def use(self, slot: int, number: int) -> None:
        """Remember that a slot has used a number."""
        self._cells[slot] = max(self._cells[slot], number)

    def close(self) -> None:
        """Unmap the file."""
        self._cells.release()
        self._map.close()


class IntentOutbox:
    """Sends intents in order. On every new connection the slots are declared first, then what is unanswered is sent.

    The market is held while something cannot be sent.
    """

    def __init__(
        self, writer: Writer, numbers: OrderNumbers, declarations: Callable[[], Sequence[Declare]], hold: MarketHold
    ) -> None:
        self.writer, self._numbers, self._declarations, self._hold = writer, numbers, declarations, hold
        self._kept: dict[Key, Intent] = {}
        self._unsent: list[Intent] = []
        self.orders = 0
        writer.on_connected(self.send_all)
        writer.on_room(self.flush)

    @property
    def unanswered(self) -> int:
        """How many intents no news has answered yet."""
        return len(self._kept)

    def add(self, intents: Sequence[Intent]) -> None:
        """Take intents and send them; an order's number is remembered before it leaves."""
        for intent in intents:
            key: Key
            match intent:
                case OrderIntent(client_order_id):
                    key = "order", client_order_id
                    if (order_id := OrderId.parse(client_order_id)) is not None:
                        self._numbers.use(intent.slot, order_id.number)
                    self.orders += 1
                case CancelIntent(client_order_id):
                    key = "cancel", client_order_id
                case ReplaceIntent(client_order_id):
                    key = "replace", client_order_id
                case Protect():
                    key = "protect", str(intent.slot), intent.symbol
                case Declare():  # the news that follow answer it
                    continue
            self._kept.pop(key, None)  # a newer Protect takes the place of an older one
            self._kept[key] = intent
        self._unsent += intents
        self.flush()

    def take_news(self, news: Sequence[News]) -> None:
        """Forget the intents that the news answers."""
        if not self._kept:
            return
        for one in news:
            if isinstance(one, Protection):
                key = ("protect", str(one.slot), one.symbol)
                kept = self._kept.get(key)
                planned = one.planned_stop, one.planned_target
                if isinstance(kept, Protect) and (kept.planned_stop, kept.planned_target) == planned:
                    del self._kept[key]  # the echo of an older stop answers nothing
            elif isinstance(one, (OrderNews, Fill)):
                chain = (one.chain if isinstance(one, OrderNews) else "") or one.client_order_id
                self._kept.pop(("order", chain), None)
                state = one.state if isinstance(one, OrderNews) else None
                if state is None:
                    continue
                replaces = chain != one.client_order_id
                ends_all = state.is_final and state is not OrderState.REPLACED
                if state is OrderState.PENDING_CANCEL or (ends_all and not (replaces and state in _NEVER_WORKED)):
                    self._kept.pop(("cancel", one.client_order_id), None)
                    self._kept.pop(("cancel", chain), None)
                if state.is_final or state is OrderState.PENDING_REPLACE or replaces:
                    self._kept.pop(("replace", chain), None)

    def flush(self) -> None:
        """Send what is unsent, as far as there is room."""
        while self._unsent and self.writer.connected:
            some = self._unsent[:_INTENTS_A_MESSAGE]
            if not all(self.writer.send(frame) for frame in frames(some, encode_intents)):
                break
            del self._unsent[:_INTENTS_A_MESSAGE]
        self._hold.hold_while(bool(self._unsent))

    def send_all(self) -> None:
        """Send what declares the slots, then everything unanswered, also what was sent before."""
        self._unsent = [*self._declarations(), *self._kept.values()]
        self.flush()

    def close(self) -> None:
        """Send nothing more."""
        self._hold.end()
        self.writer.close()


class NeedsOutbox:
    """Tells the producer which symbols the strategies need and which they have rejected.

    All of it is sent on every new connection, then what changes. Needs are sent only once the engine knows its books:
    until then the producer lets nothing go.
    """

    def __init__(self, writer: Writer, engine: Engine) -> None:
        self.writer, self._engine = writer, engine
        self._sent: dict[int, list[str]] | None = None
        writer.on_connected(self.send_all)
        writer.on_room(self.send_all)

    def send_all(self) -> None:
        """Send everything, also what was sent before."""
        rejected = [
            Rejected(slot.number, symbols[first : first + _SYMBOLS_A_MESSAGE])
            for slot in self._engine.slots.values()
            for symbols in [sorted(slot.rejected)]
            for first in range(0, len(symbols), _SYMBOLS_A_MESSAGE)
        ]
        self._sent = None
        self._send(rejected)
        self.send_changes()

    def send_changes(self) -> None:
        """Send what is needed if that has changed."""
        needs = self._engine.needs()
        if needs is not None and needs != self._sent and self._send([Needs(needs)]):
            self._sent = needs

    def reject(self, slot: int, symbol: str) -> None:
        """Send that a slot has rejected a symbol."""
        self._send([Rejected(slot, [symbol])])

    def _send(self, messages: Sequence[FromConsumer]) -> bool:
        """Send, or return False and leave it to the next connection or room, when everything is sent again."""
        return self.writer.connected and all(self.writer.send(frame) for frame in frames(messages, encode_needs))
