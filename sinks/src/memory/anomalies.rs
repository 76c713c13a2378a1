//! The latest anomalies in memory.

use super::{MemoryConfig, refuse_older};
use crate::hot::AnomalyStore;
use crate::{Sink, SinkError};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tidewatch_proto::anomaly::{Anomaly, AnomalyStatus};
use tidewatch_proto::ids::{Epoch, Generation, Name};
use tidewatch_proto::query::AnomalyQuery;
use tidewatch_proto::row::Delivery;
use tidewatch_proto::time::EventTime;

/// Anomalies, the last of each key. Clones share them.
#[derive(Clone, Debug)]
pub struct MemoryAnomalies {
    anomalies: Arc<Mutex<Anomalies>>,
}

/// Where an anomaly stands in the order of an answer: start, device, metric and rule.
type Place = (Reverse<EventTime>, Name, Name, Name);

#[derive(Debug)]
struct Anomalies {
    generation: Generation,
    kept: BTreeMap<Place, Anomaly>,
    /// In the order in which they leave: whether it goes on, its revision, and its place.
    leaving: BTreeSet<(bool, Epoch, Place)>,
    evicted: u64,
    anomalies_max: usize,
}

impl MemoryAnomalies {
    /// Empty, with the bound for anomalies.
    pub fn new(config: &MemoryConfig) -> MemoryAnomalies {
        let anomalies = Anomalies {
            generation: Generation(0),
            kept: BTreeMap::new(),
            leaving: BTreeSet::new(),
            evicted: 0,
            anomalies_max: config.anomalies_max,
        };
        MemoryAnomalies {
            anomalies: Arc::new(Mutex::new(anomalies)),
        }
    }

    /// Anomalies held now.
    pub fn len(&self) -> usize {
        self.lock().kept.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Anomalies that left because of the bound.
    pub fn evicted(&self) -> u64 {
        self.lock().evicted
    }

    // A panic while the lock was held leaves anomalies that are each whole: they can still be read.
    fn lock(&self) -> MutexGuard<'_, Anomalies> {
        self.anomalies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink<Anomaly> for MemoryAnomalies {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn deliver(&mut self, delivery: &Delivery<Anomaly>) -> Result<(), SinkError> {
        let mut anomalies = self.lock();
        refuse_older(anomalies.generation, delivery.generation)?;
        anomalies.generation = delivery.generation;
        delivery.items.iter().for_each(|anomaly| anomalies.put(anomaly));
        Ok(())
    }
}

impl AnomalyStore for MemoryAnomalies {
    fn anomalies(&self, query: &AnomalyQuery) -> Result<Vec<Anomaly>, SinkError> {
        let after = query.after.clone();
        let after = after.map(|place| (Reverse(place.started_at), place.device, place.metric, place.rule));
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let anomalies = self.lock();
        let found = anomalies.kept.range((from, Bound::Unbounded)).map(|(_, found)| found);
        let matching = found.filter(|anomaly| query.matches(anomaly));
        Ok(matching.take(query.limit).cloned().collect())
    }

    fn raised(&self) -> Result<u64, SinkError> {
        let anomalies = self.lock();
        // Those that go on are the last to leave.
        let raised = anomalies.leaving.iter().rev().take_while(|(goes_on, ..)| *goes_on);
        Ok(raised.count() as u64)
    }
}

impl Anomalies {
    /// Takes an anomaly, unless a newer one of its key is there, and lets others leave for it.
    fn put(&mut self, anomaly: &Anomaly) {
        let place = place(anomaly);
        if let Some(stored) = self.kept.get(&place) {
            if stored.revision > anomaly.revision {
                return;
            }
            self.leaving.remove(&leaves(stored));
        }
        self.leaving.insert(leaves(anomaly));
        self.kept.insert(place, anomaly.clone());
        while self.kept.len() > self.anomalies_max {
            let Some((_, _, first)) = self.leaving.pop_first() else {
                break;
            };
            self.kept.remove(&first);
            self.evicted += 1;
        }
    }
}

fn place(anomaly: &Anomaly) -> Place {
    let (device, metric, rule) = (&anomaly.device, &anomaly.metric, &anomaly.rule);
    (
        Reverse(anomaly.started_at),
        device.clone(),
        metric.clone(),
        rule.clone(),
    )
}

fn leaves(anomaly: &Anomaly) -> (bool, Epoch, Place) {
    let goes_on = anomaly.status == AnomalyStatus::Raised;
    (goes_on, anomaly.revision, place(anomaly))
}
