-- All tables of LiuAlgoTrader. Made from the migrations in liualgotrader/store/migrations by
-- `python -m tools.schema`; change those, not this file.

CREATE TYPE asset_type AS ENUM ('US_EQUITIES', 'CRYPTO');

CREATE TYPE trade_env AS ENUM ('PAPER', 'PROD');

CREATE TYPE trade_operation AS ENUM ('buy', 'sell', 'sell_short', 'buy_short');

CREATE TABLE account_activities (
    activity_id text NOT NULL,
    batch_id text NOT NULL,
    activity_type text NOT NULL,
    symbol text NOT NULL,
    amount numeric,
    at timestamp with time zone NOT NULL,
    description text NOT NULL,
    CONSTRAINT account_activities_pkey PRIMARY KEY (activity_id)
);
COMMENT ON TABLE account_activities IS 'cash and shares that moved without an order, by the broker''s word (CSD, CSW, DIV, FEE ...), US dollars, signed; written by the order gateway';

CREATE TABLE account_lease (
    account_digest text NOT NULL,
    generation bigint NOT NULL,
    taken_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT account_lease_pkey PRIMARY KEY (account_digest)
);
COMMENT ON TABLE account_lease IS 'how many gateways have traded for an account; its number is kept as a SHA-256 digest';

CREATE TABLE accounts (
    account_id serial NOT NULL,
    balance numeric NOT NULL DEFAULT 0,
    allow_negative boolean NOT NULL DEFAULT false,
    credit_line numeric NOT NULL DEFAULT 0,
    details jsonb,
    create_tstamp timestamp with time zone DEFAULT now(),
    modified_tstamp timestamp with time zone,
    CONSTRAINT accounts_pkey PRIMARY KEY (account_id),
    CONSTRAINT accounts_check CHECK (((credit_line > (0)::numeric) OR (NOT allow_negative)))
);

CREATE TABLE account_transactions (
    transaction_id serial NOT NULL,
    account_id serial NOT NULL,
    amount numeric NOT NULL,
    details jsonb,
    tstamp timestamp with time zone DEFAULT now(),
    create_tstamp timestamp with time zone DEFAULT now(),
    CONSTRAINT account_transactions_pkey PRIMARY KEY (transaction_id),
    CONSTRAINT account_transactions_account_id_fkey FOREIGN KEY (account_id) REFERENCES accounts(account_id)
);
CREATE INDEX account_transactions_account_id_idx ON account_transactions (account_id);

CREATE TABLE algo_run (
    algo_run_id serial NOT NULL,
    algo_name text NOT NULL,
    algo_env text NOT NULL,
    build_number text NOT NULL,
    parameters jsonb,
    start_time timestamp DEFAULT now(),
    end_time timestamp,
    end_reason text,
    batch_id text NOT NULL DEFAULT ''::text,
    ref_algo_run integer,
    slot integer,
    CONSTRAINT algo_run_pkey PRIMARY KEY (algo_run_id),
    CONSTRAINT algo_run_ref_algo_run_fkey FOREIGN KEY (ref_algo_run) REFERENCES algo_run(algo_run_id)
);
CREATE INDEX algo_run_batch_id_idx ON algo_run (batch_id);
CREATE UNIQUE INDEX algo_run_batch_id_slot_key ON algo_run (batch_id, slot) WHERE (slot IS NOT NULL);
CREATE INDEX algo_run_start_time_idx ON algo_run (start_time);
COMMENT ON COLUMN algo_run.slot IS 'the strategy in its consumer within the batch; a restart finds the row by it';

CREATE TABLE assignment (
    batch_id text NOT NULL,
    symbol text NOT NULL,
    consumer integer NOT NULL,
    recorded_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT assignment_pkey PRIMARY KEY (batch_id, symbol)
);
COMMENT ON TABLE assignment IS 'which consumer a symbol belongs to; written by the producer';

CREATE TABLE batch (
    batch_id text NOT NULL,
    session_date date NOT NULL,
    environment text NOT NULL,
    started_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone,
    end_reason text,
    seed numeric,
    layout jsonb NOT NULL,
    configuration jsonb NOT NULL,
    versions jsonb NOT NULL,
    recorded_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    figures jsonb,
    CONSTRAINT batch_pkey PRIMARY KEY (batch_id)
);
CREATE INDEX batch_recorded_at_idx ON batch (recorded_at);
CREATE INDEX batch_session_date_idx ON batch (session_date);
COMMENT ON TABLE batch IS 'one run of trader; written by the supervisor';
COMMENT ON COLUMN batch.figures IS 'what the batch came to, for lists: days, symbols, round trips, gain, return; NULL where it did not come to its end';

