//! Checkpoints of a run, as the server makes them; there are no sinks, so they hold no rows.

use anyhow::{Context, Result, anyhow};
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;
use tidewatch_checkpoints::{Checkpoints, Event, Folder, Job, Owner, Pace, Writer};
use tidewatch_dataflow::batch::Position;
use tidewatch_dataflow::capture::Captured;
use tidewatch_dataflow::checkpoint::Meta;
use tidewatch_dataflow::stats::Stats;
use tidewatch_proto::ids::{Epoch, Generation};

/// Makes checkpoints.
pub struct Saving {
    meta: Meta,
    border_epochs: u64,
    checkpoints: Checkpoints<()>,
    pace: Pace,
    writing: JoinHandle<Result<(), String>>,
}

/// Nobody gets anything.
struct Nobody;

impl Owner for Nobody {
    type Cargo = ();

    fn durable(&mut self, _: &Meta, (): ()) {}

    fn delivered(&self) -> Epoch {
        Epoch(u64::MAX)
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
    pub fn start(folder: &Path, workers: usize, border_epochs: u64, stats: Arc<Stats>) -> Result<Self> {
        let folder = Folder::open(folder).map_err(|problem| anyhow!(problem))?;
        let (to_writer, jobs) = mpsc::channel::<Job<()>>();
        let generation = Generation(1);
        let mut writer = Writer::new(Arc::new(folder), generation, stats, Nobody);
        Ok(Self {
            meta: Meta {
                generation,
                workers,
                ..Meta::default()
            },
            border_epochs,
            checkpoints: Checkpoints::new(generation, to_writer),
            pace: Pace::new(std::thread::available_parallelism()?.get()),
            writing: std::thread::spawn(move || writer.run(&jobs)),
        })
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
        self.checkpoints.seal(self.meta.clone(), &[], &[], &[], ());
        self.pace.made();
    }

    /// Makes the last checkpoint, and waits until it is durable.
    pub fn finish(mut self, epoch: Epoch, positions: impl Iterator<Item = Position>) -> Result<()> {
        self.seal(epoch, positions);
        drop(self.checkpoints);
        let written = self.writing.join().ok().context("the writer panicked")?;
        written.map_err(|problem| anyhow!(problem))
    }
}
