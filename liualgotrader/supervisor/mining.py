"""Runs the miners of miner.toml one after the other."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

import msgspec

from liualgotrader.common import config
from liualgotrader.common.calendar import day_of
from liualgotrader.common.clock import DAY, WallClock
from liualgotrader.common.config import Settings
from liualgotrader.common.errors import ConfigError, DataUnavailable, LiuError, OutsideError
from liualgotrader.common.events import Bar
from liualgotrader.common.plugins import build, load_class, one_line
from liualgotrader.common.ports import Asset, SymbolSnapshot
from liualgotrader.common.tradeplan import read_toml
from liualgotrader.common.types import TimeScale
from liualgotrader.data.data_base import DataAPI
from liualgotrader.data.loader import DataLoader
from liualgotrader.miners.base import Miner, MinerServices
from liualgotrader.store.database import set_pool
from liualgotrader.supervisor.backtest_bars import BarsWanted, played_bars
from liualgotrader.supervisor.request import TraderRequest
from liualgotrader.supervisor.session_database import existing_record, open_record

BUILT_IN = {  # by the name of a table without underscores, in small letters
    "gainloss": ("gainloss", "Gainloss"),
    "dailyohlc": ("daily_ohlc", "DailyOHLC"),
    "stockcluster": ("stock_cluster", "StockCluster"),
    "portfolio": ("portfolio_builder", "PortfolioBuilder"),
}


class MiningRequest(msgspec.Struct, frozen=True):
    """What `market_miner` was asked for."""

    file: Path
    only: tuple[str, ...] = ()  # names of tables; empty: all
    data: str = ""  # a folder of recorded days, instead of the configured vendor
    generated: int | None = None  # symbols of an invented market
    seed: int = 0
    simulated: bool = False  # the database of simulated sessions
    dsn_given: bool = False
    dry_run: bool = False  # only say what each would do


def read_miners(file: Path, only: Sequence[str] = ()) -> dict[str, Miner]:
    """Return the miners of a file by the names of their tables, in its order.

    Raises:
        ConfigError: naming file and table.
    """
    tables = read_toml(file, "miner file", "name yours with --file; docs/miners.md shows one").get("miners")
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise ConfigError(f"{file} has no [miners.…] table")
    if unknown := [name for name in only if name not in tables]:
        raise ConfigError(f"{file} has no [miners.{unknown[0]}]; it has {', '.join(tables) or 'none'}")
    return {name: _made(file, name, table) for name, table in tables.items() if name in (only or tables)}


def _made(file: Path, name: str, table: Mapping[str, Any]) -> Miner:
    where = f"{file.name}: [miners.{name}]"
    folded = name.replace("_", "").lower()
    if "filename" in table and not (folded == "stockcluster" and str(table["filename"]).endswith(".csv")):
        kind = load_class(Miner, name[:1].upper() + name[1:], table["filename"], file.parent, table=f"miners.{name}")  # type: ignore[type-abstract]
    elif folded in BUILT_IN:
        module, class_name = BUILT_IN[folded]
        kind = getattr(import_module(f"liualgotrader.miners.{module}"), class_name)
    else:
        raise ConfigError(
            f"{where}: there is no such miner; name its file with `filename`, or use {', '.join(BUILT_IN)}"
        )
    debug, takes = bool(table.get("debug", False)), signature(kind).parameters
    if "data" in takes:
        given: dict[str, Any] = {"data": dict(table)}
    else:
        given = {key: value for key, value in table.items() if key not in ("filename", "debug")}
    if "debug" in takes:
        given["debug"] = debug
    return build(kind, given, table=f"miners.{name}")


async def mine(
    settings: Settings, request: MiningRequest, say: Callable[[str], None], show: Callable[[int, int], None]
) -> None:
    """Run the miners in order, or only let each say what it would do; what one has written stays if a later one fails.

    Raises:
        LiuError: naming the miner that could not go on; those after it are not run.
    """
    miners = read_miners(request.file, request.only)
    wanted = TraderRequest(simulate=request.simulated, dsn_given=request.dsn_given)
    record = await existing_record(settings, wanted) if request.dry_run else await open_record(settings, wanted)
    if record is None:
        raise ConfigError("there is no database yet that a dry run could look into: `liu db migrate` makes it")
    set_pool(record.store.pool)  # type: ignore[attr-defined]
    config.show_pool(record.store.pool)  # type: ignore[attr-defined]
    market = settings.home_path / "market"
    services = MinerServices(
        store=record.store,
        loader=lambda: _loader(request, market),
        today=day_of(WallClock().now()),
        polygon_key=settings.polygon_key,
        say=say,
        show=show,
        folder=request.file.resolve().parent,
        market=market,
    )
    try:
        for name, miner in miners.items():
            miner.services = services
            await _run(name, miner, say, dry=request.dry_run)
    finally:
        set_pool(None)
        config.show_pool(None)
        await record.close()


async def _run(name: str, miner: Miner, say: Callable[[str], None], *, dry: bool) -> None:
    finished: bool | None = True
    try:
        if dry:
            say(f"{name}: {await miner.would_do()}")
        else:
            say(f"*** {name} ***")
            finished = await miner.run()
    except LiuError as error:
        raise type(error)(f"miner {name}: {error}") from error
    except (ValueError, LookupError) as error:
        raise OutsideError(f"miner {name}: {one_line(error)}") from error
    except Exception as error:
        at = traceback.extract_tb(error.__traceback__)[-1]
        raise OutsideError(f"miner {name} raised {one_line(error)} ({Path(at.filename).name}:{at.lineno})") from error
    if finished is False:
        raise OutsideError(f"miner {name} says that it could not do its job; those after it were not run")


def _loader(request: MiningRequest, market: Path) -> DataLoader:
    if request.data or request.generated is not None:
        return DataLoader(TimeScale.day, data_api=FolderDays(request, market))
    return DataLoader(TimeScale.day)


class FolderDays(DataAPI):
    """The daily bars of a folder, or of an invented market, as a vendor's."""

    def __init__(self, request: MiningRequest, market: Path) -> None:
        self._request, self._market = request, market

    def bars_now(self, symbols: Sequence[str], start: int, end: int, *, minutes: int) -> Mapping[str, Sequence[Bar]]:
        last = day_of(end - 1)
        found: dict[str, Sequence[Bar]] = {}
        for symbol in symbols:
            try:
                wanted = BarsWanted(
                    first=day_of(start),
                    last=last,
                    period=DAY,
                    data=self._request.data,
                    generated=self._request.generated,
                    symbols=(symbol,),
                    seed=self._request.seed,
                )
                found[symbol] = played_bars(wanted, self._market, 0).as_of(last)[symbol].bars()
            except ConfigError as error:
                if not Path(self._request.data).is_dir():
                    raise DataUnavailable(str(error)) from error
        return found

    def snapshots_now(self, symbols: Sequence[str]) -> Mapping[str, SymbolSnapshot]:
        return {}

    def assets_now(self) -> Mapping[str, Asset]:
        return {}
