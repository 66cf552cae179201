"""What notebooks of the original read: trades, runs and what batches and portfolios came to, as frames.

Every coroutine opens the program's database where none is open. Money is in US dollars; times of frames are UTC,
days are those of the exchange. Amounts come as floats, because users' code mixes them with prices.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from liualgotrader.common.calendar import sessions
from liualgotrader.common.clock import NEW_YORK
from liualgotrader.common.errors import ConfigError, LiuError
from liualgotrader.common.rows import BUYS
from liualgotrader.common.types import TimeScale
from liualgotrader.data.loader import DataLoader
from liualgotrader.models.connection import fetch_as_dataframe
from liualgotrader.store.analysis_tables import OF_PORTFOLIO
from liualgotrader.store.column_values import midnight

if TYPE_CHECKING:
    import pandas as pd

NUMBERS = ("qty", "price", "stop_price", "target_price", "trade_fee", "amount", "size")
_TRADES = """
    SELECT t.*, r.batch_id, r.start_time, r.algo_name, r.algo_env
    FROM new_trades t JOIN algo_run r ON r.algo_run_id = t.algo_run_id
    WHERE t.expire_tstamp IS NULL AND {which}
    ORDER BY t.symbol, t.tstamp, t.trade_id
"""
TRADES_OF_DAYS = _TRADES.format(which="t.tstamp >= $1 AND t.tstamp < $2 AND ($3::text IS NULL OR r.algo_env = $3)")
# Rows without price and quantity are the original's notes of orders; those without a price alone are splits.
_EXECUTED = "(t.price > 0 OR t.qty <> 0)"
TRADES_OF_BATCH = _TRADES.format(which=f"r.batch_id = $1 AND {_EXECUTED}")
TRADES_OF_PORTFOLIO = _TRADES.format(which=f"{_EXECUTED} AND {OF_PORTFOLIO}")
RUNS_OF_DAYS = "SELECT * FROM algo_run WHERE start_time >= $1 AND start_time < $2 ORDER BY start_time, algo_run_id"
BATCHES_OF_DAY = """
    SELECT r.batch_id, min(r.start_time) AS start_time
    FROM algo_run r JOIN new_trades t ON t.algo_run_id = r.algo_run_id
    WHERE t.tstamp >= $1 AND t.tstamp < $2 AND t.expire_tstamp IS NULL AND ($3::text IS NULL OR r.algo_env = $3)
    GROUP BY r.batch_id
    ORDER BY min(r.start_time), r.batch_id
"""
SYMBOLS_OF_BATCH = """
    SELECT DISTINCT t.symbol FROM new_trades t JOIN algo_run r ON r.algo_run_id = t.algo_run_id
    WHERE r.batch_id = $1 ORDER BY t.symbol
"""
PICKS_OF_BATCH = "SELECT symbol FROM trending_tickers WHERE batch_id = $1 ORDER BY create_tstamp, trending_id"
PORTFOLIO = "SELECT portfolio_id, size, account_id FROM portfolio WHERE portfolio_id = $1"
PORTFOLIO_OF_BATCH = """
    SELECT p.portfolio_id, p.size, p.account_id
    FROM portfolio_batch_ids b JOIN portfolio p ON p.portfolio_id = b.portfolio_id
    WHERE b.batch_id = $1 ORDER BY b.assoc_id LIMIT 1
"""
PORTFOLIOS_OF_SEARCH = """
    SELECT p.portfolio_id, o.batch_id, o.parameters
    FROM optimizer_run o JOIN portfolio_batch_ids p ON p.batch_id = o.batch_id
    WHERE o.optimizer_session_id = $1
        AND EXISTS (SELECT FROM new_trades t JOIN algo_run r USING (algo_run_id) WHERE r.batch_id = o.batch_id)
    ORDER BY o.optimizer_run_id
