"""The door for `trader status | stop | resume` and `liu kill-switch`: a socket only the owner can open.

Each session lists itself in `run/sessions/` of the data folder, in a file named like its folder, so that another
program finds its socket. A request is one JSON line `{"do": ..., ...}`, the answer one JSON line.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from liualgotrader.common.errors import ConfigError, OutsideError
from liualgotrader.common.files import replace_file
from liualgotrader.common.untrusted import MOST_LINE_BYTES, read_message
from liualgotrader.ipc.address import forget_address, socket_address
from liualgotrader.supervisor.view import View

SOCKET = "operator.sock"
_ANSWER_SECONDS = 10.0


class Listed(msgspec.Struct, frozen=True):
    """A session that says it is running."""

    pid: int
    batch_id: str
    environment: str
    day: str
    socket: str


Answer = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]


class OperatorSocket:
    """Serves one socket while it is open. Who answers may change meanwhile: no request finds the door shut."""

    def __init__(self, home: Path, run_dir: Path, batch_id: str, environment: str, day: str, answer: Answer) -> None:
        self._socket = run_dir / SOCKET
        self._entry = sessions_folder(home) / f"{run_dir.name}.json"
        self._listed = Listed(os.getpid(), batch_id, environment, day, str(self._socket))
        self._answer = answer
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Begin to listen.

        Raises:
            OutsideError: if the data folder has no room for it.
        """
        with self._making_room():
            self._socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._socket.unlink(missing_ok=True)
            self._server = await asyncio.start_unix_server(self._serve, socket_address(self._socket))
            self._socket.chmod(0o600)
            self._entry.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._list()

    def hand_over(self, batch_id: str, environment: str, day: str, answer: Answer) -> None:
        """Have a batch answer from here on, on the same socket.

        Raises:
            OutsideError: if the data folder has no room for it.
        """
        self._listed = Listed(os.getpid(), batch_id, environment, day, str(self._socket))
        self._answer = answer
        with self._making_room():
            self._list()

    def _list(self) -> None:
        replace_file(self._entry, msgspec.json.encode(self._listed))

    @contextmanager
    def _making_room(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            place = self._entry.parent.parent
            raise OutsideError(
                f"nothing can be written in {place} ({error.strerror}): make room, or set LIU_HOME to another folder"
            ) from error

    async def close(self) -> None:
        """Listen no longer."""
        with suppress(OSError):  # it was never written, or cannot be removed: nobody listens where it points to
            self._entry.unlink()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(_ANSWER_SECONDS):
                writer.write(msgspec.json.encode(await self._answered(await _line(reader))) + b"\n")
                await writer.drain()
        writer.close()

    async def _answered(self, request: bytes) -> Mapping[str, Any]:
        try:
            asked = read_message(request, most=MOST_LINE_BYTES, deepest=1)
        except ValueError as error:
            return {"error": str(error)}
        return await self._answer(asked) if isinstance(asked, dict) else {"error": "a request is a JSON object"}


async def _line(reader: asyncio.StreamReader) -> bytes:
    """Return a line, or the beginning of one that is too long: it is read to its end, so that its writer listens."""
    line = b""
    while chunk := await reader.read(MOST_LINE_BYTES):
        line = (line + chunk)[: MOST_LINE_BYTES + 1]
        if b"\n" in chunk:
            break
    return line.partition(b"\n")[0]


def sessions_folder(home: Path) -> Path:
    """Return where running sessions list themselves."""
    return home / "run" / "sessions"


def running_sessions(home: Path) -> list[Listed]:
    """Return the sessions that are alive, by batch id; entries of dead ones are removed.

    Raises:
        ConfigError: if the data folder may not be looked into, so that nobody can say.
    """
    found: list[Listed] = []
    for entry in _entries(home):
        try:
            listed = msgspec.json.decode(entry.read_bytes(), type=Listed)
        except (OSError, msgspec.DecodeError):
            continue
        if _listens(listed.socket):
            found.append(listed)
        else:
            entry.unlink(missing_ok=True)
            forget_address(Path(listed.socket).parent)
    return found


def _entries(home: Path) -> list[Path]:
    try:
        return sorted(entry for entry in sessions_folder(home).iterdir() if entry.suffix == ".json")
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise ConfigError(
            f"the data folder {home} cannot be looked into ({error.strerror}): ask as the user who runs the session"
        ) from error


def ask(session: Listed, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the session's answer; blocks.

    Raises:
        OutsideError: if it does not answer.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
            door.settimeout(_ANSWER_SECONDS)
            door.connect(socket_address(Path(session.socket)))
            door.sendall(json.dumps(dict(request)).encode() + b"\n")
            answer = door.makefile("rb").readline()
        told: dict[str, Any] = json.loads(answer)
    except (OSError, ValueError) as error:
        raise OutsideError(f"the session of batch {session.batch_id} (pid {session.pid}) does not answer") from error
    return told


def _listens(path: str) -> bool:
    """Whether somebody listens there; a door that cannot be tried may have somebody behind it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        door.settimeout(_ANSWER_SECONDS)
        try:
            door.connect(socket_address(Path(path)))
        except (ConnectionRefusedError, FileNotFoundError, NotADirectoryError):
            return False
        except (OSError, OutsideError):
            pass
    return True


def view_from(answer: Mapping[str, Any]) -> View:
    """Return the view inside an answer to `status`."""
    return msgspec.convert(answer["view"], View, strict=False)