CREATE TABLE equity (
    batch_id text NOT NULL,
    session_date date NOT NULL,
    opened_at timestamp with time zone NOT NULL,
    step_seconds integer NOT NULL,
    amounts double precision[] NOT NULL,
    recorded_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT equity_pkey PRIMARY KEY (batch_id, session_date)
);
COMMENT ON TABLE equity IS 'the account''s value in US dollars, by the broker''s word or worked out from fills and closes; written by the order gateway or the backtester';
COMMENT ON COLUMN equity.amounts IS 'the newest known value at opened_at and at each step after it, NULL where none was known; the last one is known';

CREATE TABLE event_lag (
    batch_id text NOT NULL,
    at timestamp with time zone NOT NULL,
    process text NOT NULL,
    events bigint NOT NULL,
    stale bigint NOT NULL,
    dropped bigint NOT NULL,
    lag_p50_ms double precision NOT NULL,
    lag_ms double precision NOT NULL,
    CONSTRAINT event_lag_pkey PRIMARY KEY (batch_id, process, at)
);
COMMENT ON TABLE event_lag IS 'market data that a process took since its row before: how many events, of them too old to act on, left out before it because it was behind; and the newest median and greatest lag; at is market time; written by trader';

CREATE TABLE foreign_positions (
    batch_id text NOT NULL,
    symbol text NOT NULL,
    quantity numeric NOT NULL,
    at timestamp with time zone NOT NULL,
    CONSTRAINT foreign_positions_pkey PRIMARY KEY (batch_id, symbol)
);
COMMENT ON TABLE foreign_positions IS 'what the account held beyond our strategies; never traded';

CREATE TABLE gain_loss (
    gain_loss_id serial NOT NULL,
    symbol text NOT NULL,
    algo_run_id integer NOT NULL,
    gain_percentage numeric(18,4) NOT NULL,
    gain_value numeric(24,6) NOT NULL,
    tstamp timestamp DEFAULT now(),
    open_quantity numeric(24,9),
    open_price numeric(24,6),
    CONSTRAINT gain_loss_pkey PRIMARY KEY (gain_loss_id),
    CONSTRAINT gain_loss_symbol_algo_run_id_key UNIQUE (symbol, algo_run_id),
    CONSTRAINT gain_loss_algo_run_id_fkey FOREIGN KEY (algo_run_id) REFERENCES algo_run(algo_run_id)
);
COMMENT ON COLUMN gain_loss.gain_value IS 'US dollars that closed shares gained, all fees paid; rows from before this column had open_quantity count open positions at their cost';
COMMENT ON COLUMN gain_loss.open_quantity IS 'shares still open, signed; NULL: not known, as in rows of an older version';
COMMENT ON COLUMN gain_loss.open_price IS 'their average price';

CREATE TABLE gateway_progress (
    batch_id text NOT NULL,
    row_number bigint NOT NULL,
    recorded_at timestamp with time zone NOT NULL DEFAULT now(),
    digest text,
    CONSTRAINT gateway_progress_pkey PRIMARY KEY (batch_id)
);
COMMENT ON TABLE gateway_progress IS 'the newest row of the gateway''s journal that is stored here';
COMMENT ON COLUMN gateway_progress.digest IS 'a digest of all rows up to row_number; NULL if an older version wrote them';

CREATE TABLE honesty_check (
    batch_id text NOT NULL,
    name text NOT NULL,
    ran_at timestamp with time zone NOT NULL,
    verdict text NOT NULL,
    findings jsonb NOT NULL,
    recorded_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT honesty_check_pkey PRIMARY KEY (batch_id, name)
);
COMMENT ON TABLE honesty_check IS 'lookahead, warmup and the like: what was checked of a batch and found; the newest of each name';

CREATE TABLE journal_note (
    batch_id text NOT NULL,
    algo_run_id integer NOT NULL,
    symbol text NOT NULL,
    started_at timestamp with time zone NOT NULL,
    tags text[] NOT NULL,
    note text NOT NULL,
    written_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT journal_note_pkey PRIMARY KEY (batch_id, algo_run_id, symbol, started_at)
);
COMMENT ON TABLE journal_note IS 'notes and tags of a person on a round trip of trade_analysis, found by run, symbol and start; of the whole batch: run 0, no symbol, its start; written by the pages';

