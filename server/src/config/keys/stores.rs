//! The keys of what is stored: registry, metrics, rows, dead letters, state.

use super::super::key::{Key, Kind, Section};
use super::s3;
use super::{AGES, COUNT_MAX, DAY, HOUR, KIB, MIB, MINUTE, SECOND};

/// `[registry]`
pub(super) const REGISTRY: Section = Section {
    name: "registry",
    about: "Which site and fleet each device belongs to, and what is added up over them.",
    keys: &[
        Key {
            name: "file",
            kind: Kind::Path,
            default: "",
            about: "A CSV file with the columns `device_id`, `site`, `fleet` and `valid_from` (RFC 3339; empty: always).",
        },
        Key {
            name: "rollups",
            kind: Kind::SomeOf(&["site", "fleet"]),
            default: "site,fleet",
            about: "What minutes are added up over, once a registry is there.",
        },
    ],
};

/// `[metrics]`
pub(super) const METRICS: Section = Section {
    name: "metrics",
    about: "What people should know about metrics: for the page, and for `/v1/metrics`.",
    keys: &[Key {
        name: "file",
        kind: Kind::Path,
        default: "",
        about: "A CSV file with the columns `metric`, `name`, `unit`, `min`, `max` and `description`; all but the first may \
                be empty. It is read again when it changes. `min` and `max` say which values are usual: the page shows \
                them, nothing is refused. The simulated fleet's four metrics are known without it.",
    }],
};

/// `[output]`
pub(super) const OUTPUT: Section = Section {
    name: "output",
    about: "Where rows go.",
    keys: &[Key {
        name: "store",
        kind: Kind::OneOf(&["embedded", "memory", "postgres", "discard"]),
        default: "",
        about: "Where the API reads rows. By default `postgres` when there is a section `[postgres]`, else `embedded`, the \
                store of `[embedded]`; `memory` survives nothing, and `discard` keeps none, for measurements.",
    }],
};

/// `[postgres]`
pub(super) const POSTGRES: Section = Section {
    name: "postgres",
    about: "Rows to PostgreSQL or TimescaleDB. The section turns it on.",
    keys: &[
        Key {
            name: "url",
            kind: Kind::Text,
            default: "",
            about: "Where the database is: `postgres://user@host:5432/database`. The connection is not encrypted.",
        },
        Key {
            name: "password_file",
            kind: Kind::Path,
            default: "",
            about: "A file whose first line is the password, instead of one in the address.",
        },
        Key {
            name: "schema",
            kind: Kind::Text,
            default: "public",
            about: "The schema that holds the tables; it is created when missing.",
        },
        Key {
            name: "timescale",
            kind: Kind::OneOf(&["auto", "require", "never"]),
            default: "auto",
            about: "Whether windows are stored in TimescaleDB's hypertables: when the server has the extension, always, \
                    or never. It is decided when the tables are made.",
        },
        Key {
            name: "chunk_interval",
            kind: Kind::Span(MINUTE, 365 * DAY),
            default: "1day",
            about: "How much time a chunk of a hypertable spans.",
        },
        Key {
            name: "minute_retention",
            kind: Kind::Span(DAY, AGES),
            default: "30days",
            about: "How long one-minute windows are kept. In hypertables it is a policy of TimescaleDB's, by the clock; \
                    otherwise partitions are dropped (of a day, for one-hour windows of a month and for those of a day of a \
                    year), by the newest window, at most the clock.",
        },
        Key {
            name: "five_minute_retention",
            kind: Kind::Span(DAY, AGES),
            default: "30days",
            about: "How long five-minute windows are kept.",
        },
        Key {
            name: "hour_retention",
            kind: Kind::Span(DAY, AGES),
            default: "730days",
            about: "How long one-hour windows are kept.",
        },
        Key {
            name: "day_retention",
            kind: Kind::Span(DAY, AGES),
            default: "36500days",
            about: "How long windows of a day are kept; with 36500days, as any other windows, for ever.",
        },
        Key {
            name: "rollup_retention",
            kind: Kind::Span(DAY, AGES),
            default: "30days",
            about: "How long the rollups of sites and fleets are kept.",
        },
        Key {
            name: "compress_after",
            kind: Kind::Span(HOUR, AGES),
            default: "",
            about: "From which age on chunks of hypertables are compressed, by series, as a policy of TimescaleDB's; without \
                    it they aren't. Corrections and readings beyond the horizon get into compressed chunks too, at a cost.",
        },
        Key {
            name: "dead_letter_retention",
            kind: Kind::Span(DAY, AGES),
            default: "",
            about: "How long dead letters are kept, by when they were stored; without it for ever.",
        },
        Key {
            name: "anomaly_retention",
            kind: Kind::Span(DAY, AGES),
            default: "",
            about: "How long anomalies are kept that have ended or were withdrawn, by when that was stored; without it for \
                    ever.",
        },
        Key {
            name: "connect_timeout",
            kind: Kind::Span(100, 10 * MINUTE),
            default: "5s",
            about: "How long a connection may take.",
        },
        Key {
            name: "statement_timeout",
            kind: Kind::Span(SECOND, HOUR),
            default: "30s",
            about: "How long a statement may take; then the delivery is tried again.",
        },
        Key {
            name: "statement_rows_max",
            kind: Kind::Integer(1, 100_000),
            default: "4096",
            about: "How many rows a statement, or a message of a COPY, carries at most; less for a proxy that takes only \
                    small messages.",
        },
    ],
};

