"""Miners without a database: their figures against other libraries, their tables, and their sentences."""

from __future__ import annotations

import math
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import talib
from hypothesis import given
from hypothesis import strategies as st

from liualgotrader.common.errors import ConfigError
from liualgotrader.data.constituents import constituents, import_constituents
from liualgotrader.miners.daily_ohlc import DailyOHLC, indicator
from liualgotrader.miners.portfolio_builder import PortfolioBuilder, RankedHolding, average_true_range
from liualgotrader.miners.stock_cluster import StockCluster, division_of, read_companies
from liualgotrader.supervisor.mining import read_miners

BUILDER = {"rank_days": 20, "atr_days": 5, "portfolio_size": 10_000.0, "risk_factor": 0.01}


def bars(closes: Any, spread: float = 1.0) -> pd.DataFrame:
    close = np.asarray(closes, dtype=float)
    return pd.DataFrame({"open": close, "high": close + spread, "low": close - spread, "close": close, "volume": 100.0})


walks = st.integers(0, 2**32 - 1).map(lambda seed: 50 * np.cumprod(1 + np.random.default_rng(seed).normal(0, 0.01, 90)))


def test_companies_are_looked_up_twenty_at_a_time_or_as_many_as_are_set() -> None:
    miner = StockCluster()
    assert miner.num_workers == 20
    miner.num_workers = 100
    assert miner.num_workers == 100
    for wrong in (0, 101):
        with pytest.raises(ValueError, match=f"num_workers is {wrong}; it must be 1 to 100"):
            miner.num_workers = wrong


@given(walks)
def test_the_average_true_range_is_that_of_ta_lib(closes: Any) -> None:
    frame = bars(closes)
    high, low, close = (frame[name].to_numpy() for name in ("high", "low", "close"))
    expected = talib.ATR(high, low, close, timeperiod=14)[-1]
    assert average_true_range(frame, 14) == pytest.approx(expected, rel=1e-9)


