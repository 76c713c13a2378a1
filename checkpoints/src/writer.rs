//! Makes segments and manifests durable, in order.

use super::Job;
use super::claim;
use super::kept::Kept;
use super::names::FileName;
use super::share::{Member, Share, together};
use super::store::{Store, StoreError};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use tidewatch_dataflow::batch::Position;
use tidewatch_dataflow::checkpoint::Meta;
use tidewatch_dataflow::checkpoint::file::{self, Manifest, SegmentRef};
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

    /// The first process of the cluster is to get this process's share of a checkpoint. Never called when there is
    /// only one.
    fn report(&mut self, _share: Share) {}

    /// All other processes are to hear that a checkpoint is durable.
    fn announce(&mut self, _epoch: Epoch) {}
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
    member: Member,
    stats: Arc<Stats>,
    owner: O,
    kept: Kept,
    /// Shares of checkpoints that are not complete, by epoch.
    shares: BTreeMap<Epoch, Vec<Share>>,
    /// The manifests that are there: their names, and this process's segments that each needs.
    manifests: VecDeque<(String, BTreeSet<u64>)>,
    /// Checkpoints that could not be made yet.
    waiting: Vec<(Box<Meta>, O::Cargo)>,
    last: Option<Manifest>,
    is_away: bool,
    is_replaced: bool,
}

impl<O: Owner> Writer<O> {
    /// A writer for a run's process.
    pub fn new(
        store: Arc<dyn Store>,
        generation: Generation,
        member: Member,
        stats: Arc<Stats>,
        owner: O,
    ) -> Writer<O> {
        Writer {
            store,
            generation,
            member,
            shares: BTreeMap::new(),
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

    /// Works until nothing more comes, and what came is durable in all processes.
    ///
    /// # Errors
    /// When its owner gives up while the store can't be written, or a newer generation has been claimed: then its
    /// owner gets nothing more.
    pub fn run(&mut self, jobs: &mpsc::Receiver<Job<O::Cargo>>) -> Result<(), String> {
        let mut has_ended = false;
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
                Job::Share(share) => {
                    pass(Point::ShareGather);
                    self.gather(*share)?;
                }
                Job::Durable(epoch) => {
                    pass(Point::CheckpointHeard);
                    self.is_durable(epoch);
                }
                Job::End => has_ended = true,
            }
            if has_ended && (self.waiting.is_empty() || self.member.processes == 1) {
                break;
            }
        }
        Ok(())
    }

    /// Who has the checkpoints made.
    pub fn owner(&mut self) -> &mut O {
        &mut self.owner
    }

    fn seal(&mut self) -> Result<(), String> {
        let Some((meta, _)) = self.waiting.last() else {
            return Ok(());
        };
        let delivered = match has_bug(Bug::DeliveredEarly) {
            true => meta.epoch,
            false => self.owner.delivered(),
        };
        let own = |position: &&Position| self.member.reads(position.partition);
        let positions = meta.positions.iter().filter(own);
        let share = Share {
            epoch: meta.epoch,
            delivered,
            positions: positions.copied().collect(),
            segments: self.kept.needed(meta.epoch, self.member.workers(), delivered),
        };
        if self.member.is_first() {
            return self.gather(share);
        }
        if let Some(segments) = &share.segments {
            let name = FileName::Manifest(self.generation, share.epoch).to_string();
            self.keep(name, segments);
        }
        pass(Point::ShareReport);
        self.owner.report(share);
        Ok(())
    }

    /// Takes a process's share of a checkpoint; with the last one a manifest is written.
    fn gather(&mut self, share: Share) -> Result<(), String> {
        let epoch = share.epoch;
        let shares = self.shares.entry(epoch).or_default();
        shares.push(share);
        if shares.len() < self.member.processes {
            return Ok(());
        }
        let shares = self.shares.remove(&epoch).unwrap_or_default();
        let own = self.waiting.iter().find(|(meta, _)| meta.epoch == epoch);
        let Some(manifest) = own.and_then(|(meta, _)| together(meta, shares)) else {
            return Ok(());
        };
        if has_bug(Bug::DeliverFirst) {
            self.is_durable(epoch);
        }
        self.write(manifest)?;
        pass(Point::CheckpointDurable);
        // Who claims a newer generation from here on sees the manifest.
        self.check_newest()?;
        self.owner.announce(epoch);
        if self.member.processes > 1 {
            pass(Point::CheckpointAnnounced);
        }
        self.is_durable(epoch);
        pass(Point::CheckpointGiven);
        Ok(())
    }

