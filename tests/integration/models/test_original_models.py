"""The classes that strategies and notebooks of the original import, on a real database."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pandas as pd
import pytest

from liualgotrader.common import config
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.hyperparameter import Parameter
from liualgotrader.common.types import AssetType
from liualgotrader.models.accounts import Accounts
from liualgotrader.models.algo_run import AlgoRun
from liualgotrader.models.gain_loss import GainLoss, TradeAnalysis
from liualgotrader.models.keystore import KeyStore
from liualgotrader.models.new_trades import NewTrade
from liualgotrader.models.optimizer import OptimizerRun
from liualgotrader.models.portfolio import Portfolio
from liualgotrader.models.tradeplan import TradePlan
from liualgotrader.models.trades import Trade
from liualgotrader.models.trending_tickers import TrendingTickers
from liualgotrader.store.database import current_pool, set_pool
from liualgotrader.store.postgres_store import PostgresStore
from liualgotrader.store.store_factory import open_store

pytestmark = pytest.mark.integration


@pytest.fixture
def pool(store: PostgresStore) -> Iterator[Any]:
    set_pool(store.pool)
    yield store.pool
    set_pool(None)


@pytest.fixture
async def algo_run(pool: Any) -> AlgoRun:
    run = AlgoRun("momentum_long", "b-1")
    await run.save(env="PAPER", parameters={"DSN": "postgresql://a:b@c/d"})
    return run


def test_without_a_pool_there_is_one_clear_sentence() -> None:
    with pytest.raises(ConfigError, match="pool"):
        current_pool()
    assert current_pool("mine") == "mine"


async def test_a_run_is_found_by_its_batch(algo_run: AlgoRun, pool: Any) -> None:
    await algo_run.update_end_time(pool, "market close")
    assert list(await AlgoRun.get_batch_ids()) == ["b-1"]
    assert list(await AlgoRun.get_batch_ids(start_date=date(2200, 1, 1))) == []
    ((batch_id, start, names),) = await AlgoRun.get_batches(pool, nax_batches=5)
    assert (batch_id, names) == ("b-1", "momentum_long")
    assert list(await AlgoRun.get_batch_list_by_date(start.date())) == ["b-1"]
    ((run_id, _, end, parameters),) = await AlgoRun.get_batch_details("b-1")
    assert run_id == algo_run.run_id
    assert end is not None
    assert parameters == {"DSN": "***"}


async def test_a_trade_with_indicators_that_are_no_numbers_is_kept(algo_run: AlgoRun, pool: Any) -> None:
    assert algo_run.run_id is not None
    trade = NewTrade(algo_run.run_id, "IBM", "buy", 10, 0.0123, {"rsi": float("nan")})
    await trade.save(pool, "2020-03-02 10:00:00-05:00", stop_price=0.01, trade_fee=0.5)
    latest = await NewTrade.load_latest(pool, "IBM", "momentum_long")
    assert latest is not None
    assert (float(latest["price"]), latest["indicators"]) == (0.0123, {"rsi": None})
    assert list(await NewTrade.get_run_symbols(algo_run.run_id)) == ["IBM"]
    newer = AlgoRun("momentum_long", "b-2")
    await newer.save()
    assert newer.run_id is not None
    await NewTrade.rename_algo_run_id(newer.run_id, algo_run.run_id, "IBM")
    assert await NewTrade.get_latest_algo_run_id("IBM", "momentum_long") == newer.run_id
    assert trade.trade_id is not None
    await NewTrade.expire_trade(trade.trade_id)
    assert await NewTrade.load_latest(pool, "IBM", "momentum_long") is None


@pytest.mark.parity(16)
async def test_picks_come_back_in_order_and_no_picks_are_an_error(pool: Any) -> None:
    await TrendingTickers("b-1").save(["IBM", "SPY"])
    assert [symbol for symbol, _ in await TrendingTickers.load("b-1")] == ["IBM", "SPY"]
    with pytest.raises(LookupError, match="no data"):
        await TrendingTickers.load("b-2")


@pytest.mark.parity(28)
async def test_keys_are_those_that_strategies_write(store: PostgresStore, pool: Any) -> None:
    await store.key_save("day", "1")
    assert await KeyStore.load("day") == "1"
    await KeyStore.save("day", "2")
    assert await store.key_load("day") == "2"
    assert await KeyStore.load("unknown") is None


@pytest.mark.parity(61)
async def test_an_account_follows_its_transactions(pool: Any) -> None:
    account_id = await Accounts.create(100.1)
    await Accounts.add_transaction(account_id, 0.2, datetime(2020, 3, 2, 15, tzinfo=UTC))
    await Accounts.add_transaction(account_id, -50, datetime(2020, 3, 2, 14))
    assert await Accounts.get_balance(account_id) == 50.3
    frame = await Accounts.get_transactions(account_id)
    assert list(frame["amount"]) == [-50.0, 0.2]
    assert frame.index.name == "tstamp"
    await Accounts.clear_account_transactions(account_id)
    await Accounts.clear_balance(account_id, 7)
    assert await Accounts.get_balance(account_id) == 7
    assert len(await Accounts.get_transactions(account_id)) == 0


@pytest.mark.parity(61)
@pytest.mark.parametrize(
    ("credit", "amount", "enough"), [(0, 99.99, True), (0, 100, False), (50, 149.99, True), (50, 150, False)]
)
async def test_the_balance_must_be_above_what_is_withdrawn(pool: Any, credit: int, amount: float, enough: bool) -> None:
    account_id = await Accounts.create(100, allow_negative=credit > 0, credit_line=credit)
    assert await Accounts.check_if_enough_balance_to_withdraw(account_id, amount) is enough
    with pytest.raises(AssertionError):
        await Accounts.check_if_enough_balance_to_withdraw(account_id, -1)


async def test_a_portfolio_makes_a_round_trip(pool: Any) -> None:
    await Portfolio.save("p-1", 5000, 10, {"risk": 1})
    loaded = await Portfolio.load_by_portfolio_id("p-1")
    assert (loaded.portfolio_size, loaded.asset_type, loaded.parameters) == (5000, AssetType.US_EQUITIES, {"risk": 1})
    assert await Portfolio.get_portfolio_account_balance("p-1") == 5000
    assert await Portfolio.get_external_account_id("p-1") == (None, None)
    assert not await Portfolio.is_associated("p-1")
    await Portfolio.associate_batch_id_to_profile("p-1", "b-1")
    await Portfolio.associate_batch_id_to_profile("p-1", "b-1")
    assert await Portfolio.is_associated("p-1", "b-1")
    assert not await Portfolio.is_associated("p-1", "b-2")
    assert (await Portfolio.load_by_batch_id("b-1")).portfolio_id == "p-1"
    assert await Portfolio.exists("p-1") and not await Portfolio.exists("p-2")
    account_id = loaded.account_id
    assert account_id is not None
    for amount in (1, 2):
        await Accounts.add_transaction(account_id, amount)
    assert len(await Portfolio.list_portfolios()) == 1
    with pytest.raises(LookupError):
        await Portfolio.load_by_portfolio_id("p-2")


async def test_results_are_saved_and_loaded_as_frames(algo_run: AlgoRun, pool: Any) -> None:
    gains = pd.DataFrame(
        {"symbol": ["IBM"], "algo_run_id": [algo_run.run_id], "gain_percentage": [1000.0], "gain_value": [50.0]}
    )
    await GainLoss.save(gains)
    await GainLoss.save(gains.assign(gain_value=51.5))
    loaded = await GainLoss.load(date(2000, 1, 1), "PAPER")
    assert list(loaded["gain_value"]) == [51.5]
    assert loaded.loc[0, "algo_name"] == "momentum_long"
    assert loaded["open_quantity"].isna().all()  # the frame did not say
    trips = gains.assign(
        start_tstamp=pd.Timestamp("2020-03-02 10:00", tz="America/New_York"),
        end_tstamp=pd.Timestamp("2020-03-02 16:00"),
        r_units=float("nan"),
    )
    await TradeAnalysis.save(trips)
    (row,) = (await TradeAnalysis.load(date(2000, 1, 1))).to_dict("records")
    assert row["start_tstamp"] == pd.Timestamp("2020-03-02 15:00", tz="UTC")
    assert row["end_tstamp"] == pd.Timestamp("2020-03-02 16:00", tz="UTC")
    assert pd.isna(row["r_units"])
    assert len(await GainLoss.load(date(2200, 1, 1))) == 0


@pytest.mark.parametrize(("credit", "amount"), [(0, 100.01), (50, 150.01)])
async def test_an_account_is_not_overdrawn_beyond_its_credit_and_nothing_is_written(
    pool: Any, credit: int, amount: float
) -> None:
    account_id = await Accounts.create(100, allow_negative=credit > 0, credit_line=credit)
    with pytest.raises(ValueError, match=f"holds 100.00 .* may go down to -?{credit}.00 .* so {amount} "):
        await Accounts.add_transaction(account_id, -amount)
    assert await Accounts.get_balance(account_id) == 100
    assert (await Accounts.get_transactions(account_id)).empty
    await Accounts.add_transaction(account_id, round(0.01 - amount, 2))  # down to the last cent
    assert await Accounts.get_balance(account_id) == -credit
    await Accounts.add_transaction(account_id, 5)  # what comes in is always taken
    with pytest.raises(ValueError, match=r"nan . cannot be booked"):
        await Accounts.add_transaction(account_id, float("nan"))
    with pytest.raises(LookupError, match="no account 999"):
        await Accounts.add_transaction(999, 1)
    await Accounts.clear_balance(account_id)
    assert await Accounts.get_balance(account_id) == 0


@pytest.mark.parity(61)
async def test_of_withdrawals_at_once_only_those_that_the_account_can_pay_are_booked(pool: Any) -> None:
    account_id = await Accounts.create(100)
    asked = [Accounts.add_transaction(account_id, -30) for _ in range(8)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in answers) == ["NoneType"] * 3 + ["ValueError"] * 5
    assert await Accounts.get_balance(account_id) == 10


async def test_a_crypto_portfolio_and_its_account_at_the_broker_come_back(pool: Any) -> None:
    await Portfolio.save("c-1", 5000, 10, {}, AssetType.CRYPTO, "x-9", "ALPACA")
    assert (await Portfolio.load_by_portfolio_id("c-1")).asset_type is AssetType.CRYPTO
    assert await Portfolio.get_external_account_id("c-1") == ("x-9", "ALPACA")


async def test_combinations_of_a_search_come_with_the_portfolios_of_their_batches(pool: Any) -> None:
    for number in (1, 2, 3):
        await OptimizerRun.save("s-1", f"b-{number}", str((number, 0.5)))
    for number in (2, 1):
        await Portfolio.save(f"p-{number}", 100, 0, {})
        await Portfolio.associate_batch_id_to_profile(f"p-{number}", f"b-{number}")
    assert await OptimizerRun.get_portfolio_ids_parameters("s-1") == [("p-1", "(1, 0.5)"), ("p-2", "(2, 0.5)")]
    assert await OptimizerRun.get_portfolio_ids_parameters("s-2") == []


async def test_a_trade_of_the_oldest_table_is_bought_and_sold_in_one_row(algo_run: AlgoRun, pool: Any) -> None:
    assert algo_run.run_id is not None
    with pytest.warns(DeprecationWarning, match="NewTrade"):
        trade = Trade(algo_run.run_id, "IBM", 10, 20.5, {"rsi": 31})
    await trade.save_buy(pool, "09:31")
    await trade.save_sell(pool, 21.25, {"rsi": float("nan")}, "10:05")
    row = await pool.fetchrow("SELECT symbol, qty, buy_price, sell_price, is_win, sell_indicators FROM trades")
    assert tuple(row) == ("IBM", 10, Decimal("20.5"), Decimal("21.25"), True, '{"rsi": null}')


async def test_plans_in_the_database_are_those_in_force_and_new_ones_those_made_since(pool: Any) -> None:
    await Portfolio.save("p-1", 100, 0, {})
    values = ["'a', '2020-01-01', NULL", "'late', '2999-01-01', NULL", "'over', '2020-01-01', now()"]
    for value in values:
        await pool.execute(
            "INSERT INTO trade_plan (portfolio_id, strategy_name, start_date, expire_tstamp, parameters, create_tstamp)"
            f" VALUES ('p-1', {value}, '{{\"name\": \"A\"}}', '2024-01-02 03:00+00')"
        )
    (plan,) = await TradePlan.load()
    assert (plan.strategy_name, plan.parameters, plan.portfolio_id) == ("a", {"name": "A"}, "p-1")
    assert str(plan) == "a:{'name': 'A'}"
    assert len(await TradePlan.get_new_entries(datetime(2024, 1, 2, 2, 59))) == 1  # UTC without a zone
    assert await TradePlan.get_new_entries(datetime(2024, 1, 2, 3, tzinfo=UTC)) == []


def test_a_parameter_makes_a_portfolio_in_the_database_that_dsn_names(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DSN", dsn)
    name, portfolio_id = Parameter("portfolio_id", "portfolio", size=10_000, credit=1000)()

    async def look() -> tuple[float, str]:
        store = await open_store(dsn)
        try:
            loaded = await Portfolio.load_by_portfolio_id(portfolio_id, store.pool)
            return loaded.portfolio_size, name
        finally:
            await store.close()

    assert asyncio.run(look()) == (10_000, "portfolio_id")
    assert config.db_conn_pool is None
