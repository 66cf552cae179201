-- Which rows are stored, not only how many: a journal that leads to others is found out.

ALTER TABLE gateway_progress ADD COLUMN digest text;
COMMENT ON COLUMN gateway_progress.digest IS 'a digest of all rows up to row_number; NULL if an older version wrote them';
