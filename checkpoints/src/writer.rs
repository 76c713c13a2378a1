//! Makes segments and manifests durable, in order.

use super::Job;
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
        }
    }

    /// Works until nothing more comes.
    ///
    /// # Errors
    /// When its owner gives up while the store can't be written.
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
            Some(FileName::Segment(generation, number)) => generation == self.generation && needed.contains(&number),
            Some(FileName::Manifest(..)) => self.manifests.iter().any(|(kept, _)| kept == name),
            // A write that was cut short, or somebody else's.
            None => name.strip_suffix(".new").and_then(FileName::parse).is_none(),
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
        let Some(mut manifest) = self.last.take() else {
            return Ok(());
        };
        let delivered = self.owner.delivered();
        if manifest.meta.delivered >= delivered {
            return Ok(());
        }
        manifest.meta.delivered = delivered;
        self.write(manifest)
    }

    /// Puts a file, again and again while that fails.
    fn put(&mut self, name: &str, bytes: &[u8]) -> Result<(), String> {
        let mut wait = Duration::from_millis(100);
        loop {
            match self.store.put(name, bytes) {
                Ok(()) => {
                    self.stats.checkpoint_bytes.add(bytes.len() as u64);
                    if std::mem::take(&mut self.is_away) {
                        self.owner.event(Event::Recovered);
                    }
                    return Ok(());
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
mod tests {
    use super::super::{Checkpoints, Folder, load};
    use super::*;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
    use tidewatch_dataflow::capture::StateSlice;
    use tidewatch_proto::row::{Job as RowJob, Row, Status, Values};
    use tidewatch_proto::time::EventTime;

    const GENERATION: Generation = Generation(7);

    /// A folder that can't be written now and then.
    struct Flaky {
        folder: Folder,
        failures: AtomicUsize,
        refused: Mutex<Vec<String>>,
    }

    impl Store for Flaky {
        fn place(&self) -> String {
            self.folder.place()
        }

        fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
            let left = |failures: usize| failures.checked_sub(1);
            if self
                .failures
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, left)
                .is_ok()
            {
                self.refused.lock().expect("not poisoned").push(name.to_owned());
                return Err(StoreError::new(name, "the disk is full"));
            }
            self.folder.put(name, bytes)
        }

        fn get(&self, name: &str) -> Result<Vec<u8>, StoreError> {
            self.folder.get(name)
        }

        fn list(&self) -> Result<Vec<String>, StoreError> {
            self.folder.list()
        }

        fn remove(&self, name: &str) -> Result<(), StoreError> {
            self.folder.remove(name)
        }
    }

    /// An owner of whom it is said from outside what was delivered.
    #[derive(Clone, Default)]
    struct Told {
        delivered: Arc<AtomicU64>,
        durable: Arc<Mutex<Vec<u64>>>,
    }

    impl Owner for Told {
        type Cargo = u64;

        fn durable(&mut self, meta: &Meta, cargo: u64) {
            assert_eq!(meta.epoch.0, cargo);
            self.durable.lock().expect("not poisoned").push(cargo);
        }

        fn delivered(&self) -> Epoch {
            Epoch(self.delivered.load(Ordering::SeqCst))
        }

        fn event(&mut self, _: Event<'_>) {}

        fn gives_up(&self) -> bool {
            false
        }
    }

    /// A run of one worker without series.
    struct Bench {
        store: Arc<Flaky>,
        stats: Arc<Stats>,
        checkpoints: Option<Checkpoints<u64>>,
        jobs: mpsc::Receiver<Job<u64>>,
        writer: Writer<Told>,
        told: Told,
        round: u64,
        _folder: tempfile::TempDir,
    }

    impl Bench {
        fn new() -> Bench {
            let place = tempfile::tempdir().expect("a folder");
            let store = Arc::new(Flaky {
                folder: Folder::open(place.path()).expect("it is free"),
                failures: AtomicUsize::new(0),
                refused: Mutex::default(),
            });
            let stats = Arc::new(Stats::new(1));
            let (to_writer, jobs) = mpsc::channel();
            let told = Told::default();
            let writer = Writer::new(store.clone(), GENERATION, stats.clone(), told.clone());
            Bench {
                store,
                stats,
                checkpoints: Some(Checkpoints::new(GENERATION, to_writer)),
                jobs,
                writer,
                told,
                round: 0,
                _folder: place,
            }
        }

        /// A checkpoint with a row, and a whole round of slices before it.
        fn seal(&mut self, epoch: u64) {
            let (generation, through) = (GENERATION, Epoch(epoch));
            let row = Row {
                job: RowJob::Minute,
                key: "d".into(),
                metric: "m".into(),
                window_start: EventTime(0),
                window_end: EventTime(60_000),
                values: Values::default(),
                status: Status::Final,
                revision: through,
            };
            let checkpoints = self.checkpoints.as_mut().expect("not ended");
            checkpoints.state(StateSlice {
                round: self.round,
                is_last: true,
                through,
                ..StateSlice::default()
            });
            self.round += 1;
            let meta = Meta {
                generation,
                epoch: through,
                workers: 1,
                ..Meta::default()
            };
            checkpoints.seal(meta, &[row], &[], &[], epoch);
        }

        /// Lets the writer do what it was given; nothing more can be given afterwards.
        fn write(&mut self) {
            self.checkpoints = None;
            self.writer.run(&self.jobs).expect("it is not told to give up");
        }

        fn epochs(&self) -> Vec<u64> {
            self.told.durable.lock().expect("not poisoned").clone()
        }

        fn files(&self, kind: &str) -> Vec<String> {
            let mut names = self.store.list().expect("names");
            names.retain(|name| name.starts_with(kind));
            names
        }
    }

    #[test]
    fn sinks_get_what_is_durable_in_order_whatever_fails() {
        let mut bench = Bench::new();
        bench.store.failures.store(2, Ordering::SeqCst);
        [10, 20, 30].into_iter().for_each(|epoch| bench.seal(epoch));
        bench.write();
        assert_eq!(bench.store.refused.lock().expect("not poisoned").len(), 2);
        assert_eq!(bench.epochs(), [10, 20, 30]);
        assert_eq!(
            (bench.stats.checkpoints.get(), bench.stats.checkpoints_failed.get()),
            (3, 2)
        );
        assert_eq!(bench.stats.outbox_bytes.get(), 0, "the slices' weight is gone");
        let found = load(&*bench.store).expect("it is whole").saved.expect("it is there");
        assert_eq!((found.meta.epoch, found.meta.delivered), (Epoch(30), Epoch(0)));
    }

    #[test]
    fn what_no_checkpoint_needs_is_removed_and_what_sinks_lack_is_kept() {
        let mut bench = Bench::new();
        let foreign = ["tidewatch.toml", "manifest-of-mine", "segment-1-2.new"];
        let cut_short = format!("{}.new", FileName::Segment(Generation(3), 4));
        let others = foreign.into_iter().chain([cut_short.as_str()]);
        others.for_each(|name| bench.store.put(name, b"").expect("written"));
        [10, 20, 30, 40].into_iter().for_each(|epoch| bench.seal(epoch));
        bench.write();
        let names = bench.store.list().expect("names");
        assert!(
            foreign.iter().all(|name| names.iter().any(|there| there == name)),
            "{names:?}"
        );
        assert!(!names.contains(&cut_short), "{names:?}");
        bench.store.remove("manifest-of-mine").expect("removed");
        bench.store.remove("segment-1-2.new").expect("removed");
        assert_eq!(bench.files("manifest").len(), KEPT);
        // Rows lie apart from state: of the state only the last two rounds are there.
        assert_eq!(bench.files("segment").len(), 6, "their rows are not delivered");
        let restored = load(&*bench.store)
            .expect("whole")
            .saved
            .expect("there")
            .into_restored(&[], &Default::default());
        let epochs: Vec<u64> = restored
            .expect("whole")
            .outbox
            .rows
            .keys()
            .map(|epoch| epoch.0)
            .collect();
        assert_eq!(epochs, [10, 20, 30, 40]);

        let mut bench = Bench::new();
        bench.told.delivered.store(25, Ordering::SeqCst);
        [10, 20, 30, 40].into_iter().for_each(|epoch| bench.seal(epoch));
        bench.write();
        assert_eq!(bench.files("segment").len(), 4, "what sinks have is needed no more");
        bench.told.delivered.store(40, Ordering::SeqCst);
        let store = bench.store.clone();
        bench.writer.finish().expect("written");
        let saved = load(&*store).expect("whole").saved.expect("there");
        assert_eq!(saved.meta.delivered, Epoch(40));
        assert!(
            saved
                .into_restored(&[], &Default::default())
                .expect("whole")
                .outbox
                .rows
                .is_empty()
        );
    }

    /// Damages a file.
    type Damage = fn(&mut Vec<u8>);

    #[test]
    fn a_damaged_checkpoint_is_named_and_the_one_before_it_used() {
        let damages: [(&str, Damage); 5] = [
            ("manifest", |bytes| bytes[45] ^= 4),
            ("manifest", |bytes| bytes.truncate(50)),
            ("manifest", |bytes| bytes[..8].copy_from_slice(b"PAR1PAR1")),
            ("segment", |bytes| bytes[45] ^= 1),
            ("segment", |bytes| bytes.truncate(bytes.len() - 1)),
        ];
        for (kind, damage) in damages {
            let mut bench = Bench::new();
            [10, 20, 30].into_iter().for_each(|epoch| bench.seal(epoch));
            bench.write();
            let newest = bench.files(kind).pop().expect("a file");
            let mut bytes = bench.store.get(&newest).expect("there");
            damage(&mut bytes);
            bench.store.put(&newest, &bytes).expect("written");
            let found = load(&*bench.store).expect("another is whole");
            assert_eq!(found.saved.expect("the one before").meta.epoch, Epoch(20), "{kind}");
            assert!(
                matches!(&found.refused[..], [problem] if problem.contains(&newest)),
                "{:?}",
                found.refused
            );
            for name in bench.files(kind) {
                bench.store.put(&name, &bytes).expect("written");
            }
            let problem = load(&*bench.store).expect_err("none is whole");
            assert!(problem.contains(&format!("/{kind}-")), "{problem}");
        }
    }
}
