//! From what the workers give out to checkpoints: what epochs have brought is sealed when every worker has completed
//! them.

use super::crashes::Crashes;
use super::parcel::{Cargo, Parcel, letters};
use super::sealing::Sealing;
use super::seeded;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, mpsc};
use tidewatch_checkpoints::Checkpoints;
use tidewatch_dataflow::batch::Position;
use tidewatch_dataflow::capture::{Captured, reject_bytes};
use tidewatch_dataflow::checkpoint::Meta;
use tidewatch_dataflow::journal::Entry;
use tidewatch_dataflow::stats::Stats;
use tidewatch_failpoints::{Bug, Point, has_bug, pass};
use tidewatch_proto::anomaly::Anomaly;
use tidewatch_proto::block::RowList;
use tidewatch_proto::ids::{Epoch, Partition};
use tidewatch_proto::reject::Reject;
use tidewatch_proto::row::Row;
use tidewatch_proto::straggler::Straggler;

/// Collects what the workers yield, and makes checkpoints of it.
pub struct Collector {
    /// What every checkpoint says alike.
    meta: Meta,
    stats: Arc<Stats>,
    checkpoints: Checkpoints<Cargo>,
    sealing: Sealing,
    /// The run's first epoch.
    begun: Epoch,
    /// Checkpoints are of epochs that are multiples of this.
    border_epochs: u64,
    /// Whether a sink takes stragglers.
    stores: bool,
    rows: BTreeMap<Epoch, Vec<RowList>>,
    rejects: BTreeMap<Epoch, Vec<Reject>>,
    stragglers: BTreeMap<Epoch, Vec<Straggler>>,
    anomalies: BTreeMap<Epoch, Vec<Anomaly>>,
    positions: BTreeMap<Epoch, Vec<Position>>,
    /// By partition where reading stood at the last checkpoint.
    stood: BTreeMap<Partition, Position>,
    through: Vec<Option<Epoch>>,
    /// The number of this process's first worker.
    first_worker: usize,
    running: usize,
    sealed: Epoch,
    /// The last epoch that has brought anything.
    newest: Epoch,
    /// The last epoch of which there is state.
    state_of: Epoch,
    /// Where crashes are kept.
    crashes: Option<Crashes>,
    errors: Vec<String>,
}

impl Collector {
    /// A collector of the results of this process's workers, which go on from these positions with this epoch.
    pub fn new(
        (meta, begun): (Meta, Epoch),
        stats: Arc<Stats>,
        checkpoints: Checkpoints<Cargo>,
        sealing: Sealing,
        workers: Range<usize>,
        (border_epochs, stores): (u64, bool),
    ) -> Collector {
        let stood = meta
            .positions
            .iter()
            .map(|position| (position.partition, *position))
            .collect();
        Collector {
            through: vec![None; workers.len()],
            running: workers.len(),
            first_worker: workers.start,
            sealed: meta.epoch,
            newest: Epoch(0),
            meta,
            stats,
            checkpoints,
            sealing,
            begun,
            border_epochs,
            stores,
            rows: BTreeMap::new(),
            rejects: BTreeMap::new(),
            stragglers: BTreeMap::new(),
            anomalies: BTreeMap::new(),
            positions: BTreeMap::new(),
            stood,
            state_of: Epoch(0),
            crashes: None,
            errors: Vec::new(),
        }
    }

    /// Keeps where workers crash.
    pub fn noting(self, crashes: Crashes) -> Collector {
        Collector {
            crashes: Some(crashes),
            ..self
        }
    }

