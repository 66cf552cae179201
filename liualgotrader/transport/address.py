"""Where our processes find each other: socket files in the session's runtime folder."""

from __future__ import annotations

from pathlib import Path

from liualgotrader.common.errors import ConfigError

_PATH_BYTES = 107  # sun_path of <sys/un.h> without its closing zero


def socket_address(path: Path) -> str:
    """Return the path as a UNIX socket address.

    Raises:
        ConfigError: the operating system does not take addresses that long.
    """
    length = len(str(path).encode())
    if length > _PATH_BYTES:
        raise ConfigError(
            f"the runtime folder {path.parent} is too deep for sockets: {path.name} there would have {length} bytes"
            f" of at most {_PATH_BYTES}; set LIU_HOME to a shorter path"
        )
    return str(path)
