//! Where records come from, and when each of them was due.

use super::subscriber::{Heard, Row};
use crate::latency::{PARTITIONS, Pace, now_us};
use crate::w1::METRICS;
use crate::w1::topic;
use anyhow::{Context, Result, ensure};
use std::collections::HashMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;
use tidewatch_proto::ids::Partition;
use tidewatch_proto::reject::Reason;
use tidewatch_proto::source::{Assignment, Intake, Polled, Record, SourceFactory};
use tidewatch_settings::Span;
use tidewatch_sources::fleet::FleetFactory;
use tidewatch_sources::fleet::config::{FaultConfig, FleetConfig};

/// How long records are appended before they count.
const WARM: Duration = Duration::from_secs(3);
/// How long after it is told to the producer begins.
const START_AFTER: Duration = Duration::from_secs(2);
const MINUTE_US: u64 = 60_000_000;
const SECOND_US: u64 = 1_000_000;

/// What appends records, and knows when each was due.
pub trait From {
    /// How the program is configured to read them, with room for so many subscribers.
    ///
    /// # Errors
    /// When the log can't be made.
    fn keys(&self, subscribers: u32) -> Result<Vec<(&'static str, String)>>;

    /// How many devices there are.
    fn devices(&self) -> u32;

    /// Has records appended for so long after those that don't count, and gives from when on records count, in
    /// microseconds since 1970. `join` waits for the subscribers: before, or meanwhile.
    ///
    /// # Errors
    /// When one of them fails.
    fn append(&mut self, time: Duration, join: &dyn Fn() -> Result<()>) -> Result<u64>;

    /// The records of a device that a message shows for the first time: when each was due, and when it was seen.
    fn records(&mut self, device: u32, heard: &Heard) -> Vec<(u64, u64)>;
}

/// A topic of Kafka, to which another process appends.
#[derive(Debug)]
pub struct Kafka {
    pace: Pace,
    /// The program that appends, `latency`.
    producer: PathBuf,
    /// By device the number of its next record that was not seen.
    next: HashMap<u32, u64>,
}

impl Kafka {
    /// A topic of its own, to which so many records a second are appended, of so many devices.
    pub fn new(producer: PathBuf, brokers: &str, (per_s, devices): (u64, u32)) -> Kafka {
        let pace = Pace {
            brokers: brokers.to_owned(),
            topic: format!("bench.live.{}", std::process::id()),
            partitions: PARTITIONS,
            devices,
            per_s,
            records: 0,
            start_us: 0,
        };
        Kafka {
            pace,
            producer,
            next: HashMap::new(),
        }
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        // It may not have been made.
        let _ = topic::remove(&self.pace.brokers, &self.pace.topic);
    }
}

impl From for Kafka {
    fn keys(&self, subscribers: u32) -> Result<Vec<(&'static str, String)>> {
        topic::recreate(&self.pace.brokers, &self.pace.topic, PARTITIONS)?;
        Ok(vec![
            ("SOURCE__KIND", "kafka".to_owned()),
            ("KAFKA__BROKERS", self.pace.brokers.clone()),
            ("KAFKA__TOPIC", self.pace.topic.clone()),
            ("API__SUBSCRIBERS_MAX", subscribers.max(1).to_string()),
        ])
    }

    fn devices(&self) -> u32 {
        self.pace.devices
    }

    fn append(&mut self, time: Duration, join: &dyn Fn() -> Result<()>) -> Result<u64> {
        join()?;
        let (time, warm) = (time.as_secs(), WARM.as_secs());
        self.pace.start_us = now_us() + START_AFTER.as_micros() as u64;
        let mut command = Command::new(&self.producer);
        command.args(["produce", &self.pace.topic, &self.pace.start_us.to_string()]);
        command.args(["--brokers", &self.pace.brokers, "--per-s", &self.pace.per_s.to_string()]);
        command.args([
            "--seconds",
            &time.to_string(),
            "--devices",
            &self.pace.devices.to_string(),
        ]);
        let status = command
            .stdout(Stdio::null())
            .status()
            .context("cannot start the producer")?;
        ensure!(status.success(), "the producer ended with {status}");
        // The last ones are on their way.
        std::thread::sleep(Duration::from_secs(1));
        Ok(self.pace.start_us + warm * SECOND_US)
    }

    fn records(&mut self, device: u32, heard: &Heard) -> Vec<(u64, u64)> {
        let next = self.next.entry(device).or_insert(u64::from(device));
        let newest = heard
            .rows
            .iter()
            .filter(|row| row.metric == METRICS[0])
            .filter_map(|row| row.last);
        let newest = newest.fold(f64::MIN, f64::max);
        let mut seen = Vec::new();
        while *next as f64 <= newest {
            seen.push((self.pace.due_us(*next), heard.at_us));
            *next += u64::from(self.pace.devices);
        }
        seen
    }
}

/// The embedded log, to which the simulated fleet writes: each device a message a second.
#[derive(Debug)]
pub struct Log {
    devices: u32,
    /// How long what is appended waits to be made durable with what comes after it.
    sync: Duration,
    /// By device when it sends in each second, in microseconds.
    phases: HashMap<u32, u64>,
    /// By device and window (its start) how many readings of it were seen.
    counts: HashMap<(u32, u64), u64>,
}

/// The metric that is looked at.
const LOOKED_AT: &str = "temperature";

impl Log {
    /// So many devices.
    ///
    /// # Errors
    /// When the fleet can't be made.
    pub fn new(devices: u32, sync: Duration) -> Result<Log> {
        Ok(Log {
            devices,
            sync,
            phases: phases(devices)?,
            counts: HashMap::new(),
        })
    }
}

impl From for Log {
    fn keys(&self, subscribers: u32) -> Result<Vec<(&'static str, String)>> {
        let mut keys = vec![
            ("FLEET__DEVICES", self.devices.to_string()),
            ("FLEET__INTERVAL", "1s".to_owned()),
            ("FLEET__HISTORY", "0s".to_owned()),
            ("LOG__PARTITIONS", PARTITIONS.to_string()),
            ("LOG__SYNC_INTERVAL", format!("{}ms", self.sync.as_millis())),
            ("API__SUBSCRIBERS_MAX", subscribers.max(1).to_string()),
        ];
        for fault in FaultConfig::names().map(str::to_uppercase) {
            keys.push((&*format!("FLEET__FAULTS__{fault}").leak(), "0".to_owned()));
        }
        Ok(keys)
    }

