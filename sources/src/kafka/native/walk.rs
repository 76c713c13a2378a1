//! Walks the records of a decompressed batch in place; their headers are left as they lie there.

use super::batch::{Damage, Head};
use tidewatch_proto::headers::Headers;
use tidewatch_proto::ids::Offset;
use tidewatch_proto::source::Record;
use tidewatch_proto::time::LogTime;

/// What a record has at least behind its length: attributes, time, offset, key, value, headers.
const RECORD_BYTES_MIN: usize = 6;

/// Where a walk is; what it walks over is given to each step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walk {
    base: i64,
    base_time: i64,
    append_time: Option<i64>,
    last_delta: i64,
    /// The least delta that the next record's offset may have.
    delta_min: i64,
    /// Records that follow.
    left: u32,
    /// Bytes behind us.
    at: usize,
}

impl Walk {
    /// At the first record of a batch.
    pub(super) fn new(head: &Head) -> Walk {
        Walk {
            base: head.base,
            base_time: head.base_time,
            append_time: head.append_time(),
            last_delta: i64::from(head.last_delta),
            delta_min: 0,
            left: head.count,
            at: 0,
        }
    }

    /// Takes records from `from` on, `most` at most, off the batch's decompressed records. Fewer come only at its end.
    pub(super) fn take<'b>(
        &mut self,
        records: &'b [u8],
        from: Offset,
        most: usize,
        out: &mut Vec<Record<'b>>,
    ) -> Result<(), Damage> {
        let wanted = out.len() + most;
        while out.len() < wanted && self.left > 0 {
            let record = self.step(records)?;
            if record.offset >= from {
                out.push(record);
            }
        }
        match self.left == 0 && self.at != records.len() {
            true => Err(Damage::Shape),
            false => Ok(()),
        }
    }

    /// Whether all records were taken.
    pub(super) fn is_done(&self) -> bool {
        self.left == 0
    }

    fn step<'b>(&mut self, records: &'b [u8]) -> Result<Record<'b>, Damage> {
        let mut whole = Fields(records.get(self.at..).ok_or(Damage::Shape)?);
        let len = whole.len()?.ok_or(Damage::Shape)?;
        if len < RECORD_BYTES_MIN {
            return Err(Damage::Shape);
        }
        let mut record = Fields(whole.bytes(len)?);
        self.at = records.len() - whole.0.len();
        self.left -= 1;
        let _attributes = record.bytes(1)?;
        let (time_delta, delta) = (record.number()?, record.number()?);
        if delta < self.delta_min || delta > self.last_delta {
            return Err(Damage::Shape);
        }
        self.delta_min = delta + 1;
        let key = record.slice()?;
        let payload = record.slice()?.unwrap_or(&[]);
        // The headers take the rest, whatever is in it.
        let time = self.append_time.unwrap_or(self.base_time.saturating_add(time_delta));
        Ok(Record {
            offset: Offset(self.base + delta),
            log_time: (time >= 0).then_some(LogTime(time)),
            key,
            payload,
            headers: Headers::new(record.0),
        })
    }
}

/// The fields of a record.
struct Fields<'b>(&'b [u8]);

impl<'b> Fields<'b> {
    fn bytes(&mut self, len: usize) -> Result<&'b [u8], Damage> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(Damage::Shape)?;
        self.0 = rest;
        Ok(taken)
    }

    /// A number whose sign is its lowest bit, in base 128.
    fn number(&mut self) -> Result<i64, Damage> {
        let raw = match self.0 {
            [byte, rest @ ..] if *byte < 0x80 => {
                self.0 = rest;
                u64::from(*byte)
            }
            [low, high, rest @ ..] if *high < 0x80 => {
                self.0 = rest;
                u64::from(*low & 0x7f) | u64::from(*high) << 7
            }
            _ => self.long_number()?,
        };
        Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    #[cold]
    fn long_number(&mut self) -> Result<u64, Damage> {
        let mut number = 0;
        for (place, byte) in self.0.iter().take(10).enumerate() {
            number |= u64::from(byte & 0x7f) << (7 * place);
            if *byte < 0x80 {
                self.0 = &self.0[place + 1..];
                return Ok(number);
            }
        }
        Err(Damage::Shape)
    }

    /// A length, `None` when it is negative.
    fn len(&mut self) -> Result<Option<usize>, Damage> {
        let number = self.number()?;
        match number {
            0.. => usize::try_from(number).map(Some).map_err(|_| Damage::Shape),
            _ => Ok(None),
        }
    }

    /// Bytes behind their length, `None` when they are null.
    fn slice(&mut self) -> Result<Option<&'b [u8]>, Damage> {
        self.len()?.map(|len| self.bytes(len)).transpose()
    }
}
