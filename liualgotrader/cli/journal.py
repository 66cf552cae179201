"""`liu journal show BATCH`: the money journal of a batch as a table."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

import msgspec

from liualgotrader.common.config import Settings
from liualgotrader.order_gateway.journal_lines import JournalLine, journal_lines, journal_path

_WIDTHS = (7, 15, 15, 14, 26, 4, 6, 4, 9, 9, 16, 0)
_COLUMNS = [name for name in JournalLine.__struct_fields__ if name != "at"]


def show(options: argparse.Namespace) -> int:
    """Print a journal and return the exit status.

    Raises:
        ConfigError: if no batch, or more than one, is meant.
        JournalDamaged: if a part of the journal cannot be read; all before it is printed.
    """
    path = journal_path(Path(options.batch), Settings.resolve({"home": options.home}).home_path / "journal")
    if not options.json:
        print(f"{path}\n" + _text(name.replace("_", " ") for name in _COLUMNS))
    order = options.order
    for record in journal_lines(path):
        lines = [line for line in record if not order or line.order == order or line.order.startswith(f"{order}-r")]
        if lines and lines[0] is not record[0]:
            lines.insert(0, record[0])  # on which something was decided about that order
        for line in lines:
            if options.json:
                sys.stdout.write(msgspec.json.encode(line).decode() + "\n")
            else:
                print(_text(str(getattr(line, name)) for name in _COLUMNS))
    return 0


def _text(cells: Iterable[str]) -> str:
    return " ".join(f"{cell:<{width}}" for cell, width in zip(cells, _WIDTHS, strict=True)).rstrip()
