//! A closed pane in few bytes. What one or two readings come to is kept as the readings themselves, in the order of
//! the log: added again they give the same pane, to the bit. Behind a larger pane stand its values, in no order, as long
//! as its sketch keeps them.

use tidewatch_proto::pane::Pane;
use tidewatch_proto::sketch::RAW_MAX;
use tidewatch_proto::time::{EventTime, PaneNo};

/// A reading: its value, and its event time within the pane.
const READING_BYTES: usize = 8 + 2;
/// All fields but the number.
const WHOLE_BYTES: usize = 6 * 8 + 2 * 4 + 2 * 2;
/// What a pane takes at most, with its values.
pub const BYTES_MAX: usize = WHOLE_BYTES + VALUE_BYTES * RAW_MAX;

const VALUE_BYTES: usize = 8;

/// Appends a pane, and the values that a sketch of it keeps; its number is left to whoever keeps it.
pub fn append(pane: &Pane, values: &[f64], out: &mut Vec<u8>) {
    let (first, last) = ((pane.first, pane.first_at), (pane.last, pane.last_at));
    let readings: &[(f64, u16)] = match (pane.count, pane.invalid) {
        (1, 0) => &[first],
        (2, 0) if is_made_of(pane, &[first, last]) => &[first, last],
        (2, 0) if is_made_of(pane, &[last, first]) => &[last, first],
        _ => {
            [pane.sum, pane.squares, pane.min, pane.max, pane.first, pane.last]
                .iter()
                .for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
            [pane.count, pane.invalid]
                .iter()
                .for_each(|count| out.extend_from_slice(&count.to_le_bytes()));
            [pane.first_at, pane.last_at]
                .iter()
                .for_each(|at| out.extend_from_slice(&at.to_le_bytes()));
            values
                .iter()
                .for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
            return;
        }
    };
    for (value, at) in readings {
        out.extend_from_slice(&value.to_le_bytes());
        out.extend_from_slice(&at.to_le_bytes());
    }
}

/// The values that stand behind a pane.
#[inline]
pub fn values(bytes: &[u8]) -> impl ExactSizeIterator<Item = f64> + Clone + '_ {
    let (values, _) = bytes.get(WHOLE_BYTES..).unwrap_or_default().as_chunks::<VALUE_BYTES>();
    values.iter().map(|value| f64::from_le_bytes(*value))
}

/// Reads what [`append`] has written of a pane of this number; `None` when it is something else by its length.
#[inline]
pub fn read(bytes: &[u8], number: PaneNo) -> Option<Pane> {
    const TWO_BYTES: usize = 2 * READING_BYTES;
    let mut pane = Pane::empty(number);
    match bytes.len() {
        READING_BYTES | TWO_BYTES => {
            for reading in bytes.chunks_exact(READING_BYTES) {
                let (value, at) = (array(reading, 0), array(reading, 8));
                add(&mut pane, f64::from_le_bytes(value), u16::from_le_bytes(at));
            }
            return Some(pane);
        }
        WHOLE_BYTES..=BYTES_MAX if (bytes.len() - WHOLE_BYTES).is_multiple_of(VALUE_BYTES) => {}
        _ => return None,
    }
    let value = |at: usize| f64::from_le_bytes(array(bytes, at * 8));
    (pane.sum, pane.squares) = (value(0), value(1));
    (pane.min, pane.max) = (value(2), value(3));
    (pane.first, pane.last) = (value(4), value(5));
    pane.count = u32::from_le_bytes(array(bytes, 48));
    pane.invalid = u32::from_le_bytes(array(bytes, 52));
    pane.first_at = u16::from_le_bytes(array(bytes, 56));
    pane.last_at = u16::from_le_bytes(array(bytes, 58));
    Some(pane)
}

fn add(pane: &mut Pane, value: f64, at: u16) {
    pane.add(EventTime(pane.number.start().0 + i64::from(at)), value);
}

fn is_made_of(pane: &Pane, readings: &[(f64, u16)]) -> bool {
    let mut made = Pane::empty(pane.number);
    readings.iter().for_each(|(value, at)| add(&mut made, *value, *at));
    made.squares.to_bits() == pane.squares.to_bits() && made == *pane
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            4 => -1e8..1e8,
            1 => any::<f64>(),
            1 => Just(0.0),
            1 => Just(f64::NAN),
        ]
    }

    proptest! {
        #[test]
        fn a_pane_comes_back_to_the_bit(readings in proptest::collection::vec((0_u16..60_000, value()), 0..5), number in -9..9) {
            let mut pane = Pane::empty(PaneNo(number));
            readings.iter().for_each(|(at, value)| add(&mut pane, *value, *at));
            let mut bytes = Vec::new();
            let kept: Vec<f64> = readings.iter().map(|(_, value)| *value).collect();
            append(&pane, &kept, &mut bytes);
            let behind: Vec<u64> = values(&bytes).map(f64::to_bits).collect();
            let whole = bytes.len() >= WHOLE_BYTES;
            prop_assert_eq!(behind, kept.iter().filter(|_| whole).map(|value| value.to_bits()).collect::<Vec<_>>());
            let back = read(&bytes, pane.number).unwrap();
            prop_assert_eq!(format!("{back:?}"), format!("{pane:?}"));
            let bits = |pane: &Pane| [pane.sum, pane.squares, pane.min, pane.max, pane.first, pane.last].map(f64::to_bits);
            prop_assert_eq!(bits(&back), bits(&pane));
            let small = pane.invalid == 0 && (1..3).contains(&pane.count) && pane.sum.is_finite();
            prop_assert!(!small || bytes.len() == READING_BYTES * pane.count as usize, "{:?} in {} bytes", pane, bytes.len());
        }
    }
}
