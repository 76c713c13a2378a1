//! Every section and key, in the order of the reference: what is refused, suggested and documented goes by this.
//!
//! A test compares it with the structs behind it: the same names, the same defaults.

mod api;
mod archive;
mod engine;
mod kafka;
mod s3;
mod sources;
mod stores;

use super::key::{Key, Section};

/// A second in milliseconds.
pub(super) const SECOND: i64 = 1_000;
/// A minute in milliseconds.
pub(super) const MINUTE: i64 = 60 * SECOND;
/// An hour in milliseconds.
pub(super) const HOUR: i64 = 60 * MINUTE;
/// A day in milliseconds.
pub(super) const DAY: i64 = 24 * HOUR;
/// More than any log holds.
pub(super) const AGES: i64 = 36_500 * DAY;
/// A kibibyte.
pub(super) const KIB: i64 = 1 << 10;
/// A mebibyte.
pub(super) const MIB: i64 = 1 << 20;
/// A gibibyte.
pub(super) const GIB: i64 = 1 << 30;
/// The largest count of something.
pub(super) const COUNT_MAX: i64 = u32::MAX as i64;

/// Every section.
pub const SECTIONS: [&Section; 24] = [
    &sources::SOURCE,
    &sources::LOG,
    &kafka::KAFKA,
    &sources::FILE,
    &sources::CSV,
    &sources::FLEET,
    &sources::FAULTS,
    &engine::ENGINE,
    &engine::LIMITS,
    &engine::RULES,
    &stores::REGISTRY,
    &stores::METRICS,
    &stores::OUTPUT,
    &stores::EMBEDDED,
    &stores::POSTGRES,
    &kafka::OUTPUT,
    &stores::MEMORY,
    &stores::DEAD_LETTER,
    &stores::STATE,
    &stores::STATE_S3,
    &archive::ARCHIVE,
    &archive::ARCHIVE_S3,
    &stores::CLUSTER,
    &api::API,
];

/// The section of this name.
pub fn section(name: &str) -> Option<&'static Section> {
    SECTIONS.into_iter().find(|section| section.name == name)
}

/// The key of this full name: `engine.limits.raw_bytes_max`.
pub fn key(name: &str) -> Option<&'static Key> {
    let (section_name, key_name) = name.rsplit_once('.')?;
    section(section_name)?.key(key_name)
}

/// The full names of all keys.
pub fn names() -> Vec<String> {
    let of = |section: &'static Section| section.keys.iter().map(|key| format!("{}.{}", section.name, key.name));
    SECTIONS.into_iter().flat_map(of).collect()
}