CREATE TABLE keystore (
    key text NOT NULL,
    value text NOT NULL,
    tstamp timestamp with time zone DEFAULT now(),
    CONSTRAINT keystore_pkey PRIMARY KEY (key)
);

CREATE TABLE new_trades (
    trade_id serial NOT NULL,
    algo_run_id integer NOT NULL,
    symbol text NOT NULL,
    operation trade_operation NOT NULL,
    qty numeric(24,10) NOT NULL,
    price numeric(18,6) NOT NULL,
    indicators jsonb NOT NULL,
    client_time text,
    tstamp timestamp DEFAULT now(),
    stop_price numeric(18,6),
    target_price numeric(18,6),
    expire_tstamp timestamp,
    trade_fee numeric(18,6) NOT NULL DEFAULT 0,
    execution_id text,
    client_order_id text,
    created_at timestamp with time zone DEFAULT now(),
    CONSTRAINT new_trades_pkey PRIMARY KEY (trade_id),
    CONSTRAINT new_trades_execution_id_key UNIQUE (execution_id),
    CONSTRAINT new_trades_algo_run_id_fkey FOREIGN KEY (algo_run_id) REFERENCES algo_run(algo_run_id)
);
CREATE INDEX new_trades_algo_run_id_idx ON new_trades (algo_run_id);
CREATE INDEX new_trades_symbol_idx ON new_trades (symbol);
CREATE INDEX new_trades_tstamp_idx ON new_trades (tstamp);
COMMENT ON COLUMN new_trades.tstamp IS 'market time of the execution, UTC';
COMMENT ON COLUMN new_trades.execution_id IS 'the broker''s id of the execution; a fill is booked once';
COMMENT ON COLUMN new_trades.created_at IS 'wall time at which the row was written';

CREATE TABLE operator_action (
    action_id text NOT NULL,
    batch_id text NOT NULL,
    at timestamp with time zone NOT NULL,
    asked_by text NOT NULL,
    through text NOT NULL,
    action text NOT NULL,
    arguments jsonb NOT NULL,
    done boolean NOT NULL,
    answer text NOT NULL,
    recorded_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT operator_action_pkey PRIMARY KEY (action_id)
);
CREATE INDEX operator_action_batch ON operator_action (batch_id, at);
COMMENT ON TABLE operator_action IS 'what an operator asked of a running session: which user of the machine, through which program, with what arguments, and what was answered; at is market time, recorded_at the machine''s; written by trader';

CREATE TABLE optimizer_run (
    optimizer_run_id serial NOT NULL,
    optimizer_session_id text NOT NULL,
    batch_id text NOT NULL,
    tstamp timestamp with time zone DEFAULT now(),
    parameters text NOT NULL DEFAULT ''::text,
    number integer,
    fold integer,
    out_of_sample boolean,
    point json,
    objective double precision,
    figures jsonb,
    equity double precision[],
    seconds double precision,
    failure text,
    played_by text,
    CONSTRAINT optimizer_run_pkey PRIMARY KEY (optimizer_run_id)
);
CREATE UNIQUE INDEX optimizer_run_number_idx ON optimizer_run (optimizer_session_id, fold, out_of_sample, number) WHERE (number IS NOT NULL);
CREATE INDEX optimizer_run_optimizer_session_id_idx ON optimizer_run (optimizer_session_id);
COMMENT ON COLUMN optimizer_run.number IS 'the combination''s place in its search, from 0; NULL in rows of the original';
COMMENT ON COLUMN optimizer_run.fold IS '0: the whole time; else the window of the walk forward';
COMMENT ON COLUMN optimizer_run.equity IS 'dollars before the first session, then at the close of each';
COMMENT ON COLUMN optimizer_run.played_by IS 'events: the engine; arrays: one compiled loop over array signals';

CREATE TABLE optimizer_session (
    optimizer_session_id text NOT NULL,
    started_at timestamp with time zone NOT NULL,
    configuration jsonb NOT NULL,
    ended_at timestamp with time zone,
    end_reason text,
    result jsonb,
    recorded_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT optimizer_session_pkey PRIMARY KEY (optimizer_session_id)
);
COMMENT ON TABLE optimizer_session IS 'one search for parameters: what was asked for, why it ended, and the best of it';