    fn devices(&self) -> u32 {
        self.devices
    }

    fn append(&mut self, time: Duration, join: &dyn Fn() -> Result<()>) -> Result<u64> {
        join()?;
        // A window that was begun before the fleet was live doesn't say which of its readings are missing.
        let from_us = (now_us() + WARM.as_micros() as u64).next_multiple_of(MINUTE_US);
        let until_us = from_us + time.as_micros() as u64 + SECOND_US;
        std::thread::sleep(Duration::from_micros(until_us.saturating_sub(now_us())));
        Ok(from_us)
    }

    fn records(&mut self, device: u32, heard: &Heard) -> Vec<(u64, u64)> {
        let Some(phase_us) = self.phases.get(&device).copied() else {
            return Vec::new();
        };
        let mut seen = Vec::new();
        for row in heard.rows.iter().filter(|row| row.metric == LOOKED_AT) {
            let Some(start_us) = start_us(row) else { continue };
            let known = self.counts.entry((device, start_us)).or_insert(0);
            while *known < row.count {
                seen.push((start_us + phase_us + *known * SECOND_US, heard.at_us));
                *known += 1;
            }
        }
        seen
    }
}

fn start_us(row: &Row) -> Option<u64> {
    let start = humantime::parse_rfc3339(&row.window_start).ok()?;
    let since = start.duration_since(std::time::UNIX_EPOCH).ok()?;
    u64::try_from(since.as_micros()).ok()
}

/// When each device of a fleet sends in its second: two seconds of the fleet are made to see it.
fn phases(devices: u32) -> Result<HashMap<u32, u64>> {
    #[derive(Default)]
    struct Seen(HashMap<u32, u64>);
    impl Intake for Seen {
        fn records(&mut self, _: Partition, records: &[Record<'_>]) {
            for record in records {
                let name = record
                    .key
                    .and_then(|key| std::str::from_utf8(key).ok()?.strip_prefix("dev-")?.parse().ok());
                if let (Some(device), Some(time)) = (name, record.log_time) {
                    self.0.insert(device, time.0.rem_euclid(1_000) as u64 * 1_000);
                }
            }
        }
        fn unusable(&mut self, _: Partition, _: Record<'_>, _: Reason, _: String) {}
        fn lag(&mut self, _: Partition, _: u64) {}
    }
    let fleet = FleetConfig {
        devices,
        interval: Span::from_secs(1),
        partitions: PARTITIONS,
        history: Some(Span::from_secs(2)),
        faults: FaultConfig::NONE,
        ..FleetConfig::default()
    };
    let assigned = (0..PARTITIONS).map(|index| Assignment {
        partition: Partition(index),
        from: None,
    });
    let mut source = FleetFactory::new(fleet.resolve()?).open(&assigned.collect::<Vec<_>>())?;
    let mut seen = Seen::default();
    while source.poll(&mut seen, 10_000)? == Polled::Some {}
    ensure!(
        seen.0.len() == devices as usize,
        "only {} of {devices} devices send",
        seen.0.len()
    );
    Ok(seen.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(metric: &str, count: u64, last: f64, at_us: u64) -> Heard {
        let row = Row {
            metric: metric.to_owned(),
            window_start: "1970-01-01T00:01:00.000Z".to_owned(),
            count,
            last: Some(last),
        };
        Heard { rows: vec![row], at_us }
    }

    #[test]
    fn records_of_a_topic_are_known_by_their_numbers() {
        let mut kafka = Kafka::new(PathBuf::new(), "127.0.0.1:1", (1_000, 10));
        kafka.pace.start_us = 1_000_000;
        assert_eq!(kafka.records(3, &heard(METRICS[1], 1, 3.0, 7)), []);
        assert_eq!(
            kafka.records(3, &heard(METRICS[0], 1, 13.0, 9)),
            [(1_003_000, 9), (1_013_000, 9)]
        );
        assert_eq!(kafka.records(3, &heard(METRICS[0], 1, 13.0, 10)), []);
    }

    #[test]
    fn records_of_the_fleet_are_known_by_their_count() {
        let mut log = Log::new(40, Duration::from_millis(5)).unwrap();
        let phase_us = log.phases[&7];
        assert!(phase_us < SECOND_US);
        let first = (MINUTE_US + phase_us, 5);
        assert_eq!(log.records(7, &heard(LOOKED_AT, 1, 0.0, 5)), [first]);
        assert_eq!(log.records(7, &heard(LOOKED_AT, 2, 0.0, 6)), [(first.0 + SECOND_US, 6)]);
        assert_eq!(log.records(7, &heard(LOOKED_AT, 2, 0.0, 7)), []);
    }
}
