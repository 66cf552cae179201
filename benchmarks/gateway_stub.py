"""An order gateway with no account behind it: tells every slot that nothing has happened, so that it is called."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from decimal import Decimal
from multiprocessing.connection import Connection
from multiprocessing.queues import Queue

from liualgotrader.common.orders import AccountNews, CaughtUp, Declare, News
from liualgotrader.ipc.batch_codec import decode_intents, encode_news
from liualgotrader.ipc.child_process import Child, run_child
from liualgotrader.ipc.links import Reader, Writer

_CASH = Decimal(100_000)


def run(run_dir: str, control: Connection, queues: Mapping[str, Queue[bytes]] | None = None) -> None:
    """Run as the process `order_gateway` of the session in `run_dir`."""
    run_child("order_gateway", run_dir, control, _live, queues)


async def _live(child: Child) -> None:
    loop = asyncio.get_running_loop()
    for index in range(child.plan.consumers):
        reader, writer = child.reader(f"intents-{index}"), child.writer(f"news-{index}")
        reader.attach(loop, _answering(reader, writer, child.clock.now))
        writer.attach(loop)
    child.ready()
    await child.stopping.wait()


def _answering(reader: Reader, writer: Writer, now: Callable[[], int]) -> Callable[[bytes], None]:
    waiting: list[News] = []

    def send() -> None:
        if waiting and writer.send(encode_news(waiting)):
            waiting.clear()

    def answer(message: bytes) -> None:
        account = AccountNews(now(), equity=_CASH, cash=_CASH, buying_power=_CASH)
        declared = [intent for intent in decode_intents(message) if isinstance(intent, Declare)]
        waiting.extend([account, *(CaughtUp(d.slot, d.last_seq, next_order_number=1) for d in declared)])
        send()
        reader.handled()

    writer.on_connected(send)
    writer.on_room(send)
    return answer
