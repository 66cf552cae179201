-- A round trip is told by its row: pages sum up and filter a hundred thousand of them without reading executions.

ALTER TABLE trade_analysis
    ADD COLUMN side smallint,
    ADD COLUMN quantity numeric(24, 9),
    ADD COLUMN entry_price numeric(24, 9),
    ADD COLUMN exit_price numeric(24, 9),
    ADD COLUMN fees numeric(24, 6),
    ADD COLUMN stop numeric(24, 6),
    ADD COLUMN target numeric(24, 6),
    ADD COLUMN exit_reason text;
COMMENT ON COLUMN trade_analysis.side IS '1 long, -1 short; this column and those after it are NULL in rows of an older version';
COMMENT ON COLUMN trade_analysis.quantity IS 'shares entered';
COMMENT ON COLUMN trade_analysis.entry_price IS 'average, US dollars a share';
COMMENT ON COLUMN trade_analysis.fees IS 'US dollars; gain_value is after them';
COMMENT ON COLUMN trade_analysis.stop IS 'planned at entry';
COMMENT ON COLUMN trade_analysis.exit_reason IS 'stop, target, liquidation, or strategy';
CREATE INDEX IF NOT EXISTS trade_analysis_algo_run_id_idx ON trade_analysis (algo_run_id);
