-- Which series there are, so that devices are found without looking at their rows; ids sort byte by byte.
CREATE TABLE series (
    device_id text COLLATE "C" NOT NULL,
    metric    text COLLATE "C" NOT NULL,
    PRIMARY KEY (device_id, metric)
);
INSERT INTO series SELECT DISTINCT device_id, metric FROM aggregates_minute;

-- Dead letters in the order in which they were stored.
ALTER TABLE dead_letters ADD COLUMN number bigint GENERATED ALWAYS AS IDENTITY;
CREATE UNIQUE INDEX dead_letters_number ON dead_letters (number);
CREATE INDEX dead_letters_reason ON dead_letters (reason, number);
