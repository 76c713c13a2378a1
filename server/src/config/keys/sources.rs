//! The keys of `[source]`, `[log]`, `[file]` and `[fleet]`.

use super::super::key::{Key, Kind, Section};
use super::{AGES, DAY, GIB, KIB, MIB, SECOND};

/// `[source]`
pub(super) const SOURCE: Section = Section {
    name: "source",
    about: "Where readings come from.",
    keys: &[Key {
        name: "kind",
        kind: Kind::OneOf(&["log", "kafka", "file", "fleet"]),
        default: "log",
        about: "The embedded log (`[log]`), a topic of Kafka (`[kafka]`), files (`[file]`), or a simulated fleet without a \
                log (`[fleet]`).",
    }],
};

/// `[log]`
pub(super) const LOG: Section = Section {
    name: "log",
    about: "The embedded durable log, when `source.kind` is `log`. One process has it: those of a cluster need a log that \
            all of them reach, Kafka's.",
    keys: &[
        Key {
            name: "feed",
            kind: Kind::OneOf(&["fleet", "none"]),
            default: "fleet",
            about: "What writes to it: the simulated fleet (`[fleet]`), or nothing; then what is there is read.",
        },
        Key {
            name: "folder",
            kind: Kind::Path,
            default: "",
            about: "Where it is. By default `log` in `state.folder`; it is created when missing. Two processes can't share \
                    it.",
        },
        Key {
            name: "partitions",
            kind: Kind::Integer(1, 1_024),
            default: "4",
            about: "How many partitions it has. More can be added later, none taken away.",
        },
        Key {
            name: "segment_bytes",
            kind: Kind::Size(KIB, 256 * MIB),
            default: "64MiB",
            about: "From this size on a partition begins a new file: what leaves the log are whole files. It is never more \
                    than a fourth of the partition's share of `retention_bytes`.",
        },
        Key {
            name: "retention",
            kind: Kind::Span(SECOND, AGES),
            default: "7days",
            about: "How long records are kept, by their log times.",
        },
        Key {
            name: "retention_bytes",
            kind: Kind::Size(4 * MIB, 65_536 * GIB),
            default: "4GiB",
            about: "How much is kept at most, of all partitions together; at least 4MiB for each. What no checkpoint has \
                    come by yet, or the archive still needs, doesn't leave: then what writes waits.",
        },
        Key {
            name: "sync_interval",
            kind: Kind::Span(1, 10 * SECOND),
            default: "100ms",
            about: "How long what is appended waits at most until it is made durable, together with what came after it. \
                    What isn't durable isn't read.",
        },
        Key {
            name: "on_gap",
            kind: Kind::OneOf(&["stop", "skip"]),
            default: "stop",
            about: "What to do when the log doesn't have what comes next by the checkpoint: end with an error, or go on with \
                    what it has, and say what is missing.",
        },
    ],
};

/// `[file]`
pub(super) const FILE: Section = Section {
    name: "file",
    about: "Files, read from their beginning to their end, when `source.kind` is `file`.",
    keys: &[
        Key {
            name: "paths",
            kind: Kind::Texts,
            default: "",
            about: "The files to read, each a partition; `-` is standard input.",
        },
        Key {
            name: "format",
            kind: Kind::OneOf(&["csv", "jsonl", "delimited"]),
            default: "",
            about: "How they are written. By default by their names' endings (`.csv`; `.jsonl`, `.ndjson`, `.json`; \
                    `.pb`, `.bin`); standard input needs it.",
        },
        Key {
            name: "rate",
            kind: Kind::Number(0.0, f64::INFINITY),
            default: "",
            about: "How many records to read a second; by default as many as can be.",
        },
        Key {
            name: "speed",
            kind: Kind::Number(0.0, f64::INFINITY),
            default: "",
            about: "How many times faster than they happened to read the records, by their event times: `1` plays them \
                    back as they were, `60` a minute in a second. By default as fast as can be.",
        },
    ],
};

