"""Writes small folders in the Lean data format, for tests that must not need recorded data."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

MS_0930 = 34_200_000


@dataclass(frozen=True, slots=True)
class LeanFolder:
    """A data folder under construction; rows are the CSV lines as the format has them."""

    root: Path

    def intraday(self, resolution: str, symbol: str, day: str, kind: str, rows: Iterable[str]) -> None:
        """Write tick, second or minute rows; `day` is YYYYMMDD, `kind` trade or quote."""
        self._zip(self.root / resolution / symbol.lower() / f"{day}_{kind}.zip", f"{day}_{kind}.csv", rows)

    def daily(self, symbol: str, rows: Iterable[str]) -> None:
        """Write a daily file."""
        self._zip(self.root / "daily" / f"{symbol.lower()}.zip", f"{symbol.lower()}.csv", rows)

    def map_file(self, symbol: str, rows: Iterable[str]) -> None:
        """Write a map file."""
        path = self.root / "map_files" / f"{symbol.lower()}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(rows))

    def _zip(self, path: Path, name: str, rows: Iterable[str]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name, "\n".join(rows))
