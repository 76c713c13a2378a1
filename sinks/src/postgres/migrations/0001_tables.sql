-- Windows per device and metric, site and fleet rollups, dead letters, and how far each outbox part has come.
-- `{by window}` is replaced: partitioned by range of window_start, or nothing where hypertables are made of them.
CREATE TABLE aggregates_minute (
    device_id     text             NOT NULL,
    metric        text             NOT NULL,
    window_start  timestamptz      NOT NULL,
    window_end    timestamptz      NOT NULL,
    count         bigint           NOT NULL,
    sum           double precision NOT NULL,
    min           double precision,
    max           double precision,
    first         double precision,
    last          double precision,
    mean          double precision,
    stddev        double precision,
    p50           double precision,
    p95           double precision,
    p99           double precision,
    invalid_count bigint           NOT NULL,
    status        text             NOT NULL,
    revision      bigint           NOT NULL,
    as_of         bigint           NOT NULL,
    PRIMARY KEY (device_id, metric, window_start)
) {by window};

CREATE TABLE aggregates_five_minutes (LIKE aggregates_minute INCLUDING ALL) {by window};
CREATE TABLE aggregates_hour (LIKE aggregates_minute INCLUDING ALL) {by window};

CREATE TABLE rollups_minute (
    level         text             NOT NULL CHECK (level IN ('site', 'fleet')),
    name          text             NOT NULL,
    metric        text             NOT NULL,
    window_start  timestamptz      NOT NULL,
    window_end    timestamptz      NOT NULL,
    devices       bigint           NOT NULL,
    count         bigint           NOT NULL,
    sum           double precision NOT NULL,
    min           double precision,
    max           double precision,
    mean          double precision,
    p50           double precision,
    p95           double precision,
    p99           double precision,
    invalid_count bigint           NOT NULL,
    status        text             NOT NULL,
    revision      bigint           NOT NULL,
    as_of         bigint           NOT NULL,
    PRIMARY KEY (level, name, metric, window_start)
) {by window};

CREATE TABLE dead_letters (
    partition  text        NOT NULL,
    "offset"   bigint      NOT NULL,
    reason     text        NOT NULL,
    detail     text        NOT NULL,
    key        bytea,
    payload    bytea       NOT NULL,
    log_time   timestamptz,
    stored_at  timestamptz NOT NULL DEFAULT now()
);
-- With the payload, since a topic that was made anew begins again at offset 0.
CREATE UNIQUE INDEX dead_letters_record ON dead_letters (partition, "offset", md5(payload));

CREATE TABLE tidewatch_progress (
    stream     text     NOT NULL,
    part       smallint NOT NULL,
    generation bigint   NOT NULL,
    epoch      bigint   NOT NULL,
    PRIMARY KEY (stream, part)
) WITH (fillfactor = 50);
