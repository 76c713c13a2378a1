//! An object's rows again.

use crate::error::ArchiveError;
use crate::row::Row;
use crate::schema::column;
use bytes::Bytes;
use parquet::column::reader::get_typed_column_reader;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use std::ops::Range;
use tidewatch_proto::headers::{Header, Headers};
use tidewatch_proto::ids::Offset;
use tidewatch_proto::time::{EventTime, LogTime};
use tidewatch_proto::walk::Metric;

/// An object in memory, of which a row group at a time is decoded.
pub struct Contents {
    name: String,
    file: SerializedFileReader<Bytes>,
}

/// A row group.
pub struct Group {
    offsets: Vec<i64>,
    log_times: Vec<Option<i64>>,
    devices: Vec<Option<ByteArray>>,
    ts: Vec<Option<i64>>,
    names: Vec<ByteArray>,
    values: Vec<f64>,
    /// Where the metrics of each row are.
    metrics: Vec<Option<Range<usize>>>,
    raw: Vec<Option<ByteArray>>,
    keys: Vec<Option<ByteArray>>,
    payloads: Vec<Option<ByteArray>>,
    headers: Written,
}

/// The headers of each row, as [`Headers`] has them; no row when no row has any.
#[derive(Default)]
struct Written {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Contents {
    /// An object of this name.
    ///
    /// # Errors
    /// When it isn't Parquet.
    pub fn open(name: &str, bytes: Vec<u8>) -> std::result::Result<Contents, ArchiveError> {
        let file = SerializedFileReader::new(Bytes::from(bytes));
        Ok(Contents {
            name: name.to_owned(),
            file: file.map_err(|error| ArchiveError::damaged(name, error))?,
        })
    }

    /// How many row groups there are.
    pub fn groups(&self) -> usize {
        self.file.num_row_groups()
    }

    /// A row group.
    ///
    /// # Errors
    /// When it isn't one of an archive.
    pub fn group(&self, number: usize) -> std::result::Result<Group, ArchiveError> {
        let read = self.file.get_row_group(number).and_then(|group| Group::read(&*group));
        read.map_err(|error| ArchiveError::damaged(self.name.as_str(), error))
    }
}

impl Group {
    fn read(group: &dyn RowGroupReader) -> Result<Group> {
        let (levels, repeats, names) = column::<ByteArrayType>(group, column::METRIC)?;
        let (.., values) = column::<DoubleType>(group, column::VALUE)?;
        if names.len() != values.len() {
            return Err(ParquetError::General("metrics and values differ in number".to_owned()));
        }
        let read = Group {
            offsets: column::<Int64Type>(group, column::OFFSET)?.2,
            log_times: optional::<Int64Type>(group, column::LOG_TIME)?,
            devices: optional::<ByteArrayType>(group, column::DEVICE)?,
            ts: optional::<Int64Type>(group, column::TS)?,
            metrics: ranges(&levels, &repeats),
            names,
            values,
            raw: optional::<ByteArrayType>(group, column::RAW)?,
            keys: optional::<ByteArrayType>(group, column::KEY)?,
            payloads: optional::<ByteArrayType>(group, column::PAYLOAD)?,
            headers: Written::read(group)?,
        };
        let rows = read.offsets.len();
        let others = [
            read.log_times.len(),
            read.devices.len(),
            read.ts.len(),
            read.metrics.len(),
            read.raw.len(),
            read.keys.len(),
            read.payloads.len(),
            match read.headers.ends.len() {
                0 => rows,
                headers => headers,
            },
        ];
        match others.iter().all(|count| *count == rows) {
            true => Ok(read),
            false => Err(ParquetError::General("columns differ in their rows".to_owned())),
        }
    }

