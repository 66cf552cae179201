"""What a consumer that lags still gets."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from liualgotrader.common.events import (
    Bar,
    Counts,
    EventBatch,
    FeedEvent,
    MarketEvent,
    Pick,
    Quote,
    Status,
    TradeTick,
    Unpick,
)
from liualgotrader.ipc.batch_codec import decode_batch
from liualgotrader.ipc.links import FRAME_BYTES
from liualgotrader.producer.router import EVENTS_A_BATCH, EventOutbox, newest

SYMBOLS = ("A", "B", "C")


class Consumer:
    """A link whose room is given in messages; keeps what it got."""

    def __init__(self, room: int = 10**9) -> None:
        self.room = room
        self.batches: list[EventBatch] = []

    def send(self, payload: bytes) -> bool:
        assert len(payload) <= FRAME_BYTES
        if not self.room:
            return False
        self.room -= 1
        self.batches.append(decode_batch(payload))
        return True

    @property
    def events(self) -> list[FeedEvent]:
        return [event for batch in self.batches for event in batch.events]


def trade(symbol: str, at: int) -> TradeTick:
    return TradeTick(symbol, at, 10.0, 100.0)


def quote(symbol: str, at: int) -> Quote:
    return Quote(symbol, at, 9.9, 100.0, 10.1, 100.0)


def bar(symbol: str, at: int) -> Bar:
    return Bar(symbol, at, at + 60, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1)


def test_all_that_came_in_one_turn_leaves_in_one_batch() -> None:
    outbox, consumer = EventOutbox(epoch=7), Consumer()
    made: list[FeedEvent] = [trade("A", 1), quote("B", 2), bar("A", 3)]
    for event in made:
        outbox.append(event)
    assert outbox.flush(consumer.send, received_at=55)
    assert consumer.batches == [EventBatch(7, 1, 55, made)]
    assert outbox.flush(consumer.send, 66)
    assert len(consumer.batches) == 1, "nothing waits, nothing is sent"


def test_batches_are_numbered_without_holes_and_hold_at_most_512_events() -> None:
    outbox, consumer = EventOutbox(1), Consumer()
    for number in range(EVENTS_A_BATCH * 2 + 1):
        outbox.append(trade("A", number))
    assert outbox.flush(consumer.send, 1)
    assert [(batch.seq, len(batch.events)) for batch in consumer.batches] == [(1, 512), (2, 512), (3, 1)]


def test_long_events_go_in_smaller_batches() -> None:
    outbox, consumer = EventOutbox(1), Consumer()
    for number in range(512):
        outbox.append(Status("A", number, True, "H", "x" * 1000))
    assert outbox.flush(consumer.send, 1)
    assert [event.at for event in consumer.events] == list(range(512))


def test_a_batch_says_when_its_oldest_event_was_received_even_after_waiting() -> None:
    outbox, consumer = EventOutbox(1), Consumer(room=0)
    outbox.append(trade("A", 1))
    assert not outbox.flush(consumer.send, received_at=100)
    outbox.append(trade("A", 2))
    consumer.room = 1
    assert not outbox.flush(consumer.send, received_at=200), "a full link is not tried again before it says so"
    outbox.unblock()
    assert outbox.flush(consumer.send, received_at=300)
    assert [batch.received_at for batch in consumer.batches] == [100]


def test_up_to_the_limit_nothing_is_dropped() -> None:
    outbox, consumer = EventOutbox(1, limit=100), Consumer(room=0)
    for number in range(100):
        outbox.append(trade("A", number))
        outbox.flush(consumer.send, 1)
    consumer.room = 9
    outbox.unblock()
    assert outbox.flush(consumer.send, 1)
    assert (len(consumer.events), outbox.dropped) == (100, 0)


def test_a_consumer_that_starts_again_hears_of_its_symbols_before_all_else() -> None:
    outbox, first, second = EventOutbox(1), Consumer(), Consumer()
    picks = [Pick("A", 1, "s"), Pick("B", 2, "s", "X")]
    for pick in picks:
        outbox.stand(pick)
    outbox.let_go("A", 3)
    outbox.flush(first.send, 1)
    assert first.events == [*picks, Unpick("A", 3)]
    outbox.append(trade("B", 4))
    outbox.stand(Pick("C", 5, "s"))
    outbox.begin()
    outbox.flush(second.send, 1)
    assert second.events == [Unpick("A", 3), picks[1], Pick("C", 5, "s"), trade("B", 4)]


events = st.lists(
    st.one_of(
        st.builds(trade, st.sampled_from(SYMBOLS), st.just(0)),
        st.builds(quote, st.sampled_from(SYMBOLS), st.just(0)),
        st.builds(bar, st.sampled_from(SYMBOLS), st.just(0)),
        st.builds(Status, st.sampled_from(SYMBOLS), st.just(0), st.booleans()),
        st.builds(Pick, st.sampled_from(SYMBOLS), st.just(0), st.just("s")),
    ),
    max_size=120,
)


def numbered(made: list[FeedEvent]) -> list[FeedEvent]:
    """Return the events with times that say their order."""
    return [_at(event, number) for number, event in enumerate(made)]


def _at(event: FeedEvent, number: int) -> FeedEvent:
    replace: Callable[..., FeedEvent] = msgspec.structs.replace
    if isinstance(event, Bar):
        return replace(event, opened_at=number, closed_at=number + 1)
    return replace(event, at=number)


def at(event: FeedEvent) -> int:
    return event.opened_at if isinstance(event, Bar) else event.at


@given(events, st.lists(st.integers(0, 3), max_size=120), st.integers(1, 20))
def test_whatever_the_consumer_does_nothing_that_counts_is_lost(
    made: list[FeedEvent], rooms: list[int], limit: int
) -> None:
    """Kept: every pick, bar and status, the newest trade and quote of each symbol, and the order."""
    made = numbered(made)
    outbox, consumer = EventOutbox(1, limit=limit), Consumer(room=0)
    for number, event in enumerate(made):
        outbox.append(event)
        consumer.room = rooms[number] if number < len(rooms) else 0
        if consumer.room:
            outbox.unblock()
        outbox.flush(consumer.send, 1)
    consumer.room = 10**9
    outbox.unblock()
    assert outbox.flush(consumer.send, 1)
    got = consumer.events
    assert [at(e) for e in got] == sorted(at(e) for e in got), "order"
    assert [e for e in got if not isinstance(e, TradeTick | Quote)] == [
        e for e in made if not isinstance(e, TradeTick | Quote)
    ]
    for kind in (TradeTick, Quote):
        for symbol in SYMBOLS:
            sent = [e for e in made if isinstance(e, kind) and e.symbol == symbol]
            came = [e for e in got if isinstance(e, kind) and e.symbol == symbol]
            assert came[-1:] == sent[-1:], "the newest state survives"
    assert outbox.dropped == len(made) - len(got) == sum(batch.dropped for batch in consumer.batches)
    assert [batch.seq for batch in consumer.batches] == list(range(1, len(consumer.batches) + 1))


@given(events)
def test_a_consumer_that_keeps_up_gets_everything(made: list[MarketEvent]) -> None:
    outbox, consumer = EventOutbox(1, limit=1), Consumer()
    for event in made:
        outbox.append(event)
        outbox.flush(consumer.send, 1)
    assert consumer.events == made


def test_a_print_that_makes_no_price_displaces_none_that_does() -> None:
    odd = TradeTick("A", 3, 12.34, 3.0, int(Counts.VOLUME))
    assert newest([trade("A", 1), trade("A", 2), odd]) == [trade("A", 2), odd]
