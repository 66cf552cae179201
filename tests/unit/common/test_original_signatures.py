"""Every name that users' files import from the original is there, and takes its arguments by place and by name as before."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parents[2]
# Module, and its names with their arguments; without brackets a value. After `*` arguments go by name. Ours may take
# more, with defaults.
SURFACE = """
scanners.base: Scanner(name, data_loader, recurrence, target_strategy_name, data_source); Scanner.run(back_time);
    Scanner.get_supported_scanners(); Scanner.get_scanner(data_loader, scanner_name, scanner_details)
scanners.momentum: Momentum(*, recurrence, target_strategy_name, data_loader, trading_api, max_share_price,
    min_share_price, min_last_dv, today_change_percent, min_volume, from_market_open, max_symbols, data_source);
    Momentum.run(back_time); Momentum.apply_filter_on_market_snapshot(filter_func); Momentum.momentum_filter(snapshot);
    Momentum.load_from_db(back_time); Momentum.add_stock_data_for_date(symbol, when);
    Momentum.alpaca_snapshot_details(snapshot); Momentum.polygon_snapshot_details(snapshot)
strategies.base: StrategyType; Strategy(name, type, batch_id, schedule, ref_run_id, data_loader, fractional);
    Strategy.create(); Strategy.should_run_all();
    Strategy.run(symbol, shortable, position, now, minute_history, portfolio_value, debug, backtesting);
    Strategy.run_all(symbols_position, data_loader, now, portfolio_value, trader, debug, backtesting, fee_buy_percentage,
    fee_sell_percentage); Strategy.buy_callback(symbol, price, qty, now, trade_fee);
    Strategy.sell_callback(symbol, price, qty, now, trade_fee); Strategy.is_buy_time(now); Strategy.is_sell_time(now);
    Strategy.calc_qty(price, trade_fee_percentage); Strategy.get_global_var(key); Strategy.set_global_var(key, value);
    Strategy.get_strategy(batch_id, strategy_name, strategy_details, data_loader, ref_run_id)
miners.base: Miner(name); Miner.run()
miners.gainloss: Gainloss(data, debug)
miners.stock_cluster: StockCluster(); StockCluster.num_workers
consumer: should_cancel_order(order, market_clock)
common.data_loader: DataLoader(scale, connector, concurrency); DataLoader.pre_fetch(symbols, start, end);
    DataLoader.keys(); DataLoader.exist(symbol); SymbolData; nyc
data.alpaca: AlpacaData(); AlpacaStream
data.polygon: PolygonData(); PolygonStream
data.data_base: DataAPI.get_symbol_data(symbol, start, end, scale); DataAPI.get_market_snapshot(filter_func);
    DataAPI.get_symbols(); DataAPI.get_symbols_data(symbols, start, end, scale); DataAPI.get_last_trading(symbol);
    DataAPI.get_trading_day(symbol, now, offset); DataAPI.trading_days_slice(symbol, slice);
    DataAPI.num_trading_minutes(symbol, start, end); DataAPI.num_trading_days(symbol, start, end);
    DataAPI.get_max_data_points_per_load(); DataAPI.data_concurrency_ranges(symbol, start, end, scale)
data.streaming_base: StreamingAPI.subscribe(symbols, events); StreamingAPI.get_instance();
    StreamingAPI.unsubscribe(symbol); StreamingAPI.run(); StreamingAPI.close()
data.data_factory: data_loader_factory(connector); streaming_factory(connector)
common.list_utils: chunks(lst, n)
common.assets: assets_details; get_asset_precision(asset_name); round_asset(asset_name, value);
    get_asset_min_qty(asset_name)
trading.base: Trader.get_market_schedule(); Trader.get_trading_days(start_date, end_date); Trader.is_market_open_today();
    Trader.is_market_open(now); Trader.get_time_market_close(); Trader.get_position(symbol); Trader.is_shortable(symbol); Trader.get_tradeable_symbols();
    Trader.get_shortable_symbols(); Trader.is_fractionable(symbol); Trader.is_order_completed(order_id, external_order_id);
    Trader.get_order(order_id); Trader.get_account_order(external_account_id, order_id);
    Trader.create_session(algo_name); Trader.get_instance(); Trader.cancel_order(order); Trader.submit_order(symbol); Trader.reconnect(); Trader.run();
    Trader.close()
trading.trader_factory: trader_factory(); get_trader_by_name(name)
trading.alpaca: AlpacaTrader(qm); AlpacaTrader.get_market_schedule()
common.types: DataConnectorType; BrokerType; TimeScale; WSEventType; WSConnectState; AssetType; Order.EventType;
    Order.FillSide; Order(order_id, symbol, event, submitted_at, price, trade_fees, filled_qty, side, remaining_amount,
    avg_execution_price, external_account_id); Trade(order_id, symbol, event, side, filled_qty, trade_fee,
    filled_avg_price, liquidity, updated_at); ThreadFlags(run); QueueMapper(queue_list); QueueMapper.get_allqueues()
