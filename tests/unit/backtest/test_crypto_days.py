"""Backtests of crypto: days of 24 hours in UTC, every day of the week, parts of coins, and no close to be flat for."""

from __future__ import annotations

import csv
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from liualgotrader.backtest import Result, run_backtest
from liualgotrader.backtest.past_data import PastData
from liualgotrader.cli import backtester
from liualgotrader.common.calendar import round_the_clock
from liualgotrader.common.clock import DAY, MINUTE, NEVER, instant
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.market_columns import BarColumns
from liualgotrader.data.market_store import MarketStore
from liualgotrader.strategies.base import Strategy, StrategyType

FRIDAY, SUNDAY = date(2024, 3, 8), date(2024, 3, 10)  # New York's clocks change on that Sunday
MIDNIGHT = instant(datetime(2024, 3, 8, tzinfo=UTC))
PAIR = "BTC/USD"


def rising(days: int = 3) -> BarColumns:
    """Return minutes round the clock, each a dollar higher than the one before, of a hundred coins."""
    count = days * 1440
    opened = MIDNIGHT + np.arange(count) * MINUTE
    price = 60_000.0 + np.arange(count)
    volume = np.full(count, 100.0)
    columns: Any = (opened, opened + MINUTE, price, price + 2, price - 2, price + 1, volume, price, volume)
    return BarColumns(PAIR, *columns)


class DayTrader(Strategy):
    """Buys a part of a coin on the fifth minute and sells it on the last one of Saturday."""

    strategy_type = StrategyType.DAY_TRADE

    def on_bar(self, ctx: Any, bar: Any) -> None:
        if bar.closed_at == MIDNIGHT + 5 * MINUTE:
            ctx.buy("0.123456789")
        elif bar.closed_at == MIDNIGHT + 2 * DAY:
            ctx.close()


def played(strategy: type[Strategy] = DayTrader, **more: Any) -> Result:
    return run_backtest(strategy, data={PAIR: rising()}, asset="crypto", **more)


@pytest.mark.parity(49)
def test_every_day_has_24_hours_of_utc() -> None:
    days = round_the_clock(FRIDAY, SUNDAY)
    assert [day.day for day in days] == [FRIDAY, date(2024, 3, 9), SUNDAY]
    assert [day.opens_at for day in days] == [MIDNIGHT, MIDNIGHT + DAY, MIDNIGHT + 2 * DAY]
    assert {day.minutes for day in days} == {1440}
    with pytest.raises(ConfigError, match="No sessions are known for 1997-12-31"):
        round_the_clock(date(1997, 12, 31), SUNDAY)


def test_a_day_trade_is_kept_over_midnight_and_trades_at_the_open_of_the_next_minute_in_parts() -> None:
    result = played(buy_fee_percentage="0.25", sell_fee_percentage="0.15")
    rows = result.outcome.executions
    assert [(row.at, row.operation, row.quantity, row.price) for row in rows] == [
        (MIDNIGHT + 5 * MINUTE, "buy", Decimal("0.123456789"), Decimal(60_005)),
        (MIDNIGHT + 2 * DAY, "sell", Decimal("0.123456789"), Decimal(62_880)),  # ordered on Saturday's last bar
    ]
    # 7,408.02 and 7,762.96 dollars were traded; a fee is rounded up to a cent
    assert [row.fee for row in rows] == [Decimal("18.53"), Decimal("11.65")]
    assert result.summary.total.gain == Decimal("324.76")  # 354.94 less the fees, to the cent
    assert (result.summary.sessions, result.summary.bars, result.summary.first_day) == (3, 3 * 1440, FRIDAY)
    assert "DayTrader: crypto has no close, so DAY_TRADE positions are kept until their strategy closes them" in (
        result.warnings
    )


def test_a_year_has_365_such_days() -> None:
    result = played()
    equity = result.equity.to_numpy()
    returns = equity[1:] / equity[:-1] - 1
    assert result.summary.account.volatility == pytest.approx(np.std(returns, ddof=1) * 365**0.5)
    grown = 1 + (result.summary.account.total_return or 0)
    assert result.summary.account.annual_growth == pytest.approx(grown ** (365 / 3) - 1)


def test_what_is_not_held_cannot_be_sold() -> None:
    class Shorts(Strategy):
        strategy_type = StrategyType.SWING

        def on_bar(self, ctx: Any, bar: Any) -> None:
            if bar.closed_at == MIDNIGHT + 5 * MINUTE:
                ctx.sell(1)

    bars = rising()
    prices = [getattr(bars, name) / 100 for name in ("open", "high", "low", "close")]
    columns: Any = (bars.opened_at, bars.closed_at, *prices, bars.volume, prices[0], bars.count)
    cheap = BarColumns("LTC/USD", *columns)
    result = run_backtest(Shorts, data={"LTC/USD": cheap}, asset="crypto")
    assert result.outcome.executions == []
    assert result.outcome.exit_code == 5
    assert "short" in result.sentence + " ".join(result.warnings)


