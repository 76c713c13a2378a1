//! Columns of numbers in few bytes: integers by how far they are above the least, values as integers where they are
//! multiples of the same fraction, as most sensors' are.

use serde::Serialize;

/// Why bytes are no column.
pub type Malformed = &'static str;

/// What values are tried to be multiples of: one divided by these.
const SCALES: [f64; 6] = [1.0, 10.0, 100.0, 1000.0, 1024.0, 65_536.0];
/// In the place of a scale: the values stand there as they are.
const UNSCALED: u8 = u8::MAX;
/// So many values of a column are looked at to choose a scale.
const SAMPLE: usize = 16;
/// Added to a number below 2^31, it leaves the nearest integer in the low bits.
const TO_INTEGER: f64 = (3_u64 << 51) as f64;

/// Appends integers: the least, how many bytes each takes, and each less the least.
pub fn write_integers(out: &mut Vec<u8>, column: impl ExactSizeIterator<Item = i64> + Clone) {
    let (least, greatest) = column.clone().fold((i64::MAX, i64::MIN), |(least, greatest), n| {
        (least.min(n), greatest.max(n))
    });
    let least = least.min(greatest);
    let bits = u64::BITS - (greatest.wrapping_sub(least) as u64).leading_zeros();
    // Never none: what claims to be long must be long.
    let width = bits.div_ceil(8).max(1) as u8;
    put(out, &(least, width));
    let above = column.map(|n| n.wrapping_sub(least) as u64);
    match width {
        1 => narrow::<1>(out, above),
        2 => narrow::<2>(out, above),
        3 => narrow::<3>(out, above),
        4 => narrow::<4>(out, above),
        5 => narrow::<5>(out, above),
        6 => narrow::<6>(out, above),
        7 => narrow::<7>(out, above),
        _ => narrow::<8>(out, above),
    }
}

fn narrow<const N: usize>(out: &mut Vec<u8>, column: impl ExactSizeIterator<Item = u64>) {
    let from = out.len();
    out.resize(from + column.len() * N, 0);
    let (places, _) = out[from..].as_chunks_mut::<N>();
    for (place, value) in places.iter_mut().zip(column) {
        place.copy_from_slice(&value.to_le_bytes()[..N]);
    }
}

/// Reads so many integers off the front of `rest`.
///
/// # Errors
/// What is wrong with the bytes.
pub fn read_integers(rest: &mut &[u8], count: usize) -> Result<Vec<i64>, Malformed> {
    let ((least, width), behind) = postcard::take_from_bytes::<(i64, u8)>(rest).map_err(|_| CUT_SHORT)?;
    *rest = behind;
    match width {
        1 => widened::<1>(rest, count, least),
        2 => widened::<2>(rest, count, least),
        3 => widened::<3>(rest, count, least),
        4 => widened::<4>(rest, count, least),
        5 => widened::<5>(rest, count, least),
        6 => widened::<6>(rest, count, least),
        7 => widened::<7>(rest, count, least),
        8 => widened::<8>(rest, count, least),
        _ => Err("a number has more bytes than there are"),
    }
}

const CUT_SHORT: Malformed = "a column is cut short";

fn widened<const N: usize>(rest: &mut &[u8], count: usize, least: i64) -> Result<Vec<i64>, Malformed> {
    let places = take::<N>(rest, count)?;
    let values = places.iter().map(|place| {
        let mut bytes = [0; 8];
        bytes[..N].copy_from_slice(place);
        least.wrapping_add(u64::from_le_bytes(bytes) as i64)
    });
    Ok(values.collect())
}

/// Takes `count` places of `N` bytes off the front of `rest`.
fn take<'a, const N: usize>(rest: &mut &'a [u8], count: usize) -> Result<&'a [[u8; N]], Malformed> {
    let wanted = count.checked_mul(N).ok_or(CUT_SHORT)?;
    let (taken, behind) = rest.split_at_checked(wanted).ok_or(CUT_SHORT)?;
    *rest = behind;
    Ok(taken.as_chunks::<N>().0)
}