common.tlog: tlog(msg, origin); tlog_exception(origin)
common.trading_data: strategies; open_orders; open_order_strategy; last_used_strategy; latest_cost_basis;
    latest_scalp_basis; sell_indicators; buy_indicators; positions; target_prices; stop_prices; partial_fills;
    partial_fills_fee; symbol_resistance; voi; voi_ask; voi_bid; industry_trend; sector_trend; snapshot; cool_down; queues;
    down_cross; buy_time
models.ticker_snapshot: TickerSnapshot(symbol, volume, today_change)
common.market_data: volume_today; quotes; get_symbol_data(symbol, start_date, end_date, data_loader, scale);
    get_sector_tickers(sector); get_sectors_tickers(sectors); get_industry_tickers(industry);
    get_industries_tickers(industries); get_market_sectors(); get_market_industries();
    sp500_historical_constituents(date); get_trading_holidays(); get_trading_day(now, offset)
common.database: create_db_connection(dsn); fetch_as_dataframe(query)
common.decorators: timeit(func); trace(carrier)
common.concurrency: calc_num_consumer_processes()
common.exceptions: LiuException; MarketClosedToday
common.hyperparameter: Parameter(name, param_type, min, max); Hyperparameters(hyperparameters)
models.accounts: Accounts.create(balance, allow_negative, credit_line, details);
    Accounts.check_if_enough_balance_to_withdraw(account_id, potential_withdraw); Accounts.get_balance(account_id);
    Accounts.add_transaction(account_id, amount, tstamp, details); Accounts.get_transactions(account_id);
    Accounts.clear_balance(account_id, new_balance); Accounts.clear_account_transactions(account_id)
models.algo_run: AlgoRun(strategy_name, batch_id); AlgoRun.save(pool, env, ref_algo_run_id);
    AlgoRun.update_end_time(pool, end_reason); AlgoRun.get_batch_ids(pool, start_date);
    AlgoRun.get_batches(pool, nax_batches, start_date); AlgoRun.get_batch_list_by_date(day);
    AlgoRun.get_batch_details(batch_id)
models.new_trades: NewTrade(algo_run_id, symbol, operation, qty, price, indicators);
    NewTrade.save(pool, client_buy_time, stop_price, target_price, trade_fee); NewTrade.expire_trade(trade_id);
    NewTrade.load_latest(pool, symbol, strategy_name); NewTrade.get_run_symbols(algo_run_id);
    NewTrade.rename_algo_run_id(new, old, symbol); NewTrade.get_latest_algo_run_id(symbol, strategy_name)
models.gain_loss: GainLoss.save(df); GainLoss.load(start_date); TradeAnalysis.save(df); TradeAnalysis.load(start_date)
models.keystore: KeyStore.load(key); KeyStore.save(key, value)
models.portfolio: Portfolio(portfolio_id, portfolio_size, asset_type, account_id, parameters);
    Portfolio.load_by_batch_id(batch_id); Portfolio.load_by_portfolio_id(portfolio_id);
    Portfolio.save(portfolio_id, portfolio_size, credit, parameters, asset_type, external_account_id, broker);
    Portfolio.associate_batch_id_to_profile(portfolio_id, batch_id); Portfolio.is_associated(portfolio_id, batch_id);
    Portfolio.exists(portfolio_id); Portfolio.get_portfolio_account_balance(portfolio_id);
    Portfolio.get_external_account_id(portfolio_id); Portfolio.list_portfolios()
models.optimizer: OptimizerRun.save(optimizer_session_id, batch_id, parameters);
    OptimizerRun.get_portfolio_ids_parameters(optimizer_session_id)
models.ticker_data: TickerData(name, symbol, description, tags, similar_tickers, industry, sector, exchange);
    TickerData.load_symbols(); TickerData.save(); StockOhlc(symbol, symbol_date, open, high, low, close, volume,
    indicators); StockOhlc.check_stock_date_exists(symbol, symbol_date); StockOhlc.get_latest_date(symbol);
    StockOhlc.load_by_date(symbol_date); StockOhlc.save()
models.tradeplan: TradePlan(strategy_name, parameters, portfolio_id); TradePlan.load(); TradePlan.get_new_entries(since)
models.trades: Trade(algo_run_id, symbol, qty, price, indicators); Trade.save_buy(pool, client_buy_time);
    Trade.save_sell(pool, price, indicators, client_sell_time)
