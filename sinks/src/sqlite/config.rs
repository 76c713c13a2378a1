//! The configuration of the embedded store: as written, and as used.

use super::tables::Table;
use crate::SinkError;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tidewatch_proto::row::Job;
use tidewatch_settings::{Size, Span};

/// The folder's name within the folder of the state, when none is configured.
pub const FOLDER: &str = "store";
/// The default of [`SqliteConfig::minute_retention`], [`SqliteConfig::five_minute_retention`] and
/// [`SqliteConfig::rollup_retention`].
pub const MINUTE_RETENTION: Span = Span::from_secs(30 * DAY_S);
/// The default of [`SqliteConfig::hour_retention`].
pub const HOUR_RETENTION: Span = Span::from_secs(2 * 365 * DAY_S);
/// The default of [`SqliteConfig::day_retention`]: for ever, as far as a store lasts.
pub const DAY_RETENTION: Span = Span::from_secs(100 * 365 * DAY_S);
/// The default of [`SqliteConfig::dead_letter_retention`].
pub const DEAD_LETTER_RETENTION: Span = Span::from_secs(30 * DAY_S);
/// The default of [`SqliteConfig::anomaly_retention`].
pub const ANOMALY_RETENTION: Span = Span::from_secs(2 * 365 * DAY_S);
/// The default of [`SqliteConfig::anomalies_max`]: some half a gigabyte.
pub const ANOMALIES_MAX: usize = 1_000_000;
/// The default of [`SqliteConfig::bytes_max`].
pub const BYTES_MAX: Size = Size(8 << 30);
/// The default of [`SqliteConfig::dead_letter_bytes_max`].
pub const DEAD_LETTER_BYTES_MAX: Size = Size(256 << 20);
/// The least of [`SqliteConfig::bytes_max`]: room for what is being written.
pub const BYTES_MIN: u64 = 16 << 20;
/// The corrections of a window come within the horizon after it; most of them within minutes.
const ALONE: Duration = Duration::from_secs(5 * 60);
const DAY_S: u64 = 24 * 60 * 60;
const HOUR_MS: i64 = 60 * 60 * 1_000;

/// The embedded store, as written in the configuration.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SqliteConfig {
    /// The folder of the store; it is made when missing.
    pub folder: Option<PathBuf>,
    /// How long one-minute windows are kept, back from the newest window.
    pub minute_retention: Span,
    /// How long five-minute windows are kept.
    pub five_minute_retention: Span,
    /// How long one-hour windows are kept.
    pub hour_retention: Span,
    /// How long windows of a day are kept.
    pub day_retention: Span,
    /// How long the rollups of sites and fleets are kept.
    pub rollup_retention: Span,
    /// How long dead letters are kept, by when they were stored.
    pub dead_letter_retention: Span,
    /// How long anomalies are kept that have ended or were withdrawn, by when that was stored.
    pub anomaly_retention: Span,
    /// How large the store may get; beyond it the oldest windows leave early.
    pub bytes_max: Size,
    /// How many bytes of dead letters are kept; beyond it the oldest leave early.
    pub dead_letter_bytes_max: Size,
    /// How many anomalies are kept; beyond it those that ended first leave early, those that go on never do.
    pub anomalies_max: usize,
}

impl Default for SqliteConfig {
    fn default() -> SqliteConfig {
        SqliteConfig {
            folder: None,
            minute_retention: MINUTE_RETENTION,
            five_minute_retention: MINUTE_RETENTION,
            hour_retention: HOUR_RETENTION,
            day_retention: DAY_RETENTION,
            rollup_retention: MINUTE_RETENTION,
            dead_letter_retention: DEAD_LETTER_RETENTION,
            anomaly_retention: ANOMALY_RETENTION,
            bytes_max: BYTES_MAX,
            dead_letter_bytes_max: DEAD_LETTER_BYTES_MAX,
            anomalies_max: ANOMALIES_MAX,
        }
    }
}

