//! The head of a batch of records, as the log holds it (message format 2).

use super::protocol::{Garbled, Input};
use std::fmt;

/// Bytes before the batch's own length is known, which counts what follows.
const LENGTH_END: usize = 12;
/// Where the checksum begins to count.
const CHECKED_FROM: usize = 21;
/// Bytes of the head; records follow.
pub(super) const HEAD_BYTES: usize = 61;
/// The message format that is read; older ones can't be since Kafka 4.0.
const MAGIC: i8 = 2;

/// Why a batch can't be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Damage {
    /// A length or count doesn't fit to what is there.
    Shape,
    /// The checksum is another one.
    Checksum,
    /// The message format, by its number.
    Format(i8),
    /// The codec, by its number.
    Codec(i16),
    /// It doesn't decompress: the codec's name, and what it says.
    Compression(&'static str, String),
    /// It decompresses to more bytes than this.
    Size(usize),
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Damage::Shape => f.write_str("its lengths contradict each other"),
            Damage::Checksum => f.write_str("its checksum is wrong"),
            Damage::Format(magic) => {
                write!(
                    f,
                    "it has message format {magic}, which kafka.client = \"native\" doesn't read"
                )
            }
            Damage::Codec(codec) => write!(f, "it is compressed by codec {codec}, which isn't known"),
            Damage::Compression(codec, problem) => write!(f, "it doesn't decompress by {codec}: {problem}"),
            Damage::Size(most) => write!(f, "it decompresses to more than {most} bytes"),
        }
    }
}

impl From<Garbled> for Damage {
    fn from(_: Garbled) -> Damage {
        Damage::Shape
    }
}

/// A batch without its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// The offset that the records count from.
    pub(super) base: i64,
    /// Bytes of the batch, its head included.
    pub(super) len: usize,
    /// The leader's epoch when it was appended.
    pub(super) leader_epoch: i32,
    attributes: i16,
    /// The offset of the last record, counted from the first; it is kept when compaction takes the record away.
    pub(super) last_delta: i32,
    /// What the records' times count from, in milliseconds.
    pub(super) base_time: i64,
    max_time: i64,
    /// Who wrote it, negative when it doesn't say.
    pub(super) producer: i64,
    /// How many records follow.
    pub(super) count: u32,
}

impl Head {
    /// Reads the head of the first batch; `None` when the batch is not there as a whole.
    pub(super) fn read(bytes: &[u8]) -> Result<Option<Head>, Damage> {
        let Some(len) = Head::len(bytes)? else {
            return Ok(None);
        };
        // The format's number lies at one place in all formats.
        if let Some(magic) = bytes.get(LENGTH_END + 4).map(|magic| *magic as i8)
            && magic != MAGIC
        {
            return Err(Damage::Format(magic));
        }
        if len < HEAD_BYTES {
            return Err(Damage::Shape);
        }
        let Some(bytes) = bytes.get(..len) else {
            return Ok(None);
        };
        Head::fields(bytes).map(Some)
    }

    /// Bytes of the first batch; `None` when too little is there to tell.
    pub(super) fn len(bytes: &[u8]) -> Result<Option<usize>, Damage> {
        let mut input = Input(bytes);
        let (Ok(_base), Ok(length)) = (input.i64(), input.i32()) else {
            return Ok(None);
        };
        let length = usize::try_from(length).map_err(|_| Damage::Shape)?;
        Ok(Some(LENGTH_END + length))
    }

    fn fields(bytes: &[u8]) -> Result<Head, Damage> {
        let mut input = Input(bytes);
        let (base, _length, leader_epoch) = (input.i64()?, input.i32()?, input.i32()?);
        let (_magic, _crc, attributes) = (input.i8()?, input.i32()?, input.i16()?);
        let (last_delta, base_time, max_time) = (input.i32()?, input.i64()?, input.i64()?);
        let (producer, _producer_epoch, _sequence) = (input.i64()?, input.i16()?, input.i32()?);
        let count = u32::try_from(input.i32()?).map_err(|_| Damage::Shape)?;
        let follows = base
            .checked_add(i64::from(last_delta))
            .and_then(|last| last.checked_add(1));
        if base < 0 || last_delta < 0 || follows.is_none() {
            return Err(Damage::Shape);
        }
        Ok(Head {
            base,
            len: bytes.len(),
            leader_epoch,
            attributes,
            last_delta,
            base_time,
            max_time,
            producer,
            count,
        })
    }

    /// The offset after the batch.
    pub(super) fn next(&self) -> i64 {
        self.base + i64::from(self.last_delta) + 1
    }

    /// The number of the codec.
    pub(super) fn codec(&self) -> i16 {
        self.attributes & 0b111
    }

    /// The time of all of its records, in milliseconds, when the broker stamped them.
    pub(super) fn append_time(&self) -> Option<i64> {
        (self.attributes & 0b1000 != 0).then_some(self.max_time)
    }

    /// Whether it belongs to a transaction.
    pub(super) fn is_transactional(&self) -> bool {
        self.attributes & 0b1_0000 != 0
    }

    /// Whether it holds the mark of a transaction's end instead of records.
    pub(super) fn is_control(&self) -> bool {
        self.attributes & 0b10_0000 != 0
    }
}

/// Whether the checksum of a whole batch is right.
pub(super) fn is_intact(batch: &[u8]) -> bool {
    let mut written = Input(batch.get(LENGTH_END + 5..).unwrap_or(&[]));
    let checked = batch.get(CHECKED_FROM..).unwrap_or(&[]);
    written.i32() == Ok(crc32c::crc32c(checked) as i32)
}
