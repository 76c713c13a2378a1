//! The wire format of `Telemetry`, walked in place.
//!
//! The walk accepts exactly what prost accepts and yields exactly what prost yields: unknown fields are
//! skipped, of repeated fields the last one counts, map entries may come in any order with key or value
//! missing (`""`, `0.0`), and strings must be UTF-8. The test `walk_equals_prost` and the fuzz target hold
//! both together.

/// What one message holds, borrowed from its bytes.
#[derive(Debug, Default)]
pub struct Message<'a> {
    /// Field 1.
    pub device_id: &'a [u8],
    /// Field 2, epoch milliseconds.
    pub ts: i64,
    /// Field 4.
    pub raw: &'a [u8],
    /// Whether there are fields that the schema doesn't know, in the message itself or in an entry of its map.
    pub has_unknown: bool,
}

/// One entry of the field `metrics`: name and value.
pub type Metric<'a> = (&'a [u8], f64);

/// The bytes are not a `Telemetry` message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at byte {at}: {problem}")]
pub struct WalkError {
    /// How many bytes were read before the problem.
    pub at: usize,
    /// What is wrong there.
    pub problem: &'static str,
}

/// Walks `bytes`, appending the entries of `metrics` (repeated names and all, in wire order) to `metrics`.
/// Where a name comes several times the last one counts: see [`drop_repeated`]. After an error what was
/// appended means nothing.
///
/// # Errors
/// When prost would refuse the bytes as well.
pub fn walk<'a>(bytes: &'a [u8], metrics: &mut Vec<Metric<'a>>) -> Result<Message<'a>, WalkError> {
    let mut message = Message::default();
    let mut reader = Reader { bytes, at: 0 };
    while reader.at < bytes.len() {
        match reader.key()? {
            (1, LENGTH) => message.device_id = reader.string()?,
            (2, VARINT) => message.ts = reader.varint()? as i64,
            (3, LENGTH) => {
                let at = reader.at;
                let entry = reader.length_delimited()?;
                let walked = walk_entry(entry, &mut message.has_unknown);
                metrics.push(walked.map_err(|e| WalkError { at: at + e.at, ..e })?);
            }
            (4, LENGTH) => message.raw = reader.length_delimited()?,
            (1..=4, _) => return Err(reader.error("a field of another wire type than the schema's")),
            (field, wire_type) => {
                message.has_unknown = true;
                reader.skip(field, wire_type, 0)?;
            }
        }
    }
    Ok(message)
}

fn walk_entry<'a>(bytes: &'a [u8], has_unknown: &mut bool) -> Result<Metric<'a>, WalkError> {
    // The form that every encoder writes: key, then value.
    if let [0x0a, length, rest @ ..] = bytes {
        let length = usize::from(*length);
        if length < 0x80 && rest.len() == length + 9 && rest[length] == 0x11 {
            let (name, value) = rest.split_at(length);
            if name.is_ascii() || std::str::from_utf8(name).is_ok() {
                return Ok((name, f64::from_bits(le_u64(&value[1..]))));
            }
        }
    }
    let mut metric: Metric<'a> = (b"", 0.0);
    let mut reader = Reader { bytes, at: 0 };
    while reader.at < bytes.len() {
        match reader.key()? {
            (1, LENGTH) => metric.0 = reader.string()?,
            (2, FIXED64) => metric.1 = f64::from_bits(le_u64(reader.take(8)?)),
            (1..=2, _) => return Err(reader.error("a map entry's field of another wire type than the schema's")),
            (field, wire_type) => {
                *has_unknown = true;
                reader.skip(field, wire_type, 1)?;
            }
        }
    }
    Ok(metric)
}

