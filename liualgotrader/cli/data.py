"""`liu data`: fill the market-data store, show and check what it holds, and write it out."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import date, time, timedelta
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from liualgotrader.common.calendar import FIRST_DAY, LAST_DAY, new_york
from liualgotrader.common.clock import DAY, WallClock
from liualgotrader.common.config import OPTIONS, Settings
from liualgotrader.common.errors import ConfigError, OutsideError
from liualgotrader.common.market_columns import day_numbers, times_of
from liualgotrader.data.constituents import import_constituents
from liualgotrader.data.data_base import SIMULATED
from liualgotrader.data.data_factory import configured_data, key_names, lacks_key
from liualgotrader.data.market_checks import checked, stored_series
from liualgotrader.data.market_fetch import VendorToStore
from liualgotrader.data.market_store import PERIODS, MarketStore, Span, complete_days
from liualgotrader.tapes.plain_files import FILES_OF_PERIOD

_PERIODS = {"tick": 0, **PERIODS}
_EXPORTED = {"average": "vwap"}  # what a column is called in the files
_WRONG = OutsideError.exit_code

T = TypeVar("T")


def run_data_command(options: argparse.Namespace) -> int:
    """Do what `liu data` is asked to do and return the exit status.

    Raises:
        ConfigError: if a folder, symbol or day cannot be.
        OutsideError: if a file of the store is damaged, or the vendor does not answer.
    """
    settings = Settings.resolve({"home": options.home})
    store = MarketStore(settings.home_path / "market")
    if options.command == "import-constituents":
        file = Path(options.file).expanduser()
        found = import_constituents(file, store.folder, options.index)
        newest = max(joined for _, joined, _ in found.members)
        print(f"{options.index}: {len({symbol for symbol, _, _ in found.members})} symbols, {found.first} to {newest}")
        return 0
    if options.command == "fetch":
        return _fetch(options, store, settings)
    act = {"import": _import, "list": _list, "check": _check, "export": _export}[options.command]
    return act(options, store)


def _span(options: argparse.Namespace) -> Span:
    options.first, options.last = options.first or FIRST_DAY, options.last or LAST_DAY
    if options.first > options.last:
        raise ConfigError(f"--from {options.first} lies after --to {options.last}.")
    return new_york(options.first, time()), new_york(options.last + timedelta(days=1), time())


def _symbols(options: argparse.Namespace) -> list[str]:
    return [symbol.strip().upper() for symbol in options.symbols.split(",") if symbol.strip()]


def _following(items: Sequence[T], label: str) -> Iterable[T]:
    """Yield the items, with a bar of progress on a terminal."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(items, label, console=console, transient=True, disable=not console.is_terminal)


# --- in and out ---------------------------------------------------------------------------------------------


def _import(options: argparse.Namespace, store: MarketStore) -> int:
    from liualgotrader.tapes.base import chosen_symbols
    from liualgotrader.tapes.tape_factory import market_folder

    files, source, span = market_folder(options.folder), f"folder {Path(options.folder).absolute()}", _span(options)
    periods = {name: length for name, length in _PERIODS.items() if options.period in ("", name)}
    there = {name: files.symbols(length) for name, length in periods.items()}
    chosen = chosen_symbols(_symbols(options), sorted(set().union(*there.values())), f"{options.folder}")
    rows = dict.fromkeys(periods, 0)
    for symbol in _following(chosen, "import"):
        known: list[Span] = []
        for name in (name for name in periods if symbol in there[name]):
            length = periods[name]
            for part in [files.bars(symbol, length, *span)] if length else files.ticks(symbol, *span):
                if complete := complete_days(part):
                    store.write(symbol, length, part, complete, source)
                    known += complete
                    rows[name] += len(times_of(part))
        splits, dividends = files.splits(symbol), files.dividends(symbol)
        if known and (splits or dividends):
            whole = (min(start for start, _ in known), max(end for _, end in known))
            store.write_actions(symbol, splits, dividends, [whole], source)
    for name, count in rows.items():
        if there[name]:
            print(f"{name}: {count:,} rows, symbols: {len(set(chosen) & set(there[name]))}")
    if not any(rows.values()):
        raise ConfigError(
            f"{options.folder} has nothing between {options.first} and {options.last}; nothing was imported."
        )
    return 0


def _fetch(options: argparse.Namespace, store: MarketStore, settings: Settings) -> int:
    symbols, span, period = _symbols(options), _span(options), PERIODS[options.period]
    if not symbols:
        raise ConfigError("name the symbols to fetch, with commas between them.")
    if lacks_key(settings):
        names = [OPTIONS[name].variable for name in key_names(settings.data_connector)]
        raise ConfigError(f"the data vendor wants keys: set {' and '.join(names)}.")
    data, source = configured_data(settings, timeout_seconds=60.0)
    now = data.market_time_now() if source == SIMULATED else WallClock().now()
    filling = VendorToStore(store, data, source)
    filling.fetch(symbols, period, *span, now, lambda requests: _following(requests, "fetch"))
    rows = sum(len(store.read(symbol, period, *span).open) for symbol in symbols)
    print(f"{options.period}: {rows:,} rows, symbols: {len(symbols) - len(filling.failed)}, from {source}")
    for symbol, why in filling.failed.items():
        print(f"liu data fetch: {symbol} is not complete: {why}", file=sys.stderr)
    return _WRONG if filling.failed else 0


