"""A market whose time hardly passes, until the test says that the day is over and every process has been ready."""

from __future__ import annotations

import contextlib
import os
import sys
from multiprocessing.connection import Connection, wait
from pathlib import Path

import msgspec

from liualgotrader.common.clock import machine_now
from liualgotrader.common.session_plan import MarketSpec
from liualgotrader.ipc.session_page import Cell, Life, SessionPage
from tests.fakes.stack.common import behaviour_of, did, first_time

SLOW = 1.0
THE_END = "market-ends"  # a file beside the behaviour's


def run(spec_path: str, control: Connection) -> None:
    spec = msgspec.json.decode(Path(spec_path).read_bytes(), type=MarketSpec)
    folder = str(Path(spec_path).parent)
    word = behaviour_of(folder, "simulator")
    did(folder, f"start simulator {os.getpid()} {spec.starts_at}")
    if word == "refuse":
        control.send_bytes(msgspec.msgpack.encode({"failed": "The data folder holds nothing.", "exit_code": 2}))
        sys.exit(2)
    page = SessionPage(Path(spec.page))
    page.set_anchor(spec.starts_at, machine_now(), SLOW)
    control.send_bytes(msgspec.msgpack.encode({"port": 65000}))
    if word == "die" and first_time(folder, "simulator"):
        wait([control], timeout=1)
        os._exit(9)
    end, is_over = Path(os.environ["LIU_FAKE_BEHAVIOUR"]).with_name(THE_END), False
    while True:
        if wait([control], timeout=0.1):
            with contextlib.suppress(EOFError, OSError):  # a parent that died with reports unread resets the line
                control.recv_bytes()
            Path(spec.state).write_bytes(b"kept")
            did(folder, "stop simulator")
            return
        lives = {page.get(row, Cell.LIFE) for row in range(len(page.processes))}
        if not is_over and end.exists() and lives == {Life.READY}:
            is_over = True
            page.set_anchor(spec.ends_at, machine_now(), SLOW)
        with contextlib.suppress(OSError):  # the supervisor died a moment ago: the next look says so
            control.send_bytes(msgspec.msgpack.encode({"market": 1, "waiting_for": ["nobody"]}))
