-- A database as the final schema of LiuAlgoTrader 0.4.35 leaves it, written down from the facts about its
-- columns, without the extension uuid-ossp (nothing reads its ids). Names of indexes and triggers are not
-- those of the migrations on purpose: an old script that ran several times leaves several of them.

CREATE TYPE trade_operation AS ENUM ('buy', 'sell', 'sell_short', 'buy_short');
CREATE TYPE trade_env AS ENUM ('PAPER', 'PROD');
CREATE TYPE asset_type AS ENUM ('US_EQUITIES', 'CRYPTO');
CREATE SEQUENCE transaction_id_seq;

CREATE TABLE algo_run (
    algo_run_id serial PRIMARY KEY, algo_name text NOT NULL, algo_env text NOT NULL, build_number text NOT NULL,
    parameters jsonb, start_time timestamp DEFAULT current_timestamp, end_time timestamp, end_reason text
);
ALTER TABLE algo_run ADD COLUMN batch_id text NOT NULL DEFAULT '';
ALTER TABLE algo_run ADD COLUMN ref_algo_run integer REFERENCES algo_run (algo_run_id);
CREATE INDEX ON algo_run (batch_id);
CREATE INDEX ON algo_run (batch_id);
CREATE INDEX ON algo_run (start_time);

CREATE TABLE trades (
    trade_id serial PRIMARY KEY, algo_run_id integer REFERENCES algo_run (algo_run_id), is_win boolean,
    symbol text NOT NULL, qty integer NOT NULL CHECK (qty > 0), buy_price numeric(8, 2) NOT NULL,
    buy_indicators jsonb NOT NULL, buy_time timestamp DEFAULT current_timestamp, sell_price numeric(8, 2),
    sell_indicators jsonb, sell_time timestamp, client_sell_time text, client_buy_time text
);
CREATE INDEX ON trades (symbol);
CREATE INDEX ON trades (algo_run_id);
CREATE INDEX ON trades (is_win);

CREATE TABLE new_trades (
    trade_id serial PRIMARY KEY, algo_run_id integer NOT NULL REFERENCES algo_run (algo_run_id), symbol text NOT NULL,
    operation trade_operation NOT NULL, qty numeric(24, 10) NOT NULL, price numeric(8, 2) NOT NULL,
    indicators jsonb NOT NULL, client_time text, tstamp timestamp DEFAULT current_timestamp,
    stop_price numeric(8, 2), target_price numeric(8, 2), expire_tstamp timestamp,
    trade_fee numeric(9, 2) NOT NULL DEFAULT 0.0
);
CREATE INDEX ON new_trades (symbol);
CREATE INDEX ON new_trades (algo_run_id);
CREATE INDEX ON new_trades (tstamp);

CREATE TABLE ticker_data (
    symbol text PRIMARY KEY, name text NOT NULL, description text NOT NULL, tags text[], similar_tickers text[],
    industry text, sector text, exchange text, short_ratio float, create_tstamp timestamp DEFAULT current_timestamp,
    modify_tstamp timestamp
);
CREATE INDEX ON ticker_data (sector);
CREATE INDEX ON ticker_data (industry);
CREATE INDEX ON ticker_data (tags);
CREATE INDEX ON ticker_data (similar_tickers);

CREATE TABLE trending_tickers (
    trending_id serial PRIMARY KEY, batch_id text NOT NULL, symbol text NOT NULL,
    create_tstamp timestamp with time zone DEFAULT current_timestamp, scanner_name text NOT NULL DEFAULT 'momentum'
);
CREATE INDEX ON trending_tickers (batch_id);
CREATE INDEX ON trending_tickers (scanner_name);
CREATE INDEX ON trending_tickers (create_tstamp);

CREATE TABLE stock_ohlc (
    symbol_id serial PRIMARY KEY, symbol text NOT NULL, symbol_date date NOT NULL, open float NOT NULL,
    high float NOT NULL, low float NOT NULL, close float NOT NULL, volume int NOT NULL, indicators jsonb,
    modify_tstamp timestamp, create_tstamp timestamp DEFAULT current_timestamp, UNIQUE (symbol, symbol_date)
);

CREATE TABLE gain_loss (
    gain_loss_id serial PRIMARY KEY, symbol text NOT NULL,
    algo_run_id integer NOT NULL REFERENCES algo_run (algo_run_id), gain_percentage numeric(5, 2) NOT NULL,
    gain_value numeric(8, 2) NOT NULL, tstamp timestamp DEFAULT current_timestamp, UNIQUE (symbol, algo_run_id)
);

