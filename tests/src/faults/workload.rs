//! A fleet's messages from a seed: late, months late, repeated, out of order, by fast clocks, and some that can't be used.

use std::collections::{HashMap, VecDeque};
use tidewatch_proto::wire::Telemetry;

/// When the log begins, milliseconds since 1970: the first instant of an hour.
pub const START: i64 = 1_750_003_200_000;
/// Partitions of the topic.
pub const PARTITIONS: usize = 3;
const MINUTE: i64 = 60_000;
const MONTH: i64 = 30 * 24 * 60 * MINUTE;
const DEVICES: u64 = 200;
/// How many messages back a repeated one lies at most: fewer than the engine remembers.
const REPEATED_WITHIN: usize = 5;

/// Random numbers from a seed.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Begins with a seed.
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// A record to be written.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Its partition.
    pub partition: i32,
    /// Its timestamp in the log, milliseconds since 1970.
    pub log_ms: i64,
    /// Its key: the device.
    pub key: String,
    /// Its bytes.
    pub payload: Vec<u8>,
}

/// The messages of a fleet, in the order in which they are written.
pub struct Workload {
    random: Random,
    messages: u64,
    next: u64,
    span_ms: i64,
    last: HashMap<u64, VecDeque<Vec<u8>>>,
}

impl Workload {
    /// So many messages, over so many minutes of event time.
    pub fn new(seed: u64, messages: u64, minutes: u64) -> Workload {
        Workload {
            random: Random::new(seed),
            messages,
            next: 0,
            span_ms: minutes as i64 * MINUTE,
            last: HashMap::new(),
        }
    }

    /// A message without metrics for each partition that closes all windows of the workload.
    pub fn closing(&self) -> Vec<Sent> {
        let ts = START + self.span_ms + 28 * 60 * MINUTE;
        let closing = |partition| Sent {
            partition,
            log_ms: ts,
            key: "closing".into(),
            payload: encoded("closing", ts, &[]),
        };
        (0..PARTITIONS as i32).map(closing).collect()
    }

    fn event_time(&mut self, now: i64) -> i64 {
        match self.random.below(1000) {
            // Late, and still to be corrected.
            0..50 => now - MINUTE - self.random.below(540_000) as i64,
            // At a window's edge.
            50..70 => now.div_euclid(MINUTE) * MINUTE,
            // By a fast clock.
            70..90 => now + self.random.below(500_000) as i64,
            // So fast that it can't be used.
            90..93 => now + 11 * MINUTE + self.random.below(3_000_000) as i64,
            // Too late for memory: of windows that were published, and of months before.
            93 => now - 25 * MINUTE - self.random.below(3_600_000) as i64,
            94 => START - (1 + self.random.below(3) as i64) * MONTH + self.random.below(1_200_000) as i64,
            _ => now - self.random.below(6_000) as i64,
        }
    }

    fn payload(&mut self, device: u64, name: &str, now: i64) -> Vec<u8> {
        let kind = self.random.below(1000);
        let last = self.last.entry(device).or_default();
        if kind < 3 {
            return b"\xff\xffthis is no telemetry".to_vec();
        }
        if kind < 33 && !last.is_empty() {
            return last[self.random.below(last.len() as u64) as usize].clone();
        }
        let ts = self.event_time(now);
        let mut value = |scale: f64| (self.random.below(2_000_001) as f64 - 1e6) * scale;
        let (temperature, pressure) = (value(1.000_000_123e-3), value(7.1e-2));
        let metrics = match kind {
            33..36 => Vec::new(),
            36..46 => vec![("temperature", f64::NAN), ("pressure", pressure)],
            46..146 => vec![("temperature", temperature)],
            _ => vec![("temperature", temperature), ("pressure", pressure)],
        };
        let payload = encoded(name, ts, &metrics);
        let last = self.last.entry(device).or_default();
        last.push_front(payload.clone());
        last.truncate(REPEATED_WITHIN);
        payload
    }
}

impl Iterator for Workload {
    type Item = Sent;

    fn next(&mut self) -> Option<Sent> {
        if self.next == self.messages {
            return None;
        }
        let now = START + (self.span_ms as u64 * self.next / self.messages) as i64;
        self.next += 1;
        let device = self.random.below(DEVICES);
        let key = format!("device-{device}");
        let payload = self.payload(device, &key, now);
        Some(Sent {
            partition: (device % PARTITIONS as u64) as i32,
            log_ms: now + self.random.below(500) as i64,
            key,
            payload,
        })
    }
}

/// A message.
pub(super) fn encoded(device: &str, ts: i64, metrics: &[(&str, f64)]) -> Vec<u8> {
    prost::Message::encode_to_vec(&Telemetry {
        device_id: device.into(),
        ts,
        metrics: metrics.iter().map(|(name, value)| (name.to_string(), *value)).collect(),
        raw: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_the_same_messages_and_all_kinds_of_them() {
        let messages =
            |seed| Workload::new(seed, 5_000, 30).map(|sent| (sent.partition, sent.log_ms, sent.payload.len()));
        assert!(messages(1).eq(messages(1)));
        assert!(!messages(1).eq(messages(2)));
        let decoded = Workload::new(1, 5_000, 30).map(|sent| {
            let decoded: Result<Telemetry, _> = prost::Message::decode(sent.payload.as_slice());
            (sent.log_ms, decoded)
        });
        let decoded: Vec<_> = decoded.collect();
        let count = |is: fn(&i64, &Telemetry) -> bool| {
            decoded
                .iter()
                .filter(|(log, message)| message.as_ref().is_ok_and(|message| is(log, message)))
                .count()
        };
        assert!(decoded.iter().any(|(_, message)| message.is_err()));
        assert!(count(|log, message| message.ts < log - MINUTE) > 100, "late");
        assert!(
            count(|log, message| message.ts < log - 25 * MINUTE) > 5,
            "hours and months late"
        );
        assert!(count(|log, message| message.ts > log + 10 * MINUTE) > 5, "too fast");
        assert!(count(|_, message| message.ts % MINUTE == 0) > 50, "at an edge");
        assert!(count(|_, message| message.metrics.is_empty()) > 5, "without metrics");
    }
}
