"""On PYTHONPATH: every process refuses to reach anything but this machine, and writes down who tried.

uvloop connects without Python's knowledge, so it is hidden; the loops fall back to asyncio's.
"""

import os
import sys

LOOPBACK = ("127.0.0.1", "::1", "localhost", "", None)


def refuse(event: str, arguments: tuple[object, ...]) -> None:
    """Let an address of this machine or of its file system pass, and nothing else."""
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    else:
        return
    if (host.decode() if isinstance(host, bytes) else host) not in LOOPBACK:
        with open(os.environ["LIU_REFUSED"], "a") as file:
            file.write(f"{os.getpid()} {event} {host}\n")
        raise ConnectionRefusedError(f"a test refuses {host}")


sys.modules["uvloop"] = None  # type: ignore[assignment]
sys.addaudithook(refuse)
