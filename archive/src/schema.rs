//! What an object's columns are, and how each is encoded.

use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::{ColumnPath, TypePtr};
use std::sync::Arc;

/// A row a record. What is `null` wasn't there; `payload` is there when the other columns don't say everything.
const SCHEMA: &str = "
message record {
  required int32 partition;
  required int64 offset;
  optional int64 log_time (TIMESTAMP(MILLIS,true));
  optional binary device_id (STRING);
  optional int64 ts (TIMESTAMP(MILLIS,true));
  optional group metrics (MAP) {
    repeated group key_value {
      required binary key (STRING);
      required double value;
    }
  }
  optional binary raw;
  optional binary key;
  optional binary payload;
  optional group headers (LIST) {
    repeated group list {
      required group element {
        required binary key (STRING);
        optional binary value;
      }
    }
  }
}";

/// The columns' numbers, in the order of the schema.
pub(crate) mod column {
    pub(crate) const PARTITION: usize = 0;
    pub(crate) const OFFSET: usize = 1;
    pub(crate) const LOG_TIME: usize = 2;
    pub(crate) const DEVICE: usize = 3;
    pub(crate) const TS: usize = 4;
    pub(crate) const METRIC: usize = 5;
    pub(crate) const VALUE: usize = 6;
    pub(crate) const RAW: usize = 7;
    pub(crate) const KEY: usize = 8;
    pub(crate) const PAYLOAD: usize = 9;
    /// Objects of before headers were kept have neither these nor the next.
    pub(crate) const HEADER_KEY: usize = 10;
    pub(crate) const HEADER_VALUE: usize = 11;
    pub(crate) const COUNT: usize = 12;
}

/// Up to so many bytes of different values a chunk has them in a dictionary.
const VALUES_BYTES_MAX: usize = 512 << 10;

/// The schema.
///
/// # Errors
/// None: the text above is one.
pub(crate) fn schema() -> parquet::errors::Result<TypePtr> {
    parse_message_type(SCHEMA).map(Arc::new)
}

/// How an object is written, and what is said of it as a whole.
///
/// # Errors
/// When zstd has no such level.
pub(crate) fn properties(level: i32, about: Vec<(String, String)>) -> parquet::errors::Result<WriterProperties> {
    let about = about
        .into_iter()
        .map(|(key, value)| KeyValue::new(key, value))
        .collect();
    let properties = WriterProperties::builder()
        .set_created_by(concat!("tidewatch ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(level)?))
        .set_key_value_metadata(Some(about))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_max_row_group_row_count(None);
    let properties = ["offset", "log_time", "ts"]
        .into_iter()
        .fold(properties, |properties, name| {
            plain(properties, &[name], Encoding::DELTA_BINARY_PACKED)
        });
    let properties = ["raw", "payload"].into_iter().fold(properties, |properties, name| {
        plain(properties, &[name], Encoding::DELTA_LENGTH_BYTE_ARRAY)
            .set_column_statistics_enabled(path(&[name]), EnabledStatistics::None)
    });
    let value = path(&["metrics", "key_value", "value"]);
    // What is too varied for a dictionary is split into bytes that are alike.
    let properties = properties
        .set_column_encoding(value.clone(), Encoding::BYTE_STREAM_SPLIT)
        .set_column_dictionary_page_size_limit(value.clone(), VALUES_BYTES_MAX)
        .set_column_statistics_enabled(value, EnabledStatistics::None);
    Ok(properties.build())
}

/// A column without a dictionary.
fn plain(properties: WriterPropertiesBuilder, name: &[&str], encoding: Encoding) -> WriterPropertiesBuilder {
    properties
        .set_column_dictionary_enabled(path(name), false)
        .set_column_encoding(path(name), encoding)
}

fn path(parts: &[&str]) -> ColumnPath {
    ColumnPath::new(parts.iter().map(|part| (*part).to_owned()).collect())
}