@pytest.mark.slow  # importing SciPy
@given(walks)
def test_a_ranking_is_the_regression_of_daily_returns_on_time(closes: Any) -> None:
    from scipy.stats import linregress

    returns = (np.diff(closes) / closes[:-1])[-20:]
    found = PortfolioBuilder(BUILDER).holding("A", bars(closes))
    if found is not None:
        expected = linregress(range(20), returns)
        assert (found.slope, found.r) == (pytest.approx(expected.slope), pytest.approx(expected.rvalue))
        assert found.slope > 0
        assert found.qty == int(100 // found.atr)
        assert found.est == pytest.approx(found.qty * closes[-1])


def test_what_falls_jumped_lies_below_its_average_or_is_too_young_is_left_out() -> None:
    quickening = 100 + 0.0005 * np.arange(120.0) ** 2
    kept = PortfolioBuilder(BUILDER | {"indicators": ["SMA100"]})
    assert kept.holding("A", bars(quickening)) is not None
    assert kept.holding("A", bars(quickening[:100])) is None
    assert kept.holding("A", bars(quickening[::-1])) is None
    assert kept.holding("A", bars(np.full(120, 5.0))) is None
    below = np.concatenate([np.full(80, 112.0), 100 + 0.005 * np.arange(40.0) ** 2])
    assert PortfolioBuilder(BUILDER).holding("A", bars(below)) is not None
    assert kept.holding("A", bars(below)) is None
    jumped = quickening.copy()
    jumped[60] = 130
    assert kept.holding("A", bars(jumped)) is None


def test_the_best_ranked_are_taken_until_the_money_is_used_up() -> None:
    def holding(symbol: str, rank: float, est: float) -> RankedHolding:
        return RankedHolding(symbol, 1, rank, rank, 1, 1, est)

    every = [holding("C", 1, 10), holding("A", 3, 6_000), holding("B", 2, 5_000), holding("D", 4, 3_000)]
    assert [h.symbol for h in PortfolioBuilder(BUILDER).affordable(every)] == ["D", "A"]


def test_indicators_are_ta_libs_by_name_with_the_period_behind_it() -> None:
    frame = bars(50 + np.sin(np.arange(80.0)))
    close = frame["close"].to_numpy()
    assert np.array_equal(indicator("SMA10")(frame)["SMA10"], talib.SMA(close, 10), equal_nan=True)
    assert np.array_equal(indicator("rsi_7")(frame)["rsi_7"], talib.RSI(close, 7), equal_nan=True)
    mama, fama = talib.MAMA(close)
    found = indicator("mama")(frame)
    assert list(found) == ["mama", "fama"]
    assert np.array_equal(found["mama"], mama, equal_nan=True)
    assert np.array_equal(found["fama"], fama, equal_nan=True)


@pytest.mark.parametrize(
    ("code", "division"),
    [
        ("3571", "Manufacturing"),
        ("7372", "Services"),
        ("6021", "Finance, Insurance, Real Estate"),
        ("5311", "Retail Trade"),
    ]
    + [(code, "") for code in ("", "12", "abcd", "0000")],
)
def test_a_sector_is_the_division_of_the_sic_code(code: str, division: str) -> None:
    assert division_of(code) == division


@pytest.mark.parametrize(
    ("miner", "data", "sentence"),
    [
        (DailyOHLC, {}, "`days` is missing: a number above 0"),
        (DailyOHLC, {"days": -3}, "`days = -3` must be a number above 0"),
        (DailyOHLC, {"days": True}, "`days = True` must be a number above 0"),
        (DailyOHLC, {"days": math.nan}, "`days = nan` must be a number above 0"),
        (DailyOHLC, {"days": 3, "symbols": [3]}, "`symbols` must be a list of names"),
        (DailyOHLC, {"days": 3, "indicators": ["NOPE9"]}, "indicator 'NOPE9' is none of TA-Lib's functions"),
        (DailyOHLC, {"days": 3, "indicators": ["MAMA9"]}, "takes no period"),
        (PortfolioBuilder, {**BUILDER, "rank_days": 2}, "`rank_days = 2` must be a number above 2"),
        (PortfolioBuilder, {**BUILDER, "index": "DAX"}, "`index = 'DAX'` is not known: SP500"),
        (PortfolioBuilder, {**BUILDER, "indicators": ["mama"]}, "knows averages such as SMA100"),
        (
            StockCluster,
            {"base_url": "http://api.polygon.io"},
            "`base_url`: http://api.polygon.io would get the account's keys",
        ),
        (StockCluster, {"refresh_days": "x"}, "`refresh_days = 'x'` must be a number above 0"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused_in_a_sentence(miner: Any, data: Any, sentence: str) -> None:
    with pytest.raises(ConfigError) as refused:
        miner(data)
    assert sentence in str(refused.value)


def test_companies_of_a_file_are_read_as_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "companies.csv"
    path.write_text(
        "\ufeffsymbol,name,industry,sector,tags,similar_tickers\nibm,IBM Corp,Computers,Tech,CS old,hpq DELL\n"
    )
    (ibm,) = read_companies(tmp_path, "companies.csv")
    assert (ibm.symbol, ibm.name, ibm.tags, ibm.similar_tickers) == ("IBM", "IBM Corp", ["CS", "old"], ["HPQ", "DELL"])
    path.write_text("symbol,name,industry,sector\n,x,y,z\n")
    with pytest.raises(ConfigError, match=r"companies\.csv:2 has no symbol"):
        list(read_companies(tmp_path, "companies.csv"))
    path.write_text("symbol,name\nA,x\n")
    with pytest.raises(ConfigError, match="lacks the column industry"):
        list(read_companies(tmp_path, "companies.csv"))
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        list(read_companies(tmp_path, "none.csv"))


SNAPSHOTS = 'date,tickers\n2020-01-02,"A,B"\n2021-05-03,"B,C"\n'
MEMBERS = "symbol,from,to\nA,2020-01-02,2021-05-03\nB,2020-01-02,\nc,2021-05-03,\n"


@pytest.mark.parity(68)
@pytest.mark.parametrize("text", [SNAPSHOTS, MEMBERS])
def test_constituents_are_those_of_the_day_and_days_before_the_file_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "sp500.csv").write_text(text)
    import_constituents(tmp_path / "sp500.csv", tmp_path, "SP500")
    (tmp_path / "sp500.csv").unlink()
    kept = constituents(tmp_path, "SP500", date(2026, 1, 2))
    days = {date(2020, 1, 2): ["A", "B"], date(2021, 5, 2): ["A", "B"], date(2021, 5, 3): ["B", "C"]}
    assert {day: kept.on(day) for day in days} == days
    with pytest.raises(ConfigError, match=r"SP500 on 2020-01-01 are not known; SP500\.csv has them from 2020-01-02"):
        kept.on(date(2020, 1, 1))


def test_without_a_file_todays_constituents_alone_are_known(tmp_path: Path) -> None:
    today = date(2026, 1, 2)
    known = constituents(tmp_path, "SP500", today)
    assert 490 < len(known.on(today)) < 520
    with pytest.raises(ConfigError, match="on 2025-01-02 are not known; pytickersymbols, which knows today's alone"):
        known.on(date(2025, 1, 2))
    with pytest.raises(ConfigError, match="the index DAX is not known: SP500"):
        constituents(tmp_path, "DAX", today)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("date,tickers\n", "must name days in order, each once"),
        ("date,tickers\n2021-01-01,A\n2020-01-01,A\n", "must name days in order, each once"),
        ("date,tickers\nyesterday,A\n", "bad.csv:2: 'yesterday' is no day such as 2024-06-03"),
        ('date,tickers\n2021-01-01,"A,,B"\n', "bad.csv:2 has no symbol"),
        ("a,b\n1,2\n", "its columns must be `date,tickers` or `symbol,from,to`"),
        ("symbol,from\n", "its columns must be"),
    ],
)
def test_a_file_that_names_no_constituents_is_refused_with_its_line(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(ConfigError) as refused:
        import_constituents(tmp_path / "bad.csv", tmp_path, "SP500")
    assert sentence in str(refused.value)
    assert not (tmp_path / "constituents").exists()


CUSTOM = """
from liualgotrader.miners.base import Miner

class Mine(Miner):
    def __init__(self, data, debug=False):
        super().__init__("mine")
        self.data, self.debug = data, debug

    async def run(self):
        return True

class Explicit(Miner):
    def __init__(self, days, colour="red"):
        super().__init__("explicit")
        self.days, self.colour = days, colour

    async def run(self):
        return True
"""


def test_miners_of_files_get_their_table_whole_or_as_arguments_in_the_order_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(CUSTOM)
    (tmp_path / "miner.toml").write_text(
        '[miners.explicit]\nfilename = "own.py"\ndays = 3\n[miners.Mine]\nfilename = "own.py"\ndebug = true\nx = 1\n'
        "[miners.gainloss]\ndays = 2\n"
    )
    explicit, mine, gainloss = read_miners(tmp_path / "miner.toml").values()
    assert (explicit.days, explicit.colour) == (3, "red")  # type: ignore[attr-defined]
    assert (mine.data["x"], mine.debug, mine.name) == (1, True, "mine")  # type: ignore[attr-defined]
    assert gainloss.name == "gainloss"
    assert list(read_miners(tmp_path / "miner.toml", ["gainloss"])) == ["gainloss"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[miners.nope]\n", "[miners.nope]: there is no such miner; name its file with `filename`, or use gainloss"),
        ("[other]\n", "has no [miners.…] table"),
        ("miners = 3\n", "has no [miners.…] table"),
        ("[miners", "is not valid TOML"),
        ('[miners.Mine]\nfilename = "none.py"\n', "there is no file"),
        ("[miners.gainloss]\n", "`days` is missing"),
    ],
)
def test_a_miner_file_that_cannot_be_meant_is_refused_in_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "miner.toml").write_text(text)
    with pytest.raises(ConfigError) as refused:
        read_miners(tmp_path / "miner.toml")
    assert sentence in str(refused.value)