    /// A checkpoint is durable: its owner gets back what came with it, and with those before.
    fn is_durable(&mut self, through: Epoch) {
        let later = self.waiting.partition_point(|(meta, _)| meta.epoch <= through);
        let later = self.waiting.split_off(later);
        for (meta, cargo) in std::mem::replace(&mut self.waiting, later) {
            self.owner.durable(&meta, cargo);
        }
        if !self.member.is_first() {
            let newest = FileName::Manifest(self.generation, through).to_string();
            let known = self.manifests.iter().position(|(name, _)| *name == newest);
            let forgotten = known.map_or(0, |known| (known + 1).saturating_sub(KEPT));
            self.manifests.drain(..forgotten);
            if known.is_some_and(|known| known + 1 - forgotten == KEPT) {
                self.forget();
            }
        }
    }

    /// Makes a manifest durable, and forgets what no checkpoint needs any more.
    fn write(&mut self, manifest: Manifest) -> Result<(), String> {
        self.check_newest()?;
        let name = FileName::Manifest(self.generation, manifest.meta.epoch).to_string();
        self.put(&name, &file::write_manifest(&manifest))?;
        self.stats.checkpoint_epoch.set(manifest.meta.epoch.0 as i64);
        self.stats.checkpoints.add(1);
        self.keep(name, &manifest.segments);
        self.last = Some(manifest);
        while self.manifests.len() > KEPT {
            self.manifests.pop_front();
        }
        if self.manifests.len() == KEPT {
            self.forget();
        }
        Ok(())
    }

    /// Notes what a checkpoint needs of this process.
    fn keep(&mut self, name: String, segments: &[SegmentRef]) {
        let own = segments.iter().map(|segment| segment.number);
        let needed = own.filter(|number| self.member.owns(*number)).collect();
        self.manifests.retain(|(other, _)| *other != name);
        self.manifests.push_back((name, needed));
    }

    /// Removes the files of checkpoints that the kept ones don't need, and nothing else: each process its own segments,
    /// the first one also manifests and what earlier runs left. What can't be removed stays for the next time.
    fn forget(&mut self) {
        let needed: BTreeSet<u64> = self.manifests.iter().flat_map(|(_, needed)| needed).copied().collect();
        // What came since, while others were waited for, is of the next checkpoint.
        let is_new = |number: u64| needed.last().is_none_or(|newest| number > *newest);
        let is_needed_own = |number: u64| is_new(number) || needed.contains(&number);
        self.kept.retain(is_needed_own);
        let (own, is_first) = (self.generation, self.member.is_first());
        let is_needed = |name: &str| match FileName::parse(name) {
            // It is not ours to say what a newer run needs.
            Some(file) if file.generation() > own => true,
            Some(FileName::Segment(generation, number)) if generation == own => {
                is_needed_own(number) || !self.member.owns(number)
            }
            Some(_) if !is_first => true,
            Some(FileName::Segment(..)) => false,
            Some(FileName::Manifest(..)) => self.manifests.iter().any(|(kept, _)| kept == name),
            // Whom ours doesn't stop is stopped by a newer one.
            Some(FileName::Claim(generation)) => generation == own,
            // A write that was cut short, or somebody else's.
            None => match FileName::of_unfinished(name) {
                Some(file) if file.generation() > own => true,
                Some(FileName::Segment(generation, number)) if generation == own => !self.member.owns(number),
                Some(_) => !is_first,
                None => true,
            },
        };
        let names = self.store.list().unwrap_or_default();
        // Manifests first: one must never be there without its segments.
        for name in names.iter().filter(|name| !is_needed(name)) {
            let _ = self.store.remove(name);
        }
    }

    /// Says in a last manifest what sinks have taken, so that the next run doesn't give it to them again: `others` is
    /// what those of all other processes have.
    ///
    /// # Errors
    /// When the store can't be written.
    pub fn finish(mut self, others: Option<Epoch>) -> Result<(), String> {
        let Some(mut manifest) = self.last.take().filter(|_| !self.is_replaced) else {
            return Ok(());
        };
        let delivered = self.owner.delivered().min(others.unwrap_or(Epoch(u64::MAX)));
        if manifest.meta.delivered >= delivered {
            return Ok(());
        }
        manifest.meta.delivered = delivered;
        self.write(manifest)
    }

    /// Fails when a newer generation has been claimed.
    fn check_newest(&mut self) -> Result<(), String> {
        let generation = self.generation;
        match self.insist(|store| claim::replaced(store, generation))? {
            None => Ok(()),
            Some(replaced) => {
                self.is_replaced = true;
                Err(replaced.to_string())
            }
        }
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
