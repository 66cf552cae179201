"""What a session answers to `trader status | stop | resume`, `liu kill-switch` and `liu positions`, on a socket of its own.

Each session lists itself in `run/sessions/` of the data folder, in a file named like its folder, so that another
program finds its socket, which only the owner can open. A request is one JSON line `{"do": ..., ...}`, the answer one
JSON line.
"""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import shutil
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from liualgotrader.common.errors import ConfigError, LiuError, OutsideError
from liualgotrader.common.files import replace_file
from liualgotrader.common.untrusted import MOST_LINE_BYTES, read_message
from liualgotrader.ipc.address import forget_address, socket_address

SOCKET = "operator.sock"
_ANSWER_SECONDS = 10.0
_FOLDER = "trader-"  # and the process id
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid
ASKED_BY, THROUGH = "asked_by", "through"  # in a request: the user, and what the program that asks says it is

Answer = Mapping[str, Any]
Answering = Callable[[Mapping[str, Any]], Awaitable[Answer]]


class ListedSession(msgspec.Struct, frozen=True):
    """A session that says it is running."""

    pid: int
    batch_id: str
    environment: str
    day: str
    socket: str


class OperatorSocket:
    """The socket of one `trader`. Who answers may change, and no request finds it closed meanwhile."""

    def __init__(self, home: Path, environment: str, answer: Answering) -> None:
        pid = os.getpid()
        self._home, self._answer = home, answer
        self._folder = home / "run" / f"{_FOLDER}{pid}"
        self._socket = self._folder / SOCKET
        self._entry = sessions_folder(home) / f"{self._folder.name}.json"
        self._listed = ListedSession(pid, f"waiting-{pid}", environment, "", str(self._socket))
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Begin to listen.

        Raises:
            OutsideError: if the data folder has no room for it.
        """
        with self._full_disk_named():
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._socket.unlink(missing_ok=True)
            self._server = await asyncio.start_unix_server(self._serve, socket_address(self._socket))
            self._socket.chmod(0o600)
            self._entry.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_file(self._entry, msgspec.json.encode(self._listed))

    def hand_over(self, batch_id: str, day: str, answer: Answering) -> None:
        """Let a batch answer from now on, on the same socket.

        Raises:
            OutsideError: if the data folder has no room for it.
        """
        self._listed = msgspec.structs.replace(self._listed, batch_id=batch_id, day=day)
        self._answer = answer
        with self._full_disk_named():
            replace_file(self._entry, msgspec.json.encode(self._listed))

    async def close(self) -> None:
        """Listen no longer; safe to repeat."""
        with suppress(OSError):  # it was never written, or cannot be removed: nothing listens at that address
            self._entry.unlink()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
        shutil.rmtree(self._folder, ignore_errors=True)
        forget_address(self._folder)

    @contextmanager
    def _full_disk_named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            place = self._home / "run"
            raise OutsideError(
                f"nothing can be written in {place} ({error.strerror}): make room, or set LIU_HOME to another folder"
            ) from error

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(_ANSWER_SECONDS):
                try:
                    request = read_message(await _line(reader), most=MOST_LINE_BYTES, deepest=1)
                except ValueError as error:
                    answer: Answer = {"error": str(error)}
                else:
                    valid = isinstance(request, dict)
                    answer = {"error": "a request is a JSON object"}
                    if valid:
                        answer = await self._answer({**request, ASKED_BY: _user_of(writer)})
                writer.write(msgspec.json.encode(answer) + b"\n")
                await writer.drain()
        writer.close()


def _user_of(writer: asyncio.StreamWriter) -> str:
    """Return the name of the user whose program asks: the system tells, where it can; only we and root can open the socket."""
    uid = os.getuid()
    if option := getattr(socket, "SO_PEERCRED", None):
        told = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, option, _CREDENTIALS.size)
        _, uid, _ = _CREDENTIALS.unpack(told)
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


async def _line(reader: asyncio.StreamReader) -> bytes:
    """Return a line, or the beginning of one that is too long: it is read to its end, so that its writer listens."""
    line = b""
    while chunk := await reader.read(MOST_LINE_BYTES):
        line = (line + chunk)[: MOST_LINE_BYTES + 1]
        if b"\n" in chunk:
            break
    return line.partition(b"\n")[0]


# --- for programs that ask ---------------------------------------------------------------------------------


def sessions_folder(home: Path) -> Path:
    """Return where running sessions list themselves."""
    return home / "run" / "sessions"


def running_sessions(home: Path) -> list[ListedSession]:
    """Return the sessions that are alive, by batch id; entries of dead ones are removed.

    Raises:
        ConfigError: if the data folder may not be looked into, so that the answer is unknown.
    """
    found: list[ListedSession] = []
    try:
        entries = sorted(entry for entry in sessions_folder(home).iterdir() if entry.suffix == ".json")
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise ConfigError(
            f"the data folder {home} cannot be read ({error.strerror}): ask as the user who runs the session"
        ) from error
    for entry in entries:
        try:
            listed = msgspec.json.decode(entry.read_bytes(), type=ListedSession)
        except (OSError, msgspec.DecodeError):
            continue
        try:
            with _connected(listed):
                found.append(listed)
        except (ConnectionRefusedError, FileNotFoundError, NotADirectoryError):
            entry.unlink(missing_ok=True)
            forget_address(Path(listed.socket).parent)
        except (OSError, OutsideError):  # a socket that cannot be tried counts as served
            found.append(listed)
    return found


def remove_killed(home: Path) -> None:
    """Remove the sockets of programs that were killed."""
    try:
        listening = {Path(session.socket).parent for session in running_sessions(home)}
    except LiuError:  # what cannot be looked into is left as it is
        return
    for folder in set((home / "run").glob(f"{_FOLDER}*")) - listening:
        try:
            os.kill(int(folder.name.removeprefix(_FOLDER)), 0)
        except (ProcessLookupError, OverflowError):
            shutil.rmtree(folder, ignore_errors=True)
            forget_address(folder)
        except (OSError, ValueError):  # another user's process, or a name that is not ours
            pass


def ask(session: ListedSession, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the session's answer; blocks.

    Raises:
        OutsideError: if it does not answer.
    """
    try:
        with _connected(session) as client:
            client.sendall(json.dumps(dict(request)).encode() + b"\n")
            answer = client.makefile("rb").readline()
        content: dict[str, Any] = json.loads(answer)
    except (OSError, ValueError) as error:
        raise OutsideError(f"the session of batch {session.batch_id} (pid {session.pid}) does not answer") from error
    return content


@contextmanager
def _connected(session: ListedSession) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(_ANSWER_SECONDS)
        client.connect(socket_address(Path(session.socket)))
        yield client
