"""A market-data vendor that costs little: Alpaca's stream at an offered rate, and just enough REST for a start.

It runs in a process of its own. Each websocket client is known by its `X-LIU-Process` header; the harness says
whom to send to, how fast and for how long. Sending waits when the client does not read, as any TCP sender.
"""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import numpy as np

from benchmarks.figures import Sent
from benchmarks.tape import MESSAGES_A_FRAME, SYMBOLS, FrameTape
from liualgotrader.common.clock import nanoseconds

TICK_SECONDS = 0.001  # what is due is sent so often
_MOST_FRAMES = 200  # handed over at once, with one time stamp
_GIVE_UP = 1.5  # a run ends after so many times its planned length, whatever was sent by then
_HISTORY_BARS = 30
_MINUTE, _SECOND = 60_000_000_000, 1_000_000_000
_TICK = round(TICK_SECONDS * _SECOND)
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
_NOTHING = Sent(0, 1, 0.0, 0.0, 0.0, 0.0)  # to a client that is not there
_TEXT, _BINARY, _CLOSE, _PING, _PONG = 1, 2, 8, 9, 10


class Client:
    """One websocket client of the stream."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._lock = threading.Lock()
        self.symbols: set[str] = set()

    def send(self, payload: bytes | memoryview) -> None:
        """Send bytes that are whole frames already."""
        with self._lock:
            self._line.sendall(payload)

    def answer(self, *messages: dict[str, Any]) -> None:
        """Send control messages, each in an array of one, as the vendor does."""
        for message in messages:
            self.send(frame(_BINARY, msgspec.msgpack.encode([message])))

    def close(self) -> None:
        """Drop the connection."""
        self._line.close()

    def serve(self, reading: Any) -> None:
        """Follow what the client says until it leaves."""
        self.answer({"T": "success", "msg": "connected"})
        while (got := read_frame(reading)) is not None:
            opcode, payload = got
            if opcode == _CLOSE:
                return
            if opcode == _PING:
                self.send(frame(_PONG, payload))
            elif opcode in (_TEXT, _BINARY):
                self._hear(msgspec.msgpack.decode(payload))

    def _hear(self, message: dict[str, Any]) -> None:
        if message["action"] == "auth":
            self.answer({"T": "success", "msg": "authenticated"})
            return
        asked = {s for channel in ("trades", "quotes") for s in message.get(channel, ())}
        self.symbols = self.symbols | asked if message["action"] == "subscribe" else self.symbols - asked
        carried = sorted(self.symbols)
        self.answer({"T": "subscription", "trades": carried, "quotes": carried, "bars": [], "statuses": []})


class Handler(BaseHTTPRequestHandler):
    """REST answers and websocket handshakes on one port."""

    protocol_version = "HTTP/1.1"
    server: Desk

    def do_GET(self) -> None:
        """Answer a question or take in a stream client."""
        if self.headers.get("Upgrade", "").lower() == "websocket":
            self._upgrade()
            return
        address = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(address.query).items()}
        body = json.dumps(rest_answer(address.path, query)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def _upgrade(self) -> None:
        key = self.headers["Sec-WebSocket-Key"].encode()
        accept = base64.b64encode(hashlib.sha1(key + _GUID).digest()).decode()
        self.send_response(101)
        for name, value in (("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept)):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.flush()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = Client(self.connection)
        self.server.clients[self.headers.get("X-LIU-Process", "")] = client
        self.close_connection = True
        try:
            client.serve(self.rfile)
        except OSError:
            return  # it left without a word


class Desk(ThreadingHTTPServer):
    """The server and its stream clients by name."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.clients: dict[str, Client] = {}


def run(control: Connection) -> None:
    """Serve until `control` ends. It sends its port, then answers each request.

    `["symbols", client]` → how many symbols the client has subscribed to;
    `["send", client, events per second, seconds]` → `Sent` as JSON.
    """
    tape = FrameTape()
    desk = Desk()
    threading.Thread(target=desk.serve_forever, daemon=True).start()
    control.send(desk.server_address[1])
    sender = Sender(tape)
    while True:
        try:
            what, name, *details = control.recv()
        except EOFError:
            return
        client = desk.clients.get(name)
        if what == "symbols":
            control.send(len(client.symbols) if client is not None else 0)
        else:
            sent = sender.send(client, *details) if client is not None else _NOTHING
            control.send(msgspec.json.encode(sent))