CREATE TABLE order_events (
    client_order_id text NOT NULL,
    number integer NOT NULL,
    event text NOT NULL,
    at timestamp with time zone NOT NULL,
    details jsonb NOT NULL,
    CONSTRAINT order_events_pkey PRIMARY KEY (client_order_id, number)
);
COMMENT ON TABLE order_events IS 'the life of an order, step by step; written by the order gateway';

CREATE TABLE orders (
    client_order_id text NOT NULL,
    batch_id text NOT NULL,
    slot integer NOT NULL,
    algo_run_id integer NOT NULL,
    generation bigint NOT NULL,
    symbol text NOT NULL,
    side text NOT NULL,
    quantity numeric NOT NULL,
    type text NOT NULL,
    time_in_force text NOT NULL,
    limit_price numeric,
    stop_price numeric,
    state text NOT NULL,
    broker_order_id text,
    filled_quantity numeric NOT NULL,
    average_price numeric,
    reason text NOT NULL,
    planned_stop numeric,
    planned_target numeric,
    indicators jsonb NOT NULL,
    decided_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT orders_pkey PRIMARY KEY (client_order_id)
);
CREATE INDEX orders_batch_id_slot_idx ON orders (batch_id, slot);
COMMENT ON TABLE orders IS 'the newest state of each order; written by the order gateway';
COMMENT ON COLUMN orders.generation IS 'of the gateway that wrote the row; an older gateway cannot overwrite it';

CREATE TABLE portfolio (
    portfolio_id text NOT NULL,
    size numeric NOT NULL,
    parameters jsonb,
    expire_tstamp timestamp with time zone,
    tstamp timestamp with time zone DEFAULT now(),
    account_id integer,
    assets asset_type NOT NULL DEFAULT 'US_EQUITIES'::asset_type,
    external_account_id text,
    broker text,
    CONSTRAINT portfolio_pkey PRIMARY KEY (portfolio_id),
    CONSTRAINT portfolio_account_id_fkey FOREIGN KEY (account_id) REFERENCES accounts(account_id)
);

CREATE TABLE portfolio_batch_ids (
    assoc_id serial NOT NULL,
    portfolio_id text NOT NULL,
    batch_id text NOT NULL,
    CONSTRAINT portfolio_batch_ids_pkey PRIMARY KEY (assoc_id),
    CONSTRAINT portfolio_batch_ids_portfolio_id_fkey FOREIGN KEY (portfolio_id) REFERENCES portfolio(portfolio_id)
);
CREATE INDEX portfolio_batch_ids_batch_id_idx ON portfolio_batch_ids (batch_id);
CREATE INDEX portfolio_batch_ids_portfolio_id_idx ON portfolio_batch_ids (portfolio_id);

CREATE TABLE position_plans (
    algo_run_id integer NOT NULL,
    symbol text NOT NULL,
    at timestamp with time zone NOT NULL,
    planned_stop numeric,
    planned_target numeric,
    CONSTRAINT position_plans_pkey PRIMARY KEY (algo_run_id, symbol),
    CONSTRAINT position_plans_algo_run_id_fkey FOREIGN KEY (algo_run_id) REFERENCES algo_run(algo_run_id)
);
COMMENT ON TABLE position_plans IS 'the stop and target a strategy moved; a later session takes them up; written by the order gateway';

CREATE TABLE rejects (
    batch_id text NOT NULL,
    strategy_name text NOT NULL,
    symbol text NOT NULL,
    rejected_at timestamp with time zone NOT NULL,
    CONSTRAINT rejects_pkey PRIMARY KEY (batch_id, strategy_name, symbol)
);
COMMENT ON TABLE rejects IS 'a strategy wants to hear of the symbol no more in this session';

CREATE TABLE schema_version (
    version integer NOT NULL,
    name text NOT NULL,
    applied_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT schema_version_pkey PRIMARY KEY (version)
);

CREATE TABLE signals (
    signal_id uuid NOT NULL,
    batch_id text NOT NULL,
    slot integer NOT NULL,
    symbol text NOT NULL,
    at timestamp with time zone NOT NULL,
    action jsonb NOT NULL,
    outcome text NOT NULL,
    client_order_id text,
    CONSTRAINT signals_pkey PRIMARY KEY (signal_id)
);
CREATE INDEX signals_batch_id_slot_at_idx ON signals (batch_id, slot, at);
COMMENT ON TABLE signals IS 'what strategies wanted, carried out or not; written by the consumers';
COMMENT ON COLUMN signals.signal_id IS 'a digest of the row, so that it can be written twice';

