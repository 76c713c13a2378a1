//! Writes `Telemetry` messages by hand: the metrics in the order given, without maps and strings in between.

use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};
use tidewatch_proto::time::EventTime;

/// Tags of the message and of a map's entry; all are below 16, so a key takes one byte.
const DEVICE_ID: u32 = 1;
const TS: u32 = 2;
const METRICS: u32 = 3;
const ENTRY_KEY: u32 = 1;
const ENTRY_VALUE: u32 = 2;

/// Begins a message: the device and the event time.
pub(crate) fn head(out: &mut Vec<u8>, device_id: &str, ts: EventTime) {
    text(out, DEVICE_ID, device_id);
    encode_key(TS, WireType::Varint, out);
    encode_varint(ts.0 as u64, out);
}

/// Adds a metric to the message.
pub(crate) fn metric(out: &mut Vec<u8>, name: &str, value: f64) {
    let name_bytes = 1 + encoded_len_varint(name.len() as u64) + name.len();
    encode_key(METRICS, WireType::LengthDelimited, out);
    encode_varint((name_bytes + 1 + 8) as u64, out);
    text(out, ENTRY_KEY, name);
    encode_key(ENTRY_VALUE, WireType::SixtyFourBit, out);
    out.extend_from_slice(&value.to_le_bytes());
}

fn text(out: &mut Vec<u8>, tag: u32, text: &str) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(text.len() as u64, out);
    out.extend_from_slice(text.as_bytes());
}

/// A message as `device@ts metric=value …`.
#[cfg(test)]
pub(crate) fn shown(message: &[u8]) -> String {
    use prost::Message;
    let read = tidewatch_proto::wire::Telemetry::decode(message).unwrap();
    let values = read.metrics.iter().map(|(name, value)| format!(" {name}={value}"));
    let mut metrics: Vec<String> = values.collect();
    metrics.sort();
    format!("{}@{}{}", read.device_id, read.ts, metrics.concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use prost::Message;
    use std::collections::HashMap;
    use tidewatch_proto::wire::Telemetry;

    proptest! {
        #[test]
        fn prost_reads_what_is_written(
            device in ".{0,40}", ts: i64, metrics in proptest::collection::vec((".{0,200}", any::<f64>()), 0..6)
        ) {
            let mut bytes = Vec::new();
            head(&mut bytes, &device, EventTime(ts));
            for (name, value) in &metrics {
                metric(&mut bytes, name, *value);
            }
            let read = Telemetry::decode(bytes.as_slice()).unwrap();
            prop_assert_eq!(read.device_id, device);
            prop_assert_eq!(read.ts, ts);
            let bits = |map: HashMap<String, f64>| map.into_iter().map(|(k, v)| (k, v.to_bits())).collect::<HashMap<_, _>>();
            prop_assert_eq!(bits(read.metrics), bits(metrics.into_iter().collect()));
        }
    }
}
