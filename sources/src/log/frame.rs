//! The form of records in a file: a batch is a frame with a checksum, which is there as a whole or not at all.
//!
//! ```text
//! magic u32 | crc u32 | body bytes u32 | records u32 | first offset i64 | durable i64 | feed u64 | next i64 | time i64 | body
//! ```
//!
//! All of it little endian. The checksum (CRC-32C) is of what follows it. `durable` is the partition's durable end when
//! the batch was appended: a frame that can't be read in front of that is damage, not a write that was cut off. `time` is
//! the latest log time in the batch. A record of the body is, as varints, the key's length plus one (zero for no key),
//! the payload's length, how much later than the record before it is (zigzag), and then key and payload.

use prost::encoding::{decode_varint, encode_varint};
use tidewatch_proto::headers::Headers;
use tidewatch_proto::ids::Offset;
use tidewatch_proto::source::Record;
use tidewatch_proto::time::LogTime;

/// The bytes in front of a frame's body.
pub(super) const HEAD_BYTES: usize = 56;
/// How many bytes a batch may have.
pub const BATCH_BYTES_MAX: usize = 16 << 20;

const MAGIC: [u8; 4] = *b"TWLF";
/// What the checksum is of begins here.
const CHECKED_FROM: usize = 8;

/// Records to be appended together: all of them are in the log, or none. Kept between appends, it keeps its room.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    body: Vec<u8>,
    count: u32,
    last_ms: i64,
    time: Option<LogTime>,
}

impl Batch {
    /// Adds a record.
    pub fn push(&mut self, key: Option<&[u8]>, payload: &[u8], time: LogTime) {
        encode_varint(key.map_or(0, |key| key.len() as u64 + 1), &mut self.body);
        encode_varint(payload.len() as u64, &mut self.body);
        encode_varint(zigzag(time.0.wrapping_sub(self.last_ms)), &mut self.body);
        self.body.extend_from_slice(key.unwrap_or_default());
        self.body.extend_from_slice(payload);
        self.count += 1;
        self.last_ms = time.0;
        self.time = self.time.max(Some(time));
    }

    /// How many records it has.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many bytes it has.
    pub fn bytes(&self) -> usize {
        self.body.len()
    }

    /// Forgets the records.
    pub fn clear(&mut self) {
        self.body.clear();
        (self.count, self.last_ms, self.time) = (0, 0, None);
    }
}

/// Who appended a batch, and where that one goes on: kept with the batch, so that what feeds the log from elsewhere
/// never has to guess how far it came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Who it was; 0 for nobody who has to go on.
    pub feed: u64,
    /// The first of its own offsets that is not in the log.
    pub next: Offset,
}

/// Where a partition ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tail {
    /// The offset after its last record.
    pub end: Offset,
    /// Where the last batch came from.
    pub origin: Origin,
    /// The latest log time of all records that it ever had.
    pub time: Option<LogTime>,
}

impl Tail {
    /// The end of a partition that never had a record.
    pub(super) const EMPTY: Tail = Tail {
        end: Offset(0),
        origin: Origin {
            feed: 0,
            next: Offset(0),
        },
        time: None,
    };

    /// The end behind a frame.
    pub(super) fn behind(self, head: &Head) -> Tail {
        Tail {
            end: head.end(),
            origin: head.origin,
            time: self.time.max(Some(head.time)),
        }
    }
}

/// What stands in front of a frame's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    crc: u32,
    /// Bytes of the body.
    pub(super) bytes: usize,
    /// Records in it.
    pub(super) count: u32,
    /// The offset of the first one.
    pub(super) base: Offset,
    /// Where the partition's durable records ended when it was appended.
    pub(super) durable: Offset,
    /// Who appended it.
    pub(super) origin: Origin,
    /// The latest log time.
    pub(super) time: LogTime,
}

