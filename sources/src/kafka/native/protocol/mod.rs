//! The four exchanges of Kafka's protocol that reading needs, at one version each, and how their fields are written.

pub(super) mod fetch;
pub(super) mod metadata;
pub(super) mod offsets;
pub(super) mod versions;

use std::fmt;

/// What this client calls itself.
const CLIENT_ID: &str = "tidewatch";

/// One request: its number, its version, and whether it is written in the flexible way of newer versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Api {
    /// Its name, for errors.
    pub(super) name: &'static str,
    key: i16,
    version: i16,
    flexible: bool,
}

/// An answer that isn't what the protocol says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Garbled;

impl fmt::Display for Garbled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the answer is not Kafka's")
    }
}

/// Bytes that are read field by field; what is too short is [`Garbled`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Input<'b>(pub(super) &'b [u8]);

impl<'b> Input<'b> {
    pub(super) fn bytes(&mut self, len: usize) -> Result<&'b [u8], Garbled> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(Garbled)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Garbled> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(Garbled)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn i8(&mut self) -> Result<i8, Garbled> {
        self.array().map(i8::from_be_bytes)
    }

    pub(super) fn i16(&mut self) -> Result<i16, Garbled> {
        self.array().map(i16::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Result<i32, Garbled> {
        self.array().map(i32::from_be_bytes)
    }

    pub(super) fn i64(&mut self) -> Result<i64, Garbled> {
        self.array().map(i64::from_be_bytes)
    }

    /// An unsigned number in base 128, of 32 bits.
    pub(super) fn uvarint(&mut self) -> Result<u32, Garbled> {
        let mut number = 0_u64;
        for shift in (0..35).step_by(7) {
            let [byte] = self.array()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return u32::try_from(number).map_err(|_| Garbled);
            }
        }
        Err(Garbled)
    }

    /// A text, `None` when it is null.
    pub(super) fn text(&mut self) -> Result<Option<&'b str>, Garbled> {
        let Ok(len) = usize::try_from(self.i16()?) else {
            return Ok(None);
        };
        self.bytes(len)
            .and_then(|bytes| std::str::from_utf8(bytes).map(Some).map_err(|_| Garbled))
    }

    /// The length of what is written in the flexible way, `None` when it is null.
    pub(super) fn compact_len(&mut self) -> Result<Option<usize>, Garbled> {
        Ok(self.uvarint()?.checked_sub(1).map(|len| len as usize))
    }

    /// How many items follow; each takes at least so many bytes, so there can't be more than fit into the rest.
    pub(super) fn count(&mut self, item_bytes_min: usize) -> Result<usize, Garbled> {
        let count = usize::try_from(self.i32()?).unwrap_or(0);
        self.plausible(count, item_bytes_min)
    }

    /// As [`Input::count`], written in the flexible way.
    pub(super) fn compact_count(&mut self, item_bytes_min: usize) -> Result<usize, Garbled> {
        let count = self.compact_len()?.unwrap_or(0);
        self.plausible(count, item_bytes_min)
    }

    fn plausible(&self, count: usize, item_bytes_min: usize) -> Result<usize, Garbled> {
        match count.checked_mul(item_bytes_min) {
            Some(bytes) if bytes <= self.0.len() => Ok(count),
            _ => Err(Garbled),
        }
    }

    /// Gives the tagged fields, each with its number, to a function.
    pub(super) fn tags(&mut self, mut take: impl FnMut(u32, Input<'b>) -> Result<(), Garbled>) -> Result<(), Garbled> {
        for _ in 0..self.uvarint()? {
            let tag = self.uvarint()?;
            let len = self.uvarint()? as usize;
            take(tag, Input(self.bytes(len)?))?;
        }
        Ok(())
    }

    /// Steps over the tagged fields.
    pub(super) fn skip_tags(&mut self) -> Result<(), Garbled> {
        self.tags(|_, _| Ok(()))
    }
}

/// A request that is written field by field. Its first four bytes are its length.
#[derive(Debug)]
pub(super) struct Output(Vec<u8>);

impl Output {
    /// Begins a request.
    fn new(api: Api, correlation: i32) -> Output {
        let mut output = Output(vec![0; 4]);
        output.i16(api.key).i16(api.version).i32(correlation).text(CLIENT_ID);
        if api.flexible {
            output.no_tags();
        }
        output
    }

    fn i8(&mut self, number: i8) -> &mut Output {
        self.0.extend(number.to_be_bytes());
        self
    }

    fn i16(&mut self, number: i16) -> &mut Output {
        self.0.extend(number.to_be_bytes());
        self
    }

    fn i32(&mut self, number: i32) -> &mut Output {
        self.0.extend(number.to_be_bytes());
        self
    }

    fn i64(&mut self, number: i64) -> &mut Output {
        self.0.extend(number.to_be_bytes());
        self
    }

    fn uvarint(&mut self, mut number: u32) -> &mut Output {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
        self
    }

    /// A text; those of this client are names of Kafka's, which have at most 249 bytes.
    fn text(&mut self, text: &str) -> &mut Output {
        self.i16(text.len() as i16);
        self.0.extend(text.as_bytes());
        self
    }

    fn compact_text(&mut self, text: &str) -> &mut Output {
        self.compact_count(text.len());
        self.0.extend(text.as_bytes());
        self
    }

    fn count(&mut self, count: usize) -> &mut Output {
        self.i32(count as i32)
    }

    fn compact_count(&mut self, count: usize) -> &mut Output {
        self.uvarint(count as u32 + 1)
    }

    fn no_tags(&mut self) -> &mut Output {
        self.uvarint(0)
    }

    /// The whole request with its length.
    fn finish(&mut self) -> Vec<u8> {
        let len = (self.0.len() - 4) as i32;
        self.0[..4].copy_from_slice(&len.to_be_bytes());
        std::mem::take(&mut self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        for number in [0, 1, 127, 128, 300, 65_535, u32::MAX] {
            let mut output = Output(Vec::new());
            output.uvarint(number);
            assert_eq!(Input(&output.0).uvarint(), Ok(number));
        }
        assert_eq!(Input(&[0xff, 0xff, 0xff, 0xff, 0x1f]).uvarint(), Err(Garbled));
        assert_eq!(Input(&[0x80; 9]).uvarint(), Err(Garbled));
    }

    #[test]
    fn a_count_is_no_more_than_what_can_follow() {
        assert_eq!(Input(&[0, 0, 0, 2, 1, 1, 1, 1]).count(2), Ok(2));
        assert_eq!(Input(&[0, 0, 0, 3, 1, 1, 1, 1]).count(2), Err(Garbled));
        assert_eq!(Input(&[0x7f, 0xff, 0xff, 0xff]).count(usize::MAX), Err(Garbled));
        assert_eq!(Input(&[0xff, 0xff, 0xff, 0xff]).count(1), Ok(0), "null");
        assert_eq!(Input(&[0xff, 0xff, 0xff, 0xff, 0x0f]).compact_count(1), Err(Garbled));
    }
}