CREATE TABLE trade_analysis (
    trade_analysis_id serial PRIMARY KEY, symbol text NOT NULL,
    algo_run_id integer NOT NULL REFERENCES algo_run (algo_run_id), start_tstamp timestamp with time zone NOT NULL,
    end_tstamp timestamp with time zone NOT NULL, gain_percentage numeric(5, 2) NOT NULL,
    gain_value numeric(8, 2) NOT NULL, r_units numeric(4, 2),
    tstamp timestamp with time zone DEFAULT current_timestamp, UNIQUE (symbol, algo_run_id, start_tstamp)
);

CREATE TABLE keystore (
    key text PRIMARY KEY, value text NOT NULL, tstamp timestamp with time zone DEFAULT current_timestamp
);

CREATE TABLE accounts (
    account_id serial PRIMARY KEY, balance float NOT NULL DEFAULT 0.0, allow_negative bool NOT NULL DEFAULT false,
    credit_line float NOT NULL DEFAULT 0.0, details jsonb,
    create_tstamp timestamp with time zone DEFAULT current_timestamp, modified_tstamp timestamp with time zone,
    CONSTRAINT credit_for_negative CHECK (credit_line > 0.0 OR allow_negative = false)
);

CREATE TABLE account_transactions (
    transaction_id serial PRIMARY KEY, account_id serial NOT NULL REFERENCES accounts (account_id),
    amount float NOT NULL, details jsonb, tstamp timestamp with time zone DEFAULT current_timestamp,
    create_tstamp timestamp with time zone DEFAULT current_timestamp
);
CREATE FUNCTION move_balance() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    credit float;
BEGIN
    SELECT credit_line INTO credit FROM accounts WHERE account_id = NEW.account_id;
    UPDATE accounts SET balance = balance + NEW.amount WHERE account_id = NEW.account_id;
    RETURN NEW;
END
$$;
CREATE TRIGGER on_transaction BEFORE INSERT OR UPDATE ON account_transactions
    FOR EACH ROW EXECUTE FUNCTION move_balance();

CREATE TABLE portfolio (
    portfolio_id text PRIMARY KEY, size int NOT NULL, parameters jsonb, expire_tstamp timestamp with time zone,
    tstamp timestamp with time zone DEFAULT current_timestamp
);
ALTER TABLE portfolio ADD COLUMN account_id int REFERENCES accounts (account_id);
ALTER TABLE portfolio ADD COLUMN assets asset_type NOT NULL DEFAULT 'US_EQUITIES';
ALTER TABLE portfolio ADD COLUMN external_account_id text;
ALTER TABLE portfolio ADD COLUMN broker text;

CREATE TABLE portfolio_batch_ids (
    assoc_id serial PRIMARY KEY, portfolio_id text NOT NULL REFERENCES portfolio (portfolio_id), batch_id text NOT NULL
);
CREATE INDEX ON portfolio_batch_ids (portfolio_id);
CREATE INDEX ON portfolio_batch_ids (batch_id);

CREATE TABLE optimizer_run (
    optimizer_run_id serial PRIMARY KEY, optimizer_session_id text NOT NULL, batch_id text NOT NULL,
    tstamp timestamp with time zone DEFAULT current_timestamp
);
ALTER TABLE optimizer_run ADD COLUMN parameters text NOT NULL DEFAULT '';
CREATE INDEX ON optimizer_run (optimizer_session_id);

CREATE TABLE trade_plan (
    trade_plan_id uuid PRIMARY KEY, portfolio_id text NOT NULL REFERENCES portfolio (portfolio_id),
    start_date date NOT NULL, strategy_name text NOT NULL, parameters jsonb,
    create_tstamp timestamp with time zone DEFAULT current_timestamp, modify_tstamp timestamp with time zone,
    expire_tstamp timestamp with time zone
);
CREATE FUNCTION stamp_modification() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.modify_tstamp := current_timestamp;
    RETURN NEW;
END
$$;
CREATE TRIGGER on_change BEFORE UPDATE ON trade_plan FOR EACH ROW EXECUTE FUNCTION stamp_modification();

CREATE TABLE trade_plan_execution_audit (
    execution_id serial PRIMARY KEY, trade_plan_id uuid REFERENCES trade_plan (trade_plan_id), details jsonb,
    started_on timestamp with time zone DEFAULT current_timestamp,
    ended_on timestamp with time zone DEFAULT current_timestamp
);
