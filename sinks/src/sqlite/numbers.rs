//! Integers and floating-point numbers in few bytes, to the last bit.
//!
//! What devices measure has few decimals, and what a sketch says has few bits: both fit two or three bytes. A sum of
//! decimals is a few units in the last place away from a decimal: so it is written as that decimal and the distance.

/// Powers of ten, by decimals.
const TENS: [f64; 5] = [1.0, 10.0, 100.0, 1_000.0, 10_000.0];
/// Above it a double has no room for a fraction.
const WHOLE_MAX: f64 = (1_u64 << 52) as f64;

/// There is no number.
const NONE: u8 = 0;
/// A decimal with so many places less eight follows: 9 to 12. (1 to 8: so many leading bytes of the number follow.)
const DECIMAL: u8 = 8;
/// A decimal and its distance follow.
const NEAR: u8 = 13;
/// It is the mean: the sum divided by the count.
pub(super) const MEAN: u8 = 14;
/// It is the number before.
const SAME: u8 = 15;

/// Appends an integer.
pub(super) fn put_u64(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// Appends an integer with a sign.
pub(super) fn put_i64(bytes: &mut Vec<u8>, value: i64) {
    put_u64(bytes, ((value << 1) ^ (value >> 63)) as u64);
}

/// Appends a number's bytes, and gives the tag that says how to read them. `before` is the number before it.
pub(super) fn put_f64(bytes: &mut Vec<u8>, value: Option<f64>, before: Option<f64>) -> u8 {
    let Some(value) = value else { return NONE };
    let bits = value.to_bits();
    if before.map(f64::to_bits) == Some(bits) {
        return SAME;
    }
    let leading = (8 - bits.trailing_zeros() / 8).max(1) as usize;
    if leading > 2
        && let Some((places, whole, distance)) = decimal(value)
    {
        let begun = bytes.len();
        let tag = match distance {
            0 => {
                put_i64(bytes, whole);
                DECIMAL + places
            }
            _ => {
                bytes.push(distance as u8);
                put_i64(bytes, whole * 4 + i64::from(places) - 1);
                NEAR
            }
        };
        if bytes.len() - begun < leading {
            return tag;
        }
        bytes.truncate(begun);
    }
    bytes.extend_from_slice(&bits.to_be_bytes()[..leading]);
    leading as u8
}

/// The decimal that a number is, or is next to: its places, its digits, and how far away the number is.
fn decimal(value: f64) -> Option<(u8, i64, i8)> {
    for (places, ten) in TENS.iter().enumerate().skip(1) {
        let scaled = (value * ten).round();
        if scaled.abs() >= WHOLE_MAX || scaled.is_nan() {
            return None;
        }
        let decimal = scaled / ten;
        let distance = (value.to_bits() as i64).wrapping_sub(decimal.to_bits() as i64);
        if let Ok(distance) = i8::try_from(distance) {
            return Some((places as u8, scaled as i64, distance));
        }
    }
    None
}

/// Bytes that are read from their beginning. Every answer is `None` when they are not what was written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    /// The next so many bytes.
    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// The next byte.
    pub(super) fn byte(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    /// The next integer.
    pub(super) fn u64(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// The next integer with a sign.
    pub(super) fn i64(&mut self) -> Option<i64> {
        let value = self.u64()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// The number of a tag; `mean` is what [`MEAN`] stands for, `before` the number before it.
    pub(super) fn f64(&mut self, tag: u8, mean: f64, before: Option<f64>) -> Option<Option<f64>> {
        Some(match tag {
            NONE => None,
            MEAN => Some(mean),
            SAME => Some(before?),
            NEAR => {
                let distance = i64::from(self.byte()? as i8);
                let coded = self.i64()?;
                let places = coded.rem_euclid(4) as usize + 1;
                let decimal = coded.div_euclid(4) as f64 / TENS[places];
                Some(f64::from_bits((decimal.to_bits() as i64).wrapping_add(distance) as u64))
            }
            leading @ 1..=8 => {
                let mut bits = [0; 8];
                bits[..usize::from(leading)].copy_from_slice(self.take(usize::from(leading))?);
                Some(f64::from_be_bytes(bits))
            }
            places => Some(self.i64()? as f64 / TENS[usize::from(places - DECIMAL)]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round_trip(value: f64, before: Option<f64>) -> usize {
        let mut bytes = Vec::new();
        let tag = put_f64(&mut bytes, Some(value), before);
        assert!(tag <= 15 && tag != MEAN);
        let mut read = Bytes(&bytes);
        let found = read.f64(tag, 0.0, before).unwrap().unwrap();
        assert_eq!(found.to_bits(), value.to_bits(), "{value}");
        assert!(read.0.is_empty());
        bytes.len()
    }

    proptest! {
        #[test]
        fn every_number_comes_back(bits: u64, decimals in -1_000_000_000i64..1_000_000_000, places in 0..6i32, by in -200i64..200) {
            round_trip(f64::from_bits(bits), None);
            let near = (decimals as f64 / 10f64.powi(places)).to_bits() as i64;
            round_trip(f64::from_bits(near.wrapping_add(by) as u64), Some(1.0));
        }

        #[test]
        fn every_integer_comes_back(value: i64) {
            let mut bytes = Vec::new();
            put_i64(&mut bytes, value);
            put_u64(&mut bytes, value as u64);
            let mut read = Bytes(&bytes);
            prop_assert_eq!((read.i64(), read.u64()), (Some(value), Some(value as u64)));
            prop_assert_eq!(read.u64(), None);
        }
    }

    #[test]
    fn what_devices_send_is_short() {
        assert_eq!(round_trip(9.87, None), 2);
        assert_eq!(round_trip(-1012.6, None), 3);
        assert_eq!(round_trip(9.875, None), 3);
        assert_eq!(round_trip(207.319_999_999_999_94, None), 4);
        assert_eq!(round_trip(21.5, Some(21.5)), 0);
        for awkward in [
            0.0,
            -0.0,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::MAX,
            f64::from_bits(1),
        ] {
            round_trip(awkward, None);
        }
    }

    #[test]
    fn what_is_torn_is_noticed() {
        assert_eq!(Bytes(&[0x80]).u64(), None);
        assert_eq!(Bytes(&[0xff; 11]).u64(), None);
        assert_eq!(Bytes(&[1, 2]).f64(8, 0.0, None), None);
        assert_eq!(Bytes(&[]).f64(SAME, 0.0, None), None);
    }
}
