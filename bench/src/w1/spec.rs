//! The parameters of a W1 stream, and the named streams that figures are given for.

use super::generate::BASE_MS;
use std::fmt;

/// Everything that determines the bytes of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Messages in the stream, flush messages not counted.
    pub messages: u64,
    /// Distinct devices, numbered from 0.
    pub devices: u32,
    /// Event time covered, in milliseconds.
    pub span_ms: i64,
    /// Seed of all that is random.
    pub seed: u64,
    /// Partitions of the topic.
    pub partitions: u32,
}

impl Spec {
    /// Many messages of few devices: 10,000 devices over an hour.
    pub const S: Self = Self {
        messages: 5_000_000,
        devices: 10_000,
        span_ms: 3_600_000,
        seed: 42,
        partitions: 4,
    };

    /// Few messages of many devices: 500,000 devices over ten minutes.
    pub const L: Self = Self {
        devices: 500_000,
        span_ms: 600_000,
        seed: 43,
        ..Self::S
    };

    /// A tenth of S, for slow systems and quick trials.
    pub const P: Self = Self {
        messages: 500_000,
        span_ms: 360_000,
        seed: 44,
        ..Self::S
    };

    /// S going on for three hours, for systems that need a while to warm up.
    pub const S3: Self = Self {
        messages: 15_000_000,
        span_ms: 10_800_000,
        ..Self::S
    };

    /// The topics that `w1 prepare` can fill.
    pub const TOPICS: [(&str, Self); 4] = [
        ("w1.s", Self::S),
        ("w1.l", Self::L),
        ("w1.p", Self::P),
        ("w1.s3", Self::S3),
    ];

    /// The stream kept in a well-known topic.
    pub fn of_topic(topic: &str) -> Option<Self> {
        Self::TOPICS
            .iter()
            .find(|(name, _)| *name == topic)
            .map(|(_, spec)| *spec)
    }

    /// The first instant after the stream, in milliseconds since the epoch.
    pub fn end_ms(&self) -> i64 {
        BASE_MS + self.span_ms
    }

    /// Records in a filled topic: the messages, and one flush message in each partition.
    pub fn records(&self) -> u64 {
        self.messages + u64::from(self.partitions)
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            messages,
            devices,
            span_ms,
            seed,
            partitions,
        } = self;
        write!(
            f,
            "{messages} messages of {devices} devices over {span_ms} ms, seed {seed}, {partitions} partitions"
        )
    }
}
