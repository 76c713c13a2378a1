//! The test's fleet: what its devices send, and what must come of it.

use std::collections::BTreeMap;
use tidewatch_proto::wire::Telemetry;

pub(super) const START: i64 = 1_750_003_200_000;
pub(super) const MINUTE: i64 = 60_000;
pub(super) const PARTITIONS: usize = 3;
pub(super) const MESSAGES: usize = 6_000;

/// One message of the test's fleet: its partition, device, event time and values.
pub(super) struct Sent {
    pub(super) partition: usize,
    pub(super) device: String,
    pub(super) ts: i64,
    pub(super) values: [(&'static str, f64); 2],
}

/// A fleet from a seed: disorder of some seconds, and every twentieth message minutes late.
pub(super) fn fleet(seed: u64) -> Vec<Sent> {
    let mut state = seed;
    let mut random = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let mut one = |i: usize| {
        let device = random() as usize % 30;
        let behind = if random() % 20 == 0 {
            60_000 + random() % 400_000
        } else {
            random() % 6_000
        };
        let value = |bits: u64| (bits as f64 - 1e9) * 1.000_000_123e-3;
        Sent {
            partition: device % PARTITIONS,
            device: format!("device-{device}"),
            ts: START + (i * 12 * MINUTE as usize / MESSAGES) as i64 - behind as i64,
            values: [("temperature", value(random())), ("pressure", value(random()))],
        }
    };
    (0..MESSAGES).map(&mut one).collect()
}

pub(super) fn telemetry(device: &str, ts: i64, values: &[(&str, f64)]) -> Vec<u8> {
    let metrics = values.iter().map(|(name, value)| (name.to_string(), *value)).collect();
    prost::Message::encode_to_vec(&Telemetry {
        device_id: device.into(),
        ts,
        metrics,
        raw: vec![7],
    })
}

/// A device, a metric, and where a window begins.
pub(super) type Key = (String, String, i64);

/// Count, sum in the log's order, min and max.
pub(super) type Values = (i64, f64, f64, f64);

/// The right windows: (device, metric, window) to count, sum in the log's order, min and max.
pub(super) fn oracle(sent: &[Sent]) -> BTreeMap<Key, Values> {
    let mut windows = BTreeMap::new();
    for message in sent {
        for (metric, value) in message.values {
            let key = (
                message.device.clone(),
                metric.to_owned(),
                message.ts.div_euclid(MINUTE) * MINUTE,
            );
            let window = windows.entry(key).or_insert((0, 0.0, f64::INFINITY, f64::NEG_INFINITY));
            *window = (window.0 + 1, window.1 + value, window.2.min(value), window.3.max(value));
        }
    }
    windows
}
