//! The rows of an epoch, in lists of a size that memory is reused for.

use tidewatch_proto::aggregate::Aggregate;
use tidewatch_proto::block::{BlockHead, RowBlock, RowList};
use tidewatch_proto::row::{Quantiles, Row, Status};

/// How many rows a list holds. One long list would be copied as it grows, and be fresh memory every minute.
const LIST: usize = 1_024;

/// Rows in lists, none of them empty.
#[derive(Debug, Default)]
pub struct Rows {
    lists: Vec<RowList>,
    len: usize,
    corrected: usize,
}

impl Rows {
    /// Adds a row.
    pub fn push(&mut self, row: Row) {
        self.len += 1;
        self.corrected += usize::from(row.status == Status::Corrected);
        match self.lists.last_mut() {
            Some(RowList::Rows(list)) if list.len() < LIST => list.push(row),
            _ => self.lists.push(RowList::Rows(vec![row])),
        }
    }

    /// Begins the rows of one window.
    pub fn window(&mut self, head: BlockHead) -> WindowRows<'_> {
        WindowRows {
            rows: self,
            block: RowBlock::with_capacity(head, LIST),
        }
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    /// How many of them correct others.
    pub fn corrected(&self) -> usize {
        self.corrected
    }

    /// The lists, in the order of their rows.
    pub fn into_lists(self) -> Vec<RowList> {
        self.lists
    }
}

impl Extend<Row> for Rows {
    fn extend<I: IntoIterator<Item = Row>>(&mut self, rows: I) {
        rows.into_iter().for_each(|row| self.push(row));
    }
}

/// The rows of one window, being added.
#[derive(Debug)]
pub struct WindowRows<'a> {
    rows: &'a mut Rows,
    block: RowBlock,
}

impl WindowRows<'_> {
    /// Adds the row of a device and a metric.
    #[inline]
    pub fn push(&mut self, series: (u32, u32), aggregate: Aggregate, quantiles: Option<Quantiles>) {
        if self.block.len() == LIST {
            self.flush();
        }
        self.block.push(series, aggregate, quantiles);
    }

    fn flush(&mut self) {
        let next = RowBlock::with_capacity(self.block.head().clone(), LIST);
        let block = std::mem::replace(&mut self.block, next);
        self.rows.len += block.len();
        self.rows.lists.push(RowList::Block(block));
    }

    /// All rows were added.
    pub fn finish(mut self) {
        if !self.block.is_empty() {
            self.flush();
        }
    }
}