/// `[embedded]`
pub(super) const EMBEDDED: Section = Section {
    name: "embedded",
    about: "The embedded store: rows when `output.store` is `embedded`, dead letters when `dead_letter.kind` is. It is a \
            folder with one file, which SQLite writes, and belongs to one process: a cluster can't have it. How long \
            windows are kept is counted back from the newest, by their start, in whole periods: of an hour, and for \
            one-hour windows of a day, for those of a day of a hundred.",
    keys: &[
        Key {
            name: "folder",
            kind: Kind::Path,
            default: "",
            about: "The folder; it is created when missing. By default `store` in `state.folder`. Two processes can't \
                    share one.",
        },
        Key {
            name: "minute_retention",
            kind: Kind::Span(HOUR, AGES),
            default: "30days",
            about: "How long one-minute windows are kept.",
        },
        Key {
            name: "five_minute_retention",
            kind: Kind::Span(HOUR, AGES),
            default: "30days",
            about: "How long five-minute windows are kept.",
        },
        Key {
            name: "hour_retention",
            kind: Kind::Span(HOUR, AGES),
            default: "730days",
            about: "How long one-hour windows are kept.",
        },
        Key {
            name: "day_retention",
            kind: Kind::Span(HOUR, AGES),
            default: "36500days",
            about: "How long windows of a day are kept.",
        },
        Key {
            name: "rollup_retention",
            kind: Kind::Span(HOUR, AGES),
            default: "30days",
            about: "How long the rollups of sites and fleets are kept.",
        },
        Key {
            name: "dead_letter_retention",
            kind: Kind::Span(HOUR, AGES),
            default: "30days",
            about: "How long dead letters are kept, by when they were stored.",
        },
        Key {
            name: "anomaly_retention",
            kind: Kind::Span(HOUR, AGES),
            default: "730days",
            about: "How long anomalies are kept that have ended or were withdrawn, by when that was stored.",
        },
        Key {
            name: "bytes_max",
            kind: Kind::Size(16 * MIB, i64::MAX),
            default: "8GiB",
            about: "How large the store may get, but for what is just being written. Beyond it the oldest windows leave \
                    early, and it is said; one-hour windows leave after minutes, and days last.",
        },
        Key {
            name: "dead_letter_bytes_max",
            kind: Kind::Size(MIB, i64::MAX),
            default: "256MiB",
            about: "How many bytes of dead letters are kept, at most half of `bytes_max`; the oldest leave first.",
        },
        Key {
            name: "anomalies_max",
            kind: Kind::Integer(1, COUNT_MAX),
            default: "1000000",
            about: "How many anomalies are kept; beyond it those that ended first leave early, those that go on never do.",
        },
    ],
};

