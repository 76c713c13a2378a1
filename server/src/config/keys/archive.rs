//! The keys of the archive.

use super::super::key::{Key, Kind, Section};
use super::{AGES, DAY, GIB, HOUR, MIB, SECOND, s3};

/// `[archive]`
pub(super) const ARCHIVE: Section = Section {
    name: "archive",
    about: "Raw telemetry as Parquet: every record of the log once, with its position, the time it arrived, key and bytes. It \
            is read from the log beside the engine, at positions of its own, so nothing waits for it; while its place is \
            away it waits, and catches up from the log.",
    keys: &[
        Key {
            name: "kind",
            kind: Kind::OneOf(&["off", "folder", "s3"]),
            default: "",
            about: "Nowhere, into a folder, or into a bucket of S3 or of what speaks its protocol. By default `folder`; `off` \
                    with `source.kind = \"file\"`, whose files are there anyway.",
        },
        Key {
            name: "folder",
            kind: Kind::Path,
            default: "",
            about: "The folder, with `kind = \"folder\"`. By default `archive` in `state.folder`; it is created when missing. The \
                    processes of a cluster share it.",
        },
        Key {
            name: "retention",
            kind: Kind::Span(HOUR, AGES),
            default: "",
            about: "How long records stay, by when the log appended them; by default for ever. A whole object leaves when the \
                    last of its records is so old, and its file some time after `grace`.",
        },
        Key {
            name: "object_time",
            kind: Kind::Span(SECOND, HOUR),
            default: "1m",
            about: "How long a record waits at most before it is in the archive.",
        },
        Key {
            name: "object_bytes",
            kind: Kind::Size(MIB, 4 * GIB),
            default: "128MiB",
            about: "How large an object becomes at most. One is put when `object_time` is over, an hour of the log ends, or \
                    so many bytes were read; small ones of an hour are merged later.",
        },
        Key {
            name: "memory_bytes",
            kind: Kind::Size(4 * MIB, 64 * GIB),
            default: "256MiB",
            about: "How much memory what was read takes at most until it is put, in each process. Merging takes about as \
                    much besides; objects that are merged come to a quarter of it.",
        },
        Key {
            name: "compression_level",
            kind: Kind::Integer(1, 19),
            default: "3",
            about: "The level of zstd.",
        },
        Key {
            name: "compaction",
            kind: Kind::Bool,
            default: "true",
            about: "Whether small objects of an hour are merged into larger ones.",
        },
        Key {
            name: "grace",
            kind: Kind::Span(SECOND, DAY),
            default: "10m",
            about: "How long a file stays that no manifest names: what was merged, for whoever reads it just now, and what a \
                    process left that was killed.",
        },
    ],
};

/// `[archive.s3]`
pub(super) const ARCHIVE_S3: Section = Section {
    name: "archive.s3",
    about: "The bucket of the archive, with `kind = \"s3\"`. The store must know `If-None-Match` of puts: by it an object is \
            in the archive once, whoever puts it.",
    keys: &s3::keys(
        "What the names of all objects begin with, by default `tidewatch-archive/`. Two logs of the same name can't share \
         one.",
    ),
};
