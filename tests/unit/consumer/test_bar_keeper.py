"""The minutes that a consumer keeps: as its strategies saw them, and no more than is allowed."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import msgspec

from liualgotrader.backtest.past_data import PastData
from liualgotrader.common.clock import DAY, MINUTE, NEVER
from liualgotrader.common.events import Bar
from liualgotrader.consumer.bar_keeper import BarKeeper
from liualgotrader.data.market_store import MarketStore
from liualgotrader.data.recorded_series import MARKET, records_of
from liualgotrader.engine.bars import Bars
from liualgotrader.supervisor.backtest_bars import BarsWanted, played_bars
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


async def test_daily_bars_that_were_asked_for_are_kept_beside_the_minutes(tmp_path: Path) -> None:
    days = [
        Bar("ABC", OPEN + n * DAY, OPEN + n * DAY + 390 * MINUTE, 10.0, 12.0, 9.0, 11.0, 5e6, 10.4, 9) for n in (1, 0)
    ]
    told: list[str] = []
    keeper = BarKeeper(tmp_path, "simulated", 10**6, told.append)
    keeper.keep(seen("ABC", 3))
    keeper.keep_days("ABC", days)
    keeper.keep_days("NONE", [])
    await keeper.close()
    store = MarketStore(tmp_path)
    found = store.read("ABC", DAY, 0, NEVER)
    assert (found.opened_at.tolist(), found.average.tolist()) == ([OPEN, OPEN + DAY], [10.4, 10.4])
    assert len(store.read("ABC", MINUTE, 0, NEVER).opened_at) == 3
    assert (told, len(list(store.files()))) == ([], 2)


async def test_a_repeated_batch_is_given_the_days_that_were_asked_for_and_the_minutes_days_after_them(
    tmp_path: Path,
) -> None:
    folder = records_of(tmp_path, "b") / MARKET
    keeper = BarKeeper(folder, "simulated", 10**6, lambda text: None)
    keeper.keep(seen("ABC", 5))
    keeper.keep_days("ABC", [Bar("ABC", OPEN - DAY, OPEN - DAY + 390 * MINUTE, 8.0, 9.0, 7.0, 8.5, 5e6, 8.2, 9)])
    keeper.keep_days("BRK.B", [Bar("BRK.B", OPEN - DAY, OPEN - DAY + 390 * MINUTE, 8.0, 9.0, 7.0, 8.5, 5e6, 8.2, 9)])
    await keeper.close()
    assert from_kept(SOURCE, "b", tmp_path) == SOURCE  # of BRK.B there are days only
    wanted = from_kept(msgspec.structs.replace(SOURCE, symbols=("ABC",)), "b", tmp_path)
    found = played_bars(wanted, tmp_path, 1)
    data = PastData(found.bars, lambda: OPEN + 3 * MINUTE, found.daily)
    days = data.bars_now(["ABC"], 0, NEVER, minutes=1440)["ABC"]
    assert [(bar.opened_at, bar.close, bar.volume) for bar in days] == [(OPEN - DAY, 8.5, 5e6), (OPEN, 10.5, 900.0)]
    assert data.bars_now(["ABC"], OPEN, NEVER, minutes=1440)["ABC"] == days[1:]


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
