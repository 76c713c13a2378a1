//! A message as Kafka holds it: key, protobuf value, partition and node.

use super::METRICS;
use super::generate::{BASE_MS, Telemetry};
use super::spec::Spec;
use std::io::Write;

/// How long after the end of the stream its flush messages are, in milliseconds: every window closes.
const FLUSH_AFTER_MS: i64 = 90_000;

/// The gateway nodes that messages claim to have come through.
const NODES: [&str; 8] = [
    "node-0", "node-1", "node-2", "node-3", "node-4", "node-5", "node-6", "node-7",
];

/// An encoded message; one is reused for a whole stream.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// The device's id.
    pub key: Vec<u8>,
    /// The message in protobuf.
    pub value: Vec<u8>,
    /// The partition that the key belongs to.
    pub partition: u32,
    /// The node it claims to have come through.
    pub node: &'static str,
}

impl Record {
    /// Encodes a message.
    pub fn fill(&mut self, telemetry: &Telemetry, partitions: u32) {
        self.key.clear();
        put_text(&mut self.key, format_args!("dev-{:06}", telemetry.device));
        self.partition = partition_of(&self.key, partitions);
        self.node = NODES[telemetry.device as usize % NODES.len()];
        self.put_head(telemetry.ts_ms);
        for (name, value) in METRICS.iter().zip(telemetry.values) {
            put_metric(&mut self.value, name, value);
        }
        put_bytes(&mut self.value, 0x22, &telemetry.raw);
    }

    /// The message without metrics that ends a partition.
    pub fn flush(spec: &Spec, partition: u32) -> Self {
        let mut record = Self {
            key: format!("flush-{partition}").into_bytes(),
            value: Vec::new(),
            partition,
            node: "flush",
        };
        record.put_head(BASE_MS + spec.span_ms + FLUSH_AFTER_MS);
        record
    }

    /// Starts the value with the device's id and the event time.
    fn put_head(&mut self, ts_ms: i64) {
        self.value.clear();
        put_bytes(&mut self.value, 0x0a, &self.key);
        self.value.push(0x10);
        put_varint(&mut self.value, ts_ms as u64);
    }
}

/// Appends an entry of the map from a metric's name to its value.
fn put_metric(out: &mut Vec<u8>, name: &str, value: f64) {
    out.push(0x1a);
    put_varint(out, (2 + name.len() + 9) as u64);
    put_bytes(out, 0x0a, name.as_bytes());
    out.push(0x11);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends a length-delimited field.
fn put_bytes(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends an unsigned number in base 128.
pub(super) fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_text(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a vector takes every write");
}

/// The partition that Kafka's own clients choose for a key.
fn partition_of(key: &[u8], partitions: u32) -> u32 {
    (murmur2(key) & 0x7fff_ffff) % partitions
}

/// The hash of Kafka's default partitioner.
fn murmur2(bytes: &[u8]) -> u32 {
    const MULTIPLIER: u32 = 0x5bd1_e995;
    const SEED: u32 = 0x9747_b28c;
    let (words, rest) = bytes.as_chunks::<4>();
    let mut hash = SEED ^ bytes.len() as u32;
    for word in words {
        let k = u32::from_le_bytes(*word).wrapping_mul(MULTIPLIER);
        hash = hash.wrapping_mul(MULTIPLIER) ^ (k ^ (k >> 24)).wrapping_mul(MULTIPLIER);
    }
    if !rest.is_empty() {
        let tail = rest.iter().rev().fold(0, |tail, byte| tail << 8 | u32::from(*byte));
        hash = (hash ^ tail).wrapping_mul(MULTIPLIER);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(MULTIPLIER);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn murmur2_is_that_of_kafka() {
        // From the tests of Kafka's own org.apache.kafka.common.utils.Utils.
        let cases: [(&str, i32); 6] = [
            ("21", -973932308),
            ("foobar", -790332482),
            ("a-little-bit-long-string", -985981536),
            ("a-little-bit-longer-string", -1486304829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
            ("abc", 479470107),
        ];
        for (key, hash) in cases {
            assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
        }
    }

    #[test]
    fn a_varint_ends_at_its_last_seven_bits() {
        for (number, bytes) in [
            (0, vec![0]),
            (127, vec![127]),
            (128, vec![0x80, 1]),
            (300, vec![0xac, 2]),
        ] {
            let mut out = Vec::new();
            put_varint(&mut out, number);
            assert_eq!(out, bytes);
        }
    }
}
