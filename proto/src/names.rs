//! Names by number, written by one worker and read by whoever takes its rows.

use crate::ids::Name;
use std::sync::OnceLock;

/// Names in the order in which they were added. They never move or change, so readers need no lock, and a row can say
/// a number instead of holding a name.
#[derive(Debug)]
pub struct NameBook {
    /// Each chunk has room for twice as many names as the one before.
    chunks: [OnceLock<Box<[OnceLock<Name>]>>; CHUNKS],
}

/// The first chunk has room for so many names.
const FIRST: usize = 1 << FIRST_BITS;
const FIRST_BITS: u32 = 8;
/// Enough for every 32-bit number.
const CHUNKS: usize = (u32::BITS - FIRST_BITS + 1) as usize;

impl Default for NameBook {
    fn default() -> NameBook {
        NameBook {
            chunks: [const { OnceLock::new() }; CHUNKS],
        }
    }
}

/// The chunk of a number, and its place in there.
#[inline]
fn place(number: u32) -> (usize, usize) {
    let from_first = number as usize + FIRST;
    let bits = usize::BITS - 1 - from_first.leading_zeros();
    ((bits - FIRST_BITS) as usize, from_first - (1 << bits))
}

impl NameBook {
    /// Writes the name of a number that has none. A number's first name stays.
    pub fn set(&self, number: u32, name: Name) {
        let (chunk, at) = place(number);
        let names = self.chunks[chunk].get_or_init(|| (0..FIRST << chunk).map(|_| OnceLock::new()).collect());
        names[at].get_or_init(|| name);
    }

    /// The name of a number, if it has one.
    #[inline]
    pub fn get(&self, number: u32) -> Option<&Name> {
        let (chunk, at) = place(number);
        self.chunks[chunk].get()?[at].get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_a_place_of_its_own() {
        let mut expected = (0, 0);
        for number in 0..100_000 {
            assert_eq!(place(number), expected, "{number}");
            expected.1 += 1;
            if expected.1 == FIRST << expected.0 {
                expected = (expected.0 + 1, 0);
            }
        }
        assert!(place(u32::MAX).0 < CHUNKS);
    }

    #[test]
    fn names_are_there_for_every_thread_once_they_are_set() {
        let book = std::sync::Arc::new(NameBook::default());
        for number in 0..1_000 {
            assert_eq!(book.get(number), None);
            book.set(number, number.to_string().into());
        }
        book.set(7, "another".into());
        let reader = std::thread::spawn(move || (0..1_000).all(|n| **book.get(n).unwrap() == *n.to_string()));
        assert!(reader.join().unwrap());
    }
}