CREATE TABLE stock_ohlc (
    symbol_id serial NOT NULL,
    symbol text NOT NULL,
    symbol_date date NOT NULL,
    open double precision NOT NULL,
    high double precision NOT NULL,
    low double precision NOT NULL,
    close double precision NOT NULL,
    volume bigint NOT NULL,
    indicators jsonb,
    modify_tstamp timestamp,
    create_tstamp timestamp DEFAULT now(),
    CONSTRAINT stock_ohlc_pkey PRIMARY KEY (symbol_id),
    CONSTRAINT stock_ohlc_symbol_symbol_date_key UNIQUE (symbol, symbol_date)
);

CREATE TABLE ticker_data (
    symbol text NOT NULL,
    name text NOT NULL,
    description text NOT NULL,
    tags text[],
    similar_tickers text[],
    industry text,
    sector text,
    exchange text,
    short_ratio double precision,
    create_tstamp timestamp DEFAULT now(),
    modify_tstamp timestamp,
    CONSTRAINT ticker_data_pkey PRIMARY KEY (symbol)
);
CREATE INDEX ticker_data_industry_idx ON ticker_data (industry);
CREATE INDEX ticker_data_sector_idx ON ticker_data (sector);
CREATE INDEX ticker_data_similar_tickers_idx ON ticker_data (similar_tickers);
CREATE INDEX ticker_data_tags_idx ON ticker_data (tags);

CREATE TABLE trade_analysis (
    trade_analysis_id serial NOT NULL,
    symbol text NOT NULL,
    algo_run_id integer NOT NULL,
    start_tstamp timestamp with time zone NOT NULL,
    end_tstamp timestamp with time zone NOT NULL,
    gain_percentage numeric(18,4) NOT NULL,
    gain_value numeric(24,6) NOT NULL,
    r_units numeric(18,4),
    tstamp timestamp with time zone DEFAULT now(),
    side smallint,
    quantity numeric(24,9),
    entry_price numeric(24,9),
    exit_price numeric(24,9),
    fees numeric(24,6),
    stop numeric(24,6),
    target numeric(24,6),
    exit_reason text,
    CONSTRAINT trade_analysis_pkey PRIMARY KEY (trade_analysis_id),
    CONSTRAINT trade_analysis_symbol_algo_run_id_start_tstamp_key UNIQUE (symbol, algo_run_id, start_tstamp),
    CONSTRAINT trade_analysis_algo_run_id_fkey FOREIGN KEY (algo_run_id) REFERENCES algo_run(algo_run_id)
);
CREATE INDEX trade_analysis_algo_run_id_idx ON trade_analysis (algo_run_id);
COMMENT ON COLUMN trade_analysis.side IS '1 long, -1 short; this column and those after it are NULL in rows of an older version';
COMMENT ON COLUMN trade_analysis.quantity IS 'shares entered';
COMMENT ON COLUMN trade_analysis.entry_price IS 'average, US dollars a share';
COMMENT ON COLUMN trade_analysis.fees IS 'US dollars; gain_value is after them';
COMMENT ON COLUMN trade_analysis.stop IS 'planned at entry';
COMMENT ON COLUMN trade_analysis.exit_reason IS 'stop, target, liquidation, or strategy';

CREATE TABLE trade_plan (
    trade_plan_id uuid NOT NULL DEFAULT gen_random_uuid(),
    portfolio_id text NOT NULL,
    start_date date NOT NULL,
    strategy_name text NOT NULL,
    parameters jsonb,
    create_tstamp timestamp with time zone DEFAULT now(),
    modify_tstamp timestamp with time zone,
    expire_tstamp timestamp with time zone,
    CONSTRAINT trade_plan_pkey PRIMARY KEY (trade_plan_id),
    CONSTRAINT trade_plan_portfolio_id_fkey FOREIGN KEY (portfolio_id) REFERENCES portfolio(portfolio_id)
);

