//! What the process keeps by itself, and how that is: the archive, the embedded log, the embedded store.

use tidewatch_proto::time::EventTime;

/// What a process keeps, each if it does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// What time it is, milliseconds since 1970.
    pub now_ms: i64,
    /// The archive of raw telemetry.
    pub archive: Option<ArchiveCounts>,
    /// The embedded log.
    pub log: Option<LogCounts>,
    /// The embedded store.
    pub store: Option<StoreCounts>,
}

/// What the archive of raw telemetry counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArchiveCounts {
    /// Objects put, merged ones too.
    pub objects: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Records archived.
    pub records: u64,
    /// Objects that were merged into others.
    pub merged: u64,
    /// Objects let go because their time was over.
    pub expired: u64,
    /// Files removed that no manifest named.
    pub removed: u64,
    /// How its place takes what is put there.
    pub writing: Writing,
    /// For each partition that this process archives, its place in the partitions' names, the first position that isn't
    /// in the archive if it is known, and how many records are known to lie ahead of what was read for it.
    pub partitions: Vec<(usize, Option<i64>, u64)>,
}

/// What the embedded log counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogCounts {
    /// Bytes of all its files.
    pub bytes: u64,
    /// How its disk takes what is appended.
    pub writing: Writing,
    /// Records and bytes that have left because their time was over.
    pub by_age: (u64, u64),
    /// Records and bytes that have left to make room.
    pub by_room: (u64, u64),
}

/// What the embedded store counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreCounts {
    /// Bytes that it takes.
    pub bytes: u64,
    /// What has left before its retention was over, by what it was.
    pub evicted: Vec<(&'static str, u64)>,
}

/// How a place takes what is written there. Times are milliseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Writing {
    /// Attempts that failed.
    pub failures: u64,
    /// Since when every attempt fails; none while they succeed.
    pub failing_since_ms: Option<i64>,
    /// Bytes that wait to be written.
    pub waiting_bytes: u64,
    /// Since when the first of them wait.
    pub waiting_since_ms: Option<i64>,
}

impl Writing {
    /// Seconds since something began: none are 0.
    pub(crate) fn seconds(since_ms: Option<i64>, now_ms: i64) -> f64 {
        since_ms.map_or(0.0, |since| now_ms.saturating_sub(since).max(0) as f64 / 1000.0)
    }

    /// Says of something that can't be written since when, and how far it is behind; nothing while it can, or has failed
    /// for less than a time.
    pub fn trouble(&self, what: &str, (now_ms, patience_ms): (i64, i64)) -> Option<String> {
        let since_ms = self.failing_since_ms?;
        if now_ms.saturating_sub(since_ms) < patience_ms {
            return None;
        }
        let behind = Writing::seconds(self.waiting_since_ms, now_ms);
        Some(format!(
            "{what} can't be written since {}: {} bytes wait, the first for {behind:.0} s",
            crate::rfc3339::format(EventTime(since_ms)),
            self.waiting_bytes
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_told_when_it_lasts() {
        let writing = Writing {
            failures: 3,
            failing_since_ms: Some(1_700_000_000_000),
            waiting_bytes: 4_096,
            waiting_since_ms: Some(1_699_999_990_000),
        };
        let trouble = |now_ms| writing.trouble("the archive", (now_ms, 3_000));
        assert_eq!(trouble(1_700_000_002_999), None);
        let told = "the archive can't be written since 2023-11-14T22:13:20.000Z: 4096 bytes wait, the first for 20 s";
        assert_eq!(trouble(1_700_000_010_000).as_deref(), Some(told));
        assert_eq!(Writing::default().trouble("the log", (0, 0)), None);
    }
}
