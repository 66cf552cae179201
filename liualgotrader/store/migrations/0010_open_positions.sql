-- A position that is still open is no loss: it stands beside what was gained, and counts in it once it is closed.

ALTER TABLE gain_loss
    ADD COLUMN open_quantity numeric(24, 9),
    ADD COLUMN open_price numeric(24, 6);
COMMENT ON COLUMN gain_loss.gain_value IS 'US dollars that closed shares gained, all fees paid; rows from before this column had open_quantity count open positions at their cost';
COMMENT ON COLUMN gain_loss.open_quantity IS 'shares still open, signed; NULL: not known, as in rows of an older version';
COMMENT ON COLUMN gain_loss.open_price IS 'their average price';