/// The embedded store as it is used.
#[derive(Clone, Debug)]
pub struct SqliteSettings {
    pub(super) folder: PathBuf,
    /// How long windows are kept, in milliseconds, by [`Table`].
    pub(super) kept_ms: [i64; Table::COUNT],
    pub(super) letters_ms: i64,
    pub(super) anomalies_ms: i64,
    pub(super) anomalies_max: i64,
    pub(super) bytes_max: u64,
    pub(super) letter_bytes_max: u64,
    /// A period's rows are packed when nothing of it has come for so long.
    pub(super) alone: Duration,
    /// More pages than that are a full disk, for tests.
    pub(super) pages_max: Option<u32>,
}

impl SqliteConfig {
    /// Checks everything, and says where the store is: in the folder that is configured, or else in `beside`, a folder
    /// of the same instance.
    ///
    /// # Errors
    /// When a value can't be used; the error names the key.
    pub fn resolve(&self, beside: &Path) -> Result<SqliteSettings, SinkError> {
        let folder = self.folder.clone().unwrap_or_else(|| beside.join(FOLDER));
        if folder.as_os_str().is_empty() {
            return Err(SinkError::stop("embedded.folder", "is empty"));
        }
        if folder.exists() && !folder.is_dir() {
            let problem = format!("{} is not a folder", folder.display());
            return Err(SinkError::stop("embedded.folder", problem));
        }
        if self.bytes_max.0 < BYTES_MIN {
            return Err(SinkError::stop("embedded.bytes_max", "must be at least `16MiB`"));
        }
        let kept = |key: &str, span: Span| match span.as_millis() {
            HOUR_MS.. => Ok(span.as_millis()),
            _ => Err(SinkError::stop(key, "must be at least `1h`")),
        };
        Ok(SqliteSettings {
            folder,
            kept_ms: [
                kept("embedded.minute_retention", self.minute_retention)?,
                kept("embedded.five_minute_retention", self.five_minute_retention)?,
                kept("embedded.hour_retention", self.hour_retention)?,
                kept("embedded.rollup_retention", self.rollup_retention)?,
                kept("embedded.day_retention", self.day_retention)?,
            ],
            letters_ms: kept("embedded.dead_letter_retention", self.dead_letter_retention)?,
            anomalies_ms: kept("embedded.anomaly_retention", self.anomaly_retention)?,
            anomalies_max: i64::try_from(self.anomalies_max).unwrap_or(i64::MAX),
            bytes_max: self.bytes_max.0,
            letter_bytes_max: self.dead_letter_bytes_max.0.min(self.bytes_max.0 / 2),
            alone: ALONE,
            pages_max: None,
        })
    }
}

impl SqliteSettings {
    /// The folder of the store.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// How long the rows of a job are kept, back from the newest window, in milliseconds.
    pub fn retention_ms(&self, job: Job) -> i64 {
        self.kept_ms[Table::of(job) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_named() {
        let problem = |config: SqliteConfig| config.resolve(Path::new("data")).unwrap_err().to_string();
        let small = SqliteConfig {
            bytes_max: Size(1 << 20),
            ..Default::default()
        };
        assert!(problem(small).starts_with("embedded.bytes_max: "));
        let short = SqliteConfig {
            hour_retention: Span::from_secs(60),
            ..Default::default()
        };
        assert!(problem(short).starts_with("embedded.hour_retention: "));
        let file = SqliteConfig {
            folder: Some("Cargo.toml".into()),
            ..Default::default()
        };
        assert!(problem(file).contains("is not a folder"));
    }

    #[test]
    fn it_lies_beside_the_state_unless_told() {
        let settings = SqliteConfig::default().resolve(Path::new("data")).unwrap();
        assert_eq!(settings.folder(), Path::new("data/store"));
        assert_eq!(settings.retention_ms(Job::FleetMinute), 30 * 86_400_000);
        assert_eq!(settings.retention_ms(Job::Hour), 730 * 86_400_000);
    }
}
