//! Which batches belong to transactions that were aborted.

use super::batch::Head;
use std::collections::{BTreeSet, VecDeque};

/// What marks the end of an aborted transaction, behind the mark's version; 1 is that of a committed one.
const ABORT: [u8; 2] = [0, 0];

/// The aborted transactions of one answer's batches.
#[derive(Clone, Debug, Default)]
pub(super) struct Aborted {
    /// Those that begin further on: the first offset and the producer, in the log's order.
    ahead: VecDeque<(i64, i64)>,
    /// The producers of those that are open where we are.
    open: BTreeSet<i64>,
}

impl Aborted {
    /// Of the transactions that a broker tells of, each a producer and a first offset.
    pub(super) fn new(transactions: &[(i64, i64)]) -> Aborted {
        let mut ahead: Vec<_> = transactions
            .iter()
            .map(|(producer, first)| (*first, *producer))
            .collect();
        ahead.sort_unstable();
        Aborted {
            ahead: ahead.into(),
            open: BTreeSet::new(),
        }
    }

    /// Whether the next batch belongs to one of them.
    pub(super) fn covers(&mut self, head: &Head) -> bool {
        while let Some((first, producer)) = self.ahead.front().copied()
            && first < head.next()
        {
            self.ahead.pop_front();
            self.open.insert(producer);
        }
        head.is_transactional() && self.open.contains(&head.producer)
    }

    /// Takes a mark of a transaction's end, of which the key is given.
    pub(super) fn mark(&mut self, producer: i64, key: Option<&[u8]>) {
        let kind = key.and_then(|key| key.get(2..4));
        if kind == Some(&ABORT) {
            self.open.remove(&producer);
        }
    }
}
