"""A vendor of one answer, and one whose answers are spoiled: real HTTP on this machine, for what is made of an answer."""

from __future__ import annotations

import json
import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from typing import Any

import requests


@contextmanager
def answering(answer: Callable[[str], tuple[int, bytes]]) -> Iterator[str]:
    """Serve `answer`, which makes a status and a body of a question's path and query; yield the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answer(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None:
            return

    with _serving(HTTPServer(("127.0.0.1", 0), Handler)) as url:
        yield url


@contextmanager
def spoiling(behind: str, spoil: Callable[[str, Any], Any]) -> Iterator[str]:
    """Serve what the vendor `behind` an address answers; `spoil` makes of a GET's path and answer what is told instead.

    Websockets pass as they are.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.headers.get("Upgrade"):
                return self._tunnel()
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {
                name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")
            }
            told = requests.request(self.command, behind + self.path, data=body, headers=headers, timeout=10)
            found = told.content
            if self.command == "GET" and told.ok:
                found = json.dumps(spoil(self.path, told.json())).encode()
            self.send_response(told.status_code)
            self.send_header("Content-Length", str(len(found)))
            self.end_headers()
            self.wfile.write(found)

        do_POST = do_PATCH = do_DELETE = do_GET

        def _tunnel(self) -> None:
            """Carry a websocket's bytes both ways until one side ends it."""
            host, port = behind.removeprefix("http://").split(":")
            with socket.create_connection((host, int(port))) as other:
                other.sendall(f"{self.requestline}\n{self.headers}".replace("\n", "\r\n").encode())
                ends = {self.connection: other, other: self.connection}
                while heard := [(end, end.recv(65536)) for end in select.select(list(ends), [], [])[0]]:
                    if not all(data for _, data in heard):
                        break
                    for end, data in heard:
                        ends[end].sendall(data)
            self.close_connection = True

        def log_message(self, *words: object) -> None:
            return

    with _serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as url:
        yield url


@contextmanager
def _serving(server: HTTPServer) -> Iterator[str]:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(60)
        server.server_close()
