-- A search is told by its rows: what was tried, what it came to, and what was asked for.

CREATE TABLE optimizer_session (
    optimizer_session_id text PRIMARY KEY,
    started_at timestamp with time zone NOT NULL,
    configuration jsonb NOT NULL,
    ended_at timestamp with time zone,
    end_reason text,
    result jsonb,
    recorded_at timestamp with time zone NOT NULL DEFAULT now()
);
COMMENT ON TABLE optimizer_session IS 'one search for parameters: what was asked for, why it ended, and the best of it';

ALTER TABLE optimizer_run
    ADD COLUMN number integer,
    ADD COLUMN fold integer,
    ADD COLUMN out_of_sample boolean,
    ADD COLUMN point json,
    ADD COLUMN objective double precision,
    ADD COLUMN figures jsonb,
    ADD COLUMN equity double precision[],
    ADD COLUMN seconds double precision,
    ADD COLUMN failure text,
    ADD COLUMN played_by text;
COMMENT ON COLUMN optimizer_run.number IS 'the combination''s place in its search, from 0; NULL in rows of the original';
COMMENT ON COLUMN optimizer_run.fold IS '0: the whole time; else the window of the walk forward';
COMMENT ON COLUMN optimizer_run.played_by IS 'events: the engine; arrays: one compiled loop over array signals';
COMMENT ON COLUMN optimizer_run.equity IS 'dollars before the first session, then at the close of each';
CREATE UNIQUE INDEX optimizer_run_number_idx
    ON optimizer_run (optimizer_session_id, fold, out_of_sample, number) WHERE number IS NOT NULL;
