//! A set of slots as bits.

/// Slots, each once, ascending.
#[derive(Debug, Default)]
pub struct Bits {
    words: Vec<u64>,
}

impl Bits {
    /// Adds a slot.
    #[inline]
    pub fn set(&mut self, slot: usize) {
        let word = slot / 64;
        if self.words.len() <= word {
            self.words.resize((word + 1).next_multiple_of(64), 0);
        }
        self.words[word] |= 1 << (slot % 64);
    }

    /// The slots.
    pub fn into_slots(self) -> impl Iterator<Item = usize> + use<> {
        let words = self.words.into_iter().enumerate();
        words.flat_map(|(word, bits)| slots_of(word, bits))
    }

    /// Takes out all slots and keeps the room.
    pub fn drain(&mut self) -> impl Iterator<Item = usize> {
        let words = self.words.iter_mut().map(std::mem::take).enumerate();
        words.flat_map(|(word, bits)| slots_of(word, bits))
    }
}

/// The slots of a word of bits.
fn slots_of(word: usize, bits: u64) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(bits), |bits| Some(bits & bits.wrapping_sub(1)))
        .take_while(|bits| *bits != 0)
        .map(move |bits| word * 64 + bits.trailing_zeros() as usize)
}
