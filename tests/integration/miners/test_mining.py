"""`market_miner` on a real database: generated prices, Polygon's client against a server of ours, users' own miners."""

from __future__ import annotations

import asyncio
import json
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from liualgotrader.cli import liu, market_miner
from liualgotrader.common.calendar import session_at_or_after, sessions
from liualgotrader.common.clock import WallClock
from liualgotrader.common.errors import ConfigError, OutsideError
from liualgotrader.common.rows import AlgoRunRow
from liualgotrader.simulator.market_server import tape_of
from liualgotrader.store.postgres_store import PostgresStore
from liualgotrader.tapes.generated_bars import generated_bars
from liualgotrader.tapes.generated_profile import tickers
from tests.contract.test_store_contract import BATCH, OPEN, batch, trade
from tests.fakes.http_vendor import answering
from tests.fakes.simulated_market import SECRET, MarketThread, spec_of
from tests.integration.stored_rows import rows_of

pytestmark = pytest.mark.integration

FIRST, SECOND = tickers(2)


@pytest.fixture
def miners(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LIU_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("POLYGON_API_KEY", "hush-hush")
    return tmp_path / "miner.toml"


def mine(file: Path, dsn: str, *more: str) -> int:
    return market_miner.run(["--file", str(file), "--dsn", dsn, *more])


@pytest.mark.parity(66)
def test_daily_bars_are_those_of_the_market_and_a_second_run_adds_nothing(
    miners: Path, dsn: str, capsys: pytest.CaptureFixture[str]
) -> None:
    miners.write_text(
        f'[miners.DailyOHLC]\ndays = 20\nsymbols = ["{FIRST}", "{SECOND}", "NONE"]\nindicators = ["SMA3"]\n'
    )
    assert mine(miners, dsn, "--generated", "2", "--seed", "7") == 0
    said = capsys.readouterr().out
    rows = rows_of(dsn, "SELECT * FROM stock_ohlc ORDER BY symbol, symbol_date")
    first, last = rows[0]["symbol_date"], rows[-1]["symbol_date"]
    every = sessions(first - timedelta(days=10), last)
    expected = generated_bars(2, every, 7, daily=True)
    played = [session.day for session in every if session.day >= first]
    assert [(row["symbol"], row["symbol_date"]) for row in rows] == [
        (symbol, day) for symbol in sorted([FIRST, SECOND]) for day in played
    ]
    for row in rows:
        bars, place = expected[row["symbol"]], [session.day for session in every].index(row["symbol_date"])
        assert (row["open"], row["close"], row["volume"]) == (bars.open[place], bars.close[place], bars.volume[place])
        mean = sum(bars.close[place - 2 : place + 1].tolist()) / 3
        assert json.loads(row["indicators"])["SMA3"] == pytest.approx(mean)
    assert f"{len(rows)} daily bars kept; 1 symbols had none" in said
    assert mine(miners, dsn, "--generated", "2", "--seed", "7") == 0
    assert "0 daily bars kept" in capsys.readouterr().out
    assert rows_of(dsn, "SELECT * FROM stock_ohlc ORDER BY symbol, symbol_date") == rows


@pytest.mark.parity(41)
def test_daily_bars_come_from_polygon_where_the_environment_names_it(
    miners: Path, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = session_at_or_after(WallClock().now())
    spec = spec_of(day=f"{session.day}", starts_at=session.opens_at, ends_at=session.closes_at, symbol_count=2, seed=7)
    market = MarketThread(spec, tape_of(spec))
    monkeypatch.setenv("DATA_CONNECTOR", "polygon")
    monkeypatch.setenv("POLYGON_API_KEY", SECRET)
    monkeypatch.setenv("POLYGON_BASE_URL", market.url)
    miners.write_text(f'[miners.DailyOHLC]\ndays = 20\nsymbols = ["{FIRST}"]\n')
    try:
        assert mine(miners, dsn) == 0
    finally:
        market.close()
    rows = rows_of(dsn, "SELECT * FROM stock_ohlc ORDER BY symbol_date")
    bars = market.running.world.tape.daily_bars(FIRST, rows[0]["symbol_date"], rows[-1]["symbol_date"])
    assert [(row["open"], row["high"], row["low"], row["close"], row["volume"]) for row in rows] == [
        (bar.open, bar.high, bar.low, bar.close, bar.volume) for bar in bars
    ]
    assert len(rows) >= 10


@pytest.mark.parity(66)
def test_companies_come_from_polygons_own_client_and_those_known_are_asked_for_no_more(
    miners: Path, dsn: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []
    fails = {"IBM"}

    def answer(question: str) -> tuple[int, bytes]:
        path = urlsplit(question).path
        asked.append(path)
        if path == "/v3/reference/tickers":
            return 200, json.dumps(
                {"status": "OK", "results": [{"ticker": s} for s in ("AAPL", "IBM", "ZZZ")]}
            ).encode()
        symbol = path.rpartition("/")[2]
        if symbol in fails:
            return 403, b'{"status": "NOT_AUTHORIZED", "message": "no"}'
        if symbol == "ZZZ":
            return 404, b'{"status": "NOT_FOUND", "message": "Ticker not found."}'
        if path.startswith("/v1/related-companies/"):
            return 200, json.dumps({"status": "OK", "results": [{"ticker": "MSFT"}, {"ticker": "HPQ"}]}).encode()
        about = {"ticker": symbol, "name": f"{symbol} Inc.", "sic_code": "3571", "sic_description": "COMPUTERS"}
        more = {"type": "CS", "primary_exchange": "XNAS", "description": "Makes them."}
        return 200, json.dumps({"status": "OK", "results": about | more}).encode()

    with answering(answer) as url:
        miners.write_text(f'[miners.StockCluster]\nbase_url = "{url}"\n')
        with pytest.raises(OutsideError, match="miner StockCluster: Polygon says nothing of IBM") as failed:
            mine(miners, dsn)
        assert "hush" not in str(failed.value) + capsys.readouterr().out
        fails.clear()
        asked.clear()
        assert mine(miners, dsn) == 0
    assert "1 companies looked up, 1 known already, 1 not known to Polygon" in capsys.readouterr().out
    assert not [path for path in asked if path.endswith("/AAPL")]
    rows = rows_of(dsn, "SELECT * FROM ticker_data ORDER BY symbol")
    names = ("symbol", "name", "description", "tags", "similar_tickers", "industry", "sector", "exchange")
    told = ("Makes them.", ["CS"], ["MSFT", "HPQ"], "COMPUTERS", "Manufacturing", "XNAS")
    assert [tuple(row[name] for name in names) for row in rows] == [
        ("AAPL", "AAPL Inc.", *told),
        ("IBM", "IBM Inc.", *told),
    ]


OWN = """
from liualgotrader.miners.base import Miner
from liualgotrader.models.keystore import KeyStore

class {name}(Miner):
    def __init__(self, data, debug=False):
        super().__init__("{name}")

    async def run(self):
        await KeyStore.save("last", "{name}")
        {does}
"""


@pytest.mark.parity(64)
def test_own_miners_run_in_the_order_of_the_file_and_the_first_that_fails_ends_it(
    miners: Path, dsn: str, capsys: pytest.CaptureFixture[str]
) -> None:
    does = {"First": "return True", "Second": "raise RuntimeError('no disk')", "Third": "return True"}
    for name, line in does.items():
        (miners.parent / f"{name}.py").write_text(OWN.format(name=name, does=line))
    miners.write_text("".join(f'[miners.{name}]\nfilename = "{name}.py"\n' for name in does))
    with pytest.raises(OutsideError, match=r"miner Second raised RuntimeError: no disk \(Second\.py:11\)"):
        mine(miners, dsn)
    assert [row["value"] for row in rows_of(dsn, "SELECT value FROM keystore")] == ["Second"]
    (miners.parent / "Fourth.py").write_text(OWN.format(name="Fourth", does="return False"))
    with miners.open("a") as file:
        file.write('[miners.Fourth]\nfilename = "Fourth.py"\n')
    sentence = "miner Fourth says that it could not do its job; those after it were not run"
    with pytest.raises(OutsideError, match=sentence):
        mine(miners, dsn, "--only", "Fourth")
    assert liu.run(["mine", "--file", str(miners), "--list"]) == 0
    assert [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()[-4:]] == [*does, "Fourth"]


async def _traded(store: PostgresStore) -> None:
    await store.begin_batch(batch())
    rows = []
    for slot, symbols in enumerate((["IBM", "SPY"], ["IBM"])):
        run_id = await store.begin_algo_run(AlgoRunRow(BATCH, slot, f"S{slot}", "SIMULATED", "1", {}, OPEN))
        rows += [
            trade(
                100 * slot + 10 * n + k, run_id, symbol=symbol, operation=side, quantity="2", price=price, at=OPEN + k
            )
            for n, symbol in enumerate(symbols)
            for k, (side, price) in enumerate([("buy", "100"), ("sell", f"{110 + 10 * n + 100 * slot}")])
        ]
    await store.apply(BATCH, rows)


@pytest.mark.parity(65)
async def test_results_of_a_batch_with_several_symbols_and_strategies_are_worked_out_again(
    miners: Path, dsn: str, store: PostgresStore
) -> None:
    await _traded(store)
    age = (date.today() - date(2013, 10, 1)).days
    miners.write_text(f"[miners.gainloss]\ndays = {age}\n")
    assert await asyncio.to_thread(mine, miners, dsn) == 0
    rows: Any = await store.pool.fetch("SELECT symbol, gain_value FROM gain_loss ORDER BY gain_value")
    assert [tuple(row) for row in rows] == [("IBM", Decimal(20)), ("SPY", Decimal(40)), ("IBM", Decimal(220))]
    assert await store.pool.fetchval("SELECT count(*) FROM trade_analysis") == 3


@pytest.mark.parity(66)
def test_a_portfolio_of_the_best_ranked_is_kept_with_what_it_is_to_hold(
    miners: Path, dsn: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (miners.parent / "companies.csv").write_text(
        "symbol,industry,sector\n" + "".join(f"{symbol},Software,Technology\n" for symbol in tickers(40))
    )
    miners.write_text(
        '[miners.StockCluster]\nfilename = "companies.csv"\n'
        "[miners.portfolio]\nrank_days = 90\natr_days = 20\nportfolio_size = 100000\nrisk_factor = 0.001\n"
    )
    assert mine(miners, dsn, "--generated", "40", "--seed", "0") == 0
    said = capsys.readouterr().out
    assert "40 companies read from companies.csv" in said
    for row in rows_of(dsn, "SELECT size, parameters FROM portfolio"):  # whether any passes depends on the day
        holdings = json.loads(row["parameters"])["holdings"]
        assert row["size"] == 100000
        assert 0 < sum(holding["est"] for holding in holdings) <= 100000
        assert all(holding["qty"] == int(100 // holding["atr"]) for holding in holdings)


def test_a_dry_run_says_what_each_would_write_and_writes_nothing(
    miners: Path, dsn: str, empty_dsn: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (miners.parent / "companies.csv").write_text("symbol,industry,sector\nIBM,Computers,Technology\n")
    (miners.parent / "Mine.py").write_text(OWN.format(name="Mine", does="return True"))
    miners.write_text(
        '[miners.StockCluster]\nfilename = "companies.csv"\n'
        f'[miners.DailyOHLC]\ndays = 4\nsymbols = ["{FIRST}", "{SECOND}"]\n'
        "[miners.gainloss]\ndays = 3\n"
        f'[miners.portfolio]\nrank_days = 5\natr_days = 5\nportfolio_size = 1000\nrisk_factor = 0.1\nsymbols = ["{FIRST}"]\n'
        '[miners.Mine]\nfilename = "Mine.py"\n'
    )
    assert mine(miners, dsn, "--generated", "2", "--dry-run") == 0
    said = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    today = date.today()
    last = max(session.day for session in sessions(today - timedelta(days=10), today - timedelta(days=1)))
    first = last - timedelta(days=3)
    rows = 2 * len(sessions(first, last))
    assert said == {
        "StockCluster": "reads 1 companies from companies.csv: as many rows of ticker_data",
        "DailyOHLC": f"2 symbols, {first} to {last}: at most {rows} rows of stock_ohlc; 0 symbols lack none",
        "gainloss": f"consolidates 0 batches since {today - timedelta(days=3)}: their rows of gain_loss and trade_analysis",
        "portfolio": f"ranks 1 symbols by daily bars from {today - timedelta(days=300)} to {today - timedelta(days=1)}, and"
        " makes one portfolio of 1,000.00 $ at most",
        "Mine": "runs; its class does not say (`would_do`) what it would write",
    }
    for table in ("ticker_data", "stock_ohlc", "portfolio", "keystore"):
        assert rows_of(dsn, f"SELECT * FROM {table}") == []
    assert mine(miners, dsn, "--generated", "2", "--only", "DailyOHLC") == 0
    assert mine(miners, dsn, "--only", "DailyOHLC", "--dry-run") == 0
    assert "at most 0 rows of stock_ohlc; 2 symbols lack none" in capsys.readouterr().out
    for _ in range(2):  # the first has made no table either
        with pytest.raises(ConfigError, match="run `liu db migrate`"):
            mine(miners, empty_dsn, "--dry-run")
