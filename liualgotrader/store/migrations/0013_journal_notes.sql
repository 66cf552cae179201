-- What a person writes about a round trip, or about a whole batch.

CREATE TABLE journal_note (
    batch_id text NOT NULL,
    algo_run_id integer NOT NULL,
    symbol text NOT NULL,
    started_at timestamp with time zone NOT NULL,
    tags text[] NOT NULL,
    note text NOT NULL,
    written_at timestamp with time zone NOT NULL DEFAULT now(),
    PRIMARY KEY (batch_id, algo_run_id, symbol, started_at)
);
COMMENT ON TABLE journal_note IS 'notes and tags of a person on a round trip of trade_analysis, found by run, symbol and start; of the whole batch: run 0, no symbol, its start; written by the pages';
