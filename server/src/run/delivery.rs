//! From captured epochs to sinks: an epoch leaves when every worker has completed it.

use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};
use tidewatch_dataflow::batch::Position;
use tidewatch_dataflow::capture::{Captured, StateSlice, reject_bytes};
use tidewatch_dataflow::stats::Stats;
use tidewatch_proto::block::RowList;
use tidewatch_proto::ids::{EPOCH_MS, Epoch, Generation, Partition};
use tidewatch_proto::reject::Reject;
use tidewatch_proto::row::{Delivery, Row};

/// How many epochs may pass without rows before sinks are told that time goes on.
const PROGRESS_EPOCHS: u64 = 1_000 / EPOCH_MS;

/// A delivery on its way to sinks. What it weighs leaves the outbox's gauge with the last of them.
#[derive(Debug)]
pub struct Parcel<T> {
    /// What is delivered.
    pub delivery: Delivery<T>,
    bytes: i64,
    stats: Arc<Stats>,
}

impl<T> Drop for Parcel<T> {
    fn drop(&mut self) {
        self.stats.outbox_bytes.add(-self.bytes);
    }
}

/// Where a sink's thread takes its deliveries from.
pub type Inbox<T> = mpsc::Sender<Arc<Parcel<T>>>;

/// Collects what the workers yield, and passes on whole epochs.
pub struct Collector {
    generation: Generation,
    stats: Arc<Stats>,
    rows: BTreeMap<Epoch, Vec<RowList>>,
    rejects: BTreeMap<Epoch, Vec<Reject>>,
    through: Vec<Option<Epoch>>,
    running: usize,
    delivered: Epoch,
    rows_to: Vec<Inbox<Row>>,
    rejects_to: Vec<Inbox<Reject>>,
    positions: BTreeMap<Partition, Position>,
    states: Vec<StateSlice>,
    errors: Vec<String>,
}

/// How a run of the engine ended.
pub struct Ended {
    /// Where reading stood.
    pub positions: Vec<Position>,
    /// What each worker saved.
    pub states: Vec<StateSlice>,
    /// What went wrong, the first first.
    pub errors: Vec<String>,
}

impl Collector {
    /// A collector of so many workers' results, for these sinks.
    pub fn new(
        generation: Generation,
        stats: Arc<Stats>,
        workers: usize,
        rows_to: Vec<Inbox<Row>>,
        rejects_to: Vec<Inbox<Reject>>,
    ) -> Collector {
        Collector {
            generation,
            stats,
            rows: BTreeMap::new(),
            rejects: BTreeMap::new(),
            through: vec![None; workers],
            running: workers,
            delivered: Epoch(0),
            rows_to,
            rejects_to,
            positions: BTreeMap::new(),
            states: Vec::new(),
            errors: Vec::new(),
        }
    }

    /// Collects until every worker has ended. `each` sees the last epoch that was completed.
    pub fn run(mut self, captured: &mpsc::Receiver<Captured>, mut each: impl FnMut(Epoch)) -> Ended {
        while self.running > 0 {
            let Ok(message) = captured.recv() else {
                self.errors.push("the engine ended without saying why".to_owned());
                break;
            };
            self.take(message);
            let complete = self.through.iter().copied().min().flatten();
            if let Some(complete) = complete.filter(|complete| complete.0 != u64::MAX) {
                self.deliver(complete);
                each(complete);
            }
        }
        // What a worker that failed left behind is not whole: it is read again.
        if self.errors.is_empty() {
            let last = self
                .states
                .iter()
                .map(|state| state.epoch)
                .max()
                .unwrap_or(self.delivered);
            self.deliver_all(last.max(self.delivered));
        }
        Ended {
            positions: self.positions.into_values().collect(),
            states: self.states,
            errors: self.errors,
        }
    }

    fn take(&mut self, message: Captured) {
        match message {
            Captured::Rows(epoch, list) => self.rows.entry(epoch).or_default().push(list),
            Captured::Rejects(epoch, rejects) => self.rejects.entry(epoch).or_default().extend(rejects),
            Captured::Positions(_, positions) => {
                self.positions
                    .extend(positions.into_iter().map(|position| (position.partition, position)));
            }
            Captured::Through { worker, epoch } => self.through[worker] = Some(epoch),
            Captured::State(state) => {
                self.states
                    .retain(|older| older.epoch == state.epoch || older.worker != state.worker);
                self.states.push(*state);
            }
            Captured::Ended { worker, error } => {
                self.running -= 1;
                self.errors.extend(error);
                // It holds nobody up any more.
                self.through[worker] = Some(Epoch(u64::MAX));
            }
        }
    }

