//! Rows on their way out of the engine: those of one window of many series as a block of columns, others one by one.

use crate::aggregate::Aggregate;
use crate::ids::{Epoch, Name};
use crate::names::NameBook;
use crate::row::{Job, Quantiles, Row, Status, Values};
use crate::time::EventTime;
use std::sync::Arc;

/// What all rows of a block have in common.
#[derive(Clone, Debug)]
pub struct BlockHead {
    /// The job that made them.
    pub job: Job,
    /// The window's first instant.
    pub window_start: EventTime,
    /// The first instant after the window.
    pub window_end: EventTime,
    /// How far they can be relied on.
    pub status: Status,
    /// The epoch that produced them.
    pub revision: Epoch,
    /// The names of the devices.
    pub devices: Arc<NameBook>,
    /// The names of the metrics.
    pub metrics: Arc<NameBook>,
}

/// Rows of one window of many series: a third of what they take as [`Row`]s, and no name is touched.
#[derive(Clone, Debug)]
pub struct RowBlock {
    head: BlockHead,
    /// By row: the numbers of its device and its metric.
    series: Vec<(u32, u32)>,
    aggregates: Vec<Aggregate>,
    /// Empty when no row has quantiles.
    quantiles: Vec<Option<Quantiles>>,
}

impl RowBlock {
    /// A block without rows, and with room for some.
    pub fn with_capacity(head: BlockHead, rows: usize) -> RowBlock {
        RowBlock {
            head,
            series: Vec::with_capacity(rows),
            aggregates: Vec::with_capacity(rows),
            quantiles: Vec::new(),
        }
    }

    /// Adds the row of a device and a metric, which have names in the head's books.
    #[inline]
    pub fn push(&mut self, series: (u32, u32), aggregate: Aggregate, quantiles: Option<Quantiles>) {
        if quantiles.is_some() && self.quantiles.len() < self.series.len() {
            self.quantiles.resize(self.series.len(), None);
        }
        if quantiles.is_some() || !self.quantiles.is_empty() {
            self.quantiles.push(quantiles);
        }
        self.series.push(series);
        self.aggregates.push(aggregate);
    }

    /// What the rows have in common.
    pub fn head(&self) -> &BlockHead {
        &self.head
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.series.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    fn iter(&self) -> impl Iterator<Item = RowRef<'_>> {
        let quantiles = self.quantiles.iter().copied().chain(std::iter::repeat(None));
        let rows = self.series.iter().zip(&self.aggregates).zip(quantiles);
        let head = &self.head;
        rows.filter_map(move |(((device, metric), aggregate), quantiles)| {
            Some(RowRef {
                job: head.job,
                key: head.devices.get(*device)?,
                metric: head.metrics.get(*metric)?,
                window_start: head.window_start,
                window_end: head.window_end,
                values: aggregate.values(quantiles),
                status: head.status,
                revision: head.revision,
            })
        })
    }
}

/// A [`Row`] whose names are another's.
#[derive(Clone, Copy, Debug)]
pub struct RowRef<'a> {
    /// The job that made it.
    pub job: Job,
    /// The device, or the site or fleet for rollups.
    pub key: &'a Name,
    /// The metric.
    pub metric: &'a Name,
    /// The window's first instant.
    pub window_start: EventTime,
    /// The first instant after the window.
    pub window_end: EventTime,
    /// What the window holds.
    pub values: Values,
    /// How far it can be relied on.
    pub status: Status,
    /// The epoch that produced the row.
    pub revision: Epoch,
}

impl RowRef<'_> {
    /// A row with names of its own.
    pub fn to_row(self) -> Row {
        Row {
            job: self.job,
            key: self.key.clone(),
            metric: self.metric.clone(),
            window_start: self.window_start,
            window_end: self.window_end,
            values: self.values,
            status: self.status,
            revision: self.revision,
        }
    }
}

impl<'a> From<&'a Row> for RowRef<'a> {
    fn from(row: &'a Row) -> RowRef<'a> {
        RowRef {
            job: row.job,
            key: &row.key,
            metric: &row.metric,
            window_start: row.window_start,
            window_end: row.window_end,
            values: row.values,
            status: row.status,
            revision: row.revision,
        }
    }
}

/// Rows of one epoch.
#[derive(Clone, Debug)]
pub enum RowList {
    /// Of one window.
    Block(RowBlock),
    /// Of any windows.
    Rows(Vec<Row>),
}

impl RowList {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        match self {
            RowList::Block(block) => block.len(),
            RowList::Rows(rows) => rows.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What they take in memory, about.
    pub fn bytes(&self) -> usize {
        match self {
            RowList::Block(block) => {
                let each = size_of::<(u32, u32)>() + size_of::<Aggregate>();
                block.len() * each + block.quantiles.len() * size_of::<Option<Quantiles>>()
            }
            RowList::Rows(rows) => rows.len() * size_of::<Row>(),
        }
    }

    /// Appends them, each as a row of its own.
    pub fn append_to(self, rows: &mut Vec<Row>) {
        match self {
            RowList::Rows(mut own) => rows.append(&mut own),
            RowList::Block(block) => rows.extend(block.iter().map(RowRef::to_row)),
        }
    }

    /// Shows each row; ends with the first error.
    ///
    /// # Errors
    /// What `see` gives.
    pub fn try_each<E>(&self, mut see: impl FnMut(RowRef<'_>) -> Result<(), E>) -> Result<(), E> {
        match self {
            RowList::Block(block) => block.iter().try_for_each(see),
            RowList::Rows(rows) => rows.iter().try_for_each(|row| see(row.into())),
        }
    }

    /// The rows.
    pub fn into_rows(self) -> Vec<Row> {
        let mut rows = Vec::with_capacity(self.len());
        self.append_to(&mut rows);
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_gives_its_rows_with_quantiles_where_there_are_any() {
        let (devices, metrics) = (Arc::new(NameBook::default()), Arc::new(NameBook::default()));
        devices.set(0, "a".into());
        devices.set(1, "b".into());
        metrics.set(5, "m".into());
        let head = BlockHead {
            job: Job::Minute,
            window_start: EventTime(0),
            window_end: EventTime(60_000),
            status: Status::Final,
            revision: Epoch(3),
            devices,
            metrics,
        };
        let mut aggregate = Aggregate::default();
        aggregate.add(EventTime(1), 2.0);
        let quantiles = Some(Quantiles {
            p50: 2.0,
            p95: 2.0,
            p99: 2.0,
        });
        let mut block = RowBlock::with_capacity(head, 2);
        block.push((0, 5), Aggregate::default(), None);
        block.push((1, 5), aggregate.clone(), quantiles);
        block.push((0, 5), aggregate, None);
        let list = RowList::Block(block);
        let (len, bytes) = (list.len(), list.bytes());
        let rows = list.into_rows();
        let shown: Vec<_> = rows
            .iter()
            .map(|row| (&*row.key, &*row.metric, row.values.count, row.values.quantiles))
            .collect();
        assert_eq!(
            shown,
            [("a", "m", 0, None), ("b", "m", 1, quantiles), ("a", "m", 1, None)]
        );
        assert_eq!(
            (len, rows[0].revision, rows[2].window_end),
            (3, Epoch(3), EventTime(60_000))
        );
        assert!(bytes < RowList::Rows(rows).bytes());
    }
}
