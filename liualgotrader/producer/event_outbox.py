"""What waits for one consumer, and what is dropped when it falls too far behind."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from liualgotrader.common.events import Counts, EventBatch, FeedEvent, Pick, Quote, TradeTick, Unpick
from liualgotrader.ipc.batch_codec import encode_batch
from liualgotrader.ipc.links import FRAME_BYTES

EVENTS_A_BATCH = 512
EVENTS_WAITING = 65_536  # above it a consumer lags, and only the newest trade and quote of a symbol are kept

_LAST = int(Counts.LAST)

Send = Callable[[bytes], bool]


class EventOutbox:
    """The events for one consumer, in order, until they are sent.

    `append` is called for every event of the feed and does nothing but append. Picks *stand*: a consumer that was
    started again gets them before all else, with the symbols that were let go.
    """

    def __init__(self, epoch: int, limit: int = EVENTS_WAITING) -> None:
        self.waiting: list[FeedEvent] = []
        self.append = self.waiting.append  # the list stays the same object for ever
        self.dropped = 0  # in all
        self.batches = 0
        self._epoch = epoch
        self._limit = self._conflate_at = limit
        self._received_at = 0
        self._unreported = 0  # dropped, and not yet reported in a batch
        self._standing: dict[tuple[str, str], Pick] = {}
        self._gone: dict[str, Unpick] = {}
        self._blocked = False

    def stand(self, pick: Pick) -> None:
        """Send a pick, now and to every later start of the consumer."""
        self._standing[pick.symbol, pick.strategy] = pick
        self._gone.pop(pick.symbol, None)
        self.append(pick)

    def let_go(self, symbol: str, at: int) -> None:
        """Send that the symbol is followed no more."""
        for key in [key for key in self._standing if key[0] == symbol]:
            del self._standing[key]
        self._gone[symbol] = Unpick(symbol, at)
        self.append(self._gone[symbol])

    def begin(self) -> None:
        """Begin with a consumer that was just reached: symbols let go and standing picks are sent first."""
        rest = [event for event in self.waiting if not isinstance(event, Pick | Unpick)]
        self.waiting[:] = [*self._gone.values(), *self._standing.values(), *rest]
        self._blocked = False

    def unblock(self) -> None:
        """There is room again."""
        self._blocked = False

    def flush(self, send: Send, received_at: int) -> bool:
        """Send what waits in batches; False if some of it could not be sent.

        `received_at` is the machine time (ns) at which the oldest event since the last flush came.
        """
        if not self.waiting:
            return True
        self._received_at = self._received_at or received_at
        while self.waiting and not self._blocked:
            self._blocked = not self._send_one(send)
        if not self._blocked:
            self._received_at = 0
            return True
        before = len(self.waiting)
        if before > self._conflate_at:
            self.waiting[:] = newest(self.waiting)
            gone = before - len(self.waiting)
            self.dropped += gone
            self._unreported += gone
            self._conflate_at = max(self._limit, 2 * len(self.waiting))
        return False

    def _send_one(self, send: Send) -> bool:
        count = EVENTS_A_BATCH
        while True:
            events = self.waiting[:count]
            payload = encode_batch(
                EventBatch(self._epoch, self.batches + 1, self._received_at, events, self._unreported)
            )
            if len(payload) <= FRAME_BYTES or count == 1:
                break
            count //= 2
        if not send(payload):
            return False
        self.batches += 1
        self._unreported = 0
        del self.waiting[: len(events)]
        return True


def newest(events: Iterable[FeedEvent]) -> list[FeedEvent]:
    """Return the newest trade and quote of each symbol and everything that is neither, in the order given.

    A trade that makes no price (an odd lot, say) is not newer than one that does: both are kept.
    """
    ordered = list(events)
    seen: set[tuple[type[FeedEvent], str, int]] = set()
    kept: list[FeedEvent] = []
    for event in reversed(ordered):
        if isinstance(event, TradeTick | Quote):
            key = (type(event), event.symbol, event.flags & _LAST if isinstance(event, TradeTick) else 0)
            if key in seen:
                continue
            seen.add(key)
        kept.append(event)
    kept.reverse()
    return kept
