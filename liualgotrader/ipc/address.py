"""Where our processes find each other: socket files in the session's runtime folder."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from liualgotrader.common.errors import OutsideError

_PATH_BYTES = 103 if sys.platform == "darwin" else 107  # sun_path of <sys/un.h> without its closing zero
_SHORT = Path("/tmp")  # noqa: S108 - only for a link; the same for every program of a user, unlike TMPDIR and XDG_RUNTIME_DIR
_DIGITS = 16


def socket_address(path: Path) -> str:
    """Return the path of a socket as an address that the operating system takes.

    If it is too long, the address leads through a symbolic link in `/tmp` to its folder. The socket itself stays in its
    folder with that one's permissions, and the link is safe in `/tmp`, where only its owner can change it.

    Raises:
        OutsideError: another user has that name in `/tmp`.
    """
    if len(os.fsencode(path)) <= _PATH_BYTES:
        return str(path)
    link = short_link(path.parent)
    with suppress(FileExistsError):
        link.symlink_to(path.parent)
    if link.lstat().st_uid != os.geteuid() or not link.is_symlink() or link.readlink() != path.parent:
        raise OutsideError(
            f"the sockets of {path.parent} need the short name {link}, which somebody else owns: remove it, or set"
            " LIU_HOME to a shorter path"
        )
    return str(link / path.name)


def forget_address(folder: Path) -> None:
    """Remove the short name of a folder whose sockets are closed, if it has one of ours."""
    link = short_link(folder)
    with suppress(OSError):
        if link.lstat().st_uid == os.geteuid() and link.is_symlink():
            link.unlink()


def short_link(folder: Path) -> Path:
    """Return the short name that a folder of sockets gets if its own is too long."""
    return _SHORT / f"liu-sockets-{sha256(os.fsencode(folder)).hexdigest()[:_DIGITS]}"


def hold_socket(page: Path) -> Path:
    """Return where the simulated market listens for "look again"."""
    return page.with_name("hold.sock")


def wake_socket(page: Path, process: str) -> Path:
    """Return where a process listens for "your time has come"."""
    return page.with_name(f"wake-{process}.sock")