/// `[memory]`
pub(super) const MEMORY: Section = Section {
    name: "memory",
    about: "The bounds of what is kept in memory: rows when `output.store` is `memory`, dead letters when \
            `dead_letter.kind` is.",
    keys: &[
        Key {
            name: "rows_max",
            kind: Kind::Integer(1, COUNT_MAX),
            default: "2000000",
            about: "Rows at most; the oldest windows leave first.",
        },
        Key {
            name: "bytes_max",
            kind: Kind::Bytes(KIB, i64::MAX),
            default: "1GiB",
            about: "Bytes of rows at most, estimated.",
        },
        Key {
            name: "age_max",
            kind: Kind::Span(MINUTE, AGES),
            default: "1day",
            about: "How far a window may end before the latest window of all rows.",
        },
        Key {
            name: "dead_letters_max",
            kind: Kind::Integer(0, COUNT_MAX),
            default: "10000",
            about: "Dead letters at most; the oldest leave first.",
        },
        Key {
            name: "dead_letter_bytes_max",
            kind: Kind::Bytes(0, i64::MAX),
            default: "64MiB",
            about: "Bytes of dead letters at most.",
        },
        Key {
            name: "anomalies_max",
            kind: Kind::Integer(1, COUNT_MAX),
            default: "100000",
            about: "Anomalies at most; those that ended first leave first, those that go on last.",
        },
    ],
};

/// `[dead_letter]`
pub(super) const DEAD_LETTER: Section = Section {
    name: "dead_letter",
    about: "Where records go that can't be used: with their bytes, position and reason.",
    keys: &[
        Key {
            name: "kind",
            kind: Kind::OneOf(&["embedded", "memory", "postgres", "kafka", "discard"]),
            default: "",
            about: "In the store of `[embedded]`, in memory (bounded, nothing survives the process), the table \
                    `dead_letters` of `[postgres]`, a topic of `[kafka]`, or nowhere: they are counted only. By default \
                    `embedded` when rows are kept there, else `memory`.",
        },
        Key {
            name: "topic",
            kind: Kind::Text,
            default: "raw.events.dead",
            about: "The topic for dead letters, when they go to Kafka.",
        },
    ],
};

/// `[state]`
pub(super) const STATE: Section = Section {
    name: "state",
    about: "Checkpoints, made every second (less often when that costs more than a twentieth of the CPU, and every 10 s \
            when nothing new comes): what the next start goes on from, after a stop as after a crash. Sinks are given what a checkpoint holds.",
    keys: &[
        Key {
            name: "store",
            kind: Kind::OneOf(&["folder", "s3"]),
            default: "folder",
            about: "Where checkpoints are kept: in a folder, or in a bucket of S3 or of what speaks its protocol.",
        },
        Key {
            name: "folder",
            kind: Kind::Path,
            default: "tidewatch-data",
            about: "The folder of the state, with `store = \"folder\"`; it is created when missing. Two processes can't \
                    share one.",
        },
    ],
};

/// `[state.s3]`
pub(super) const STATE_S3: Section = Section {
    name: "state.s3",
    about: "The bucket of the state, with `store = \"s3\"`. The store must know `If-None-Match` of puts: a start claims \
            the next generation with it, and a process of an older one stops.",
    keys: &s3::keys(
        "What the names of all objects begin with, by default `tidewatch/`. Two instances can't share one.",
    ),
};

/// `[cluster]`
pub(super) const CLUSTER: Section = Section {
    name: "cluster",
    about: "The processes of a cluster, for `tidewatch worker`; `tidewatch run --processes N` sets it by itself.",
    keys: &[
        Key {
            name: "id",
            kind: Kind::Text,
            default: "tidewatch",
            about: "The cluster's name: processes of another one are strangers.",
        },
        Key {
            name: "addresses",
            kind: Kind::Texts,
            default: "",
            about: "Where each process is reached by the others, as `host:port`, in their order; each listens on its own.",
        },
        Key {
            name: "secret_file",
            kind: Kind::Path,
            default: "",
            about: "A file whose first line is a secret that all processes share, at least 16 bytes.",
        },
        Key {
            name: "ca_file",
            kind: Kind::Path,
            default: "",
            about: "A PEM file of the authorities that the processes' certificates are checked against. With `cert_file` \
                    and `key_file` all connections are TLS 1.3, and `addresses` may be other machines'.",
        },
        Key {
            name: "cert_file",
            kind: Kind::Path,
            default: "",
            about: "A PEM file of this process's certificate, with those between it and an authority. It has to be for \
                    the host by which `addresses` names the process.",
        },
        Key {
            name: "key_file",
            kind: Kind::Path,
            default: "",
            about: "A PEM file of that certificate's private key.",
        },
    ],
};