    /// How many rows it has.
    pub fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// A row. Its metrics are written to a place that is used again.
    pub fn row<'a, 'b: 'a>(&'b self, at: usize, metrics: &'a mut Vec<Metric<'b>>) -> Row<'a> {
        metrics.clear();
        let has_metrics = self.metrics[at].clone().map(|range| {
            let names = self.names[range.clone()].iter().map(ByteArray::data);
            metrics.extend(names.zip(self.values[range].iter().copied()));
        });
        Row {
            metrics: has_metrics.map(|()| &metrics[..]),
            ..self.bare(at)
        }
    }

    /// A row without its metrics.
    pub(crate) fn bare(&self, at: usize) -> Row<'_> {
        Row {
            offset: Offset(self.offsets[at]),
            log_time: self.log_times[at].map(LogTime),
            device: self.devices[at].as_ref().map(ByteArray::data),
            ts: self.ts[at].map(EventTime),
            metrics: None,
            raw: self.raw[at].as_ref().map(ByteArray::data),
            key: self.keys[at].as_ref().map(ByteArray::data),
            payload: self.payloads[at].as_ref().map(ByteArray::data),
            headers: self.headers.of(at),
        }
    }
}

impl Written {
    fn read(group: &dyn RowGroupReader) -> Result<Written> {
        if group.num_columns() <= column::HEADER_VALUE {
            return Ok(Written::default());
        }
        let (levels, repeats, keys) = column::<ByteArrayType>(group, column::HEADER_KEY)?;
        let (value_levels, _, values) = column::<ByteArrayType>(group, column::HEADER_VALUE)?;
        let values_wanted = value_levels.iter().filter(|level| **level == 3).count();
        if levels.len() != value_levels.len() || values.len() != values_wanted {
            return Err(ParquetError::General("keys and values of headers differ".to_owned()));
        }
        if keys.is_empty() {
            return Ok(Written::default());
        }
        let (mut keys, mut values) = (keys.iter(), values.iter());
        let mut written = Written::default();
        let mut row: Vec<Header<'_>> = Vec::new();
        for (at, level) in levels.iter().enumerate() {
            if *level == 2 {
                let value = (value_levels[at] == 3).then(|| values.next().map(ByteArray::data));
                row.extend(keys.next().map(|key| (key.data(), value.flatten())));
            }
            if repeats.get(at + 1).is_none_or(|next| *next == 0) {
                Headers::write(row.drain(..), &mut written.bytes);
                written.ends.push(written.bytes.len());
            }
        }
        Ok(written)
    }

    fn of(&self, at: usize) -> Headers<'_> {
        let Some(end) = self.ends.get(at) else {
            return Headers::NONE;
        };
        let begin = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        Headers::new(&self.bytes[begin..*end])
    }
}

/// Where the metrics of each row are, from the levels of the list.
fn ranges(levels: &[i16], repeats: &[i16]) -> Vec<Option<Range<usize>>> {
    let (mut ranges, mut at) = (Vec::new(), 0);
    for (level, repeat) in levels.iter().zip(repeats) {
        if *repeat == 0 {
            ranges.push((*level > 0).then_some(at..at));
        }
        if *level == 2 {
            at += 1;
            if let Some(Some(range)) = ranges.last_mut() {
                range.end = at;
            }
        }
    }
    ranges
}

/// A value of each row, where there is one.
fn optional<T: DataType>(group: &dyn RowGroupReader, number: usize) -> Result<Vec<Option<T::T>>> {
    let (levels, _, values) = column::<T>(group, number)?;
    let mut values = values.into_iter();
    let mut value = |level: &i16| if *level > 0 { values.next() } else { None };
    Ok(levels.iter().map(&mut value).collect())
}

/// Levels, repeats and values of a column.
type Read<T> = (Vec<i16>, Vec<i16>, Vec<T>);

fn column<T: DataType>(group: &dyn RowGroupReader, number: usize) -> Result<Read<T::T>> {
    let mut reader = get_typed_column_reader::<T>(group.get_column_reader(number)?);
    let rows = usize::try_from(group.metadata().num_rows()).unwrap_or(0);
    let (mut levels, mut repeats, mut values) = (Vec::new(), Vec::new(), Vec::with_capacity(rows));
    let mut read = 0;
    while read < rows {
        let most = rows - read;
        match reader.read_records(most, Some(&mut levels), Some(&mut repeats), &mut values)? {
            (0, ..) => break,
            (records, ..) => read += records,
        }
    }
    Ok((levels, repeats, values))
}