class Sender:
    """Sends the tape round and round."""

    def __init__(self, tape: FrameTape) -> None:
        self._tape = tape
        self._at = 0  # the frame that comes next

    def send(self, client: Client, rate: float, seconds: float) -> Sent:
        """Send `rate` events per second for `seconds`, each frame as soon after its time as the tick allows."""
        planned = max(1, round(rate * seconds / MESSAGES_A_FRAME))
        interval = seconds * _SECOND / planned
        late: list[int] = []
        done = 0
        begun = now = time.monotonic_ns()
        while done < planned and now - begun < seconds * _GIVE_UP * _SECOND:
            due = min(planned, int((now - begun) / interval) + 1)
            while done < due:
                late.append(time.monotonic_ns() - begun - int(done * interval))
                done += self._send_some(client, due - done)
            now = _tick_for(begun, begun + round(done * interval)) if done < planned else time.monotonic_ns()
        took = (now - begun) / _SECOND
        p50, most = (float(v) / 1000 for v in np.percentile(late, [50, 100]))
        events = MESSAGES_A_FRAME * done
        return Sent(events, MESSAGES_A_FRAME * planned, round(took, 4), seconds, round(p50, 1), round(most, 1))

    def _send_some(self, client: Client, wanted: int) -> int:
        tape = self._tape
        count = min(wanted, tape.frames - self._at, _MOST_FRAMES)
        tape.stamp(self._at, count, time.time_ns())
        client.send(tape.part(self._at, count))
        self._at = (self._at + count) % tape.frames
        return count


def _tick_for(begun: int, due: int) -> int:
    """Wait for the next tick, the first one at or after `due` if that is later, and return the time."""
    ticks = -(-(max(time.monotonic_ns(), due) - begun) // _TICK)  # rounded up
    time.sleep(max(0, begun + ticks * _TICK - time.monotonic_ns()) / _SECOND)
    return time.monotonic_ns()


# --- REST ------------------------------------------------------------------------------------------------


def rest_answer(path: str, query: dict[str, str]) -> Any:
    """Return what the vendor answers a question of ours with: half an hour of minute bars, else nothing."""
    if path == "/v2/stocks/bars":
        symbols = query.get("symbols", "").split(",")
        minutes = query.get("timeframe") == "1Min"
        bars = _history(query) if minutes else []
        return {"bars": {symbol: bars for symbol in symbols if bars}, "next_page_token": None}
    if path == "/v2/assets":
        return [_asset(symbol) for symbol in SYMBOLS]
    if path.startswith("/v2/assets/"):
        return _asset(path.rpartition("/")[2])
    if path == "/v2/stocks/snapshots":
        return {}
    return {} if path in ("/v2/account", "/v2/clock") else []


def _history(query: dict[str, str]) -> list[dict[str, Any]]:
    end = nanoseconds(query["end"]) if "end" in query else time.time_ns()
    last = end // _MINUTE * _MINUTE - _MINUTE
    starts = [last - back * _MINUTE for back in reversed(range(_HISTORY_BARS))]
    shape = {"o": 100.0, "h": 100.1, "l": 99.9, "c": 100.0, "v": 1000, "n": 10, "vw": 100.0}
    return [{"t": f"{np.datetime64(at, 's')}Z", **shape} for at in (start // _SECOND for start in starts)]


def _asset(symbol: str) -> dict[str, Any]:
    names = {"id": symbol, "symbol": symbol, "name": symbol, "class": "us_equity", "exchange": "NASDAQ"}
    facts = dict.fromkeys(("tradable", "marginable", "shortable", "easy_to_borrow", "fractionable"), True)
    return {**names, "status": "active", **facts}


# --- websocket frames ----------------------------------------------------------------------------------------


def frame(opcode: int, payload: bytes) -> bytes:
    """Return a final, unmasked frame. Source: RFC 6455, 5.2."""
    size = len(payload)
    if size < 126:
        return bytes([0x80 | opcode, size]) + payload
    length = struct.pack(">BH", 126, size) if size < 65536 else struct.pack(">BQ", 127, size)
    return bytes([0x80 | opcode]) + length + payload


def read_frame(reading: Any) -> tuple[int, bytes] | None:
    """Return opcode and payload of a client's next message, None when it has left; joins continued frames."""
    opcode, whole = 0, b""
    while True:
        head = reading.read(2)
        if len(head) < 2:
            return None
        size = head[1] & 0x7F
        if size >= 126:
            size = int.from_bytes(reading.read(2 if size == 126 else 8), "big")
        mask = reading.read(4)
        opcode = head[0] & 0x0F or opcode
        whole += _unmasked(reading.read(size), mask)
        if head[0] & 0x80:
            return opcode, whole


def _unmasked(payload: bytes, mask: bytes) -> bytes:
    size = len(payload)
    key = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
    return (int.from_bytes(payload, "big") ^ key).to_bytes(size, "big")