    fn deliver(&mut self, complete: Epoch) {
        let due = self.rows.keys().next().is_some_and(|epoch| *epoch <= complete)
            || self.rejects.keys().next().is_some_and(|epoch| *epoch <= complete)
            || complete.0 >= self.delivered.0.saturating_add(PROGRESS_EPOCHS);
        if due {
            self.deliver_all(complete);
        }
    }

    fn deliver_all(&mut self, through: Epoch) {
        self.delivered = through;
        let later = self.rows.split_off(&Epoch(through.0 + 1));
        let lists = std::mem::replace(&mut self.rows, later);
        let lists: Vec<RowList> = lists.into_values().flatten().collect();
        let (taken, count) = lists
            .iter()
            .fold((0, 0), |(bytes, rows), list| (bytes + list.bytes(), rows + list.len()));
        let mut rows = Vec::with_capacity(count);
        lists.into_iter().for_each(|list| list.append_to(&mut rows));
        let later = self.rejects.split_off(&Epoch(through.0 + 1));
        let rejects: Vec<Reject> = std::mem::replace(&mut self.rejects, later)
            .into_values()
            .flatten()
            .collect();
        let row_bytes = (count * size_of::<Row>()) as i64;
        // From here on they weigh what they weigh as rows of their own.
        self.stats.outbox_bytes.add(row_bytes - taken as i64);
        let rejects_bytes = rejects.iter().map(reject_bytes).sum();
        self.send(rows, through, row_bytes, |collector| &collector.rows_to);
        self.send(rejects, through, rejects_bytes, |collector| &collector.rejects_to);
    }

    fn send<T>(&self, items: Vec<T>, through: Epoch, bytes: i64, to: impl Fn(&Collector) -> &Vec<Inbox<T>>) {
        let delivery = Delivery {
            generation: self.generation,
            through,
            items,
        };
        let parcel = Arc::new(Parcel {
            delivery,
            bytes,
            stats: self.stats.clone(),
        });
        for inbox in to(self) {
            // A sink that has ended has said why.
            let _ = inbox.send(parcel.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidewatch_proto::row::{Job, Status, Values};
    use tidewatch_proto::time::EventTime;

    fn row(epoch: u64) -> Row {
        Row {
            job: Job::Minute,
            key: "d".into(),
            metric: "m".into(),
            window_start: EventTime(0),
            window_end: EventTime(60_000),
            values: Values::default(),
            status: Status::Final,
            revision: Epoch(epoch),
        }
    }

    #[test]
    fn an_epoch_leaves_when_every_worker_has_completed_it() {
        let stats = Arc::new(Stats::new(1));
        let (rows_to, inbox) = mpsc::channel();
        let (sender, captured) = mpsc::channel();
        stats.outbox_bytes.add(2 * size_of::<Row>() as i64);
        for message in [
            Captured::Rows(Epoch(3), RowList::Rows(vec![row(3)])),
            Captured::Through {
                worker: 0,
                epoch: Epoch(5),
            },
            Captured::Rows(Epoch(4), RowList::Rows(vec![row(4)])),
            Captured::Through {
                worker: 1,
                epoch: Epoch(3),
            },
            Captured::Through {
                worker: 1,
                epoch: Epoch(4),
            },
            Captured::Ended { worker: 0, error: None },
            Captured::Ended { worker: 1, error: None },
        ] {
            sender.send(message).expect("the receiver is here");
        }
        let collector = Collector::new(Generation(1), stats.clone(), 2, vec![rows_to], Vec::new());
        let ended = collector.run(&captured, |_| {});
        assert!(ended.errors.is_empty());
        let through: Vec<(u64, usize)> = inbox
            .try_iter()
            .map(|p| (p.delivery.through.0, p.delivery.items.len()))
            .collect();
        assert_eq!(through[..2], [(3, 1), (4, 1)]);
        assert_eq!(stats.outbox_bytes.get(), 0, "what was delivered weighs nothing");
    }
}