    /// Collects until every worker has ended, and gives what went wrong, the first first. `each` sees the last epoch
    /// that was completed.
    pub fn run(mut self, captured: &mpsc::Receiver<Captured>, mut each: impl FnMut(Epoch)) -> Vec<String> {
        while self.running > 0 {
            match captured.recv_timeout(self.sealing.wait(self.is_new())) {
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    self.errors.push("the engine ended without saying why".to_owned());
                    break;
                }
            }
            let complete = self.through.iter().copied().min().flatten();
            if let Some(complete) = complete.filter(|complete| complete.0 != u64::MAX) {
                each(complete);
                let border = self.border(complete);
                if let Some(epoch) = self.sealing.due(complete, border, self.sealed, self.is_new()) {
                    self.seal(epoch);
                }
            }
        }
        // What a worker that failed left behind is not whole: it is read again.
        if self.errors.is_empty() {
            self.seal_last();
            self.checkpoints.end();
        }
        self.errors
    }

    fn seal_last(&mut self) {
        let state_of = self.state_of.max(self.sealed);
        self.sealing.has_ended(state_of);
        while let Some(seal) = self.sealing.after_end(state_of) {
            self.seal(seal.epoch);
            if seal.is_last {
                break;
            }
        }
    }

    /// The last border that the run has passed; before the first one, what is sealed already.
    fn border(&self, complete: Epoch) -> Epoch {
        let border = Epoch(complete.0 / self.border_epochs * self.border_epochs);
        if border < self.begun { self.sealed } else { border }
    }

    /// Whether anything came that no checkpoint has.
    fn is_new(&self) -> bool {
        self.newest > self.sealed
    }

    fn take(&mut self, message: Captured) {
        self.newest = self.newest.max(brought(&message));
        match message {
            Captured::Rows(epoch, list) => self.rows.entry(epoch).or_default().push(list),
            Captured::Rejects(epoch, rejects) => self.rejects.entry(epoch).or_default().extend(rejects),
            Captured::Stragglers(epoch, list) => self.stragglers.entry(epoch).or_default().extend(list),
            Captured::Anomalies(epoch, list) => self.anomalies.entry(epoch).or_default().extend(list),
            Captured::Positions(epoch, positions) => self.positions.entry(epoch).or_default().extend(positions),
            Captured::Through { worker, epoch } => self.through[worker - self.first_worker] = Some(epoch),
            Captured::Journal { worker, entry } => self.checkpoints.journal(worker, &entry),
            Captured::State(slice) => {
                self.state_of = self.state_of.max(slice.through);
                self.checkpoints.state(*slice);
            }
            Captured::Crashed { worker, crash } => {
                let noted = self
                    .crashes
                    .as_ref()
                    .map_or(Ok(()), |crashes| crashes.note(worker, &crash));
                self.errors.extend(noted.err());
            }
            Captured::Ended { worker, error } => {
                self.running -= 1;
                self.errors.extend(error);
                // It holds nobody up any more.
                self.through[worker - self.first_worker] = Some(Epoch(u64::MAX));
            }
        }
    }

    /// Makes a checkpoint of all that epochs through this one have brought.
    fn seal(&mut self, through: Epoch) {
        pass(Point::SealBegin);
        self.sealed = through;
        let lists = taken(&mut self.rows, through);
        let (lists_bytes, count) = lists
            .iter()
            .fold((0, 0), |(bytes, rows), list| (bytes + list.bytes(), rows + list.len()));
        let mut rows = Vec::with_capacity(count);
        lists.into_iter().for_each(|list| list.append_to(&mut rows));
        seeded::rows(&mut rows);
        let row_bytes = (count * size_of::<Row>()) as i64;
        // From here on they weigh what they weigh as rows of their own.
        self.stats.outbox_bytes.add(row_bytes - lists_bytes as i64);
        let mut rejects = taken(&mut self.rejects, through);
        seeded::rejects(&mut rejects);
        let mut stragglers = taken(&mut self.stragglers, through);
        let mut straggler_bytes = stragglers.iter().map(Straggler::bytes).sum();
        let mut rejects_bytes: i64 = rejects.iter().map(reject_bytes).sum();
        if !self.stores && !stragglers.is_empty() {
            let from = rejects.len();
            rejects.extend(letters(std::mem::take(&mut stragglers), &self.stats));
            let more: i64 = rejects[from..].iter().map(reject_bytes).sum();
            self.stats.outbox_bytes.add(more - straggler_bytes);
            (rejects_bytes, straggler_bytes) = (rejects_bytes + more, 0);
        }
        let stood = |collector: &Collector| collector.stood.values().copied().collect();
        let before: Option<Vec<Position>> = has_bug(Bug::ApplyTwice).then(|| stood(self));
        let positions = taken(&mut self.positions, seeded::positions_through(through)).into_iter();
        self.stood
            .extend(positions.map(|position| (position.partition, position)));
        self.meta.epoch = through;
        self.meta.positions = before.unwrap_or_else(|| stood(self));
        let whole = (self.meta.generation, through, &self.stats);
        let anomalies = taken(&mut self.anomalies, through);
        let anomaly_bytes = anomalies.iter().map(Anomaly::bytes).sum();
        let cargo = Cargo {
            rows: Parcel::new(whole, rows, row_bytes),
            rejects: Parcel::new(whole, rejects, rejects_bytes),
            stragglers: Parcel::new(whole, stragglers, straggler_bytes),
            anomalies: Parcel::new(whole, anomalies, anomaly_bytes),
        };
        let brought = cargo.clone();
        self.checkpoints.seal(self.meta.clone(), &brought.brought(), cargo);
        pass(Point::SealDone);
        self.sealing.made();
    }
}

