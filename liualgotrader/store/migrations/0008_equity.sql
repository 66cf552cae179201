-- The account's value over a batch, one row a session: reports read a session's end without its minutes.

CREATE TABLE equity (
    batch_id text NOT NULL,
    session_date date NOT NULL,
    opened_at timestamp with time zone NOT NULL,
    step_seconds integer NOT NULL,
    amounts double precision[] NOT NULL,
    recorded_at timestamp with time zone NOT NULL DEFAULT now(),
    PRIMARY KEY (batch_id, session_date)
);
COMMENT ON TABLE equity IS 'the account''s value in US dollars, by the broker''s word or worked out from fills and closes; written by the order gateway or the backtester';
COMMENT ON COLUMN equity.amounts IS 'the newest known value at opened_at and at each step after it, NULL where none was known; the last one is known';
