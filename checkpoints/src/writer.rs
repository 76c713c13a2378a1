//! Makes segments and manifests durable, in order.

use super::Job;
use super::claim;
use super::kept::Kept;
use super::names::FileName;
use super::store::{Store, StoreError};
use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use tidewatch_dataflow::checkpoint::Meta;
use tidewatch_dataflow::checkpoint::file::{self, Manifest};
use tidewatch_dataflow::stats::Stats;
use tidewatch_failpoints::{Bug, Point, has_bug, pass};
use tidewatch_proto::ids::{Epoch, Generation};

/// Who has checkpoints made.
pub trait Owner {
    /// What comes with a checkpoint.
    type Cargo;

    /// A checkpoint is durable.
    fn durable(&mut self, meta: &Meta, cargo: Self::Cargo);

    /// The last epoch of which sinks have taken everything.
    fn delivered(&self) -> Epoch;

    /// Something is to be told.
    fn event(&mut self, event: Event<'_>);

    /// Whether to give up what fails again and again.
    fn gives_up(&self) -> bool;
}

/// What there is to tell.
#[derive(Debug)]
pub enum Event<'a> {
    /// A file can't be written; it is tried again after this time.
    Failed(&'a StoreError, Duration),
    /// Files can be written again.
    Recovered,
}

/// How many checkpoints are kept.
const KEPT: usize = 2;

/// Makes things durable.
pub struct Writer<O: Owner> {
    store: Arc<dyn Store>,
    generation: Generation,
    stats: Arc<Stats>,
    owner: O,
    kept: Kept,
    /// The manifests that are there: their names, and the segments that each needs.
    manifests: VecDeque<(String, BTreeSet<u64>)>,
    /// Checkpoints that could not be made yet.
    waiting: Vec<(Box<Meta>, O::Cargo)>,
    last: Option<Manifest>,
    is_away: bool,
    is_replaced: bool,
}

impl<O: Owner> Writer<O> {
    /// A writer for a run.
    pub fn new(store: Arc<dyn Store>, generation: Generation, stats: Arc<Stats>, owner: O) -> Writer<O> {
        Writer {
            store,
            generation,
            stats,
            owner,
            kept: Kept::default(),
            manifests: VecDeque::new(),
            waiting: Vec::new(),
            last: None,
            is_away: false,
            is_replaced: false,
        }
    }

    /// Works until nothing more comes.
    ///
    /// # Errors
    /// When its owner gives up while the store can't be written, or a newer generation has been claimed: then its
    /// owner gets nothing more.
    pub fn run(&mut self, jobs: &mpsc::Receiver<Job<O::Cargo>>) -> Result<(), String> {
        for job in jobs {
            match job {
                Job::Segment {
                    number,
                    bytes,
                    contents,
                } => {
                    let name = FileName::Segment(self.generation, number).to_string();
                    self.put(&name, &bytes)?;
                    self.stats.outbox_bytes.add(-contents.weight);
                    self.kept.insert(number, bytes.len() as u64, contents);
                }
                Job::Seal(meta, cargo) => {
                    self.waiting.push((meta, cargo));
                    self.seal()?;
                }
            }
        }
        Ok(())
    }

    /// Who has the checkpoints made.
    pub fn owner(&mut self) -> &mut O {
        &mut self.owner
    }

    fn seal(&mut self) -> Result<(), String> {
        let Some(mut meta) = self.waiting.last().map(|(meta, _)| Meta::clone(meta)) else {
            return Ok(());
        };
        meta.delivered = match has_bug(Bug::DeliveredEarly) {
            true => meta.epoch,
            false => self.owner.delivered(),
        };
        let Some(needed) = self.kept.needed(meta.epoch, meta.workers, meta.delivered) else {
            return Ok(());
        };
        if has_bug(Bug::DeliverFirst) {
            self.give();
        }
        self.write(Manifest { meta, segments: needed })?;
        pass(Point::CheckpointDurable);
        // Who claims a newer generation from here on sees the manifest.
        self.check_newest()?;
        self.give();
        pass(Point::CheckpointGiven);
        Ok(())
    }

    /// Gives their owner the cargoes of the checkpoints that were waiting.
    fn give(&mut self) {
        for (meta, cargo) in std::mem::take(&mut self.waiting) {
            self.owner.durable(&meta, cargo);
        }
    }

