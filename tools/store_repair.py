"""`python -m tools.store_repair`: names the files of the market-data store that are damaged; `--fix` loads them again.

A damaged file is moved aside, as `….damaged`. What it says it held is read again from where it came from: the folder, or the
vendor with the keys of the environment.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from liualgotrader.cli.common import guarded
from liualgotrader.common.clock import MINUTE, WallClock
from liualgotrader.common.config import Settings
from liualgotrader.common.errors import LiuError, OutsideError
from liualgotrader.common.market_columns import BarColumns, QuoteColumns, TradeColumns
from liualgotrader.data.data_factory import configured_data, lacks_key
from liualgotrader.data.market_fetch import VendorToStore
from liualgotrader.data.market_store import Known, MarketStore
from liualgotrader.tapes.tape_factory import market_folder

_KINDS: dict[str, Any] = {"bars": BarColumns, "trades": TradeColumns, "quotes": QuoteColumns}
_FOLDER = "folder "  # begins the source of what was imported


class Damaged(msgspec.Struct):
    """A file that is not as it was written; of one that cannot be opened it is not known what it held."""

    path: Path
    symbol: str
    kind: str
    period: int
    why: str
    known: Sequence[Known] = ()


def damaged(store: MarketStore) -> Iterator[Damaged]:
    """Yield the damaged files of the store."""
    for path in store.files():
        symbol, kind, period = store.series_of(path)
        try:
            stored = store.open(path)
            if not stored.is_as_written:
                yield Damaged(path, symbol, kind, period, "its bytes have changed since it was written", stored.known)
        except OutsideError as error:
            yield Damaged(path, symbol, kind, period, f"{error}".partition("(")[2].partition("):")[0] or f"{error}")
    for path in sorted((store.folder / "actions").glob("*.json")):
        symbol = path.stem.replace("_", "/")
        try:
            store.actions(symbol)
        except OutsideError:
            yield Damaged(path, symbol, "actions", 0, "it cannot be read", tuple(_held(store, symbol)))


def _held(store: MarketStore, symbol: str) -> Iterator[Known]:
    """Yield of what spans there are bars of a symbol, and from where: its splits and dividends came from there too."""
    for path in store.files():
        if store.series_of(path)[:2] == (symbol, "bars"):
            try:
                yield from store.open(path).known
            except OutsideError:
                continue


def load_again(store: MarketStore, settings: Settings, one: Damaged) -> str:
    """Move a file aside, read again what it held, and return what is still missing, empty if nothing is.

    Raises:
        LiuError: if its folder or the vendor does not give it.
    """
    one.path.rename(one.path.with_name(f"{one.path.name}.damaged"))
    if not one.known:
        return "what it held is not known"
    for start, end, source in one.known:
        if source.startswith(_FOLDER):
            _from_folder(store, one, start, end, source)
            continue
        vendor, name = configured_data(settings, timeout_seconds=60.0)
        if name != source or lacks_key(settings) or one.kind not in ("bars", "actions") or 0 < one.period < MINUTE:
            return f"it came from {source}, which cannot be asked for it now"
        filling = VendorToStore(store, vendor, source)
        filling.fetch([one.symbol], max(one.period, MINUTE), start, end, WallClock().now())
        if why := filling.failed.get(one.symbol):
            return why
    return ""


def _from_folder(store: MarketStore, one: Damaged, start: int, end: int, source: str) -> None:
    files, span = market_folder(source.removeprefix(_FOLDER)), (start, end)
    if one.kind == "actions":
        store.write_actions(one.symbol, files.splits(one.symbol), files.dividends(one.symbol), [span], source)
        return
    parts = [files.bars(one.symbol, one.period, *span)] if one.period else files.ticks(one.symbol, *span)
    for part in parts:
        if isinstance(part, _KINDS[one.kind]):
            store.write(one.symbol, one.period, part, [span], source)


def run(arguments: Sequence[str]) -> int:
    """Check the store, with `--fix` repair it, and return the exit status: 3 if something is damaged after that."""
    parser = argparse.ArgumentParser("store_repair", description=__doc__.partition(": ")[2])
    parser.add_argument("--fix", action="store_true", help="move damaged files aside and load them again")
    parser.add_argument("--home", help="the data folder (LIU_HOME)")
    options = parser.parse_args(arguments)
    settings = Settings.resolve({"home": options.home})
    store = MarketStore(settings.home_path / "market")
    found, left = list(damaged(store)), 0
    for one in found:
        print(f"{one.path}: {one.why}")  # noqa: T201
        missing = "run it with --fix to load it again"
        if options.fix:
            try:
                missing = load_again(store, settings, one)
            except LiuError as error:
                missing = f"{error}"
            told = f"moved aside; {missing}: import or fetch {one.symbol} again" if missing else "loaded again"
            print(f"  {told}")  # noqa: T201
        left += bool(missing)
    print(f"{len(found)} damaged, {left} left" if found else "nothing is damaged")  # noqa: T201
    return OutsideError.exit_code if left else 0


if __name__ == "__main__":
    guarded("store_repair", run)
