//! The keys of `[engine]`, `[engine.limits]` and `[rules]`.

use super::super::key::{Key, Kind, Section};
use super::{COUNT_MAX, DAY, GIB, HOUR, KIB, MIB, SECOND};

/// `[engine]`
pub(super) const ENGINE: Section = Section {
    name: "engine",
    about: "The engine: what it computes, and how much memory it may take.",
    keys: &[
        Key {
            name: "threads",
            kind: Kind::Integer(1, 256),
            default: "1",
            about: "Worker threads; partitions and series are divided among them.",
        },
        Key {
            name: "lateness",
            kind: Kind::Span(0, DAY),
            default: "10s",
            about: "How far the watermark stays behind the log: a window closes when the log is so far past its end.",
        },
        Key {
            name: "correction_horizon",
            kind: Kind::Span(0, 7 * DAY),
            default: "15m",
            about: "How long after its closing a window can still be corrected; later readings are added to the rows in PostgreSQL, or become dead letters without it.",
        },
        Key {
            name: "correction_bytes",
            kind: Kind::Size(16 * MIB, i64::MAX),
            default: "4GiB",
            about: "How much memory each thread's closed windows take at most; beyond it the oldest leave early.",
        },
        Key {
            name: "idle",
            kind: Kind::Span(SECOND, HOUR),
            default: "10s",
            about: "After so long without a record that moves its watermark a partition's windows are published by \
                    the wall clock.",
        },
        Key {
            name: "future_max",
            kind: Kind::Span(0, 365 * DAY),
            default: "10m",
            about: "How far an event time may be ahead of the log's timestamp; beyond it the record is a dead letter.",
        },
        Key {
            name: "age_max",
            kind: Kind::Span(SECOND, super::AGES),
            default: "",
            about: "How far an event time may be behind the log's timestamp; by default any age is taken.",
        },
        Key {
            name: "duplicates",
            kind: Kind::OneOf(&["drop", "count"]),
            default: "drop",
            about: "What becomes of a message that a device sends again (among its last 8): it is dropped, or it counts \
                    like any other. A record that the log hands over twice never counts twice.",
        },
        Key {
            name: "quantiles",
            kind: Kind::Bool,
            default: "true",
            about: "Whether p50, p95 and p99 are kept; without them rows have none and less memory is taken.",
        },
        Key {
            name: "windows",
            kind: Kind::SomeOf(&["1m", "5m", "1h", "1d"]),
            default: "1m,5m,1h,1d",
            about: "The windows of each series: a minute, five minutes hopping by one, an hour, a day. `1m` is required.",
        },
        Key {
            name: "time_zone",
            kind: Kind::Text,
            default: "UTC",
            about: "The time zone that days are of, by its name in the IANA database, such as `Europe/Berlin`; the database \
                    is in the program. Days on which clocks are changed have 23 or 25 hours. When it is changed, the days \
                    that are open then are left out, and the next ones are of the new zone.",
        },
        Key {
            name: "epoch_bytes",
            kind: Kind::Size(MIB, 16 * GIB),
            default: "256MiB",
            about: "How many bytes of records a thread takes into one epoch (100 ms) at most.",
        },
        Key {
            name: "outbox_bytes",
            kind: Kind::Size(32 * MIB, i64::MAX),
            default: "512MiB",
            about: "How many bytes may wait to be made durable and to be confirmed by the sinks before the source waits. \
                    With less than 32MiB a single file of a checkpoint would hold up reading.",
        },
    ],
};

/// `[engine.limits]`
pub(super) const LIMITS: Section = Section {
    name: "engine.limits",
    about: "What is accepted. A record beyond a limit becomes a dead letter, with its reason.",
    keys: &[
        Key {
            name: "device_id_bytes_max",
            kind: Kind::Bytes(1, 64 * KIB),
            default: "128B",
            about: "How long a device id may be.",
        },
        Key {
            name: "metric_name_bytes_max",
            kind: Kind::Bytes(1, 64 * KIB),
            default: "128B",
            about: "How long a metric's name may be.",
        },
        Key {
            name: "metrics_per_message_max",
            kind: Kind::Integer(1, 65_536),
            default: "256",
            about: "How many metrics a message may have.",
        },
        Key {
            name: "raw_bytes_max",
            kind: Kind::Bytes(0, GIB),
            default: "64KiB",
            about: "How large a message's field `raw` may be.",
        },
        Key {
            name: "series_per_device_max",
            kind: Kind::Integer(1, COUNT_MAX),
            default: "1000",
            about: "How many series (metrics) a device may have.",
        },
        Key {
            name: "series_per_worker_max",
            kind: Kind::Integer(1, COUNT_MAX),
            default: "4000000",
            about: "How many series a thread takes in; each takes memory for as long as it runs.",
        },
    ],
};

/// `[rules]`
pub(super) const RULES: Section = Section {
    name: "rules",
    about: "Which anomalies are looked for, in published one-minute windows.",
    keys: &[Key {
        name: "file",
        kind: Kind::Path,
        default: "",
        about: "A TOML file with a table a rule, named by it: `detector` is `threshold` or `dead_man`, `severity` is `info`, \
                `warning` (the default) or `critical`. A threshold has `metric`, `above` or `below` or both, `of` \
                (`mean`, the default, `min`, `max` or `last` of a minute), `for` how long (`1m` unless said) it has to \
                be beyond the limit, and `hysteresis`: how far within the limit a minute has to be to end it. A dead man \
                has `for`: how long a device has to be silent. Without a file: devices that are silent for 15 minutes, \
                and a temperature above 38 in the simulated fleet. Read at the start.",
    }],
};
