-- How late market data was and what was left out of it, by process and time.

CREATE TABLE event_lag (
    batch_id text NOT NULL,
    at timestamp with time zone NOT NULL,
    process text NOT NULL,
    events bigint NOT NULL,
    stale bigint NOT NULL,
    dropped bigint NOT NULL,
    lag_p50_ms double precision NOT NULL,
    lag_ms double precision NOT NULL,
    PRIMARY KEY (batch_id, process, at)
);
COMMENT ON TABLE event_lag IS 'market data that a process took since its row before: how many events, of them too old to act on, left out before it because it was behind; and the newest median and greatest lag; at is market time; written by trader';
