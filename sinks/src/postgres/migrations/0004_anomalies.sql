-- What rules have found; names sort byte by byte. `metric` is empty when it is about the whole device.
CREATE TABLE anomalies (
    rule          text COLLATE "C" NOT NULL,
    detector      text             NOT NULL,
    severity      text             NOT NULL,
    device_id     text COLLATE "C" NOT NULL,
    metric        text COLLATE "C" NOT NULL,
    started_at    timestamptz      NOT NULL,
    ended_at      timestamptz,
    status        text             NOT NULL,
    observed      double precision,
    expected_low  double precision,
    expected_high double precision,
    evidence      jsonb            NOT NULL,
    revision      bigint           NOT NULL,
    stored_at     timestamptz      NOT NULL DEFAULT now(),
    PRIMARY KEY (rule, device_id, metric, started_at)
);
-- The order in which they are read: all, of a device, of a rule, and those that go on.
CREATE INDEX anomalies_latest ON anomalies (started_at DESC, device_id, metric, rule);
CREATE INDEX anomalies_device ON anomalies (device_id, started_at DESC, metric, rule);
CREATE INDEX anomalies_rule ON anomalies (rule, started_at DESC, device_id, metric);
CREATE INDEX anomalies_raised ON anomalies (started_at DESC, device_id, metric, rule) WHERE status = 'raised';
-- The order in which they leave.
CREATE INDEX anomalies_leaving ON anomalies (stored_at) WHERE status <> 'raised';