"""
MOVEMENTS = "SELECT tstamp, amount FROM account_transactions WHERE account_id = $1 ORDER BY tstamp, transaction_id"


async def load_trades_for_period(env: str | None, from_date: date, to_date: date) -> pd.DataFrame:
    """Return the executions of an environment (None: of all) from one day to before another (UTC)."""
    return await _frame(TRADES_OF_DAYS, midnight(from_date), midnight(to_date), env)


async def load_trades(day: date, end_date: date | None = None) -> pd.DataFrame:
    """Return the executions of a day, or of the days before `end_date`, of all environments (UTC)."""
    return await load_trades_for_period(None, day, end_date or day + timedelta(days=1))


async def load_trades_by_batch_id(batch_id: str) -> pd.DataFrame:
    """Return the executions of a batch with its run's batch_id, start_time, algo_name, algo_env; `client_time` in UTC."""
    return _with_times(await _frame(TRADES_OF_BATCH, batch_id))


async def load_trades_by_portfolio(portfolio_id: str) -> pd.DataFrame:
    """Return the executions of all batches of a portfolio, as `load_trades_by_batch_id` does."""
    return _with_times(await _frame(TRADES_OF_PORTFOLIO, portfolio_id))


async def load_runs(day: date, end_date: date | None = None) -> pd.DataFrame:
    """Return the rows of `algo_run` that began on a day, or on the days before `end_date`, by `algo_run_id`."""
    until = midnight(end_date or day + timedelta(days=1))
    return (await _frame(RUNS_OF_DAYS, midnight(day), until)).set_index("algo_run_id")


async def load_batch_list(day: date, env: str | None = None) -> pd.DataFrame:
    """Return batch_id and start_time of the batches of an environment (None: of all) that traded on a day (UTC)."""
    return await _frame(BATCHES_OF_DAY, midnight(day), midnight(day + timedelta(days=1)), env)


async def load_traded_symbols(batch_id: str) -> pd.DataFrame:
    """Return the column `symbol`: what a batch has traded."""
    return await _frame(SYMBOLS_OF_BATCH, batch_id)


async def load_batch_symbols(batch_id: str) -> pd.DataFrame:
    """Return the column `symbol`: what the scanners of a batch picked, in their order."""
    return await _frame(PICKS_OF_BATCH, batch_id)


aload_trades_by_batch_id, aload_trades_by_portfolio_id = load_trades_by_batch_id, load_trades_by_portfolio


def cash_of(trades: pd.DataFrame) -> pd.Series[float]:
    """Return what each execution moved in cash, fees ignored: sold shares bring price x shares, bought ones cost them.

    A sale of a negative quantity, as the original wrote short ones, brings cash too; `sell_short` sells and
    `buy_short` buys back.
    """
    sold = trades["operation"].isin(["sell", "sell_short"])
    shares = trades["qty"].astype(float)
    signed: pd.Series[float] = shares.abs().where(sold, -shares) * trades["price"].astype(float)
    return signed


def calc_batch_revenue(symbol: str, trades: pd.DataFrame, batch_id: str | None = None) -> float:
    """Return the cash that executions in a symbol moved, fees ignored, in cents; of one batch, or of all in the frame."""
    of_batch = trades if batch_id is None else trades[trades["batch_id"] == batch_id]
    return round(float(cash_of(of_batch[of_batch["symbol"] == symbol]).sum()), 2)


def calc_revenue(symbol: str, trades: pd.DataFrame, env: str) -> float:
    """Return the cash that executions of an environment in a symbol moved, fees ignored, in cents."""
    return calc_batch_revenue(symbol, trades[trades["algo_env"] == env])


def count_trades(symbol: str, trades: pd.DataFrame, batch_id: str) -> int:
    """Return how often a batch executed in a symbol."""
    return int(((trades["symbol"] == symbol) & (trades["batch_id"] == batch_id)).sum())


def trades_analysis(trades: pd.DataFrame, batch_id: str) -> pd.DataFrame:
    """Return a row for each symbol of the frame: symbol, revenues, count."""
    import pandas as pd

    symbols = list(dict.fromkeys(trades["symbol"]))
    revenues = [calc_batch_revenue(symbol, trades, batch_id) for symbol in symbols]
    counts = [count_trades(symbol, trades, batch_id) for symbol in symbols]
    return pd.DataFrame({"symbol": symbols, "revenues": revenues, "count": counts})


