//! Makes an object's Parquet of rows.

use crate::columns::Columns;
use crate::error::ArchiveError;
use crate::names::ObjectName;
use crate::row::Row;
use crate::schema::{properties, schema};
use parquet::errors::ParquetError;
use parquet::file::writer::SerializedFileWriter;
use std::sync::Arc;

/// A row group ends at the first device behind so many rows,
const GROUP_ROWS: usize = 64 << 10;
/// and within a device behind so many.
const GROUP_ROWS_MAX: usize = 256 << 10;

/// What an object holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Its records.
    pub records: u64,
    /// Their readings.
    pub readings: u64,
    /// The earliest and the latest time at which the log appended one, in milliseconds; none when it doesn't know.
    pub log_time: Option<(i64, i64)>,
    /// The earliest and the latest event time, in milliseconds; none when there is none.
    pub ts: Option<(i64, i64)>,
}

/// Writes an object of a partition. Rows come sorted by device, event time and offset.
pub struct Writer {
    file: SerializedFileWriter<Vec<u8>>,
    columns: Columns,
    /// The device of the last row.
    device: Option<Vec<u8>>,
    partition: i32,
    name: String,
    summary: Summary,
}

impl Writer {
    /// An object with a name of its own, which says what it will hold.
    ///
    /// # Errors
    /// When zstd has no such level.
    pub fn new(name: &ObjectName, level: i32) -> Result<Writer, ArchiveError> {
        let object = name.to_string();
        let about = vec![
            ("tidewatch.log".to_owned(), name.log.clone()),
            ("tidewatch.partition".to_owned(), name.partition.to_string()),
            ("tidewatch.first".to_owned(), name.first.to_string()),
            ("tidewatch.last".to_owned(), name.last.to_string()),
        ];
        let opened = schema().and_then(|schema| {
            let properties = Arc::new(properties(level, about)?);
            SerializedFileWriter::new(Vec::new(), schema, properties)
        });
        Ok(Writer {
            file: opened.map_err(|error| failed(&object, &error))?,
            columns: Columns::default(),
            device: None,
            partition: i32::try_from(name.partition.0).unwrap_or(i32::MAX),
            name: object,
            summary: Summary::default(),
        })
    }

    /// Adds a row.
    ///
    /// # Errors
    /// When it can't be encoded.
    pub fn push(&mut self, row: &Row<'_>) -> Result<(), ArchiveError> {
        let rows = self.columns.len();
        if rows >= GROUP_ROWS && (self.device.as_deref() != row.device || rows >= GROUP_ROWS_MAX) {
            self.end_group()?;
        }
        if self.device.as_deref() != row.device {
            self.device = row.device.map(<[u8]>::to_vec);
        }
        self.columns.push(row);
        self.summary.note(row);
        Ok(())
    }

    fn end_group(&mut self) -> Result<(), ArchiveError> {
        self.summary.readings += self.columns.readings() as u64;
        let written = self.file.next_row_group().and_then(|mut group| {
            self.columns.write(&mut group, self.partition)?;
            group.close().map(drop)
        });
        written.map_err(|error| failed(&self.name, &error))
    }

    /// All of it, and what it holds.
    ///
    /// # Errors
    /// When it can't be encoded.
    pub fn finish(mut self) -> Result<(Vec<u8>, Summary), ArchiveError> {
        if self.columns.len() > 0 {
            self.end_group()?;
        }
        let bytes = self.file.into_inner().map_err(|error| failed(&self.name, &error))?;
        Ok((bytes, self.summary))
    }
}

impl Summary {
    pub(crate) fn note(&mut self, row: &Row<'_>) {
        self.records += 1;
        self.log_time = extended(self.log_time, row.log_time.map(|time| time.0));
        self.ts = extended(self.ts, row.ts.map(|ts| ts.0));
    }
}

fn extended(range: Option<(i64, i64)>, by: Option<i64>) -> Option<(i64, i64)> {
    match (range, by) {
        (Some((least, most)), Some(by)) => Some((least.min(by), most.max(by))),
        (None, Some(by)) => Some((by, by)),
        (range, None) => range,
    }
}

fn failed(object: &str, error: &ParquetError) -> ArchiveError {
    ArchiveError::damaged(object, error)
}
