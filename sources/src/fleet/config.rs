//! What can be configured about the simulated fleet.

use serde::{Deserialize, Serialize};
use std::time::Duration;
use tidewatch_proto::source::SourceError;
use tidewatch_settings::Span;

/// The default of [`FleetConfig::seed`].
pub const SEED: u64 = 1;
/// The default of [`FleetConfig::devices`].
pub const DEVICES: u32 = 1_000;
/// The default of [`FleetConfig::interval`].
pub const INTERVAL: Span = Span::from_millis(1_000);
/// The default of [`FleetConfig::partitions`].
pub const PARTITIONS: u32 = 4;
/// How far back a fleet goes that writes to the log, when [`FleetConfig::history`] doesn't say.
pub const HISTORY: Span = Span::from_secs(86_400);
/// The default of [`FleetConfig::history_interval`].
pub const HISTORY_INTERVAL: Span = Span::from_secs(600);
/// The default of [`FleetConfig::retention`].
pub const RETENTION: Span = Span(Duration::from_secs(3_600));

const DEVICES_MAX: u32 = 10_000_000;
const PARTITIONS_MAX: u32 = 1_024;
const INTERVAL_MIN: Span = Span::from_millis(10);
const INTERVAL_MAX: Span = Span(Duration::from_secs(86_400));

/// The section `[fleet]` of a source: a simulated fleet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FleetConfig {
    /// What all that is random comes from: the same seed gives the same fleet.
    pub seed: u64,
    /// How many devices there are, at most 10 million; their ids are `dev-000000` and so on.
    pub devices: u32,
    /// How often a device sends; devices are spread evenly over it.
    pub interval: Span,
    /// How many partitions the devices are divided among; a fleet that writes to the log goes by the log's.
    pub partitions: u32,
    /// How far before the first start the fleet began to send, so that there is something to see at once: a day when it
    /// writes to the log, else nothing.
    pub history: Option<Span>,
    /// How often a device sent before the first start, and while nothing ran for longer than `retention`, when the fleet
    /// writes to the log.
    pub history_interval: Span,
    /// How far back the simulated log reaches: a reader that was away for longer goes on from there.
    pub retention: Span,
    /// What goes wrong, and how often.
    pub faults: FaultConfig,
}

impl Default for FleetConfig {
    fn default() -> FleetConfig {
        FleetConfig {
            seed: SEED,
            devices: DEVICES,
            interval: INTERVAL,
            partitions: PARTITIONS,
            history: None,
            history_interval: HISTORY_INTERVAL,
            retention: RETENTION,
            faults: FaultConfig::default(),
        }
    }
}

/// What goes wrong: each a share from 0 (never) to 1 (always).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FaultConfig {
    /// The share of messages with a temperature far out.
    pub spike: f64,
    /// The share of the time in which a device's temperature drifts away for half an hour, then comes back.
    pub drift: f64,
    /// The share of the time in which a device is silent, twenty minutes at a time.
    pub silence: f64,
    /// The share of devices whose clock is hours ahead.
    pub fast_clock: f64,
    /// The share of devices whose clock is minutes to hours behind.
    pub slow_clock: f64,
    /// The share of the time in which a device keeps 16 intervals' messages back and sends them together.
    pub late: f64,
    /// The share of messages that come as a flood of 50.
    pub flood: f64,
    /// The share of messages that are garbage.
    pub garbage: f64,
    /// The share of messages that are sent twice.
    pub duplicate: f64,
    /// The share of messages whose vibration is not a number.
    pub nan: f64,
}

impl Default for FaultConfig {
    fn default() -> FaultConfig {
        FaultConfig {
            spike: 0.000_2,
            drift: 0.002,
            silence: 0.002,
            fast_clock: 0.001,
            slow_clock: 0.002,
            late: 0.002,
            flood: 0.000_02,
            garbage: 0.000_05,
            duplicate: 0.000_5,
            nan: 0.000_1,
        }
    }
}

