//! A table that grows page by page: what lies in it never moves, and no growth copies it.

use crate::prefetch::prefetch;

/// Items in a page; a power of two.
const PAGE: usize = 1 << 12;

/// Items by index.
#[derive(Debug)]
pub struct Paged<T>(Vec<Box<[T]>>);

impl<T> Default for Paged<T> {
    fn default() -> Paged<T> {
        Paged(Vec::new())
    }
}

impl<T> Paged<T> {
    /// Makes room for indexes below `items`; what is new holds what `fill` gives.
    pub fn grow(&mut self, items: usize, mut fill: impl FnMut() -> T) {
        while self.0.len() * PAGE < items {
            self.0.push((0..PAGE).map(|_| fill()).collect());
        }
    }

    /// The item at an index that there is room for.
    #[inline]
    pub fn at(&self, index: usize) -> &T {
        &self.0[index / PAGE][index % PAGE]
    }

    /// The item at an index that there is room for.
    #[inline]
    pub fn at_mut(&mut self, index: usize) -> &mut T {
        &mut self.0[index / PAGE][index % PAGE]
    }

    /// The item at an index, if there is room for it.
    pub fn get(&self, index: usize) -> Option<&T> {
        self.0.get(index / PAGE).map(|page| &page[index % PAGE])
    }

    /// Fetches the line of an item.
    #[inline]
    pub fn prefetch(&self, index: usize) {
        if let Some(page) = self.0.get(index / PAGE) {
            prefetch(page, index % PAGE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_it_stays_when_it_grows() {
        let mut table = Paged::default();
        table.grow(1, || 7);
        assert_eq!((*table.at(PAGE - 1), table.get(PAGE)), (7, None));
        *table.at_mut(3) = 1;
        let before: *const i32 = table.at(3);
        table.grow(PAGE + 1, || 8);
        assert_eq!((*table.at(3), *table.at(PAGE), table.get(2 * PAGE)), (1, 8, None));
        assert_eq!(before, std::ptr::from_ref(table.at(3)));
    }
}
