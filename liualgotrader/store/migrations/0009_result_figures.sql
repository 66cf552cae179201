-- A list of results reads one row a batch, however much each of them traded.

ALTER TABLE batch ADD COLUMN figures jsonb;
COMMENT ON COLUMN batch.figures IS 'what the batch came to, for lists: days, symbols, round trips, gain, return; NULL where it did not come to its end';
CREATE INDEX batch_recorded_at_idx ON batch (recorded_at);
