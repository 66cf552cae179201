"""The symbols that were picked and let go again, kept over the producer's own death."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

FILE = "producer.unpicked"


class Unpicked:
    """A small file of the batch's journal folder, replaced whole."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self.symbols = (
            set(msgspec.json.decode(self._path.read_bytes(), type=list[str])) if self._path.exists() else set()
        )

    def add(self, symbols: Iterable[str]) -> None:
        """Remember that these were let go."""
        self._keep(self.symbols.union(symbols))

    def discard(self, symbols: Iterable[str]) -> None:
        """Remember that these are followed (again)."""
        self._keep(self.symbols.difference(symbols))

    def _keep(self, symbols: set[str]) -> None:
        if symbols == self.symbols:
            return
        self.symbols = symbols
        fresh = self._path.with_suffix(".new")
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh.write_bytes(msgspec.json.encode(sorted(symbols)))
        fresh.replace(self._path)