CREATE TABLE trade_plan_execution_audit (
    execution_id serial NOT NULL,
    trade_plan_id uuid,
    details jsonb,
    started_on timestamp with time zone DEFAULT now(),
    ended_on timestamp with time zone DEFAULT now(),
    CONSTRAINT trade_plan_execution_audit_pkey PRIMARY KEY (execution_id),
    CONSTRAINT trade_plan_execution_audit_trade_plan_id_fkey FOREIGN KEY (trade_plan_id) REFERENCES trade_plan(trade_plan_id)
);

CREATE TABLE trades (
    trade_id serial NOT NULL,
    algo_run_id integer,
    is_win boolean,
    symbol text NOT NULL,
    qty integer NOT NULL,
    buy_price numeric(18,6) NOT NULL,
    buy_indicators jsonb NOT NULL,
    buy_time timestamp DEFAULT now(),
    sell_price numeric(18,6),
    sell_indicators jsonb,
    sell_time timestamp,
    client_sell_time text,
    client_buy_time text,
    CONSTRAINT trades_pkey PRIMARY KEY (trade_id),
    CONSTRAINT trades_qty_check CHECK ((qty > 0)),
    CONSTRAINT trades_algo_run_id_fkey FOREIGN KEY (algo_run_id) REFERENCES algo_run(algo_run_id)
);
CREATE INDEX trades_algo_run_id_idx ON trades (algo_run_id);
CREATE INDEX trades_is_win_idx ON trades (is_win);
CREATE INDEX trades_symbol_idx ON trades (symbol);

CREATE TABLE trending_tickers (
    trending_id serial NOT NULL,
    batch_id text NOT NULL,
    symbol text NOT NULL,
    create_tstamp timestamp with time zone DEFAULT now(),
    scanner_name text NOT NULL DEFAULT 'momentum'::text,
    strategy_name text,
    CONSTRAINT trending_tickers_pkey PRIMARY KEY (trending_id)
);
CREATE INDEX trending_tickers_batch_id_idx ON trending_tickers (batch_id);
CREATE INDEX trending_tickers_create_tstamp_idx ON trending_tickers (create_tstamp);
CREATE UNIQUE INDEX trending_tickers_pick_key ON trending_tickers (batch_id, symbol, scanner_name, strategy_name, create_tstamp) WHERE (strategy_name IS NOT NULL);
CREATE INDEX trending_tickers_scanner_name_idx ON trending_tickers (scanner_name);
COMMENT ON COLUMN trending_tickers.strategy_name IS 'the strategy the pick is meant for, empty for all; NULL in rows of the original';

CREATE OR REPLACE FUNCTION liu_book_inserted()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    UPDATE accounts
    SET balance = balance + booked.amount, modified_tstamp = now()
    FROM (SELECT account_id, sum(amount) AS amount FROM added GROUP BY account_id) AS booked
    WHERE accounts.account_id = booked.account_id;
    RETURN NULL;
END
$function$;

CREATE OR REPLACE FUNCTION liu_book_updated()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    UPDATE accounts
    SET balance = balance + booked.amount, modified_tstamp = now()
    FROM (
        SELECT account_id, sum(amount) AS amount
        FROM (SELECT account_id, amount FROM added UNION ALL SELECT account_id, -amount FROM removed) AS moves
        GROUP BY account_id
        HAVING sum(amount) <> 0
    ) AS booked
    WHERE accounts.account_id = booked.account_id;
    RETURN NULL;
END
$function$;

CREATE OR REPLACE FUNCTION liu_touch_modified()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    NEW.modify_tstamp = now();
    RETURN NEW;
END
$function$;

CREATE TRIGGER book_inserted AFTER INSERT ON account_transactions REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION liu_book_inserted();

CREATE TRIGGER book_updated AFTER UPDATE ON account_transactions REFERENCING OLD TABLE AS removed NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION liu_book_updated();

CREATE TRIGGER touch_modified BEFORE UPDATE ON trade_plan FOR EACH ROW EXECUTE FUNCTION liu_touch_modified();

INSERT INTO schema_version (version, name) VALUES (1, 'original'), (2, 'corrections'), (3, 'session'), (4, 'position_plans'), (5, 'progress_digest'), (6, 'account_activities'), (7, 'honesty_checks'), (8, 'equity'), (9, 'result_figures'), (10, 'open_positions'), (11, 'optimizer'), (12, 'round_trips'), (13, 'journal_notes'), (14, 'operator_actions'), (15, 'event_lag');