/// `[file.csv]`
pub(super) const CSV: Section = Section {
    name: "file.csv",
    about: "What the columns of CSV files mean. With a metric and a value column the file is long: each line is one \
            value of one metric. Without, it is wide: every column but those of time and device is a metric, and an \
            empty cell is no value.",
    keys: &[
        Key {
            name: "time_column",
            kind: Kind::Text,
            default: "ts",
            about: "The column of the event time: a number (see `time_unit`), RFC 3339, or `YYYY-MM-DD HH:MM:SS` in \
                    UTC.",
        },
        Key {
            name: "time_unit",
            kind: Kind::OneOf(&["ms", "s"]),
            default: "ms",
            about: "What numbers in the time column count: milliseconds or seconds since 1970.",
        },
        Key {
            name: "device_column",
            kind: Kind::Text,
            default: "device_id",
            about: "The column of the device id.",
        },
        Key {
            name: "device",
            kind: Kind::Text,
            default: "",
            about: "The device of all lines, when there is no such column.",
        },
        Key {
            name: "metric_column",
            kind: Kind::Text,
            default: "metric",
            about: "In a long file the column of the metric's name.",
        },
        Key {
            name: "value_column",
            kind: Kind::Text,
            default: "value",
            about: "In a long file the column of the value.",
        },
        Key {
            name: "ignore_columns",
            kind: Kind::Texts,
            default: "",
            about: "In a wide file columns that are no metrics.",
        },
    ],
};

/// `[fleet]`
pub(super) const FLEET: Section = Section {
    name: "fleet",
    about: "The simulated fleet, when `log.feed` or `source.kind` is `fleet`.",
    keys: &[
        Key {
            name: "seed",
            kind: Kind::Integer(0, i64::MAX),
            default: "1",
            about: "What all that is random comes from: the same seed gives the same fleet.",
        },
        Key {
            name: "devices",
            kind: Kind::Integer(0, 10_000_000),
            default: "1000",
            about: "How many devices there are; their ids are `dev-000000` and so on.",
        },
        Key {
            name: "interval",
            kind: Kind::Span(10, DAY),
            default: "1s",
            about: "How often a device sends; devices are spread evenly over it.",
        },
        Key {
            name: "partitions",
            kind: Kind::Integer(1, 1_024),
            default: "4",
            about: "How many partitions the devices are divided among; with the log, `log.partitions` says it.",
        },
        Key {
            name: "history",
            kind: Kind::Span(0, AGES),
            default: "",
            about: "How far before the first start the fleet began to send, so that there is something to see at once. By \
                    default a day, which is played into the log as fast as can be, and nothing without the log.",
        },
        Key {
            name: "history_interval",
            kind: Kind::Span(10, DAY),
            default: "10m",
            about: "How often a device sent before the first start, and while nothing ran for longer than `retention`; with \
                    the log.",
        },
        Key {
            name: "retention",
            kind: Kind::Span(0, AGES),
            default: "1h",
            about: "How far back the simulated log reaches: a reader that was away for longer goes on from there, and with \
                    the log a longer stop is played as history.",
        },
    ],
};

/// `[fleet.faults]`
pub(super) const FAULTS: Section = Section {
    name: "fleet.faults",
    about: "What goes wrong in the simulated fleet: each a share from 0 (never) to 1 (always).",
    keys: &[
        share("spike", "0.0002", "The share of messages with a temperature far out."),
        share(
            "drift",
            "0.002",
            "The share of the time in which a device's temperature drifts away for half an hour, then comes back.",
        ),
        share(
            "silence",
            "0.002",
            "The share of the time in which a device is silent, twenty minutes at a time.",
        ),
        share(
            "fast_clock",
            "0.001",
            "The share of devices whose clock is hours ahead.",
        ),
        share(
            "slow_clock",
            "0.002",
            "The share of devices whose clock is minutes to hours behind.",
        ),
        share(
            "late",
            "0.002",
            "The share of the time in which a device keeps 16 intervals' messages back and sends them together.",
        ),
        share("flood", "0.00002", "The share of messages that come as a flood of 50."),
        share("garbage", "0.00005", "The share of messages that are garbage."),
        share("duplicate", "0.0005", "The share of messages that are sent twice."),
        share(
            "nan",
            "0.0001",
            "The share of messages whose vibration is not a number.",
        ),
    ],
};

const fn share(name: &'static str, default: &'static str, about: &'static str) -> Key {
    Key {
        name,
        kind: Kind::Number(0.0, 1.0),
        default,
        about,
    }
}