/// Of entries with the same name keeps the last, as a map does. Quadratic below 32 entries, sorting above.
pub fn drop_repeated(metrics: &mut Vec<Metric<'_>>) {
    if metrics.len() < 32 {
        let mut i = 0;
        while i < metrics.len() {
            let name = metrics[i].0;
            if metrics[i + 1..].iter().any(|(later, _)| *later == name) {
                metrics.remove(i);
            } else {
                i += 1;
            }
        }
    } else {
        let mut order: Vec<usize> = (0..metrics.len()).collect();
        order.sort_by(|a, b| metrics[*a].0.cmp(metrics[*b].0).then(a.cmp(b)));
        let mut keep = vec![true; metrics.len()];
        for pair in order.windows(2) {
            keep[pair[0]] = metrics[pair[0]].0 != metrics[pair[1]].0;
        }
        let mut at = 0;
        metrics.retain(|_| {
            at += 1;
            keep[at - 1]
        });
    }
}

const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const LENGTH: u8 = 2;
const START_GROUP: u8 = 3;
const END_GROUP: u8 = 4;
const FIXED32: u8 = 5;
/// How deep prost follows groups in unknown fields.
const DEPTH_MAX: u32 = 100;

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn error(&self, problem: &'static str) -> WalkError {
        WalkError { at: self.at, problem }
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, WalkError> {
        let mut value = 0_u64;
        for step in 0..10 {
            let Some(byte) = self.bytes.get(self.at) else {
                return Err(self.error("the message ends within a number"));
            };
            self.at += 1;
            value |= u64::from(byte & 0x7f) << (7 * step);
            if *byte < 0x80 {
                // The tenth byte holds one bit.
                return if step == 9 && *byte > 1 {
                    Err(self.error("a number of more than 64 bits"))
                } else {
                    Ok(value)
                };
            }
        }
        Err(self.error("a number of more than ten bytes"))
    }

    #[inline]
    fn key(&mut self) -> Result<(u32, u8), WalkError> {
        let key = self.varint()?;
        let Ok(key) = u32::try_from(key) else {
            return Err(self.error("a field number of more than 29 bits"));
        };
        match (key >> 3, (key & 7) as u8) {
            (_, 6..) => Err(self.error("an unknown wire type")),
            (0, _) => Err(self.error("the field number 0")),
            found => Ok(found),
        }
    }

    #[inline]
    fn take(&mut self, length: usize) -> Result<&'a [u8], WalkError> {
        match self.bytes.len() - self.at >= length {
            true => {
                let taken = &self.bytes[self.at..self.at + length];
                self.at += length;
                Ok(taken)
            }
            false => Err(self.error("the message ends within a field")),
        }
    }

    #[inline]
    fn length_delimited(&mut self) -> Result<&'a [u8], WalkError> {
        let length = self.varint()?;
        match usize::try_from(length) {
            Ok(length) => self.take(length),
            Err(_) => Err(self.error("the message ends within a field")),
        }
    }

    #[inline]
    fn string(&mut self) -> Result<&'a [u8], WalkError> {
        let bytes = self.length_delimited()?;
        match bytes.is_ascii() || std::str::from_utf8(bytes).is_ok() {
            true => Ok(bytes),
            false => Err(self.error("a string that is not UTF-8")),
        }
    }

    fn skip(&mut self, field: u32, wire_type: u8, depth: u32) -> Result<(), WalkError> {
        if depth >= DEPTH_MAX {
            return Err(self.error("groups nested too deep"));
        }
        match wire_type {
            VARINT => self.varint().map(drop),
            FIXED64 => self.take(8).map(drop),
            LENGTH => self.length_delimited().map(drop),
            FIXED32 => self.take(4).map(drop),
            START_GROUP => loop {
                match self.key()? {
                    (end, END_GROUP) if end == field => return Ok(()),
                    (_, END_GROUP) => return Err(self.error("a group ended by another's end")),
                    (inner, wire_type) => self.skip(inner, wire_type, depth + 1)?,
                }
            },
            _ => Err(self.error("the end of a group that never began")),
        }
    }
}

#[inline]
fn le_u64(bytes: &[u8]) -> u64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(&bytes[..8]);
    u64::from_le_bytes(eight)
}
