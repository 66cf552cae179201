-- The tables of LiuAlgoTrader 0.4.35, so that its databases and what was written for them keep working.
-- On a database that has them already every statement here changes nothing.

DO $$
BEGIN
    IF to_regtype('trade_operation') IS NULL THEN
        CREATE TYPE trade_operation AS ENUM ('buy', 'sell', 'sell_short', 'buy_short');
    END IF;
    IF to_regtype('trade_env') IS NULL THEN
        CREATE TYPE trade_env AS ENUM ('PAPER', 'PROD');
    END IF;
    IF to_regtype('asset_type') IS NULL THEN
        CREATE TYPE asset_type AS ENUM ('US_EQUITIES', 'CRYPTO');
    END IF;
END
$$;

CREATE TABLE IF NOT EXISTS algo_run (
    algo_run_id serial PRIMARY KEY,
    algo_name text NOT NULL,
    algo_env text NOT NULL,
    build_number text NOT NULL,
    parameters jsonb,
    start_time timestamp DEFAULT now(),
    end_time timestamp,
    end_reason text,
    batch_id text NOT NULL DEFAULT '',
    ref_algo_run integer REFERENCES algo_run (algo_run_id)
);
CREATE INDEX IF NOT EXISTS algo_run_batch_id_idx ON algo_run (batch_id);
CREATE INDEX IF NOT EXISTS algo_run_start_time_idx ON algo_run (start_time);

