-- What readings beyond the horizon have brought to a row: null in all rows but those that took any.
ALTER TABLE aggregates_minute ADD COLUMN mended bytea;
ALTER TABLE aggregates_five_minutes ADD COLUMN mended bytea;
ALTER TABLE aggregates_hour ADD COLUMN mended bytea;