    /// Makes a manifest durable, and forgets what no checkpoint needs any more.
    fn write(&mut self, manifest: Manifest) -> Result<(), String> {
        self.check_newest()?;
        let name = FileName::Manifest(self.generation, manifest.meta.epoch).to_string();
        self.put(&name, &file::write_manifest(&manifest))?;
        self.stats.checkpoint_epoch.set(manifest.meta.epoch.0 as i64);
        self.stats.checkpoints.add(1);
        let needed = manifest.segments.iter().map(|segment| segment.number).collect();
        self.last = Some(manifest);
        self.manifests.retain(|(other, _)| *other != name);
        self.manifests.push_back((name, needed));
        while self.manifests.len() > KEPT {
            self.manifests.pop_front();
        }
        if self.manifests.len() == KEPT {
            self.forget();
        }
        Ok(())
    }

    /// Removes the files of checkpoints that the kept ones don't need, and nothing else. What can't be removed stays
    /// for the next time.
    fn forget(&mut self) {
        let needed: BTreeSet<u64> = self.manifests.iter().flat_map(|(_, needed)| needed).copied().collect();
        self.kept.retain(&needed);
        let is_needed = |name: &str| match FileName::parse(name) {
            // It is not ours to say what a newer run needs.
            Some(file) if file.generation() > self.generation => true,
            Some(FileName::Segment(generation, number)) => generation == self.generation && needed.contains(&number),
            Some(FileName::Manifest(..)) => self.manifests.iter().any(|(kept, _)| kept == name),
            // Whom ours doesn't stop is stopped by a newer one.
            Some(FileName::Claim(generation)) => generation == self.generation,
            // A write that was cut short, or somebody else's.
            None => FileName::of_unfinished(name).is_none_or(|file| file.generation() > self.generation),
        };
        let names = self.store.list().unwrap_or_default();
        // Manifests first: one must never be there without its segments.
        for name in names.iter().filter(|name| !is_needed(name)) {
            let _ = self.store.remove(name);
        }
    }

    /// Says in a last manifest what sinks have taken, so that the next run doesn't give it to them again.
    ///
    /// # Errors
    /// When the store can't be written.
    pub fn finish(mut self) -> Result<(), String> {
        let Some(mut manifest) = self.last.take().filter(|_| !self.is_replaced) else {
            return Ok(());
        };
        let delivered = self.owner.delivered();
        if manifest.meta.delivered >= delivered {
            return Ok(());
        }
        manifest.meta.delivered = delivered;
        self.write(manifest)
    }

    /// Fails when a newer generation has been claimed.
    fn check_newest(&mut self) -> Result<(), String> {
        let generation = self.generation;
        let newer = self.insist(|store| claim::newer(store, generation))?;
        let Some(newer) = newer else {
            return Ok(());
        };
        self.is_replaced = true;
        Err(format!(
            "replaced by generation {newer}, which goes on from the checkpoints in {}; this is generation {generation}",
            self.store.place()
        ))
    }

    /// Puts a file.
    fn put(&mut self, name: &str, bytes: &[u8]) -> Result<(), String> {
        self.insist(|store| store.put(name, bytes))?;
        self.stats.checkpoint_bytes.add(bytes.len() as u64);
        Ok(())
    }

    /// Does something again and again while it fails.
    fn insist<T>(&mut self, what: impl Fn(&dyn Store) -> Result<T, StoreError>) -> Result<T, String> {
        let mut wait = Duration::from_millis(100);
        loop {
            match what(&*self.store) {
                Ok(done) => {
                    if std::mem::take(&mut self.is_away) {
                        self.owner.event(Event::Recovered);
                    }
                    return Ok(done);
                }
                Err(error) => self.failed(&error, wait)?,
            }
            std::thread::sleep(wait);
            wait = (wait * 2).min(Duration::from_secs(5));
        }
    }

    fn failed(&mut self, error: &StoreError, wait: Duration) -> Result<(), String> {
        self.stats.checkpoints_failed.add(1);
        if self.owner.gives_up() {
            return Err(format!("a checkpoint could not be written: {error}"));
        }
        if !std::mem::replace(&mut self.is_away, true) {
            self.owner.event(Event::Failed(error, wait));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
