//! Checkpoints of a run, as the server makes them; there are no sinks, so they hold no rows unless they hold all.

use super::Saved;
use anyhow::{Context, Result, anyhow};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;
use tidewatch_checkpoints::{Brought, Checkpoints, Event, Folder, Job, Member, Owner, Pace, Writer};
use tidewatch_dataflow::batch::Position;
use tidewatch_dataflow::capture::Captured;
use tidewatch_dataflow::checkpoint::Meta;
use tidewatch_dataflow::stats::Stats;
use tidewatch_proto::block::RowList;
use tidewatch_proto::ids::{Epoch, Generation};

/// Makes checkpoints.
pub struct Saving {
    meta: Meta,
    border_epochs: u64,
    checkpoints: Checkpoints<()>,
    pace: Pace,
    writing: JoinHandle<Result<(), String>>,
    stats: Arc<Stats>,
    /// Rows of no checkpoint yet, if there are to be any.
    rows: Option<BTreeMap<Epoch, Vec<RowList>>>,
    delivered: Arc<AtomicU64>,
}

/// Nobody gets anything; what counts as taken is said from outside.
struct Nobody(Arc<AtomicU64>);

impl Owner for Nobody {
    type Cargo = ();

    fn durable(&mut self, _: &Meta, (): ()) {}

    fn delivered(&self) -> Epoch {
        Epoch(self.0.load(Ordering::Relaxed))
    }

    fn event(&mut self, event: Event<'_>) {
        eprintln!("{event:?}");
    }

    fn gives_up(&self) -> bool {
        true
    }
}

impl Saving {
    /// Checkpoints in a folder, of a run of so many workers.
    pub fn start(
        folder: &Path,
        workers: usize,
        partitions: &[String],
        border_epochs: u64,
        stats: Arc<Stats>,
    ) -> Result<Self> {
        let folder = Folder::open(folder).map_err(|problem| anyhow!(problem))?;
        let (to_writer, jobs) = mpsc::channel::<Job<()>>();
        let generation = Generation(1);
        let delivered = Arc::new(AtomicU64::new(u64::MAX));
        let mut writer = Writer::new(
            Arc::new(folder),
            generation,
            Member::alone(workers),
            stats.clone(),
            Nobody(delivered.clone()),
        );
        Ok(Self {
            meta: Meta {
                generation,
                workers,
                partition_names: partitions.to_vec(),
                ..Meta::default()
            },
            border_epochs,
            checkpoints: Checkpoints::new(generation, Member::alone(workers), to_writer),
            pace: Pace::new(std::thread::available_parallelism()?.get()),
            writing: std::thread::spawn(move || writer.run(&jobs)),
            stats,
            rows: None,
            delivered,
        })
    }

    /// Rows are in the checkpoints too, as if no sink ever took them.
    pub fn with_full_outbox(mut self, is_full: bool) -> Self {
        self.rows = is_full.then(BTreeMap::new);
        self.delivered
            .store(if is_full { 0 } else { u64::MAX }, Ordering::Relaxed);
        self
    }

    /// Whether rows are to be held.
    pub fn takes_rows(&self) -> bool {
        self.rows.is_some()
    }

    /// Takes rows.
    pub fn hold(&mut self, epoch: Epoch, list: RowList) {
        if let Some(rows) = &mut self.rows {
            rows.entry(epoch).or_default().push(list);
        }
    }

    /// Takes what the workers give out for checkpoints.
    pub fn take(&mut self, captured: Captured) {
        match captured {
            Captured::Journal { worker, entry } => self.checkpoints.journal(worker, &entry),
            Captured::State(slice) => self.checkpoints.state(*slice),
            _ => {}
        }
    }

    /// All workers have completed an epoch: makes a checkpoint if one is due.
    pub fn complete(&mut self, epoch: Epoch, positions: impl Iterator<Item = Position>) {
        let border = Epoch(epoch.0 / self.border_epochs * self.border_epochs);
        if border > self.meta.epoch && self.pace.wait(true) == Duration::ZERO {
            self.seal(border, positions);
        }
    }

    fn seal(&mut self, epoch: Epoch, positions: impl Iterator<Item = Position>) {
        self.meta.epoch = epoch;
        self.meta.positions = positions.collect();
        let mut rows = Vec::new();
        if let Some(held) = &mut self.rows {
            let later = held.split_off(&Epoch(epoch.0 + 1));
            let lists = std::mem::replace(held, later).into_values().flatten();
            lists.for_each(|list| list.append_to(&mut rows));
        }
        let brought = Brought {
            rows: &rows,
            ..Brought::default()
        };
        self.checkpoints.seal(self.meta.clone(), &brought, ());
        self.pace.made();
    }

    /// Makes the last checkpoint, and waits until it is durable.
    pub fn finish(mut self, epoch: Epoch, positions: impl Iterator<Item = Position>) -> Result<Saved> {
        self.seal(epoch, positions);
        drop(self.checkpoints);
        let written = self.writing.join().ok().context("the writer panicked")?;
        written.map_err(|problem| anyhow!(problem))?;
        Ok(Saved {
            made: self.stats.checkpoints.get(),
            bytes: self.stats.checkpoint_bytes.get(),
            interval_s: self.pace.interval().as_secs_f64(),
        })
    }
}
