"""A real producer process whose record is a file instead of PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any, cast

import msgspec

from liualgotrader.common.config import Secrets
from liualgotrader.common.ports import Store
from liualgotrader.common.rows import PickRow
from liualgotrader.common.secret import Secret
from liualgotrader.data.data_factory import open_stream
from liualgotrader.data.streaming_base import OnEvents, StreamHooks, StreamingAPI
from liualgotrader.ipc.child_process import Child, run_child
from liualgotrader.producer.producer_process import Producer, ProducerDependencies
from tests.fakes.vendor_stream import KEY, SECRET


class _Kept(msgspec.Struct):
    assigned: dict[str, int] = {}
    picks: list[PickRow] = []


class FileStore:
    """What a producer needs of the record, in one file that outlives the process."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def _read(self) -> _Kept:
        return msgspec.json.decode(self._path.read_bytes(), type=_Kept) if self._path.exists() else _Kept()

    def _write(self, kept: _Kept) -> None:
        fresh = self._path.with_suffix(".new")
        fresh.write_bytes(msgspec.json.encode(kept))
        fresh.replace(self._path)

    async def assign(self, batch_id: str, symbol: str, consumer: int) -> None:
        kept = self._read()
        kept.assigned[symbol] = consumer
        self._write(kept)

    async def assignments(self, batch_id: str) -> Mapping[str, int]:
        return self._read().assigned

    async def save_picks(self, picks: Sequence[PickRow]) -> None:
        kept = self._read()
        kept.picks += [pick for pick in picks if pick not in kept.picks]
        self._write(kept)

    async def picks(self, batch_id: str) -> Sequence[PickRow]:
        return self._read().picks

    async def close(self) -> None:
        return


def dependencies(child: Child, store: Any, keys: tuple[str, str] = (KEY, SECRET)) -> ProducerDependencies:
    """Return an existing store and the vendor that the plan names."""
    secrets = Secrets(Secret(keys[0]), Secret(keys[1]), Secret(""))

    async def open_store() -> Store:
        return cast(Store, store)

    def open_feed(on_events: OnEvents, hooks: StreamHooks) -> StreamingAPI:
        return open_stream(child.plan, secrets, on_events, child.clock, Random(1), hooks)

    return ProducerDependencies(open_store, open_feed)


def run(run_dir: str, control: Connection) -> None:
    """Be the producer of the session in `run_dir`."""

    async def body(child: Child) -> None:
        await Producer(child, dependencies(child, FileStore(Path(run_dir) / "record.json"))).run()

    run_child("producer", run_dir, control, body)
