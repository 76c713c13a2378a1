//! What a record may contain at most.

use serde::{Deserialize, Serialize};

/// Limits on one message and one device. At each the record goes to the dead letter, with its reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of a device id at most.
    pub device_id_bytes_max: usize,
    /// Bytes of a metric name at most.
    pub metric_name_bytes_max: usize,
    /// Metrics in one message at most.
    pub metrics_per_message_max: usize,
    /// Bytes of the field `raw` at most.
    pub raw_bytes_max: usize,
    /// Series of one device at most.
    pub series_per_device_max: usize,
    /// Series that one worker takes in at most.
    pub series_per_worker_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            device_id_bytes_max: 128,
            metric_name_bytes_max: 128,
            metrics_per_message_max: 256,
            raw_bytes_max: 64 * 1024,
            series_per_device_max: 1_000,
            series_per_worker_max: 4_000_000,
        }
    }
}

/// Whether a name is 1 to `bytes_max` bytes of UTF-8 without control characters.
pub fn name_is_good(name: &[u8], bytes_max: usize) -> bool {
    if name.is_empty() || name.len() > bytes_max {
        return false;
    }
    match std::str::from_utf8(name) {
        Ok(text) => !text.chars().any(char::is_control),
        Err(_) => false,
    }
}