def test_bars_of_a_day_span_it_and_trade_from_its_open_to_its_close() -> None:
    class Holds(Strategy):
        strategy_type = StrategyType.SWING

        def on_bar(self, ctx: Any, bar: Any) -> None:
            if not ctx.position:
                ctx.buy("0.1", time_in_force="gtc")

    days = MIDNIGHT + np.arange(3) * DAY
    price = np.array([60_000.0, 61_000.0, 62_000.0])
    many = np.full(3, 1000.0)
    columns: Any = (days, days + DAY, price, price + 500, price - 500, price + 100, many, price, many)
    bars = BarColumns(PAIR, *columns)
    result = run_backtest(Holds, data={PAIR: bars}, asset="crypto")
    assert [(row.at, row.quantity, row.price) for row in result.outcome.executions] == [
        (MIDNIGHT + DAY, Decimal("0.1"), Decimal(61_000))
    ]
    assert (result.summary.first_day, result.summary.last_day) == (FRIDAY, SUNDAY)


def program(folder: Path, *arguments: str) -> Any:
    (folder / "holds.py").write_text(
        "from liualgotrader.strategies.base import Strategy, StrategyType\n\n"
        "class Holds(Strategy):\n    strategy_type = StrategyType.SWING\n\n"
        "    def on_bar(self, ctx, bar):\n        ctx.position or ctx.open_orders or ctx.buy('0.01')\n"
    )
    (folder / "tradeplan.toml").write_text('[strategies.Holds]\nfilename = "holds.py"\n')
    more = ("--asset", "crypto", "--no-database", "--json", "--home", str(folder))
    span = ("from", f"{FRIDAY}", "--to", f"{SUNDAY}", "--tradeplan", str(folder / "tradeplan.toml"))
    return backtester.run([*span, *more, *arguments])


def test_an_invented_market_has_pairs_at_their_usual_prices_with_parts_of_coins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program(tmp_path, "--generated", "3", "--scale", "minute", "--symbols", "btcusd,ETH/USD") == 0
    told = json.loads(capsys.readouterr().out)["summary"]
    assert told["bars"] == 2 * 3 * 1440
    (bitcoin, ether) = told["open"]
    assert (bitcoin["symbol"], bitcoin["quantity"], ether["symbol"]) == ("BTC/USD", 0.01, "ETH/USD")
    assert 10_000 < bitcoin["entry"] < 360_000 and 500 < ether["entry"] < 18_000


@pytest.mark.parametrize("scale", ["minute", "day"])
def test_a_folder_has_a_file_for_each_pair_and_a_day_is_the_sum_of_its_minutes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], scale: str
) -> None:
    bars = rising()
    (tmp_path / "data" / "bars").mkdir(parents=True)
    with (tmp_path / "data" / "bars" / "BTC_USD.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("opened_at", "open", "high", "low", "close", "volume"))
        columns = (bars.opened_at, bars.open, bars.high, bars.low, bars.close, bars.volume)
        rows.writerows(zip(*(column.tolist() for column in columns), strict=True))
    assert program(tmp_path, "--data", str(tmp_path / "data"), "--scale", scale, "--benchmark", "BTCUSD") == 0
    told = json.loads(capsys.readouterr().out)["summary"]
    assert told["bars"] == {"minute": 3 * 1440, "day": 3}[scale]
    assert told["benchmark"]["last"] == 60_000 + 3 * 1440
    assert told["open"][0]["entry"] == {"minute": 60_001, "day": 61_440}[scale]


def test_daily_bars_of_a_weekend_are_read_and_the_store_s_minutes_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    lines = (f"BTC/USD,2024-03-{day:02},{n},{n},{n},{n},9" for n, day in enumerate((8, 9, 10), 100))
    (tmp_path / "data" / "daily.csv").write_text("\n".join(["symbol,day,open,high,low,close,volume", *lines]))
    assert program(tmp_path, "--data", str(tmp_path / "data")) == 0
    assert json.loads(capsys.readouterr().out)["summary"]["open"][0]["entry"] == 101
    bars = rising()
    MarketStore(tmp_path / "market").write(PAIR, MINUTE, bars, [(MIDNIGHT, MIDNIGHT + 3 * DAY)], "a test")
    assert program(tmp_path, "--scale", "minute", "--symbols", "btcusd") == 0
    assert json.loads(capsys.readouterr().out)["summary"]["open"][0]["entry"] == 60_001


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--scale", "minute", "--detail", "tick", "--generated"), "crypto is played on bars of minutes and days only"),
        (("--scale", "tick", "--generated"), "crypto is played on bars of minutes and days only"),
        (("--generated", "11"), "A generated market of crypto has 1 to 10 symbols, not 11"),
        (("--generated", "--symbols", "AAPL"), "holds nothing for AAPL; it has AAVE/USD"),
    ],
)
def test_what_there_is_not_is_one_sentence(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        program(tmp_path, *arguments)


def test_scanners_and_loaders_are_told_of_days_of_utc() -> None:
    at = MIDNIGHT + DAY + 2 * MINUTE  # 19:02 of Friday in New York, two minutes into Saturday
    data = PastData({PAIR: rising()}, lambda: at, utc=True)
    told = data.snapshots_now([PAIR])[PAIR]
    assert (today := told.daily_bar) is not None and (before := told.previous_daily_bar) is not None
    assert (today.open, today.close, today.volume) == (61_440, 61_442, 200)
    assert (before.open, before.close, before.volume) == (60_000, 61_440, 144_000)
    days = data.bars_now([PAIR], 0, NEVER, minutes=1440)[PAIR]
    assert [(bar.opened_at, bar.close) for bar in days] == [(MIDNIGHT, 61_440), (MIDNIGHT + DAY, 61_442)]
