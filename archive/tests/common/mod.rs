//! What the tests of the archive share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tidewatch_archive::{ArchiveError, Archived, Archiver, Collector, Hour, Log, Settings, Stats, Stepped};
use tidewatch_archive::{Chain, merge, objects, read};
use tidewatch_checkpoints::{Folder, Store, StoreError, Tree};
use tidewatch_proto::ids::{Offset, Partition};
use tidewatch_proto::source::SourceFactory;
use tidewatch_sources::memory::{MemoryFactory, MemoryRecord};

/// A place that dies at the nth thing that is done to it: every even one isn't done, every odd one is.
pub struct Mortal {
    folder: Folder,
    done: AtomicU64,
    dies_at: u64,
    is_away: AtomicBool,
}

impl Mortal {
    /// It dies at this thing.
    pub fn new(folder: Folder, dies_at: u64) -> Mortal {
        Mortal {
            folder,
            done: AtomicU64::new(0),
            dies_at,
            is_away: AtomicBool::new(false),
        }
    }

    /// Whether nothing can be done to it.
    pub fn set_away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::SeqCst);
    }

    fn pass<T>(&self, work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        let dead = || Err(StoreError::new("a place", "it is dead"));
        if self.is_away.load(Ordering::SeqCst) {
            return dead();
        }
        let number = self.done.fetch_add(1, Ordering::SeqCst);
        match number.cmp(&(self.dies_at / 2)) {
            std::cmp::Ordering::Less => work(),
            std::cmp::Ordering::Equal if self.dies_at % 2 == 1 => work().and_then(|_| dead()),
            _ => dead(),
        }
    }
}

impl Store for Mortal {
    fn place(&self) -> String {
        self.folder.place()
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.pass(|| self.folder.put(name, bytes))
    }

    fn put_new(&self, name: &str, bytes: &[u8]) -> Result<bool, StoreError> {
        self.pass(|| self.folder.put_new(name, bytes))
    }

    fn get(&self, name: &str) -> Result<Vec<u8>, StoreError> {
        self.pass(|| self.folder.get(name))
    }

    fn list(&self) -> Result<Vec<String>, StoreError> {
        self.pass(|| self.folder.list())
    }

    fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.pass(|| self.folder.remove(name))
    }
}

impl Tree for Mortal {
    fn list_in(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        self.pass(|| self.folder.list_in(folder))
    }
}

/// Small objects, soon.
pub fn settings() -> Settings {
    Settings {
        object_bytes: 1 << 20,
        object_time: Duration::from_secs(60),
        compaction: false,
        ..Settings::default()
    }
}

/// A log of one partition that has ended.
pub fn memory(records: Vec<MemoryRecord>) -> MemoryFactory {
    MemoryFactory::finished(vec![records])
}

/// A log in memory, all of whose partitions are archived.
pub fn log_of(factory: MemoryFactory) -> Arc<Log> {
    Arc::new(Log {
        name: "memory".to_owned(),
        before: Vec::new(),
        partitions: (0..factory.partitions().len() as u32).map(Partition).collect(),
        factory: Arc::new(factory),
        begin: Box::new(|archived| Ok(archived.to_vec())),
    })
}

/// Archives a log that has ended, then merges all that can be and collects what is left, if so told.
pub fn run_until_done(tree: &Arc<dyn Tree>, log: &Arc<Log>, settings: &Settings) -> Result<(), ArchiveError> {
    let stats = Arc::new(Stats::new(log.partitions.len()));
    let mut archiver = Archiver::begin(tree.clone(), log.clone(), settings.clone(), stats.clone())?;
    // A stop amid: what was read is put in several objects.
    archiver.step(Instant::now())?;
    archiver.flush()?;
    while archiver.step(Instant::now())? != Stepped::Finished {}
    // Later what is too old leaves.
    archiver.step(Instant::now() + Duration::from_secs(60))?;
    if !settings.compaction {
        return Ok(());
    }
    for partition in &log.partitions {
        let mut chain = Chain::load(&**tree, &log.name, *partition)?;
        while merge(&**tree, &mut chain, settings, Hour(i64::MAX), &stats)? {}
    }
    let mut archiver = Archiver::begin(tree.clone(), log.clone(), settings.clone(), stats.clone())?;
    let due = (Instant::now(), Duration::ZERO);
    Collector::default().collect(&**tree, archiver.chains(), due, &stats)
}

/// All records of a partition, and that its objects leave nothing out.
pub fn archived(tree: &dyn Tree, partition: Partition) -> Vec<Archived> {
    let objects = objects(tree, "memory", partition, Offset(0)..Offset(i64::MAX)).expect("objects");
    assert!(
        objects.windows(2).all(|pair| pair[0].last + 1 == pair[1].first),
        "no gap, no overlap"
    );
    let read = objects.iter().flat_map(|entry| {
        let records = read(tree, entry).expect("read");
        assert_eq!(records.len() as u64, entry.records);
        assert!(
            records
                .iter()
                .all(|record| (entry.first..=entry.last).contains(&record.offset.0))
        );
        records
    });
    read.collect()
}

/// The offsets of all records of a partition.
pub fn positions(tree: &dyn Tree, partition: Partition) -> Vec<i64> {
    archived(tree, partition).iter().map(|record| record.offset.0).collect()
}
