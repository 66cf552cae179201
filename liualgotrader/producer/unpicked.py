"""The symbols that were picked and let go again, kept over the producer's own death."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

import msgspec

from liualgotrader.common.files import replace_file
from liualgotrader.common.tlog import warn

log = logging.getLogger(__name__)

FILE = "producer.unpicked"


class Unpicked:
    """A small file of the batch's journal folder, replaced whole.

    While the disk takes nothing it lags: a later producer then follows a symbol that this one has let go, or waits
    until one is picked again.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self.symbols = _kept_in(self._path)
        self._stored = set(self.symbols)
        self._said = False

    def add(self, symbols: Iterable[str]) -> None:
        """Remember that these were let go."""
        self.symbols = self.symbols.union(symbols)
        self._keep()

    def discard(self, symbols: Iterable[str]) -> None:
        """Remember that these are followed (again)."""
        self.symbols = self.symbols.difference(symbols)
        self._keep()

    def _keep(self) -> None:
        if self.symbols == self._stored:
            return
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_file(self._path, msgspec.json.encode(sorted(self.symbols)))
        except OSError as error:
            if not self._said:
                warn(log, "unpicked_not_stored", error=error)
            self._said = True
        else:
            self._stored, self._said = self.symbols, False


def _kept_in(path: Path) -> set[str]:
    """Return what an earlier producer has stored; nothing if the loss of the whole machine has left half a file."""
    if not path.exists():
        return set()
    try:
        return set(msgspec.json.decode(path.read_bytes(), type=list[str]))
    except msgspec.DecodeError as error:
        warn(log, "unpicked_unreadable", error=error)
        return set()