/// The epoch that has brought what a message says, if it says more than that time goes on.
fn brought(message: &Captured) -> Epoch {
    match message {
        Captured::Rows(epoch, _)
        | Captured::Rejects(epoch, _)
        | Captured::Stragglers(epoch, _)
        | Captured::Anomalies(epoch, _) => *epoch,
        Captured::Journal { entry, .. } => match *entry {
            Entry::Applied(epoch, _) => epoch,
            Entry::Completed(_) => Epoch(0),
        },
        Captured::Positions(..) | Captured::State(_) | Captured::Through { .. } => Epoch(0),
        Captured::Crashed { .. } | Captured::Ended { .. } => Epoch(0),
    }
}

/// Takes out what there is of epochs through this one, in their order.
fn taken<T>(by_epoch: &mut BTreeMap<Epoch, Vec<T>>, through: Epoch) -> Vec<T> {
    let later = by_epoch.split_off(&Epoch(through.0 + 1));
    let taken = std::mem::replace(by_epoch, later);
    taken.into_values().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::super::talk::Talk;
    use super::*;
    use tidewatch_checkpoints::{Job, Member, Pace};
    use tidewatch_proto::ids::Generation;
    use tidewatch_proto::row::{Status, Values};
    use tidewatch_proto::time::EventTime;

    fn row(epoch: u64) -> Row {
        Row {
            job: tidewatch_proto::row::Job::Minute,
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
    fn an_epoch_is_sealed_when_every_worker_has_completed_it() {
        let stats = Arc::new(Stats::new(1));
        let (to_writer, jobs) = mpsc::channel();
        let (sender, captured) = mpsc::channel();
        stats.outbox_bytes.add(2 * size_of::<Row>() as i64);
        let through = |worker, epoch| Captured::Through {
            worker,
            epoch: Epoch(epoch),
        };
        for message in [
            Captured::Rows(Epoch(3), RowList::Rows(vec![row(3)])),
            through(0, 5),
            Captured::Rows(Epoch(4), RowList::Rows(vec![row(4)])),
            through(1, 3),
            through(1, 4),
            Captured::Ended { worker: 0, error: None },
        ] {
            sender.send(message).expect("the receiver is here");
        }
        let generation = Generation(1);
        let meta = Meta {
            generation,
            workers: 2,
            ..Meta::default()
        };
        let member = Member::alone(2);
        let checkpoints = Checkpoints::new(generation, member, to_writer);
        let sealing = Sealing::Own {
            pace: Pace::new(2),
            talk: Talk::alone(2),
            ended: mpsc::channel().1,
        };
        let collector = Collector::new((meta, Epoch(3)), stats.clone(), checkpoints, sealing, 0..2, (2, true));
        let collecting = std::thread::spawn(move || collector.run(&captured, |_| {}));
        let first = jobs.iter().find_map(|job| match job {
            Job::Seal(meta, cargo) => Some((meta.epoch, cargo.rows.delivery.items.len())),
            _ => None,
        });
        assert_eq!(first, Some((Epoch(4), 2)));
        sender
            .send(Captured::Ended { worker: 1, error: None })
            .expect("the receiver is here");
        assert!(collecting.join().expect("it ends").is_empty());
        assert_eq!(stats.outbox_bytes.get(), 0, "what was delivered weighs nothing");
    }
}