models.trending_tickers: TrendingTickers(batch_id); TrendingTickers.save(symbols); TrendingTickers.load(batch_id)
reprocess.portfolio: account_transactions(portfolio_id)
fincalcs.vwap: add_daily_vwap(minute_data, debug, back_time, in_place); anchored_vwap(ohlc_data, start_time, debug)
fincalcs.candle_patterns: gravestone_doji(open, high, low, close); four_price_doji(open, close, high, low);
    doji(open, close, high, low); spinning_top(open, high, low, close); bullish_candle(open, high, low, close);
    bearish_candle(open, high, low, close); dragonfly_candle(open, high, low, close);
    spinning_top_bearish_followup(minute1, minute2); bullish_candle_followed_by_dragonfly(minute1, minute2)
fincalcs.support_resistance: StopRangeType; grouper(iterable);
    find_resistances(symbol, strategy_name, current_value, minute_history, debug);
    find_supports(current_value, minute_history, now, range_type); find_stop(current_value, minute_history, now, range_type);
    get_local_maxima(series, debug)
fincalcs.trends: SeriesTrendType; VolatilityClassificationType; get_series_trend(series);
    volatility(data_loader, symbol, now)
fincalcs.resample: ResampleRangeType; resample(ohlc, resample_range)
fincalcs.data_conditions: TRADE_CONDITIONS; QUOTE_SKIP_CONDITIONS
analytics.analysis: load_trades_for_period(env, from_date, to_date); portfolio_return(env, start_date);
    load_trades(day, end_date); load_trades_by_batch_id(batch_id); load_trades_by_portfolio(portfolio_id);
    load_runs(day, end_date); load_batch_list(day, env); load_traded_symbols(batch_id);
    calc_batch_revenue(symbol, trades, batch_id); calc_revenue(symbol, trades, env); count_trades(symbol, trades, batch_id);
    trades_analysis(trades, batch_id); symbol_trade_analytics(symbol_df); calc_symbol_trades_returns(symbol);
    calc_symbol_state(symbol); calc_batch_returns(batch_id); compare_to_symbol_returns(portfolio_id, symbol);
    get_cash(account_id, initial_cash); calc_portfolio_returns(portfolio_id);
    calc_hyperparameters_analysis(optimizer_run_id); get_portfolio_equity(portfolio_id); get_portfolio_cash(portfolio_id)
analytics.consolidate: trades(batch_id)
common.config: risk; default_stop; group_margin; market_liquidation_end_time_minutes; total_tickers;
    finnhub_websocket_limit; polygon_seconds_timeout; configuration_filename; miner_configuration_filename; build_label;
    portfolio_value; batch_id; db_conn_pool; env; filename; trace_enabled; debug_enabled; gcp_logger;
    detailed_dl_debug_enabled; bypass_market_schedule; market_open; market_close; data_connector; broker; dsn
"""
MODULES = {
    module: [" ".join(name.split()) for name in names.split(";")]
    for module, names in re.findall(r"^([a-z_.0-9]+): ((?:.|\n    )+)", SURFACE, re.MULTILINE)
}
LISTED = [(module, name) for module, names in MODULES.items() for name in names]


def found_at(module: str, name: str) -> Any:
    value: Any = importlib.import_module(f"liualgotrader.{module}")
    for part in name.partition("(")[0].split("."):
        value = getattr(value, part)
    return value


@pytest.mark.parametrize(("module", "name"), LISTED, ids=lambda word: word.partition("(")[0])
def test_a_name_of_the_original_takes_its_arguments(module: str, name: str) -> None:
    value, (_, bracket, inside) = found_at(module, name), name.partition("(")
    if not bracket:
        return
    wanted = [word for word in inside.rstrip(")").replace(" ", "").split(",") if word]
    parameters = [p for p in inspect.signature(value).parameters.values() if p.name not in ("self", "cls")]
    names = [p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if wanted[:1] == ["*"]:
        assert set(wanted[1:]) <= set(names)
    else:
        assert names[: len(wanted)] == wanted
        of_theirs = (
            "open_price",
            "symbol_trades",
            "daily_returns",
            "data_loader",
        )  # the original's, said with dots there
        assert all(
            p.default is not p.empty
            for p in parameters
            if p.name in names[len(wanted) :] and p.name not in of_theirs and p.kind is not p.VAR_KEYWORD
        )


def test_every_callable_of_the_original_is_called_by_a_test_of_what_it_gives() -> None:
    here = Path(__file__)
    text = "\n".join(path.read_text() for path in TESTS.rglob("*.py") if path != here)
    callables = {name.partition("(")[0].rpartition(".")[2] for _, name in LISTED if "(" in name}
    assert {name for name in callables if not re.search(rf"\b{name}\b", text)} == set()
