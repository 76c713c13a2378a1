//! Rows as the columns of a row group, until it is written.

use crate::row::Row;
use crate::schema::column;
use hashbrown::HashMap;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int32Type, Int64Type};
use parquet::errors::{ParquetError, Result};
use parquet::file::writer::SerializedRowGroupWriter;
use std::io::Write;
use tidewatch_proto::headers::Headers;

/// A value of each row, where there is one.
struct Column<T> {
    values: Vec<T>,
    /// 1 where there is one.
    levels: Vec<i16>,
}

/// The metrics of all rows, one after the other.
#[derive(Default)]
struct Metrics {
    names: Vec<ByteArray>,
    values: Vec<f64>,
    /// 0 where a row has no metrics, 1 where it has none of them, 2 at each of them.
    levels: Vec<i16>,
    /// 0 at the first of a row.
    repeats: Vec<i16>,
    /// The names of the last row: most rows have the same.
    last: Vec<ByteArray>,
}

/// The headers of all rows, one after the other.
#[derive(Default)]
struct HeaderColumns {
    keys: Vec<ByteArray>,
    values: Vec<ByteArray>,
    /// 0 where a row has no headers, else 2 at each of them.
    levels: Vec<i16>,
    /// The same, but 3 where the header has a value.
    value_levels: Vec<i16>,
    /// 0 at the first of a row.
    repeats: Vec<i16>,
}

/// Texts that come again and again, each in memory once.
#[derive(Default)]
struct Texts(HashMap<Box<[u8]>, ByteArray>);

/// The columns of a row group.
#[derive(Default)]
pub(crate) struct Columns {
    offsets: Vec<i64>,
    log_times: Column<i64>,
    devices: Column<ByteArray>,
    ts: Column<i64>,
    metrics: Metrics,
    raw: Column<ByteArray>,
    keys: Column<ByteArray>,
    payloads: Column<ByteArray>,
    headers: HeaderColumns,
    names: Texts,
}

impl<T> Default for Column<T> {
    fn default() -> Column<T> {
        Column {
            values: Vec::new(),
            levels: Vec::new(),
        }
    }
}

impl<T> Column<T> {
    fn push(&mut self, value: Option<T>) {
        self.levels.push(i16::from(value.is_some()));
        self.values.extend(value);
    }

    fn clear(&mut self) {
        self.values.clear();
        self.levels.clear();
    }
}

impl Column<ByteArray> {
    /// A text that is most likely the one before.
    fn push_again(&mut self, text: Option<&[u8]>) {
        let last = self.values.last().filter(|last| Some(last.data()) == text);
        let text = last.cloned().or_else(|| text.map(ByteArray::from));
        self.push(text);
    }
}

impl Texts {
    fn get(&mut self, text: &[u8]) -> ByteArray {
        match self.0.get(text) {
            Some(known) => known.clone(),
            None => {
                let new = ByteArray::from(text);
                self.0.insert(text.into(), new.clone());
                new
            }
        }
    }
}

impl Metrics {
    fn push(&mut self, metrics: Option<&[(&[u8], f64)]>, names: &mut Texts) {
        let metrics = match metrics {
            Some(metrics) if !metrics.is_empty() => metrics,
            few => {
                self.levels.push(i16::from(few.is_some()));
                self.repeats.push(0);
                return;
            }
        };
        self.last.truncate(metrics.len());
        for (place, (name, value)) in metrics.iter().enumerate() {
            match self.last.get(place) {
                Some(last) if last.data() == *name => {}
                Some(_) => self.last[place] = names.get(name),
                None => self.last.push(names.get(name)),
            }
            self.names.push(self.last[place].clone());
            self.values.push(*value);
            self.levels.push(2);
            self.repeats.push(i16::from(place > 0));
        }
    }

    fn clear(&mut self) {
        self.names.clear();
        self.values.clear();
        self.levels.clear();
        self.repeats.clear();
    }
}

