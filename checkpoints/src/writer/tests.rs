//! The writer on stores that fail, are damaged or belong to somebody else by now.

use super::*;
use crate::{Brought, Checkpoints, Folder, load, load_with};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use tidewatch_dataflow::capture::StateSlice;
use tidewatch_dataflow::checkpoint::{CheckpointError, Saved};
use tidewatch_proto::row::{Job as RowJob, Row, Status, Values};
use tidewatch_proto::time::EventTime;

const GENERATION: Generation = Generation(7);

/// A folder that can't be written now and then.
struct Flaky {
    folder: Folder,
    failures: AtomicUsize,
    refused: Mutex<Vec<String>>,
    /// A generation that somebody claims when a manifest has been put; 0 for none.
    rival: AtomicU64,
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
        self.folder.put(name, bytes)?;
        let rival = self.rival.load(Ordering::SeqCst);
        if rival > 0 && name.starts_with("manifest") {
            self.claimed(Generation(rival));
        }
        Ok(())
    }

    fn put_new(&self, name: &str, bytes: &[u8]) -> Result<bool, StoreError> {
        self.folder.put_new(name, bytes)
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

impl Flaky {
    fn claimed(&self, generation: Generation) {
        let name = FileName::Claim(generation).to_string();
        assert!(self.folder.put_new(&name, b"").expect("put"), "nobody had it");
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

/// A process with one worker without series.
struct Bench {
    store: Arc<Flaky>,
    stats: Arc<Stats>,
    checkpoints: Option<Checkpoints<u64>>,
    jobs: mpsc::Receiver<Job<u64>>,
    writer: Writer<Told>,
    told: Told,
    member: Member,
    round: u64,
    _folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Bench {
        Bench::of(Member::alone(1))
    }

    fn of(member: Member) -> Bench {
        let place = tempfile::tempdir().expect("a folder");
        let store = Arc::new(Flaky {
            folder: Folder::open(place.path()).expect("it is free"),
            failures: AtomicUsize::new(0),
            refused: Mutex::default(),
            rival: AtomicU64::new(0),
        });
        let stats = Arc::new(Stats::new(1));
        let (to_writer, jobs) = mpsc::channel();
        let told = Told::default();
        let writer = Writer::new(store.clone(), GENERATION, member, stats.clone(), told.clone());
        Bench {
            store,
            stats,
            checkpoints: Some(Checkpoints::new(GENERATION, member, to_writer)),
            jobs,
            writer,
            told,
            member,
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
            worker: self.member.index,
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
        let brought = Brought {
            rows: &[row],
            ..Brought::default()
        };
        checkpoints.seal(meta, &brought, epoch);
    }

    /// Lets the writer do what it was given; nothing more can be given afterwards.
    fn write(&mut self) {
        self.checkpoints = None;
        self.writer.run(&self.jobs).expect("it is not told to give up");
    }

    /// What the writer has been given to do for a checkpoint: the segments, and the checkpoint itself.
    fn sealed(&mut self, epoch: u64) -> (Vec<Job<u64>>, Vec<Job<u64>>) {
        self.seal(epoch);
        self.jobs.try_iter().partition(|job| matches!(job, Job::Segment { .. }))
    }

    /// Lets the writer do this; what it has not been told to be durable waits no more.
    fn work(&mut self, jobs: Vec<Job<u64>>) {
        let (to_writer, given) = mpsc::channel();
        jobs.into_iter().for_each(|job| drop(to_writer.send(job)));
        drop(to_writer);
        self.writer.run(&given).expect("it is not told to give up");
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
    bench.writer.finish(None).expect("written");
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

/// The share of another process, which needs no segments.
fn share(epoch: u64) -> Job<u64> {
    Job::Share(Box::new(Share {
        epoch: Epoch(epoch),
        delivered: Epoch(1_000),
        positions: Vec::new(),
        segments: Some(Vec::new()),
    }))
}

#[test]
fn segments_that_come_before_a_share_of_another_process_are_there_for_the_next_checkpoint() {
    let member = |index| Member {
        index,
        processes: 2,
        threads: 1,
    };
    // The first process gets shares, the other one hears what is durable.
    for (index, answer) in [
        (0, share as fn(u64) -> Job<u64>),
        (1, |epoch| Job::Durable(Epoch(epoch))),
    ] {
        let mut bench = Bench::of(member(index));
        bench.told.delivered.store(1_000, Ordering::SeqCst);
        for epoch in [10, 20] {
            let (segments, seal) = bench.sealed(epoch);
            bench.work(segments.into_iter().chain(seal).chain([answer(epoch)]).collect());
        }
        let (segments, seal) = bench.sealed(30);
        bench.work(segments);
        let (newer, newer_seal) = bench.sealed(40);
        bench.work(seal.into_iter().chain(newer).chain([answer(30)]).collect());
        bench.work(newer_seal.into_iter().chain([answer(40)]).collect());
        assert_eq!(bench.epochs(), [10, 20, 30, 40]);
        let needed = bench.writer.manifests.iter().flat_map(|(_, needed)| needed);
        let needed = needed.map(|number| FileName::Segment(GENERATION, *number).to_string());
        let (needed, there): (BTreeSet<String>, _) = (needed.collect(), bench.files("segment"));
        assert_eq!(needed, there.into_iter().collect(), "process {index}: all and no more");
        assert_eq!(needed.len(), 2 * KEPT, "process {index}");
    }
}

#[test]
fn a_replaced_run_hands_over_nothing_more() {
    // Replaced before its manifest, and between that and the sinks.
    for (is_before, manifests) in [(true, 0), (false, 1)] {
        let mut bench = Bench::new();
        match is_before {
            true => bench.store.claimed(Generation(8)),
            false => bench.store.rival.store(8, Ordering::SeqCst),
        }
        [10, 20].into_iter().for_each(|epoch| bench.seal(epoch));
        bench.checkpoints = None;
        let problem = bench.writer.run(&bench.jobs).expect_err("it is replaced");
        assert!(problem.starts_with("replaced by generation 8, "), "{problem}");
        assert_eq!(bench.epochs(), [0; 0]);
        assert_eq!(bench.files("manifest").len(), manifests);
        bench.told.delivered.store(20, Ordering::SeqCst);
        let store = bench.store.clone();
        bench.writer.finish(None).expect("it has nothing to say");
        assert_eq!(
            store
                .list()
                .expect("names")
                .iter()
                .filter(|name| name.starts_with("manifest"))
                .count(),
            manifests
        );
    }
}

#[test]
fn old_claims_are_removed_and_what_is_newer_is_left_alone() {
    let mut bench = Bench::new();
    let older = [FileName::Claim(Generation(3)), FileName::Segment(Generation(6), 1)];
    let own = FileName::Claim(GENERATION).to_string();
    let newer = [
        FileName::Segment(Generation(8), 0),
        FileName::Manifest(Generation(8), Epoch(5)),
    ];
    let newer = newer.map(|file| file.to_string());
    let unfinished = [
        "generation-00000000000000000009.12-3.new",
        "generation-00000000000000000002.12-3.new",
    ];
    let older = older.map(|file| file.to_string());
    let all = older
        .iter()
        .chain([&own])
        .chain(&newer)
        .map(String::as_str)
        .chain(unfinished);
    all.for_each(|name| bench.store.put(name, b"").expect("written"));
    [10, 20, 30].into_iter().for_each(|epoch| bench.seal(epoch));
    bench.write();
    let names = bench.store.list().expect("names");
    let is_there = |name: &str| names.iter().any(|there| there == name);
    assert!(
        is_there(&own) && newer.iter().all(|name| is_there(name)) && is_there(unfinished[0]),
        "{names:?}"
    );
    assert!(
        !older.iter().any(|name| is_there(name)) && !is_there(unfinished[1]),
        "{names:?}"
    );
}

#[test]
fn a_checkpoint_that_cannot_be_restored_is_named_and_the_one_before_it_used() {
    let mut bench = Bench::new();
    [10, 20].into_iter().for_each(|epoch| bench.seal(epoch));
    bench.write();
    let restore = |saved: Saved| match saved.meta.epoch {
        Epoch(20) => Err(CheckpointError::Incomplete { worker: 3 }),
        epoch => Ok(epoch),
    };
    let mut tried = Vec::new();
    let found = load_with(&*bench.store, |_, epoch| tried.push(epoch), restore).expect("the other one can");
    assert_eq!(found.saved, Some(Epoch(10)));
    assert_eq!(tried, [Epoch(20), Epoch(10)]);
    let newest = bench.files("manifest").pop().expect("a file");
    let says = |problem: &String| problem.contains(&newest) && problem.contains("worker 3");
    assert!(
        matches!(&found.refused[..], [problem] if says(problem)),
        "{:?}",
        found.refused
    );
    let gone = |_| Err::<(), _>(CheckpointError::PartitionGone { name: "t/0".into() });
    let problem = load_with(&*bench.store, |_, _| (), gone).expect_err("an older one wouldn't help");
    assert!(problem.contains("t/0") && !problem.contains(';'), "{problem}");
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
