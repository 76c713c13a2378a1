//! The bounds of the memory store.

use serde::{Deserialize, Serialize};
use tidewatch_settings::Span;

/// The default of [`MemoryConfig::rows_max`].
pub const ROWS_MAX: usize = 2_000_000;
/// The default of [`MemoryConfig::bytes_max`]: 1 GiB.
pub const BYTES_MAX: usize = 1 << 30;
/// The default of [`MemoryConfig::age_max`]: a day.
pub const AGE_MAX: Span = Span::from_secs(24 * 60 * 60);
/// The default of [`MemoryConfig::dead_letters_max`].
pub const DEAD_LETTERS_MAX: usize = 10_000;
/// The default of [`MemoryConfig::dead_letter_bytes_max`]: 64 MiB.
pub const DEAD_LETTER_BYTES_MAX: usize = 64 << 20;
/// The default of [`MemoryConfig::anomalies_max`].
pub const ANOMALIES_MAX: usize = 100_000;

/// How much is kept in memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MemoryConfig {
    /// Rows at most; the oldest windows leave first.
    pub rows_max: usize,
    /// Bytes of rows at most, estimated.
    pub bytes_max: usize,
    /// How far a window may end before the latest window of all rows.
    pub age_max: Span,
    /// Dead letters at most; the oldest leave first.
    pub dead_letters_max: usize,
    /// Bytes of dead letters at most.
    pub dead_letter_bytes_max: usize,
    /// Anomalies at most; those that ended first leave first, those that go on last.
    pub anomalies_max: usize,
}

impl Default for MemoryConfig {
    fn default() -> MemoryConfig {
        MemoryConfig {
            rows_max: ROWS_MAX,
            bytes_max: BYTES_MAX,
            age_max: AGE_MAX,
            dead_letters_max: DEAD_LETTERS_MAX,
            dead_letter_bytes_max: DEAD_LETTER_BYTES_MAX,
            anomalies_max: ANOMALIES_MAX,
        }
    }
}