def symbol_trade_analytics(symbol_df: pd.DataFrame, open_price: float, plt: Any = None) -> tuple[pd.DataFrame, float]:
    """Return a symbol's executions beside their running balance, and the balance at the end; drawn on `plt` if given.

    `daily change` is the price against `open_price`, in percent.
    """
    import pandas as pd

    moved, prices = cash_of(symbol_df), symbol_df["price"].astype(float)
    times = pd.to_datetime(symbol_df["client_time"])
    if plt is not None and len(symbol_df):
        plt.scatter(times, prices, c=["g" if word == "buy" else "r" for word in symbol_df["operation"]], s=100)
    columns = {
        "balance": moved.cumsum().round(2),
        "trade": moved.round(2),
        "algo": symbol_df["algo_name"],
        "operation": symbol_df["operation"],
        "at": times,
        "price": prices,
        "qty": symbol_df["qty"],
        "daily change": [f"{100.0 * (price / open_price - 1):.2f}%" if open_price else "" for price in prices],
        "indicators": symbol_df["indicators"],
        "target price": symbol_df["target_price"],
        "stop price": symbol_df["stop_price"],
    }
    return pd.DataFrame(columns).reset_index(drop=True), float(moved.sum())


symobl_trade_analytics = symbol_trade_analytics  # as the original spells it


