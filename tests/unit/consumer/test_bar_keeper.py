"""The minutes that a consumer keeps: as its strategies saw them, and no more than is allowed."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from liualgotrader.common.clock import MINUTE
from liualgotrader.common.events import Bar
from liualgotrader.consumer.bar_keeper import BarKeeper
from liualgotrader.data.market_store import MarketStore
from liualgotrader.data.recorded_series import MARKET, records_of
from liualgotrader.engine.bars import Bars
from liualgotrader.supervisor.backtest_bars import BarsWanted
from liualgotrader.supervisor.repeating import from_kept

OPEN = 1_710_250_200_000_000_000  # 2024-03-12 09:30 New York
SOURCE = BarsWanted(
    first=date(2024, 3, 12), last=date(2024, 3, 12), generated=8, of_session=True, symbols=("ABC", "BRK.B")
)


def seen(symbol: str, count: int) -> Bars:
    bars = Bars(symbol)
    opened = (OPEN + n * MINUTE for n in range(count))
    bars.preload([Bar(symbol, at, at + MINUTE, 10.0, 11.0, 9.0, 10.5, 300.0, 10.25, 7) for at in opened])
    return bars


async def kept(folder: Path, most: int, *series: Bars) -> list[str]:
    told: list[str] = []
    keeper = BarKeeper(folder, "simulated", most, told.append)
    for bars in series:
        keeper.keep(bars)
    await keeper.close()
    return told


async def test_bars_are_kept_and_grow_when_a_symbol_is_followed_again(tmp_path: Path) -> None:
    assert await kept(tmp_path, 10**6, seen("BRK.B", 3), seen("NONE", 0)) == []
    assert await kept(tmp_path, 10**6, seen("BRK.B", 5)) == []
    store = MarketStore(tmp_path)
    bars = store.read("BRK.B", MINUTE, OPEN, OPEN + 390 * MINUTE)
    assert bars.opened_at.tolist() == [OPEN + n * MINUTE for n in range(5)]
    assert (bars.close[-1], bars.average[-1], bars.count[-1]) == (10.5, 10.25, 7)
    assert len(list(store.files())) == 1


async def test_what_is_more_than_allowed_is_left_out_and_said_once(tmp_path: Path) -> None:
    told = await kept(tmp_path, 50_000, *(seen(symbol, 390) for symbol in ("AAA", "BBB", "CCC")))
    assert told == [
        "the minutes of BBB and of the symbols after it are not kept beside the batch: LIU_KEEP_BARS_MB says how much is"
    ]
    assert [path.stem for path in MarketStore(tmp_path).files()] == ["AAA"]
    assert await kept(tmp_path / "off", 0, seen("AAA", 390)) == []
    assert not (tmp_path / "off").exists()


async def test_a_disk_that_takes_nothing_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / "full").write_text("")
    assert await kept(tmp_path / "full", 10**6, seen("AAA", 5)) == []


async def test_a_batch_that_did_not_keep_every_symbol_is_played_from_where_it_came(tmp_path: Path) -> None:
    folder = records_of(tmp_path, "b") / MARKET
    await kept(folder, 10**6, seen("BRK.B", 5))
    assert from_kept(SOURCE, "b", tmp_path) == SOURCE  # its process was killed before it came to ABC
    await kept(folder, 10**6, seen("ABC", 5))
    found = from_kept(SOURCE, "b", tmp_path)
    assert (found.kept, found.generated, found.of_session) == (str(folder), None, False)
    assert from_kept(SOURCE, "other", tmp_path) == SOURCE
