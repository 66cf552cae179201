-- At least one row in every table of the original, with its awkward values.

INSERT INTO algo_run (algo_name, algo_env, build_number, parameters, batch_id, end_time, end_reason) VALUES
    ('momentum_long', 'PAPER', '0.0.40', '{"DSN": "somewhere"}', 'b-1', '2020-03-02 21:05:00', 'market close'),
    ('momentum_long', 'unknown', '', NULL, 'b-1', NULL, NULL);
UPDATE algo_run SET ref_algo_run = 1 WHERE algo_run_id = 2;
INSERT INTO trades (algo_run_id, is_win, symbol, qty, buy_price, buy_indicators) VALUES (1, true, 'IBM', 3, 999999.99, '{}');
INSERT INTO new_trades (algo_run_id, symbol, operation, qty, price, indicators, client_time, tstamp, stop_price, trade_fee)
VALUES
    (1, 'IBM', 'buy', 0, 0, 'null', '2020-03-02 10:00:00-05:00', '2020-03-02 15:00:00', NULL, 0),
    (1, 'IBM', 'buy', 10.0000000001, 130.25, '{"rsi": 31.5}', '2020-03-02 10:00:01-05:00', '2020-03-02 15:00:01', 128.10, 1.05),
    (1, 'SPY', 'sell_short', 5, 300.01, '{}', NULL, '2020-03-02 15:00:02', NULL, 0),
    (1, 'T', 'buy', 7, 35.5, '{}', NULL, '2020-03-02 15:00:03', NULL, 0);
UPDATE new_trades SET expire_tstamp = '2020-03-03' WHERE symbol = 'T';
INSERT INTO ticker_data (symbol, name, description, tags, short_ratio) VALUES ('IBM', 'IBM', 'machines', '{tech,old}', 1.5);
INSERT INTO trending_tickers (batch_id, symbol, create_tstamp) VALUES
    ('b-1', 'IBM', '2020-03-02 15:00:00+00'), ('b-1', 'IBM', '2020-03-02 15:00:00+00');
INSERT INTO stock_ohlc (symbol, symbol_date, open, high, low, close, volume) VALUES ('IBM', '2020-03-02', 1.1, 2, 1, 1.5, 2147483647);
INSERT INTO gain_loss (symbol, algo_run_id, gain_percentage, gain_value) VALUES ('IBM', 1, -999.99, 999999.99);
INSERT INTO trade_analysis (symbol, algo_run_id, start_tstamp, end_tstamp, gain_percentage, gain_value, r_units)
VALUES ('IBM', 1, '2020-03-02 15:00:00+00', '2020-03-02 16:00:00+00', 5, 50, 99.99);
INSERT INTO keystore (key, value) VALUES ('momentum:state', '{"day": 3}');
INSERT INTO accounts (balance, allow_negative, credit_line) VALUES (0.1, false, 0), (1000, true, 250.5);
INSERT INTO account_transactions (account_id, amount) VALUES (1, 0.2), (2, -0.1);
INSERT INTO portfolio (portfolio_id, size, account_id, parameters) VALUES ('p-1', 5000, 1, '{"risk": 1}');
INSERT INTO portfolio_batch_ids (portfolio_id, batch_id) VALUES ('p-1', 'b-1'), ('p-1', 'b-1');
INSERT INTO optimizer_run (optimizer_session_id, batch_id, parameters) VALUES ('o-1', 'b-1', '(1, 2)');
INSERT INTO trade_plan (trade_plan_id, portfolio_id, start_date, strategy_name)
VALUES ('00000000-0000-4000-8000-000000000001', 'p-1', '2020-03-02', 'momentum_long');
INSERT INTO trade_plan_execution_audit (trade_plan_id, details) VALUES ('00000000-0000-4000-8000-000000000001', '{}');
