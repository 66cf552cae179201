-- What a session records beyond the original's tables. Columns without zone hold UTC; market time unless
-- the column is called created_at or recorded_at.

ALTER TABLE algo_run ADD COLUMN slot integer;
CREATE UNIQUE INDEX algo_run_batch_id_slot_key ON algo_run (batch_id, slot) WHERE slot IS NOT NULL;
COMMENT ON COLUMN algo_run.slot IS 'the strategy in its consumer within the batch; a restart finds the row by it';

ALTER TABLE new_trades
    ADD COLUMN execution_id text,
    ADD COLUMN client_order_id text,
    ADD COLUMN created_at timestamp with time zone;
ALTER TABLE new_trades ALTER COLUMN created_at SET DEFAULT now();  -- separately: older rows keep NULL
ALTER TABLE new_trades ADD CONSTRAINT new_trades_execution_id_key UNIQUE (execution_id);
COMMENT ON COLUMN new_trades.tstamp IS 'market time of the execution, UTC';
COMMENT ON COLUMN new_trades.created_at IS 'wall time at which the row was written';
COMMENT ON COLUMN new_trades.execution_id IS 'the broker''s id of the execution; a fill is booked once';

ALTER TABLE trending_tickers ADD COLUMN strategy_name text;
CREATE UNIQUE INDEX trending_tickers_pick_key
    ON trending_tickers (batch_id, symbol, scanner_name, strategy_name, create_tstamp)
    WHERE strategy_name IS NOT NULL;
COMMENT ON COLUMN trending_tickers.strategy_name IS 'the strategy the pick is meant for, empty for all; NULL in rows of the original';

CREATE TABLE batch (
    batch_id text PRIMARY KEY,
    session_date date NOT NULL,
    environment text NOT NULL,
    started_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone,
    end_reason text,
    seed numeric,
    layout jsonb NOT NULL,
    configuration jsonb NOT NULL,
    versions jsonb NOT NULL,
    recorded_at timestamp with time zone NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX batch_session_date_idx ON batch (session_date);
COMMENT ON TABLE batch IS 'one run of trader; written by the supervisor';

CREATE TABLE assignment (
    batch_id text NOT NULL,
    symbol text NOT NULL,
    consumer integer NOT NULL,
    recorded_at timestamp with time zone NOT NULL DEFAULT now(),
    PRIMARY KEY (batch_id, symbol)
);
COMMENT ON TABLE assignment IS 'which consumer a symbol belongs to; written by the producer';

CREATE TABLE rejects (
    batch_id text NOT NULL,
    strategy_name text NOT NULL,
    symbol text NOT NULL,
    rejected_at timestamp with time zone NOT NULL,
    PRIMARY KEY (batch_id, strategy_name, symbol)
);
COMMENT ON TABLE rejects IS 'a strategy wants to hear of the symbol no more in this session';

CREATE TABLE signals (
    signal_id uuid PRIMARY KEY,
    batch_id text NOT NULL,
    slot integer NOT NULL,
    symbol text NOT NULL,
    at timestamp with time zone NOT NULL,
    action jsonb NOT NULL,
    outcome text NOT NULL,
    client_order_id text
);
CREATE INDEX signals_batch_id_slot_at_idx ON signals (batch_id, slot, at);
COMMENT ON TABLE signals IS 'what strategies wanted, carried out or not; written by the consumers';
COMMENT ON COLUMN signals.signal_id IS 'a digest of the row, so that it can be written twice';

CREATE TABLE orders (
    client_order_id text PRIMARY KEY,
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
    updated_at timestamp with time zone NOT NULL
);
CREATE INDEX orders_batch_id_slot_idx ON orders (batch_id, slot);
COMMENT ON TABLE orders IS 'the newest state of each order; written by the order gateway';
COMMENT ON COLUMN orders.generation IS 'of the gateway that wrote the row; an older gateway cannot overwrite it';

CREATE TABLE order_events (
    client_order_id text NOT NULL,
    number integer NOT NULL,
    event text NOT NULL,
    at timestamp with time zone NOT NULL,
    details jsonb NOT NULL,
    PRIMARY KEY (client_order_id, number)
);
COMMENT ON TABLE order_events IS 'the life of an order, step by step; written by the order gateway';

CREATE TABLE foreign_positions (
    batch_id text NOT NULL,
    symbol text NOT NULL,
    quantity numeric NOT NULL,
    at timestamp with time zone NOT NULL,
    PRIMARY KEY (batch_id, symbol)
);
COMMENT ON TABLE foreign_positions IS 'what the account held beyond our strategies; never traded';

CREATE TABLE gateway_progress (
    batch_id text PRIMARY KEY,
    row_number bigint NOT NULL,
    recorded_at timestamp with time zone NOT NULL DEFAULT now()
);
COMMENT ON TABLE gateway_progress IS 'the newest row of the gateway''s journal that is stored here';

CREATE TABLE account_lease (
    account_digest text PRIMARY KEY,
    generation bigint NOT NULL,
    taken_at timestamp with time zone NOT NULL DEFAULT now()
);
COMMENT ON TABLE account_lease IS 'how many gateways have traded for an account; its number is kept as a SHA-256 digest';