impl HeaderColumns {
    fn push(&mut self, headers: Headers<'_>, names: &mut Texts) {
        if headers.is_empty() {
            self.levels.push(0);
            self.value_levels.push(0);
            self.repeats.push(0);
            return;
        }
        for (place, (key, value)) in headers.iter().enumerate() {
            // A key that is no text is what readers of Kafka make of it.
            self.keys.push(names.get(String::from_utf8_lossy(key).as_bytes()));
            self.values.extend(value.map(ByteArray::from));
            self.levels.push(2);
            self.value_levels.push(2 + i16::from(value.is_some()));
            self.repeats.push(i16::from(place > 0));
        }
    }

    fn clear(&mut self) {
        self.keys.clear();
        self.values.clear();
        [&mut self.levels, &mut self.value_levels, &mut self.repeats]
            .into_iter()
            .for_each(Vec::clear);
    }
}

impl Columns {
    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.offsets.len()
    }

    /// How many readings they hold.
    pub(crate) fn readings(&self) -> usize {
        self.metrics.values.len()
    }

    /// Adds a row.
    pub(crate) fn push(&mut self, row: &Row<'_>) {
        self.offsets.push(row.offset.0);
        self.log_times.push(row.log_time.map(|time| time.0));
        self.devices.push_again(row.device);
        self.ts.push(row.ts.map(|ts| ts.0));
        self.metrics.push(row.metrics, &mut self.names);
        self.raw.push(row.raw.map(ByteArray::from));
        self.keys.push_again(row.key);
        self.payloads.push(row.payload.map(ByteArray::from));
        self.headers.push(row.headers, &mut self.names);
    }

    /// Writes all rows, which are those of a partition, and is empty again.
    ///
    /// # Errors
    /// When they can't be encoded.
    pub(crate) fn write<W: Write + Send>(
        &mut self,
        group: &mut SerializedRowGroupWriter<'_, W>,
        partition: i32,
    ) -> Result<()> {
        let partitions = vec![partition; self.len()];
        for number in 0..column::COUNT {
            match number {
                column::PARTITION => put::<Int32Type, _>(group, &partitions, None, None),
                column::OFFSET => put::<Int64Type, _>(group, &self.offsets, None, None),
                column::LOG_TIME => put_some::<Int64Type, _>(group, &self.log_times),
                column::DEVICE => put_some::<ByteArrayType, _>(group, &self.devices),
                column::TS => put_some::<Int64Type, _>(group, &self.ts),
                column::METRIC => {
                    let Metrics { levels, repeats, .. } = &self.metrics;
                    put::<ByteArrayType, _>(group, &self.metrics.names, Some(levels), Some(repeats))
                }
                column::VALUE => {
                    let Metrics { levels, repeats, .. } = &self.metrics;
                    put::<DoubleType, _>(group, &self.metrics.values, Some(levels), Some(repeats))
                }
                column::RAW => put_some::<ByteArrayType, _>(group, &self.raw),
                column::KEY => put_some::<ByteArrayType, _>(group, &self.keys),
                column::HEADER_KEY => {
                    let HeaderColumns {
                        keys, levels, repeats, ..
                    } = &self.headers;
                    put::<ByteArrayType, _>(group, keys, Some(levels), Some(repeats))
                }
                column::HEADER_VALUE => {
                    let HeaderColumns {
                        values,
                        value_levels,
                        repeats,
                        ..
                    } = &self.headers;
                    put::<ByteArrayType, _>(group, values, Some(value_levels), Some(repeats))
                }
                _ => put_some::<ByteArrayType, _>(group, &self.payloads),
            }?;
        }
        self.clear();
        Ok(())
    }

    fn clear(&mut self) {
        self.offsets.clear();
        [&mut self.log_times, &mut self.ts].into_iter().for_each(Column::clear);
        let texts = [&mut self.devices, &mut self.raw, &mut self.keys, &mut self.payloads];
        texts.into_iter().for_each(Column::clear);
        self.metrics.clear();
        self.headers.clear();
    }
}

fn put_some<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    column: &Column<T::T>,
) -> Result<()> {
    put::<T, W>(group, &column.values, Some(&column.levels), None)
}

fn put<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    values: &[T::T],
    levels: Option<&[i16]>,
    repeats: Option<&[i16]>,
) -> Result<()> {
    let Some(mut column) = group.next_column()? else {
        return Err(ParquetError::General("the schema has fewer columns".to_owned()));
    };
    column.typed::<T>().write_batch(values, levels, repeats)?;
    column.close()
}