/// Appends values, to the bit.
pub fn write_values(out: &mut Vec<u8>, values: &[f64]) {
    let sample = &values[..values.len().min(SAMPLE)];
    let fits = |scale: &f64| sample.iter().all(|value| scaled(*value, *scale).is_some());
    let scale = SCALES.iter().position(fits);
    let integers = scale.and_then(|at| {
        let integers = values.iter().map(|value| scaled(*value, SCALES[at]));
        Some((at as u8, integers.collect::<Option<Vec<i32>>>()?))
    });
    match integers {
        Some((scale, integers)) => {
            out.push(scale);
            write_integers(out, integers.iter().map(|n| i64::from(*n)));
        }
        None => {
            out.push(UNSCALED);
            narrow::<8>(out, values.iter().map(|value| value.to_bits()));
        }
    }
}

/// The integer that divided by the scale is the value, if there is one.
#[inline]
fn scaled(value: f64, scale: f64) -> Option<i32> {
    let integer = (value * scale + TO_INTEGER).to_bits() as i32;
    (unscaled(integer, scale).to_bits() == value.to_bits()).then_some(integer)
}

#[inline]
fn unscaled(integer: i32, scale: f64) -> f64 {
    f64::from(integer) / scale
}

/// Reads so many values off the front of `rest`.
///
/// # Errors
/// What is wrong with the bytes.
pub fn read_values(rest: &mut &[u8], count: usize) -> Result<Vec<f64>, Malformed> {
    let (kind, behind) = rest.split_first().ok_or(CUT_SHORT)?;
    *rest = behind;
    if *kind == UNSCALED {
        let places = take::<8>(rest, count)?;
        return Ok(places.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect());
    }
    let scale = SCALES.get(usize::from(*kind)).ok_or("values are of no known scale")?;
    let integers = read_integers(rest, count)?.into_iter();
    let integers = integers.map(|n| i32::try_from(n).map_err(|_| "a value is out of its range"));
    integers.map(|n| Ok(unscaled(n?, *scale))).collect()
}

fn put(out: &mut Vec<u8>, value: &impl Serialize) {
    postcard::to_io(value, out).expect("every sequence knows its length, and a Vec has no end");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            4 => (-100_000..100_000_i32).prop_map(|n| f64::from(n) / 100.0),
            1 => (-100_000..100_000_i32).prop_map(|n| f64::from(n) / 64.0),
            1 => any::<f64>(),
            1 => prop::sample::select(vec![f64::NAN, -0.0, f64::INFINITY, f64::MIN_POSITIVE, 2_147_483_648.0]),
        ]
    }

    fn integers(column: &[i64]) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_integers(&mut bytes, column.iter().copied());
        bytes
    }

    proptest! {
        #[test]
        fn integers_come_back(column in prop::collection::vec(prop_oneof![0..9_i64, -70_000..70_000_i64, any::<i64>()], 0..40)) {
            let bytes = integers(&column);
            let mut rest = bytes.as_slice();
            prop_assert_eq!(read_integers(&mut rest, column.len()), Ok(column.clone()));
            prop_assert!(rest.is_empty());
            prop_assert!(column.is_empty() || read_integers(&mut &bytes[..bytes.len() - 1], column.len()).is_err());
        }

        #[test]
        fn values_come_back_to_the_bit(column in prop::collection::vec(value(), 0..40)) {
            let mut bytes = Vec::new();
            write_values(&mut bytes, &column);
            let mut rest = bytes.as_slice();
            let back = read_values(&mut rest, column.len()).unwrap();
            let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<u64>>();
            prop_assert_eq!(bits(&back), bits(&column));
            prop_assert!(rest.is_empty());
            prop_assert!(column.is_empty() || read_values(&mut &bytes[..bytes.len() - 1], column.len()).is_err());
        }
    }

    #[test]
    fn what_a_sensor_sends_takes_few_bytes() {
        let hundredths: Vec<f64> = (0..1_000).map(|n| f64::from(2_000 + n) / 100.0).collect();
        let mut bytes = Vec::new();
        write_values(&mut bytes, &hundredths);
        assert!(bytes.len() < 2 * hundredths.len() + 16, "{} bytes", bytes.len());
        assert!(integers(&[1 << 40, (1 << 40) + 255]).len() < 12);
    }
}
