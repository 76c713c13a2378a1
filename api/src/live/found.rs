//! Anomalies that wait for a subscriber.

use std::collections::BTreeMap;
use std::sync::Arc;
use tidewatch_proto::anomaly::Anomaly;
use tidewatch_proto::ids::Name;
use tidewatch_proto::time::EventTime;

/// So many wait at most, each the last of its key.
const PENDING_MAX: usize = 5_000;
/// Anomalies of a message at most.
const MESSAGE_MAX: usize = 500;

type Key = (EventTime, Name, Name, Name);

/// The anomalies that one subscriber wasn't sent yet. When there are too many, all of them are dropped, and what comes too,
/// until it is told how many it has missed.
#[derive(Debug, Default)]
pub(super) struct Found {
    pending: BTreeMap<Key, Arc<Anomaly>>,
    missed: u64,
}

impl Found {
    /// One more; of the same key the later one stays.
    pub(super) fn take(&mut self, anomaly: &Arc<Anomaly>) {
        if self.missed > 0 {
            self.missed += 1;
            return;
        }
        let key = (
            anomaly.started_at,
            anomaly.device.clone(),
            anomaly.metric.clone(),
            anomaly.rule.clone(),
        );
        self.pending.insert(key, anomaly.clone());
        if self.pending.len() > PENDING_MAX {
            self.missed = self.pending.len() as u64;
            self.pending.clear();
        }
    }

    /// The next of a message; empty when there are none.
    pub(super) fn next(&mut self) -> Vec<Arc<Anomaly>> {
        let rest = match self.pending.keys().nth(MESSAGE_MAX).cloned() {
            Some(next) => self.pending.split_off(&next),
            None => BTreeMap::new(),
        };
        std::mem::replace(&mut self.pending, rest).into_values().collect()
    }

    /// Whether something waits.
    pub(super) fn waits(&self) -> bool {
        !self.pending.is_empty()
    }

    /// How many were dropped.
    pub(super) fn missed(&self) -> u64 {
        self.missed
    }

    /// Forgets all of it.
    pub(super) fn clear(&mut self) {
        *self = Found::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::anomaly::tests::silent;
    use tidewatch_proto::ids::Epoch;

    fn anomaly(minute: i64, revision: u64) -> Arc<Anomaly> {
        Arc::new(Anomaly {
            revision: Epoch(revision),
            ..(*silent(minute)).clone()
        })
    }

    #[test]
    fn of_a_key_the_last_waits_and_messages_are_bounded() {
        let mut found = Found::default();
        for revision in 0..2 {
            (0..MESSAGE_MAX as i64 + 1).for_each(|minute| found.take(&anomaly(minute, revision)));
        }
        let first = found.next();
        assert_eq!((first.len(), first[0].revision), (MESSAGE_MAX, Epoch(1)));
        assert!(found.waits());
        assert_eq!(found.next().len(), 1);
        assert!(!found.waits() && found.missed() == 0);
    }

    #[test]
    fn too_many_are_dropped_and_counted() {
        let mut found = Found::default();
        (0..PENDING_MAX as i64 + 10).for_each(|minute| found.take(&anomaly(minute, 1)));
        assert_eq!((found.waits(), found.missed()), (false, PENDING_MAX as u64 + 10));
        found.clear();
        found.take(&anomaly(0, 1));
        assert_eq!((found.next().len(), found.missed()), (1, 0));
    }
}
