"""A market whose time passes evenly: the whole session in LIU_FAKE_MARKET_SECONDS (default 3) of machine time."""

import contextlib
import os
import sys
from multiprocessing.connection import wait
from pathlib import Path

import msgspec

from liualgotrader.common.clock import machine_now
from liualgotrader.common.session_plan import MarketSpec
from liualgotrader.transport.page import SessionPage
from tests.fakes.stack.common import behaviour_of, did, first_time


def run(spec_path, control):
    spec = msgspec.json.decode(Path(spec_path).read_bytes(), type=MarketSpec)
    folder = str(Path(spec_path).parent)
    word = behaviour_of(folder, "simulator")
    did(folder, f"start simulator {os.getpid()} {spec.starts_at}")
    if word == "refuse":
        control.send_bytes(msgspec.msgpack.encode({"failed": "The data folder holds nothing.", "exit_code": 2}))
        sys.exit(2)
    seconds = float(os.environ.get("LIU_FAKE_MARKET_SECONDS", "3"))
    page = SessionPage(Path(spec.page))
    page.set_anchor(spec.starts_at, machine_now(), (spec.ends_at - spec.starts_at) / (seconds * 1e9))
    control.send_bytes(msgspec.msgpack.encode({"port": 65000}))
    if word == "die" and first_time(folder, "simulator"):
        wait([control], timeout=1)
        os._exit(9)
    while True:
        if wait([control], timeout=0.5):
            with contextlib.suppress(EOFError, OSError):  # a parent that died with reports unread resets the line
                control.recv_bytes()
            Path(spec.state).write_bytes(b"kept")
            did(folder, "stop simulator")
            return
        with contextlib.suppress(OSError):  # the supervisor died a moment ago: the next look says so
            control.send_bytes(msgspec.msgpack.encode({"market": 1, "waiting_for": ["nobody"]}))