impl Head {
    /// Writes a batch as a frame behind what is there, and gives its head.
    pub(super) fn write(batch: &Batch, (base, durable): (Offset, Offset), origin: Origin, out: &mut Vec<u8>) -> Head {
        let begin = out.len();
        let time = batch.time.unwrap_or(LogTime(i64::MIN));
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&(batch.body.len() as u32).to_le_bytes());
        out.extend_from_slice(&batch.count.to_le_bytes());
        for number in [base.0, durable.0, origin.feed as i64, origin.next.0, time.0] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&batch.body);
        let crc = crc32c::crc32c(&out[begin + CHECKED_FROM..]);
        out[begin + 4..begin + CHECKED_FROM].copy_from_slice(&crc.to_le_bytes());
        Head {
            crc,
            bytes: batch.body.len(),
            count: batch.count,
            base,
            durable,
            origin,
            time,
        }
    }

    /// Reads what stands at the beginning of these bytes; `None` when it is no head. The checksum isn't looked at.
    pub(super) fn read(bytes: &[u8]) -> Option<Head> {
        let mut rest = bytes.get(..HEAD_BYTES)?.strip_prefix(&MAGIC)?;
        let crc = u32::from_le_bytes(take(&mut rest)?);
        let body = u32::from_le_bytes(take(&mut rest)?) as usize;
        let count = u32::from_le_bytes(take(&mut rest)?);
        let mut number = || take(&mut rest).map(i64::from_le_bytes);
        let head = Head {
            crc,
            bytes: body,
            count,
            base: Offset(number()?),
            durable: Offset(number()?),
            origin: Origin {
                feed: number()? as u64,
                next: Offset(number()?),
            },
            time: LogTime(number()?),
        };
        (body <= BATCH_BYTES_MAX && count > 0).then_some(head)
    }

    /// The offset after the last record.
    pub(super) fn end(&self) -> Offset {
        Offset(self.base.0.saturating_add(i64::from(self.count)))
    }

    /// The bytes of head and body.
    pub(super) fn whole(&self) -> usize {
        HEAD_BYTES + self.bytes
    }

    /// Whether these bytes, which begin with the head, hold the whole frame as it was written.
    pub(super) fn is_whole(&self, bytes: &[u8]) -> bool {
        let checked = bytes.get(CHECKED_FROM..self.whole());
        checked.is_some_and(|checked| crc32c::crc32c(checked) == self.crc)
    }
}

/// A place between the records of a frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// In the body.
    at: usize,
    /// The next record.
    pub(super) offset: Offset,
    /// How many are left.
    pub(super) left: u32,
    last_ms: i64,
}

impl Place {
    /// In front of the first one.
    pub(super) fn first(head: &Head) -> Place {
        Place {
            at: 0,
            offset: head.base,
            left: head.count,
            last_ms: 0,
        }
    }

    /// Reads a record and goes behind it; `None` when it is none.
    pub(super) fn read<'a>(&mut self, body: &'a [u8]) -> Option<Record<'a>> {
        let mut rest = body.get(self.at..)?;
        let key = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
        let payload = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
        let later = decode_varint(&mut rest).ok()?;
        let (key, rest) = match key.checked_sub(1) {
            Some(bytes) => rest.split_at_checked(bytes).map(|(key, rest)| (Some(key), rest))?,
            None => (None, rest),
        };
        let (payload, rest) = rest.split_at_checked(payload)?;
        let time = self.last_ms.wrapping_add(unzigzag(later));
        let record = Record {
            offset: self.offset,
            log_time: Some(LogTime(time)),
            key,
            payload,
            headers: Headers::NONE,
        };
        *self = Place {
            at: body.len() - rest.len(),
            offset: self.offset.next(),
            left: self.left.checked_sub(1)?,
            last_ms: time,
        };
        Some(record)
    }
}

/// Where the next bytes are that may begin a frame.
pub(super) fn find(bytes: &[u8]) -> Option<usize> {
    bytes.windows(MAGIC.len()).position(|window| window == MAGIC)
}

/// Takes so many bytes from the front.
pub(super) fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*taken)
}

fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ORIGIN: Origin = Origin {
        feed: u64::MAX,
        next: Offset(-5),
    };

    proptest! {
        #[test]
        fn what_is_written_is_read(
            records in proptest::collection::vec(
                (proptest::option::of(proptest::collection::vec(any::<u8>(), 0..9)),
                 proptest::collection::vec(any::<u8>(), 0..200), any::<i64>()), 1..20),
            base in 0..i64::MAX / 2
        ) {
            let mut batch = Batch::default();
            for (key, payload, time) in &records {
                batch.push(key.as_deref(), payload, LogTime(*time));
            }
            let mut bytes = Vec::new();
            let written = Head::write(&batch, (Offset(base), Offset(3)), ORIGIN, &mut bytes);
            let head = Head::read(&bytes).unwrap();
            prop_assert_eq!(head, written);
            prop_assert!(head.is_whole(&bytes));
            prop_assert_eq!(head.time.0, records.iter().map(|record| record.2).max().unwrap());
            let mut place = Place::first(&head);
            for (n, (key, payload, time)) in records.iter().enumerate() {
                let record = place.read(&bytes[HEAD_BYTES..]).unwrap();
                prop_assert_eq!((record.offset.0, record.log_time), (base + n as i64, Some(LogTime(*time))));
                prop_assert_eq!((record.key, record.payload), (key.as_deref(), &payload[..]));
            }
            prop_assert_eq!((place.left, place.offset), (0, head.end()));
        }

        #[test]
        fn a_flipped_bit_is_seen(bit in 0..8 * (HEAD_BYTES + 40)) {
            let mut batch = Batch::default();
            batch.push(Some(b"key"), &[7; 32], LogTime(1));
            let mut bytes = Vec::new();
            Head::write(&batch, (Offset(1), Offset(0)), ORIGIN, &mut bytes);
            prop_assume!(bit / 8 < bytes.len());
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(!Head::read(&bytes).is_some_and(|head| head.is_whole(&bytes)));
        }
    }
}
