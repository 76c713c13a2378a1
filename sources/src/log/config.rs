//! What can be configured about the embedded log.

use crate::begin::OnGap;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tidewatch_proto::source::SourceError;
use tidewatch_settings::{Size, Span};

/// The default of [`LogConfig::partitions`].
pub const PARTITIONS: u32 = 4;
/// The default of [`LogConfig::segment_bytes`].
pub const SEGMENT_BYTES: Size = Size(64 << 20);
/// The default of [`LogConfig::retention`].
pub const RETENTION: Span = Span::from_secs(7 * 86_400);
/// The default of [`LogConfig::retention_bytes`].
pub const RETENTION_BYTES: Size = Size(4 << 30);
/// The default of [`LogConfig::sync_interval`].
pub const SYNC_INTERVAL: Span = Span::from_millis(100);

const PARTITIONS_MAX: u32 = 1_024;
const SYNC_INTERVAL_MAX: Span = Span::from_secs(10);
/// So many segments of each partition fit into what is kept, so that old ones can leave while new ones are written.
const SEGMENTS_MIN: u64 = 4;
/// Less than this for each partition holds no log.
const PARTITION_BYTES_MIN: u64 = 4 << 20;

/// The section `[log]` of a source: the embedded durable log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// What writes to it.
    pub feed: Feed,
    /// Where it is; by default beside the checkpoints.
    pub folder: Option<PathBuf>,
    /// How many partitions it has. More can be added later, none taken away.
    pub partitions: u32,
    /// From this size on a partition begins a new file; at most a fourth of its share of `retention_bytes`.
    pub segment_bytes: Size,
    /// How long records are kept, by their log times.
    pub retention: Span,
    /// How much is kept at most, of all partitions together.
    pub retention_bytes: Size,
    /// How long what is appended waits at most until it is made durable together with what came after it.
    pub sync_interval: Span,
    /// What to do when the log doesn't have what comes next: `stop` or `skip`.
    pub on_gap: OnGap,
}

impl Default for LogConfig {
    fn default() -> LogConfig {
        LogConfig {
            feed: Feed::Fleet,
            folder: None,
            partitions: PARTITIONS,
            segment_bytes: SEGMENT_BYTES,
            retention: RETENTION,
            retention_bytes: RETENTION_BYTES,
            sync_interval: SYNC_INTERVAL,
            on_gap: OnGap::Stop,
        }
    }
}

/// What writes to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Feed {
    /// The simulated fleet.
    Fleet,
    /// Nothing: what is there is read.
    None,
}

/// A [`LogConfig`] that was checked.
#[derive(Clone, Debug)]
pub struct LogSettings {
    pub(super) folder: PathBuf,
    pub(super) partitions: u32,
    pub(super) segment_bytes: u64,
    pub(super) retention: Duration,
    pub(super) retention_bytes: u64,
    pub(super) sync_interval: Duration,
    pub(super) on_gap: OnGap,
}

impl LogConfig {
    /// Checks what was written; without a folder it is `beside`.
    ///
    /// # Errors
    /// When a value is out of its range or the folder is none; the error names the key.
    pub fn resolve(&self, beside: &Path) -> Result<LogSettings, SourceError> {
        let check = |key: &str, good: bool, must: String| match good {
            true => Ok(()),
            false => Err(SourceError::new(format!("log.{key}"), must)),
        };
        let folder = self.folder.as_deref().unwrap_or(beside);
        check("folder", !folder.as_os_str().is_empty(), "is empty".to_owned())?;
        let is_folder = !folder.exists() || folder.is_dir();
        check("folder", is_folder, format!("{} is not a folder", folder.display()))?;
        let count = self.partitions;
        let good = (1..=PARTITIONS_MAX).contains(&count);
        check("partitions", good, format!("must be from 1 to {PARTITIONS_MAX}"))?;
        let share = self.retention_bytes.0 / u64::from(count.max(1));
        let least = Size(PARTITION_BYTES_MIN * u64::from(count));
        let must = format!("must be at least {least} for {count} partitions");
        check("retention_bytes", share >= PARTITION_BYTES_MIN, must)?;
        let good = Span::from_millis(1) <= self.sync_interval && self.sync_interval <= SYNC_INTERVAL_MAX;
        check("sync_interval", good, "must be from 1ms to 10s".to_owned())?;
        Ok(LogSettings {
            folder: folder.to_owned(),
            partitions: count,
            segment_bytes: self.segment_bytes.0.min(share / SEGMENTS_MIN),
            retention: self.retention.0,
            retention_bytes: self.retention_bytes.0,
            sync_interval: self.sync_interval.0,
            on_gap: self.on_gap,
        })
    }
}

impl LogSettings {
    /// Where the log is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// How the log is called in errors and news.
    pub(super) fn object(&self) -> String {
        format!("log.folder {}", self.folder.display())
    }

    /// An error about the log as a whole.
    pub(super) fn error(&self, problem: impl Into<String>) -> SourceError {
        SourceError::new(self.object(), problem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_key() {
        let check = |text: &str, expected: &str| {
            let config: LogConfig = serde_json::from_str(text).unwrap();
            let error = config.resolve(Path::new("beside")).unwrap_err();
            assert_eq!(error.to_string(), expected);
        };
        check(r#"{"partitions": 0}"#, "log.partitions: must be from 1 to 1024");
        check(
            r#"{"retention_bytes": "100KiB"}"#,
            "log.retention_bytes: must be at least 16MiB for 4 partitions",
        );
        check(
            r#"{"sync_interval": "0s"}"#,
            "log.sync_interval: must be from 1ms to 10s",
        );
        check(r#"{"folder": ""}"#, "log.folder: is empty");
        check(r#"{"folder": "/dev/null"}"#, "log.folder: /dev/null is not a folder");
        assert!(serde_json::from_str::<LogConfig>(r#"{"size": 1}"#).is_err());
    }

    #[test]
    fn segments_are_a_fourth_of_a_share_at_most() {
        let config = LogConfig {
            retention_bytes: Size(64 << 20),
            ..LogConfig::default()
        };
        assert_eq!(config.resolve(Path::new("beside")).unwrap().segment_bytes, 4 << 20);
    }
}