async def portfolio_return(env: str, start_date: date) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return cash gained, cash put into purchases and the first in percent of the second, by day and strategy.

    Rows are the exchange's days, columns the strategies and, of all of them, `revenue` (of the second, `invested`).
    A strategy that bought nothing on a day has 0 percent.
    """
    trades = await load_trades_for_period(env, start_date, date(2200, 1, 1))
    days = _days(trades["tstamp"]).rename(None)
    bought = (trades["qty"] * trades["price"]).where(trades["operation"] == "buy", 0.0)
    by_day = [
        amounts.groupby([days, trades["algo_name"]]).sum().unstack().fillna(0.0)
        for amounts in (cash_of(trades).astype(float), bought.astype(float))
    ]
    gained, invested = (frame.rename_axis(columns=None) for frame in by_day)
    gained["revenue"], invested["invested"] = gained.sum(axis=1), invested.sum(axis=1)
    base = invested.rename(columns={"invested": "revenue"})
    return gained, invested, (100.0 * gained / base.where(base != 0)).fillna(0.0)


def calc_symbol_trades_returns(
    symbol: str, symbol_trades: pd.DataFrame, daily_returns: pd.DataFrame, data_loader: DataLoader
) -> None:
    """Add what a symbol's position is worth at each day's close to the column `equity` of `daily_returns`."""
    daily_returns["equity"] += _worth(symbol, symbol_trades, daily_returns, data_loader)


def calc_symbol_state(symbol: str, symbol_trades: pd.DataFrame, data_loader: DataLoader) -> tuple[float, float, float]:
    """Return (shares held after the executions, newest price, what they are worth)."""
    shares = _shares(symbol_trades).sum()
    price = float(data_loader[symbol].close[-1]) if shares else 0.0
    return float(shares), price, float(shares) * price


async def calc_batch_returns(batch_id: str) -> pd.DataFrame:
    """Return `equity` (the positions), `cash` and `totals` at the close of each session of a portfolio's batch.

    Cash is the portfolio's size and what the executions moved since, fees paid.

    Raises:
        LookupError: if the batch trades for no portfolio, or did not trade.
    """
    portfolio = await _row(PORTFOLIO_OF_BATCH, batch_id, f"batch {batch_id} trades for no portfolio")
    trades = await load_trades_by_batch_id(batch_id)
    days = _sessions_of(trades, batch_id)
    moved = (cash_of(trades) - trades["trade_fee"]).groupby(_days(trades["client_time"])).sum()
    return _returns(trades, days, float(portfolio["size"]) + _running(moved, days))


async def calc_portfolio_returns(portfolio_id: str) -> pd.DataFrame:
    """Return `equity` (the positions), `cash` (of the account) and `totals` at the close of each session.

    Raises:
        LookupError: if there is no such portfolio, or it did not trade.
    """
    portfolio = await _row(PORTFOLIO, portfolio_id, f"there is no portfolio {portfolio_id}")
    trades = await load_trades_by_portfolio(portfolio_id)
    days = _sessions_of(trades, portfolio_id)
    moved = await _movements(int(portfolio["account_id"]))
    return _returns(trades, days, float(portfolio["size"]) + _running(moved, days))


async def calc_hyperparameters_analysis(optimizer_run_id: str) -> pd.DataFrame:
    """Return `calc_batch_returns` of each combination of a search that trades for a portfolio, one below the other.

    The index is portfolio and day, the column `configurations` the combination's parameters.
    """
    import pandas as pd

    frames = [pd.DataFrame(columns=["equity", "cash", "totals", "configurations"])]
    found = await _frame(PORTFOLIOS_OF_SEARCH, optimizer_run_id)
    for portfolio, batch, parameters in found.itertuples(index=False, name=None):
        returns = (await calc_batch_returns(str(batch))).assign(configurations=str(parameters))
        frames.append(pd.concat({str(portfolio): returns}))
    return pd.concat(frames[1:] or frames).rename_axis(["portfolio_id", "date"] if frames[1:] else None)


async def compare_to_symbol_returns(portfolio_id: str, symbol: str) -> pd.Series[float]:
    """Return a symbol's close on each session from the portfolio's first trade to its last.

    Raises:
        LookupError: if the portfolio did not trade.
    """
    days = _sessions_of(await load_trades_by_portfolio(portfolio_id), portfolio_id)
    return _closes(symbol, days, DataLoader(TimeScale.day)).rename(symbol)


async def get_cash(account_id: int, initial_cash: float) -> pd.DataFrame:
    """Return `amount` and `cash` by day: what moved in an account, and `initial_cash` with all that moved until then."""
    moved = await _movements(account_id)
    frame = moved.rename("amount").to_frame()
    frame["cash"] = initial_cash + frame["amount"].cumsum()
    return frame.rename_axis("date")


async def get_portfolio_cash(portfolio_id: str) -> pd.DataFrame:
    """Return `get_cash` of a portfolio's account, which began with the portfolio's size.

    Raises:
        LookupError: if there is no such portfolio.
    """
    portfolio = await _row(PORTFOLIO, portfolio_id, f"there is no portfolio {portfolio_id}")
    return await get_cash(int(portfolio["account_id"]), float(portfolio["size"]))


async def get_portfolio_equity(portfolio_id: str) -> pd.DataFrame:
    """Return a row for each position of a portfolio: symbol, qty (negative if short), price, total, `priced_at`.

    The price is the newest close of the configured data; where there is none, that of the position's last execution,
    and `priced_at` says when that was.

    Raises:
        LookupError: if there is no such portfolio.
    """
    import pandas as pd

    await _row(PORTFOLIO, portfolio_id, f"there is no portfolio {portfolio_id}")
    rows = []
    for symbol, trades in (await load_trades_by_portfolio(portfolio_id)).groupby("symbol"):
        if shares := float(_shares(trades).sum()):
            price, priced_at = _newest_price(str(symbol), trades)
            rows.append((symbol, shares, price, shares * price, priced_at))
    return pd.DataFrame(rows, columns=["symbol", "qty", "price", "total", "priced_at"])


async def _frame(query: str, *args: Any) -> pd.DataFrame:
    frame = await fetch_as_dataframe(query, *args)
    return frame.astype({name: float for name in frame.columns if name in NUMBERS})


async def _row(query: str, key: str, missing: str) -> pd.Series[Any]:
    frame = await fetch_as_dataframe(query, key)
    if frame.empty:
        raise LookupError(missing)
    return frame.iloc[0]


def _with_times(trades: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with `client_time` as instants; one that cannot be read is the row's own time."""
    import pandas as pd

    told = pd.to_datetime(trades["client_time"], utc=True, errors="coerce", format="mixed")
    return trades.assign(client_time=told.fillna(pd.to_datetime(trades["tstamp"], utc=True)))