def _export(options: argparse.Namespace, store: MarketStore) -> int:
    import pyarrow as pa
    from pyarrow import csv, parquet

    folder, span, count = Path(options.folder), _span(options), 0
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} is there already and not empty; name a new folder.")
    changes: dict[str, list[dict[str, Any]]] = {"splits": [], "dividends": []}
    series = {store.series_of(path) for path in _chosen(options, store)}

    def save(kind: str, name: str, columns: dict[str, Any]) -> None:
        path = folder / kind / f"{name}.{options.format}" if name else folder / f"{kind}.{options.format}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if options.format == "csv":
            csv.write_csv(pa.table(columns), path)
        else:
            parquet.write_table(pa.table(columns), path, compression="zstd")

    for symbol, kind, period in _following(sorted(series), "export"):
        rows: Any = store.read(symbol, period, *span) if kind == "bars" else getattr(store, kind)(symbol, *span)
        if len(times_of(rows)):
            fields = [name for name in rows.__slots__ if name not in ("symbol", "closed_at")]
            columns = {_EXPORTED.get(name, name): pa.array(getattr(rows, name)) for name in fields}
            first = fields[0]
            columns[first] = columns[first].cast(pa.timestamp("ns", tz="UTC"))
            if period == DAY:
                days = [date.fromordinal(day) for day in day_numbers(rows.opened_at).tolist()]
                columns = {"day": pa.array(days), **{n: c for n, c in columns.items() if n != first}}
            save(FILES_OF_PERIOD[period] if period else kind, symbol.replace("/", "_"), columns)
            count += len(times_of(rows))
    for symbol in sorted({symbol for symbol, _, _ in series}):
        actions: Any = store.actions(symbol)
        for kind, found in zip(changes, actions, strict=True):
            changes[kind] += [{"symbol": symbol, **asdict(change)} for change in found]
    for kind, made in changes.items():
        if made:
            save(kind, "", {name: [row[name] for row in made] for name in made[0]})
    if not count:
        raise ConfigError(
            f"the store has nothing of that between {options.first} and {options.last}; nothing was written."
        )
    print(f"{count:,} rows of {len(series)} series in {folder}")
    return 0


# --- looking ------------------------------------------------------------------------------------------------


def _chosen(options: argparse.Namespace, store: MarketStore) -> list[Path]:
    """Return the files that the options name.

    Raises:
        ConfigError: if the store has nothing of a symbol that is named.
    """
    wanted, period = set(_symbols(options)), _PERIODS.get(options.period)
    paths = [path for path in store.files() if not wanted or store.series_of(path)[0] in wanted]
    if absent := wanted - {store.series_of(path)[0] for path in paths}:
        raise ConfigError(
            f"the store {store.folder} holds nothing of {', '.join(sorted(absent))}; `liu data list` shows what it holds."
        )
    return [path for path in paths if period is None or store.series_of(path)[2] == period]


def _list(options: argparse.Namespace, store: MarketStore) -> int:
    damaged = list[OutsideError]()
    rows = stored_series(store, _chosen(options, store), damaged.append)
    for error in damaged:
        print(f"liu data list: {error}", file=sys.stderr)
    _print(options, rows, f"the store {store.folder} is empty")
    return _WRONG if damaged else 0


def _check(options: argparse.Namespace, store: MarketStore) -> int:
    paths = _chosen(options, store)
    found = [one for path in _following(paths, "check") for one in checked(store, path)]
    if options.json:
        _print(options, found, "")
    else:
        for one in found:
            at, more = f" at {one.at}" if one.at else "", f" ({one.count:,} in all)" if one.count > 1 else ""
            print(f"{one.file}: {one.symbol}{at}: {one.what}{more}")
        print(f"{len(found)} findings in {len(paths)} files" if found else f"nothing wrong in {len(paths)} files")
    return _WRONG if found else 0


def _print(options: argparse.Namespace, rows: Sequence[Any], nothing: str) -> None:
    """Print structs of one kind as a table, or one JSON object a line."""
    if options.json:
        sys.stdout.writelines(msgspec.json.encode(row).decode() + "\n" for row in rows)
    elif not rows:
        print(nothing)
    else:
        names = [field.name for field in msgspec.structs.fields(rows[0])]
        cells = [
            names,
            *([f"{v:,}" if isinstance(v := getattr(row, n), int) else f"{v}" for n in names] for row in rows),
        ]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        for line in cells:
            print("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())
