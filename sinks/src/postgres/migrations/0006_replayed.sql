-- That a dead letter was put into its log again: which replay that was, when, from which offset on it can be there, and where it is.
ALTER TABLE dead_letters ADD COLUMN replay_id bigint;
ALTER TABLE dead_letters ADD COLUMN replay_at timestamptz;
ALTER TABLE dead_letters ADD COLUMN replay_from bigint;
ALTER TABLE dead_letters ADD COLUMN replay_offset bigint;