CREATE TABLE IF NOT EXISTS new_trades (
    trade_id serial PRIMARY KEY,
    algo_run_id integer NOT NULL REFERENCES algo_run (algo_run_id),
    symbol text NOT NULL,
    operation trade_operation NOT NULL,
    qty numeric(24, 10) NOT NULL,
    price numeric(8, 2) NOT NULL,
    indicators jsonb NOT NULL,
    client_time text,
    tstamp timestamp DEFAULT now(),
    stop_price numeric(8, 2),
    target_price numeric(8, 2),
    expire_tstamp timestamp,
    trade_fee numeric(9, 2) NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS new_trades_symbol_idx ON new_trades (symbol);
CREATE INDEX IF NOT EXISTS new_trades_algo_run_id_idx ON new_trades (algo_run_id);
CREATE INDEX IF NOT EXISTS new_trades_tstamp_idx ON new_trades (tstamp);

CREATE TABLE IF NOT EXISTS trades (
    trade_id serial PRIMARY KEY,
    algo_run_id integer REFERENCES algo_run (algo_run_id),
    is_win boolean,
    symbol text NOT NULL,
    qty integer NOT NULL CHECK (qty > 0),
    buy_price numeric(8, 2) NOT NULL,
    buy_indicators jsonb NOT NULL,
    buy_time timestamp DEFAULT now(),
    sell_price numeric(8, 2),
    sell_indicators jsonb,
    sell_time timestamp,
    client_sell_time text,
    client_buy_time text
);
CREATE INDEX IF NOT EXISTS trades_symbol_idx ON trades (symbol);
CREATE INDEX IF NOT EXISTS trades_algo_run_id_idx ON trades (algo_run_id);
CREATE INDEX IF NOT EXISTS trades_is_win_idx ON trades (is_win);

CREATE TABLE IF NOT EXISTS ticker_data (
    symbol text PRIMARY KEY,
    name text NOT NULL,
    description text NOT NULL,
    tags text[],
    similar_tickers text[],
    industry text,
    sector text,
    exchange text,
    short_ratio double precision,
    create_tstamp timestamp DEFAULT now(),
    modify_tstamp timestamp
);
CREATE INDEX IF NOT EXISTS ticker_data_sector_idx ON ticker_data (sector);
CREATE INDEX IF NOT EXISTS ticker_data_industry_idx ON ticker_data (industry);
CREATE INDEX IF NOT EXISTS ticker_data_tags_idx ON ticker_data (tags);
CREATE INDEX IF NOT EXISTS ticker_data_similar_tickers_idx ON ticker_data (similar_tickers);

CREATE TABLE IF NOT EXISTS trending_tickers (
    trending_id serial PRIMARY KEY,
    batch_id text NOT NULL,
    symbol text NOT NULL,
    create_tstamp timestamp with time zone DEFAULT now(),
    scanner_name text NOT NULL DEFAULT 'momentum'
);
CREATE INDEX IF NOT EXISTS trending_tickers_batch_id_idx ON trending_tickers (batch_id);
CREATE INDEX IF NOT EXISTS trending_tickers_scanner_name_idx ON trending_tickers (scanner_name);
CREATE INDEX IF NOT EXISTS trending_tickers_create_tstamp_idx ON trending_tickers (create_tstamp);

CREATE TABLE IF NOT EXISTS stock_ohlc (
    symbol_id serial PRIMARY KEY,
    symbol text NOT NULL,
    symbol_date date NOT NULL,
    open double precision NOT NULL,
    high double precision NOT NULL,
    low double precision NOT NULL,
    close double precision NOT NULL,
    volume integer NOT NULL,
    indicators jsonb,
    modify_tstamp timestamp,
    create_tstamp timestamp DEFAULT now(),
    UNIQUE (symbol, symbol_date)
);

CREATE TABLE IF NOT EXISTS gain_loss (
    gain_loss_id serial PRIMARY KEY,
    symbol text NOT NULL,
    algo_run_id integer NOT NULL REFERENCES algo_run (algo_run_id),
    gain_percentage numeric(5, 2) NOT NULL,
    gain_value numeric(8, 2) NOT NULL,
    tstamp timestamp DEFAULT now(),
    UNIQUE (symbol, algo_run_id)
);

CREATE TABLE IF NOT EXISTS trade_analysis (
    trade_analysis_id serial PRIMARY KEY,
    symbol text NOT NULL,
    algo_run_id integer NOT NULL REFERENCES algo_run (algo_run_id),
    start_tstamp timestamp with time zone NOT NULL,
    end_tstamp timestamp with time zone NOT NULL,
    gain_percentage numeric(5, 2) NOT NULL,
    gain_value numeric(8, 2) NOT NULL,
    r_units numeric(4, 2),
    tstamp timestamp with time zone DEFAULT now(),
    UNIQUE (symbol, algo_run_id, start_tstamp)
);

CREATE TABLE IF NOT EXISTS keystore (
    key text PRIMARY KEY,
    value text NOT NULL,
    tstamp timestamp with time zone DEFAULT now()
);

CREATE TABLE IF NOT EXISTS accounts (
    account_id serial PRIMARY KEY,
    balance double precision NOT NULL DEFAULT 0,
    allow_negative boolean NOT NULL DEFAULT false,
    credit_line double precision NOT NULL DEFAULT 0,
    details jsonb,
    create_tstamp timestamp with time zone DEFAULT now(),
    modified_tstamp timestamp with time zone,
    CHECK (credit_line > 0 OR NOT allow_negative)
);

CREATE TABLE IF NOT EXISTS account_transactions (
    transaction_id serial PRIMARY KEY,
    account_id serial NOT NULL REFERENCES accounts (account_id),
    amount double precision NOT NULL,
    details jsonb,
    tstamp timestamp with time zone DEFAULT now(),
    create_tstamp timestamp with time zone DEFAULT now()
);

CREATE TABLE IF NOT EXISTS portfolio (
    portfolio_id text PRIMARY KEY,
    size integer NOT NULL,
    parameters jsonb,
    expire_tstamp timestamp with time zone,
    tstamp timestamp with time zone DEFAULT now(),
    account_id integer REFERENCES accounts (account_id),
    assets asset_type NOT NULL DEFAULT 'US_EQUITIES',
    external_account_id text,
    broker text
);

CREATE TABLE IF NOT EXISTS portfolio_batch_ids (
    assoc_id serial PRIMARY KEY,
    portfolio_id text NOT NULL REFERENCES portfolio (portfolio_id),
    batch_id text NOT NULL
);
CREATE INDEX IF NOT EXISTS portfolio_batch_ids_portfolio_id_idx ON portfolio_batch_ids (portfolio_id);
CREATE INDEX IF NOT EXISTS portfolio_batch_ids_batch_id_idx ON portfolio_batch_ids (batch_id);

CREATE TABLE IF NOT EXISTS optimizer_run (
    optimizer_run_id serial PRIMARY KEY,
    optimizer_session_id text NOT NULL,
    batch_id text NOT NULL,
    tstamp timestamp with time zone DEFAULT now(),
    parameters text NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS optimizer_run_optimizer_session_id_idx ON optimizer_run (optimizer_session_id);

CREATE TABLE IF NOT EXISTS trade_plan (
    trade_plan_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    portfolio_id text NOT NULL REFERENCES portfolio (portfolio_id),
    start_date date NOT NULL,
    strategy_name text NOT NULL,
    parameters jsonb,
    create_tstamp timestamp with time zone DEFAULT now(),
    modify_tstamp timestamp with time zone,
    expire_tstamp timestamp with time zone
);

CREATE TABLE IF NOT EXISTS trade_plan_execution_audit (
    execution_id serial PRIMARY KEY,
    trade_plan_id uuid REFERENCES trade_plan (trade_plan_id),
    details jsonb,
    started_on timestamp with time zone DEFAULT now(),
    ended_on timestamp with time zone DEFAULT now()
);
