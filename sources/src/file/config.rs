//! What can be configured about reading files.

use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use tidewatch_proto::source::SourceError;

/// The path that means standard input.
pub const STDIN: &str = "-";
/// The default of [`CsvConfig::time_column`].
pub const TIME_COLUMN: &str = "ts";
/// The default of [`CsvConfig::device_column`].
pub const DEVICE_COLUMN: &str = "device_id";
/// The default of [`CsvConfig::metric_column`].
pub const METRIC_COLUMN: &str = "metric";
/// The default of [`CsvConfig::value_column`].
pub const VALUE_COLUMN: &str = "value";

/// The section `[file]` of a source: files, read from their beginning to their end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FileConfig {
    /// The files to read, each a partition; `-` is standard input.
    pub paths: Vec<PathBuf>,
    /// How they are written: `csv`, `jsonl` or `delimited`. By default by their names' endings (`.csv`; `.jsonl`,
    /// `.ndjson`, `.json`; `.pb`, `.bin`); standard input needs it.
    pub format: Option<FileFormat>,
    /// What the columns of CSV files mean.
    pub csv: CsvConfig,
    /// How many records to read a second; by default as many as can be.
    pub rate: Option<f64>,
    /// How many times faster than they happened to read the records, by their event times: `1` plays them back as they
    /// were, `60` a minute in a second. By default as fast as can be.
    pub speed: Option<f64>,
}

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileFormat {
    /// Comma-separated values with a header; see [`CsvConfig`].
    #[serde(rename = "csv")]
    Csv,
    /// An object a line: `{"device_id": "a", "ts": 1767225600000, "metrics": {"temperature": 21.5}}`; the time in epoch
    /// milliseconds or as RFC 3339. A metric that is `null` is none.
    #[serde(rename = "jsonl")]
    JsonLines,
    /// `Telemetry` messages in protobuf, each behind its length as a varint.
    #[serde(rename = "delimited")]
    Delimited,
}

/// What the columns of a CSV file mean.
///
/// With a metric and a value column the file is long: each line is one value of one metric. Without, it is wide: every
/// column but those of time and device is a metric, and an empty cell is no value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CsvConfig {
    /// The column of the event time: a number (see `time_unit`), RFC 3339, or `YYYY-MM-DD HH:MM:SS` in UTC.
    pub time_column: String,
    /// What numbers in the time column count: `ms` or `s` since 1970.
    pub time_unit: TimeUnit,
    /// The column of the device id.
    pub device_column: String,
    /// The device of all lines, when there is no such column.
    pub device: Option<String>,
    /// In a long file the column of the metric's name.
    pub metric_column: String,
    /// In a long file the column of the value.
    pub value_column: String,
    /// In a wide file columns that are no metrics.
    pub ignore_columns: Vec<String>,
}

impl Default for CsvConfig {
    fn default() -> CsvConfig {
        CsvConfig {
            time_column: TIME_COLUMN.to_owned(),
            time_unit: TimeUnit::Milliseconds,
            device_column: DEVICE_COLUMN.to_owned(),
            device: None,
            metric_column: METRIC_COLUMN.to_owned(),
            value_column: VALUE_COLUMN.to_owned(),
            ignore_columns: Vec::new(),
        }
    }
}

/// What a number counts that is a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TimeUnit {
    /// Milliseconds since 1970.
    #[serde(rename = "ms")]
    Milliseconds,
    /// Seconds since 1970; they may have a fraction.
    #[serde(rename = "s")]
    Seconds,
}

/// A [`FileConfig`] that was checked.
#[derive(Clone, Debug)]
pub struct FileSettings {
    /// Each path with its format.
    pub(super) files: Vec<(PathBuf, FileFormat)>,
    pub(super) csv: CsvConfig,
    pub(super) rate: Option<f64>,
    pub(super) speed: Option<f64>,
}

impl FileConfig {
    /// Checks what was written.
    ///
    /// # Errors
    /// When there is no file, a file can't be opened, or its format isn't known; the error names the key or the file.
    pub fn resolve(&self) -> Result<FileSettings, SourceError> {
        if self.paths.is_empty() {
            return Err(SourceError::new(
                "file.paths",
                "is empty; name the files to read, or `-` for standard input",
            ));
        }
        for (key, value) in [("file.rate", self.rate), ("file.speed", self.speed)] {
            if value.is_some_and(|value| !(value > 0.0 && value.is_finite())) {
                return Err(SourceError::new(key, "must be above 0"));
            }
        }
        let mut files = Vec::with_capacity(self.paths.len());
        for (place, path) in self.paths.iter().enumerate() {
            if self.paths[..place].contains(path) {
                return Err(SourceError::new(
                    "file.paths",
                    format!("names {} twice", path.display()),
                ));
            }
            files.push((path.clone(), self.format_of(path)?));
        }
        Ok(FileSettings {
            files,
            csv: self.csv.clone(),
            rate: self.rate,
            speed: self.speed,
        })
    }

    fn format_of(&self, path: &Path) -> Result<FileFormat, SourceError> {
        if !is_stdin(path) {
            // Only what is on disk: opening a pipe would wait for whoever writes it.
            std::fs::metadata(path)
                .and_then(|metadata| {
                    if metadata.is_file() {
                        std::fs::File::open(path).map(drop)
                    } else {
                        Ok(())
                    }
                })
                .map_err(|error| SourceError::new(path.display().to_string(), format!("can't be opened: {error}")))?;
        }
        let ending = path
            .extension()
            .and_then(|ending| ending.to_str())
            .map(str::to_ascii_lowercase);
        match (self.format, ending.as_deref()) {
            (Some(format), _) => Ok(format),
            (None, Some("csv")) => Ok(FileFormat::Csv),
            (None, Some("jsonl" | "ndjson" | "json")) => Ok(FileFormat::JsonLines),
            (None, Some("pb" | "bin")) => Ok(FileFormat::Delimited),
            (None, _) => Err(SourceError::new(
                path.display().to_string(),
                "the name doesn't tell the format; set file.format to csv, jsonl or delimited",
            )),
        }
    }
}

/// Whether the path means standard input.
pub(super) fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == STDIN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_key_or_the_file() {
        let check = |text: &str, expected: &str| {
            let config: FileConfig = serde_json::from_str(text).unwrap();
            assert_eq!(config.resolve().unwrap_err().to_string(), expected);
        };
        check(
            "{}",
            "file.paths: is empty; name the files to read, or `-` for standard input",
        );
        check(
            r#"{"paths": ["/no/a.csv"]}"#,
            "/no/a.csv: can't be opened: No such file or directory (os error 2)",
        );
        check(
            r#"{"paths": ["-"]}"#,
            "-: the name doesn't tell the format; set file.format to csv, jsonl or delimited",
        );
        check(r#"{"paths": ["-", "-"], "format": "csv"}"#, "file.paths: names - twice");
        check(r#"{"paths": ["-"], "rate": 0}"#, "file.rate: must be above 0");
        assert!(serde_json::from_str::<FileConfig>(r#"{"path": "a"}"#).is_err());
    }
}
