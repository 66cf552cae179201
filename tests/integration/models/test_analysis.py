"""What notebooks and `portfolio` show of trades, against amounts worked out by hand."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pandas as pd
import pytest

from liualgotrader.analytics import analysis, consolidate
from liualgotrader.cli import liu, portfolios
from liualgotrader.common import config
from liualgotrader.common.calendar import session_of
from liualgotrader.common.clock import MINUTE
from liualgotrader.common.errors import ConfigError
from liualgotrader.common.rows import AlgoRunRow, TradeRow
from liualgotrader.common.types import TimeScale
from liualgotrader.data.loader import DataLoader
from liualgotrader.models.accounts import Accounts
from liualgotrader.models.optimizer import OptimizerRun
from liualgotrader.models.portfolio import Portfolio
from liualgotrader.reprocess.portfolio import account_transactions
from liualgotrader.store.database import set_pool
from liualgotrader.store.page_queries import POSITIONS
from liualgotrader.store.postgres_store import PostgresStore
from tests.contract.test_store_contract import BATCH, batch, trade
from tests.integration.stored_rows import rows_of
from tests.unit.data.test_loader import FRIDAY_NIGHT, CountedDays, StandingClock

pytestmark = pytest.mark.integration

FIRST, SECOND = date(2021, 11, 1), date(2021, 11, 2)  # CountedDays closes them at 0 and 1


def at(day: date, minutes: int) -> int:
    session = session_of(day)
    assert session is not None
    return session.opens_at + minutes * MINUTE


@pytest.fixture
async def traded(store: PostgresStore, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PostgresStore]:
    """Two strategies of a batch, each with a portfolio of its own; `mine` trades over two sessions.

    mine: buys 10 IBM at 20 (fee 1), then 10 at 30, sells 15 at 40 on the next day, and sells 4 SPY short at 50.
    """
    set_pool(store.pool)
    config.show_pool(store.pool)
    days = lambda scale: DataLoader(scale, data_api=CountedDays(), clock=StandingClock(FRIDAY_NIGHT))  # noqa: E731
    monkeypatch.setattr(analysis, "DataLoader", days)
    await store.begin_batch(batch(day="2021-11-01"))
    accounts, runs = {}, {}
    for slot, (name, size) in enumerate({"mine": 1000, "other": 500}.items()):
        await Portfolio.save(name, size, 0.0, {})
        await store.associate_portfolio(name, BATCH)
        accounts[name] = (await Portfolio.load_by_portfolio_id(name)).account_id
        row = AlgoRunRow(BATCH, slot, name.capitalize(), "SIMULATED", "1.0", {"portfolio_id": name}, at(FIRST, 0))
        runs[name] = await store.begin_algo_run(row)

    def executed(n: int, name: str, when: int, operation: str, quantity: str, price: str, **more: Any) -> TradeRow:
        more |= {"account_id": accounts[name]}
        return trade(n, runs[name], operation=operation, quantity=quantity, price=price, at=when, **more)

    rows = [
        executed(1, "mine", at(FIRST, 1), "buy", "10", "20", fee="1"),
        executed(2, "mine", at(FIRST, 2), "buy", "10", "30"),
        executed(3, "other", at(FIRST, 2), "buy", "1", "7", symbol="AAPL"),
        executed(4, "mine", at(SECOND, 3), "sell", "15", "40"),
        executed(5, "mine", at(SECOND, 4), "sell", "4", "50", symbol="SPY"),
    ]
    await store.apply(BATCH, rows)
    yield store
    set_pool(None)
    config.show_pool(None)


async def test_trades_are_those_of_the_portfolio_alone_where_a_batch_has_two(traded: PostgresStore) -> None:
    mine = await analysis.load_trades_by_portfolio("mine")
    assert mine[["symbol", "operation", "qty", "price", "algo_name"]].to_numpy().tolist() == [
        ["IBM", "buy", 10.0, 20.0, "Mine"],
        ["IBM", "buy", 10.0, 30.0, "Mine"],
        ["IBM", "sell", 15.0, 40.0, "Mine"],
        ["SPY", "sell", 4.0, 50.0, "Mine"],
    ]
    assert list(mine["client_time"]) == [pd.Timestamp(at(*when), tz="UTC") for when in [(FIRST, 1), (FIRST, 2), (SECOND, 3), (SECOND, 4)]]  # fmt: skip
    every = await analysis.load_trades_by_batch_id(BATCH)
    assert (len(every), len(await analysis.load_trades(FIRST)), len(await analysis.load_trades(SECOND))) == (5, 3, 2)
    assert (await analysis.load_traded_symbols(BATCH))["symbol"].tolist() == ["AAPL", "IBM", "SPY"]
    assert (await analysis.load_batch_list(SECOND, "SIMULATED"))["batch_id"].tolist() == [BATCH]
    assert (await analysis.load_batch_list(SECOND, "PAPER")).empty
    assert (await analysis.load_runs(FIRST))["algo_name"].tolist() == ["Mine", "Other"]
    assert analysis.calc_batch_revenue("IBM", every, BATCH) == 100.0  # 15 x 40 - 10 x 20 - 10 x 30
    assert analysis.calc_revenue("SPY", every, "SIMULATED") == 200.0
    assert analysis.trades_analysis(every, BATCH).to_numpy().tolist() == [["AAPL", -7.0, 1], ["IBM", 100.0, 3], ["SPY", 200.0, 1]]  # fmt: skip
    shown, balance = analysis.symbol_trade_analytics(every[every["symbol"] == "IBM"], 20.0)
    assert (shown["balance"].tolist(), balance) == ([-200.0, -500.0, 100.0], 100.0)
    assert shown["daily change"].tolist() == ["0.00%", "50.00%", "100.00%"]


async def test_what_a_strategy_trades_for_the_whole_account_is_no_portfolios(traded: PostgresStore) -> None:
    await traded.fetch("UPDATE algo_run SET parameters = '{}' WHERE algo_name = 'Other' RETURNING 1")
    assert "AAPL" not in (await analysis.load_trades_by_portfolio("mine"))["symbol"].tolist()
    positions = await traded.fetch(POSITIONS, "mine")
    assert {row["symbol"]: row["shares"] for row in positions} == {"IBM": 5, "SPY": -4}
    assert (await Portfolio.recalculate("mine"))[1] == 4
    # 1000 - 10 x 20 - 1 - 10 x 30 + 15 x 40 + 4 x 50
    assert await Portfolio.get_portfolio_account_balance("mine") == 1299.0


async def test_in_a_batch_of_the_original_every_run_is_its_portfolios(traded: PostgresStore) -> None:
    await traded.fetch("UPDATE algo_run SET parameters = '{}' RETURNING 1")
    assert len(await analysis.load_trades_by_portfolio("mine")) == 5


async def test_a_hostile_id_is_only_an_id_that_is_not_there(traded: PostgresStore) -> None:
    assert (await analysis.load_trades_by_batch_id("x' OR '1'='1")).empty
    with pytest.raises(LookupError, match="there is no portfolio"):
        await analysis.calc_portfolio_returns("'; DROP TABLE portfolio; --")


@pytest.mark.parity(70)
async def test_a_portfolio_is_worth_its_cash_and_its_shares_at_each_close(traded: PostgresStore) -> None:
    # Cash: 1000 - 201 - 300 = 499, then + 600 + 200 = 1299. Shares: 20 IBM at 0; 5 IBM and -4 SPY at 1.
    returns = await analysis.calc_portfolio_returns("mine")
    assert returns.to_numpy().tolist() == [[0.0, 499.0, 499.0], [1.0, 1299.0, 1300.0]]
    assert list(returns.index) == [pd.Timestamp(FIRST), pd.Timestamp(SECOND)]
    # The batch counts from the portfolio that it was associated with first, and with all that it traded (AAPL: -7, + 1).
    of_batch = await analysis.calc_batch_returns(BATCH)
    assert of_batch.to_numpy().tolist() == [[0.0, 492.0, 492.0], [2.0, 1292.0, 1294.0]]
    cash = await analysis.get_portfolio_cash("mine")
    assert cash.to_numpy().tolist() == [[-501.0, 499.0], [800.0, 1299.0]]
    newest = (await analysis.get_portfolio_equity("mine")).iloc[:, :4].to_numpy().tolist()
    assert newest == [["IBM", 5.0, 47.0, 235.0], ["SPY", -4.0, 47.0, -188.0]]  # the 48th session of CountedDays
    closes = await analysis.compare_to_symbol_returns("mine", "QQQ")
    assert closes.tolist() == [0.0, 1.0]


async def test_after_a_split_the_new_shares_are_worth_the_closes_of_their_own_days(
    traded: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await traded.pool.execute(  # as the order gateway writes a split of 2 for 1
        "INSERT INTO new_trades (algo_run_id, symbol, operation, qty, price, indicators, tstamp)"
        " SELECT algo_run_id, 'IBM', 'buy', 5, 0, '{}', '2021-11-02 13:40' FROM algo_run WHERE algo_name = 'Mine'"
    )
    monkeypatch.setattr(CountedDays, "raw_bars_now", CountedDays.bars_now)
    monkeypatch.setattr(CountedDays, "bars_now", None)  # adjusted closes would not go with the shares of their days
    returns = await analysis.calc_portfolio_returns("mine")
    assert returns["equity"].tolist() == [0.0, 10 * 1.0 - 4 * 1.0]
    monkeypatch.undo()


async def test_executions_are_counted_valued_and_found_by_environment(traded: PostgresStore) -> None:
    every = await analysis.load_trades_for_period("SIMULATED", FIRST, date(2021, 11, 3))
    assert (len(every), len(await analysis.load_trades_for_period("PAPER", FIRST, date(2021, 11, 3)))) == (5, 0)
    assert analysis.count_trades("IBM", every, BATCH) == 3
    loader = DataLoader(TimeScale.day, data_api=CountedDays(), clock=StandingClock(FRIDAY_NIGHT))
    mine = await analysis.load_trades_by_portfolio("mine")
    ibm = mine[mine["symbol"] == "IBM"]
    assert analysis.calc_symbol_state("IBM", ibm, loader) == (5.0, 47.0, 235.0)
    frame = pd.DataFrame({"equity": [1.0, 1.0]}, index=pd.DatetimeIndex([FIRST, SECOND]))
    analysis.calc_symbol_trades_returns("IBM", ibm, frame, loader)
    assert frame["equity"].tolist() == [1.0, 6.0]  # 20 shares at 0, then 5 at 1
    account_id = (await Portfolio.load_by_portfolio_id("mine")).account_id
    assert account_id is not None
    assert (await analysis.get_cash(account_id, 1000)).to_numpy().tolist() == [[-501.0, 499.0], [800.0, 1299.0]]


async def test_combinations_of_a_search_are_compared_by_what_their_portfolios_were_worth(traded: PostgresStore) -> None:
    assert (await analysis.calc_hyperparameters_analysis("s-1")).empty
    await traded.pool.execute("DELETE FROM portfolio_batch_ids WHERE portfolio_id = 'other'")
    await OptimizerRun.save("s-1", BATCH, "(5, 8)")
    await OptimizerRun.save("s-1", "never-traded", "(5, 9)")
    found = await analysis.calc_hyperparameters_analysis("s-1")
    assert found.index.tolist() == [("mine", pd.Timestamp(FIRST)), ("mine", pd.Timestamp(SECOND))]
    assert found[["totals", "configurations"]].to_numpy().tolist() == [[492.0, "(5, 8)"], [1294.0, "(5, 8)"]]


async def test_a_notebook_consolidates_a_batch_by_its_id_alone(traded: PostgresStore) -> None:
    result = await consolidate.trades(BATCH)
    # IBM of mine: bought 10 at 20 (fee 1) and 10 at 30, sold 15 at 40; what is left counts for nothing in the gain.
    rows = await traded.pool.fetch("SELECT symbol, gain_value, open_quantity FROM gain_loss ORDER BY symbol")
    assert [tuple(row) for row in rows] == [("AAPL", 0, 1), ("IBM", 224, 5), ("SPY", 0, -4)]  # 15 x (40 - 25) - 1
    assert await consolidate.trades(BATCH) == result


async def test_an_account_is_booked_anew_at_the_original_s_address(traded: PostgresStore) -> None:
    await account_transactions("mine")
    assert await Portfolio.get_portfolio_account_balance("mine") == 1299
    with pytest.raises(LookupError):
        await account_transactions("nobody")


@pytest.mark.parity(70)
async def test_gains_by_day_and_strategy_are_in_percent_of_what_was_bought(traded: PostgresStore) -> None:
    gained, invested, percent = await analysis.portfolio_return("SIMULATED", FIRST)
    assert gained[["Mine", "Other", "revenue"]].to_numpy().tolist() == [[-500.0, -7.0, -507.0], [800.0, 0.0, 800.0]]
    assert invested[["Mine", "Other", "invested"]].to_numpy().tolist() == [[500.0, 7.0, 507.0], [0.0, 0.0, 0.0]]
    assert percent[["Mine", "Other", "revenue"]].to_numpy().tolist() == [[-100.0] * 3, [0.0] * 3]


async def test_without_a_price_of_the_data_the_last_execution_values_a_position(
    traded: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unconfigured(scale: TimeScale) -> DataLoader:
        raise ConfigError("APCA_API_KEY_ID is not set")

    monkeypatch.setattr(analysis, "DataLoader", unconfigured)
    held = await analysis.get_portfolio_equity("mine")
    assert held.iloc[:, :4].to_numpy().tolist() == [["IBM", 5.0, 40.0, 200.0], ["SPY", -4.0, 50.0, -200.0]]
    assert held["priced_at"].iloc[0] == pd.Timestamp(at(SECOND, 3), tz="UTC")


async def test_booking_anew_leaves_what_the_gateway_booked_and_no_deposit(traded: PostgresStore) -> None:
    account_id = (await Portfolio.load_by_portfolio_id("mine")).account_id
    assert account_id is not None
    query = "SELECT amount, tstamp, details->>'execution_id' FROM account_transactions WHERE account_id = $1 ORDER BY tstamp"
    before = await traded.pool.fetch(query, account_id)
    await Accounts.add_transaction(account_id, 250, datetime(2021, 11, 3))
    await Accounts.clear_balance(account_id, 3)
    assert await Portfolio.recalculate("mine") == (5, 4)
    assert await traded.pool.fetch(query, account_id) == before
    assert await traded.pool.fetchval("SELECT balance FROM accounts WHERE account_id = $1", account_id) == Decimal(1299)
    assert await Portfolio.get_portfolio_account_balance("other") == 493.0
    with pytest.raises(LookupError):
        await Portfolio.recalculate("nobody")


@pytest.mark.parity(59, 60)
def test_portfolios_are_made_shown_and_booked_anew_by_command(dsn: str, capsys: pytest.CaptureFixture[str]) -> None:
    def said(*words: str) -> Any:
        assert portfolios.run([*words, "--dsn", dsn, "--json"]) == 0
        return json.loads(capsys.readouterr().out, parse_float=Decimal)

    first = said("create", "25000.10", "5000")["portfolio_id"]
    assert liu.run(["create", "portfolio", "100", "--credit", "7", "--dsn", dsn]) == 0
    assert capsys.readouterr().out.startswith("Portfolio ID ")
    assert portfolios.run(["create", "12", "0", "crypto", "--dsn", dsn]) == 0
    capsys.readouterr()
    listed = said("list")
    assert [(p["size"], p["balance"], p["assets"]) for p in listed] == [
        (Decimal("25000.10"), Decimal("25000.10"), "US_EQUITIES"),
        (100, 100, "US_EQUITIES"),
        (12, 12, "CRYPTO"),
    ]
    assert listed[0]["portfolio_id"] == first
    credit = rows_of(dsn, "SELECT allow_negative, credit_line FROM accounts ORDER BY account_id")
    assert [tuple(row.values()) for row in credit] == [(True, 5000), (True, 7), (False, 0)]
    for word in ("equity", "account", "trades"):
        assert said(word, first) == []
    assert portfolios.run(["equity", first, "--dsn", dsn]) == 0
    assert "Number of stocks: 0" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="nothing was changed: say --yes"):
        portfolios.run(["recalc", first, "--dsn", dsn])
    assert said("recalc", first, "--yes") == {"removed": 0, "booked": 0, "balance": Decimal("25000.1")}
    with pytest.raises(ConfigError, match="there is no portfolio for nobody: `portfolio list` shows those there are"):
        portfolios.run(["trades", "nobody", "--dsn", dsn])