impl FaultConfig {
    /// A fleet in which nothing goes wrong.
    pub const NONE: FaultConfig = FaultConfig {
        spike: 0.0,
        drift: 0.0,
        silence: 0.0,
        fast_clock: 0.0,
        slow_clock: 0.0,
        late: 0.0,
        flood: 0.0,
        garbage: 0.0,
        duplicate: 0.0,
        nan: 0.0,
    };

    /// What can go wrong, by the keys of this section.
    pub fn names() -> [&'static str; 10] {
        FaultConfig::NONE.shares().map(|(name, _)| name)
    }

    fn shares(&self) -> [(&'static str, f64); 10] {
        [
            ("spike", self.spike),
            ("drift", self.drift),
            ("silence", self.silence),
            ("fast_clock", self.fast_clock),
            ("slow_clock", self.slow_clock),
            ("late", self.late),
            ("flood", self.flood),
            ("garbage", self.garbage),
            ("duplicate", self.duplicate),
            ("nan", self.nan),
        ]
    }
}

/// A [`FleetConfig`] that was checked.
#[derive(Clone, Debug)]
pub struct FleetSettings {
    pub(super) seed: u64,
    pub(super) devices: u32,
    pub(super) interval_ms: i64,
    pub(super) partitions: u32,
    /// How far back it goes; unless that is said, it depends on who reads it.
    pub(super) history_ms: Option<i64>,
    pub(super) history_interval_ms: i64,
    pub(super) retention_ms: i64,
    pub(super) faults: FaultConfig,
}

impl FleetConfig {
    /// Checks what was written.
    ///
    /// # Errors
    /// When a value is out of its range; the error names its key.
    pub fn resolve(&self) -> Result<FleetSettings, SourceError> {
        let check = |key: &str, good: bool, must: String| match good {
            true => Ok(()),
            false => Err(SourceError::new(format!("fleet.{key}"), format!("must be {must}"))),
        };
        check("devices", self.devices <= DEVICES_MAX, format!("at most {DEVICES_MAX}"))?;
        check(
            "partitions",
            (1..=PARTITIONS_MAX).contains(&self.partitions),
            format!("from 1 to {PARTITIONS_MAX}"),
        )?;
        for (name, interval) in [("interval", self.interval), ("history_interval", self.history_interval)] {
            check(
                name,
                INTERVAL_MIN <= interval && interval <= INTERVAL_MAX,
                "from 10ms to 1day".to_owned(),
            )?;
        }
        for (name, share) in self.faults.shares() {
            check(
                &format!("faults.{name}"),
                (0.0..=1.0).contains(&share),
                "from 0 to 1".to_owned(),
            )?;
        }
        Ok(FleetSettings {
            seed: self.seed,
            devices: self.devices,
            interval_ms: self.interval.as_millis(),
            partitions: self.partitions,
            history_ms: self.history.map(Span::as_millis),
            history_interval_ms: self.history_interval.as_millis(),
            retention_ms: self.retention.as_millis(),
            faults: self.faults.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_key() {
        let check = |text: &str, expected: &str| {
            let config: FleetConfig = serde_json::from_str(text).unwrap();
            assert_eq!(config.resolve().unwrap_err().to_string(), expected);
        };
        check(r#"{"devices": 10000001}"#, "fleet.devices: must be at most 10000000");
        check(r#"{"partitions": 0}"#, "fleet.partitions: must be from 1 to 1024");
        check(r#"{"interval": "1ms"}"#, "fleet.interval: must be from 10ms to 1day");
        check(
            r#"{"history_interval": "2days"}"#,
            "fleet.history_interval: must be from 10ms to 1day",
        );
        check(r#"{"faults": {"late": 1.5}}"#, "fleet.faults.late: must be from 0 to 1");
        assert!(serde_json::from_str::<FleetConfig>(r#"{"faults": {"lazy": 1}}"#).is_err());
    }
}