def _days(times: pd.Series[Any]) -> pd.Series[Any]:
    """Return the exchange's days in which instants lie; those without a zone are UTC."""
    import pandas as pd

    days: pd.Series[Any] = pd.to_datetime(times, utc=True).dt.tz_convert(NEW_YORK).dt.normalize().dt.tz_localize(None)
    return days


def _sessions_of(trades: pd.DataFrame, key: str) -> pd.DatetimeIndex:
    import pandas as pd

    if trades.empty:
        raise LookupError(f"nothing was traded for {key}")
    days = _days(trades["client_time"])
    return pd.DatetimeIndex([session.day for session in sessions(days.min().date(), days.max().date())])


def _running(moved: pd.Series[float], days: pd.DatetimeIndex) -> pd.Series[float]:
    """Return all that had moved until the end of each day."""
    return moved.cumsum().reindex(moved.index.union(days)).ffill().fillna(0.0).reindex(days)


async def _movements(account_id: int) -> pd.Series[float]:
    moved = await _frame(MOVEMENTS, account_id)
    return moved["amount"].groupby(_days(moved["tstamp"])).sum()


def _shares(trades: pd.DataFrame) -> pd.Series[float]:
    """Return the signed shares of each execution."""
    shares = trades["qty"].astype(float)
    bought = trades["operation"].isin(BUYS)
    return shares.where(bought, -shares.abs())


def _worth(symbol: str, trades: pd.DataFrame, frame: pd.DataFrame, loader: DataLoader) -> pd.Series[float]:
    days: Any = frame.index
    held = _running(_shares(trades).groupby(_days(trades["client_time"])).sum(), days)
    return held * _closes(symbol, days, loader) if held.any() else held


def _closes(symbol: str, days: pd.DatetimeIndex, loader: DataLoader) -> pd.Series[float]:
    """Return a symbol's closes at the prices of their own days, which go with the shares held then."""
    import pandas as pd

    first, last = days[0].date(), days[-1].date()
    try:
        bars = loader.raw_bars(symbol, first, last)
        closes = pd.Series(bars.close, pd.DatetimeIndex(bars.opened_at, tz="UTC"))
    except ConfigError:  # the vendor has adjusted ones only
        closes = loader[symbol].close[first : last + timedelta(days=1)]
    closes.index = pd.DatetimeIndex(closes.index).tz_convert(NEW_YORK).normalize().tz_localize(None)
    of_days: pd.Series[float] = closes.reindex(days).ffill()
    return of_days


def _returns(trades: pd.DataFrame, days: pd.DatetimeIndex, cash: pd.Series[float]) -> pd.DataFrame:
    import pandas as pd

    loader = DataLoader(TimeScale.day)
    frame = pd.DataFrame({"equity": 0.0, "cash": cash}, index=days)
    symbols: Iterable[Any] = trades.groupby("symbol")
    for symbol, of_symbol in symbols:
        calc_symbol_trades_returns(str(symbol), of_symbol, frame, loader)
    frame["totals"] = frame["equity"] + frame["cash"]
    return frame


def _newest_price(symbol: str, trades: pd.DataFrame) -> tuple[float, pd.Timestamp]:
    last = trades[trades["price"] > 0].iloc[-1]
    try:
        bars = DataLoader(TimeScale.day)[symbol]
        price, priced_at = float(bars.close[-1]), bars.symbol_data.index[-1]
    except (LiuError, LookupError, ValueError):
        return float(last["price"]), last["client_time"]
    return (price, priced_at) if math.isfinite(price) else (float(last["price"]), last["client_time"])
