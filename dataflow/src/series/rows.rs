//! The rows of an epoch, in lists of a size that memory is reused for.

use tidewatch_proto::row::Row;

/// How many rows a list holds. One long list would be copied as it grows, and be fresh memory every minute.
const LIST: usize = 1_024;

/// Rows in lists, none of them empty.
#[derive(Debug, Default)]
pub struct Rows {
    lists: Vec<Vec<Row>>,
}

impl Rows {
    /// Adds a row.
    #[inline]
    pub fn push(&mut self, row: Row) {
        match self.lists.last_mut() {
            Some(list) if list.len() < LIST => list.push(row),
            _ => {
                let mut list = Vec::with_capacity(LIST);
                list.push(row);
                self.lists.push(list);
            }
        }
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.lists
            .last()
            .map_or(0, |last| (self.lists.len() - 1) * LIST + last.len())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    /// The rows.
    pub fn iter(&self) -> impl Iterator<Item = &Row> {
        self.lists.iter().flatten()
    }

    /// The lists, in the order of their rows.
    pub fn into_lists(self) -> Vec<Vec<Row>> {
        self.lists
    }
}

impl Extend<Row> for Rows {
    fn extend<I: IntoIterator<Item = Row>>(&mut self, rows: I) {
        rows.into_iter().for_each(|row| self.push(row));
    }
}
