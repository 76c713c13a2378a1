//! The protobuf of one message, borrowed from its bytes.

/// Metrics in a message at most.
const METRICS_MAX: usize = 8;

/// A decoded message.
pub(super) struct Event<'a> {
    /// The device's id.
    pub(super) device: &'a [u8],
    /// Event time in milliseconds since the epoch.
    pub(super) ts_ms: i64,
    metrics: [(&'a [u8], f64); METRICS_MAX],
    metrics_len: usize,
}

impl<'a> Event<'a> {
    /// Decodes a value; none when it is anything else than telemetry of few metrics.
    pub(super) fn decode(value: &'a [u8]) -> Option<Self> {
        let mut event = Self {
            device: b"",
            ts_ms: 0,
            metrics: [(b"", 0.0); METRICS_MAX],
            metrics_len: 0,
        };
        let mut fields = Fields(value);
        while !fields.0.is_empty() {
            match fields.varint()? {
                0x0a => event.device = fields.bytes()?,
                0x10 => event.ts_ms = fields.varint()? as i64,
                0x1a => {
                    *event.metrics.get_mut(event.metrics_len)? = entry(fields.bytes()?)?;
                    event.metrics_len += 1;
                }
                0x22 => _ = fields.bytes()?,
                _ => return None,
            }
        }
        Some(event)
    }

    /// The names and values of the metrics.
    pub(super) fn metrics(&self) -> &[(&'a [u8], f64)] {
        &self.metrics[..self.metrics_len]
    }
}

/// One entry of the map of metrics.
fn entry(bytes: &[u8]) -> Option<(&[u8], f64)> {
    let (mut name, mut value): (&[u8], f64) = (b"", 0.0);
    let mut fields = Fields(bytes);
    while !fields.0.is_empty() {
        match fields.varint()? {
            0x0a => name = fields.bytes()?,
            0x11 => value = fields.double()?,
            _ => return None,
        }
    }
    Some((name, value))
}

/// What is left of an encoded message.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    #[inline]
    fn varint(&mut self) -> Option<u64> {
        let (mut number, mut shift) = (0, 0);
        while shift < 64 {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if *byte < 0x80 {
                return Some(number);
            }
            shift += 7;
        }
        None
    }

    #[inline]
    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.varint()? as usize;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    #[inline]
    fn double(&mut self) -> Option<f64> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(f64::from_le_bytes(*bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::w1::METRICS;
    use crate::w1::generate::Telemetry;
    use crate::w1::record::Record;
    use crate::w1::spec::Spec;

    #[test]
    fn what_was_encoded_comes_back() {
        let telemetry = Telemetry::at(&Spec::S, 7);
        let mut record = Record::default();
        record.fill(&telemetry, 4);
        let event = Event::decode(&record.value).unwrap();
        assert_eq!((event.device, event.ts_ms), (record.key.as_slice(), telemetry.ts_ms));
        let expected: Vec<_> = METRICS
            .iter()
            .map(|name| name.as_bytes())
            .zip(telemetry.values)
            .collect();
        assert_eq!(event.metrics(), expected);
    }

    #[test]
    fn a_cut_value_is_refused_or_shorter() {
        let mut record = Record::default();
        record.fill(&Telemetry::at(&Spec::S, 7), 4);
        for length in 0..record.value.len() {
            let event = Event::decode(&record.value[..length]);
            assert!(
                event.is_none_or(|event| event.metrics().len() <= METRICS.len()),
                "{length}"
            );
        }
    }
}
