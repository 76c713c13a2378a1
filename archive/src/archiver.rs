//! Reads partitions of a log and puts what they hold into the archive, a step at a time.

use crate::Settings;
use crate::buffer::{Buffer, Spare};
use crate::chain::{Chain, Change, Entry};
use crate::error::ArchiveError;
use crate::merge;
use crate::names::{Hour, ObjectName};
use crate::object;
use crate::retain;
use crate::stats::Stats;
use crate::writer::Summary;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};
use tidewatch_checkpoints::Tree;
use tidewatch_failpoints::{Bug, has_bug};
use tidewatch_proto::ids::{Offset, Partition};
use tidewatch_proto::reject::Reason;
use tidewatch_proto::source::{Assignment, Intake, Polled, Record, Source, SourceError, SourceFactory};

/// How many records a poll takes at most, about.
const POLL_RECORDS: usize = 8_192;
/// How often a partition is looked at whether it has objects to merge, or to let go.
const TEND_INTERVAL: Duration = Duration::from_secs(10);

/// Says where to begin: for each partition the next position after what is archived, if anything is.
pub type Begin = Box<dyn Fn(&[Assignment]) -> Result<Vec<Assignment>, SourceError> + Send + Sync>;

/// The log that is archived.
pub struct Log {
    /// Opens readers.
    pub factory: Arc<dyn SourceFactory>,
    /// What it is called in the archive.
    pub name: String,
    /// What logs are called there that it has taken the place of: nobody reads them any more.
    pub before: Vec<String>,
    /// The partitions that this process archives.
    pub partitions: Vec<Partition>,
    /// Where to begin.
    pub begin: Begin,
}

/// What a step has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stepped {
    /// There may be more to do at once.
    Busy,
    /// There is nothing to do just now.
    Idle,
    /// The log has ended, and all of it is in the archive.
    Finished,
}

/// Archives the partitions of a process.
pub struct Archiver {
    tree: Arc<dyn Tree>,
    log: Arc<Log>,
    settings: Settings,
    stats: Arc<Stats>,
    source: Box<dyn Source>,
    parts: Vec<Part>,
    spare: Spare,
}

/// A partition.
struct Part {
    chain: Chain,
    /// The first position that wasn't read.
    next: Option<Offset>,
    /// The hour that the log has come to.
    hour: Hour,
    open: Option<Buffer>,
    /// What is to be put as it is, in the order of positions.
    sealed: VecDeque<Buffer>,
    /// The object of what was sealed first.
    ready: Option<Ready>,
    merge_looked: Option<Instant>,
    expire_looked: Option<Instant>,
}

/// An object that is to be put.
struct Ready {
    name: ObjectName,
    bytes: Vec<u8>,
    summary: Summary,
    /// How much was read for it, and when the log appended the first of that.
    read_bytes: u64,
    since_ms: i64,
    /// It is there; its manifest isn't.
    entry: Option<Entry>,
}

impl Archiver {
    /// Goes on behind what the archive has.
    ///
    /// # Errors
    /// When the place or the log is away.
    pub fn begin(
        tree: Arc<dyn Tree>,
        log: Arc<Log>,
        settings: Settings,
        stats: Arc<Stats>,
    ) -> Result<Archiver, ArchiveError> {
        let chains = log
            .partitions
            .iter()
            .map(|partition| Chain::load(&*tree, &log.name, *partition));
        let mut parts = chains
            .map(|chain| Ok(Part::new(chain?)))
            .collect::<Result<Vec<Part>, ArchiveError>>()?;
        let archived: Vec<Assignment> = parts.iter().map(Part::assignment).collect();
        let begin = (log.begin)(&archived)?;
        for assignment in &begin {
            let part = parts
                .iter_mut()
                .find(|part| part.chain.partition() == assignment.partition);
            if let (Some(part), Some(from)) = (part, assignment.from) {
                part.next = Some(from);
                if part.chain.next().is_none() {
                    part.chain.begin_at(&*tree, from)?;
                }
            }
        }
        let source = log.factory.open_with_headers(&begin)?;
        parts
            .iter()
            .for_each(|part| stats.archived(part.chain.partition(), part.chain.next()));
        Ok(Archiver {
            tree,
            log,
            settings,
            stats,
            source,
            parts,
            spare: Spare::default(),
        })
    }

    /// Puts what is to be put, reads on, and merges when there is nothing to read.
    ///
    /// # Errors
    /// When the place is away: the same is tried by the next step. When somebody else archives the same or the log
    /// can't be read: then this archiver is of no use any more.
    pub fn step(&mut self, now: Instant) -> Result<Stepped, ArchiveError> {
        self.put_sealed()?;
        let mut intake = Collecting {
            parts: &mut self.parts,
            spare: &mut self.spare,
            stats: &self.stats,
            now: (now, wall_ms()),
        };
        let polled = self.source.poll(&mut intake, POLL_RECORDS)?;
        self.seal_due(now, polled == Polled::Finished);
        self.note_buffered();
        self.put_sealed()?;
        self.note_buffered();
        self.expire_due(now)?;
        match polled {
            Polled::Some => Ok(Stepped::Busy),
            Polled::Idle => self.merge_due(now),
            Polled::Finished => Ok(Stepped::Finished),
        }
    }

    /// Puts all that was read.
    ///
    /// # Errors
    /// As of [`step`](Archiver::step).
    pub fn flush(&mut self) -> Result<(), ArchiveError> {
        self.parts.iter_mut().for_each(Part::seal);
        self.put_sealed()
    }

    /// Seals what has waited long enough, or takes too much memory.
    fn seal_due(&mut self, now: Instant, all: bool) {
        let Settings {
            object_bytes,
            object_time,
            memory_bytes,
            ..
        } = self.settings;
        for part in &mut self.parts {
            let is_due = |open: &Buffer| open.bytes() >= object_bytes || now.duration_since(open.since) >= object_time;
            if part.open.as_ref().is_some_and(|open| all || is_due(open)) {
                part.seal();
            }
        }
        while self.open_bytes() > memory_bytes {
            let size = |part: &&mut Part| part.open.as_ref().map_or(0, Buffer::bytes);
            match self.parts.iter_mut().max_by_key(size) {
                Some(largest) => largest.seal(),
                None => break,
            }
        }
    }

    /// Says what was read and is not in the archive yet.
    fn note_buffered(&self) {
        let (mut bytes, mut since) = (0, None);
        for part in &self.parts {
            let buffers = part.sealed.iter().chain(&part.open);
            bytes += buffers.clone().map(Buffer::bytes).sum::<u64>();
            bytes += part.ready.as_ref().map_or(0, |ready| ready.read_bytes);
            let first = part.ready.as_ref().map(|ready| ready.since_ms);
            let first = first.or_else(|| buffers.clone().next().map(|buffer| buffer.since_ms));
            since = first.into_iter().chain(since).min();
        }
        self.stats.buffered_bytes.store(bytes, Ordering::Relaxed);
        self.stats
            .buffered_since_ms
            .store(since.unwrap_or(0), Ordering::Relaxed);
    }

    fn open_bytes(&self) -> u64 {
        self.parts
            .iter()
            .filter_map(|part| part.open.as_ref())
            .map(Buffer::bytes)
            .sum()
    }

    /// Puts what is sealed.
    fn put_sealed(&mut self) -> Result<(), ArchiveError> {
        for part in &mut self.parts {
            while part.make_ready(&self.log.name, self.settings.level, &mut self.spare)? {
                part.put_ready(&*self.tree, &self.stats)?;
            }
        }
        Ok(())
    }

    /// Merges objects of one partition, if some has any.
    fn merge_due(&mut self, now: Instant) -> Result<Stepped, ArchiveError> {
        if !self.settings.compaction {
            return Ok(Stepped::Idle);
        }
        for part in &mut self.parts {
            if part
                .merge_looked
                .is_some_and(|last| now.duration_since(last) < TEND_INTERVAL)
            {
                continue;
            }
            if merge::merge(
                &*self.tree,
                &mut part.chain,
                &self.settings,
                Hour::of(wall_ms()),
                &self.stats,
            )? {
                return Ok(Stepped::Busy);
            }
            part.merge_looked = Some(now);
        }
        Ok(Stepped::Idle)
    }

    /// Lets go of what is too old.
    fn expire_due(&mut self, now: Instant) -> Result<(), ArchiveError> {
        let Some(before_ms) = self.settings.expired_ms() else {
            return Ok(());
        };
        for part in &mut self.parts {
            let is_due = |last: Instant| now.duration_since(last) >= TEND_INTERVAL;
            if part.expire_looked.is_none_or(is_due) {
                retain::expire(&*self.tree, &mut part.chain, before_ms, &self.stats)?;
                part.expire_looked = Some(now);
            }
        }
        Ok(())
    }

    /// The log.
    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    /// The manifests of its partitions, to be added to.
    pub fn chains(&mut self) -> impl Iterator<Item = &mut Chain> {
        self.parts.iter_mut().map(|part| &mut part.chain)
    }
}

impl Part {
    fn new(chain: Chain) -> Part {
        let last = chain.entries().last();
        let next = match last.filter(|_| has_bug(Bug::ArchiveRewind)) {
            Some(last) => Some(Offset(last.first)),
            None => chain.next(),
        };
        Part {
            next,
            hour: chain.entries().last().map_or(Hour(i64::MIN), Entry::hour),
            chain,
            open: None,
            sealed: VecDeque::new(),
            ready: None,
            merge_looked: None,
            expire_looked: None,
        }
    }

    fn assignment(&self) -> Assignment {
        Assignment {
            partition: self.chain.partition(),
            from: self.next,
        }
    }

    /// Takes a record. What the log has come to is never more than now: a producer's clock may run fast.
    fn push(&mut self, record: &Record<'_>, is_usable: bool, (now, now_ms): (Instant, i64), spare: &mut Spare) {
        let log_ms = record.log_time.map_or(now_ms, |time| time.0.min(now_ms));
        let hour = Hour::of(log_ms);
        if hour > self.hour {
            self.seal();
            self.hour = hour;
        }
        let (first, hour) = (self.next.unwrap_or(record.offset), self.hour);
        let open = self
            .open
            .get_or_insert_with(|| Buffer::new(first, hour, (now, log_ms), spare));
        open.push(record, is_usable, spare);
        self.next = Some(record.offset.next());
    }

    fn seal(&mut self) {
        self.sealed.extend(self.open.take());
    }

    /// Makes the object of what was sealed first, and says whether there is one.
    fn make_ready(&mut self, log: &str, level: i32, spare: &mut Spare) -> Result<bool, ArchiveError> {
        if self.ready.is_none()
            && let Some(buffer) = self.sealed.pop_front()
        {
            let (name, bytes, summary) = buffer.encode((log, self.chain.partition()), level)?;
            let (read_bytes, since_ms) = (buffer.bytes(), buffer.since_ms);
            buffer.recycle(spare);
            self.ready = Some(Ready {
                read_bytes,
                since_ms,
                name,
                bytes,
                summary,
                entry: None,
            });
        }
        Ok(self.ready.is_some())
    }

    /// Puts the object, and then its manifest.
    fn put_ready(&mut self, tree: &dyn Tree, stats: &Stats) -> Result<(), ArchiveError> {
        let Some(ready) = &mut self.ready else {
            return Ok(());
        };
        let entry = match &ready.entry {
            Some(entry) => entry.clone(),
            None => object::put(tree, &ready.name, (&ready.bytes, ready.summary))?,
        };
        ready.entry = Some(entry.clone());
        let add = vec![entry.clone()];
        self.chain.append(
            tree,
            Change {
                add,
                ..Change::default()
            },
        )?;
        stats.put(entry.bytes);
        stats.records.fetch_add(entry.records, Ordering::Relaxed);
        stats.archived(self.chain.partition(), self.chain.next());
        self.ready = None;
        Ok(())
    }
}

/// Takes what the source hands over.
struct Collecting<'a> {
    parts: &'a mut [Part],
    spare: &'a mut Spare,
    stats: &'a Stats,
    now: (Instant, i64),
}

impl Collecting<'_> {
    fn take(&mut self, partition: Partition, records: &[Record<'_>], is_usable: bool) {
        let part = self.parts.iter_mut().find(|part| part.chain.partition() == partition);
        if let Some(part) = part {
            records
                .iter()
                .for_each(|record| part.push(record, is_usable, self.now, self.spare));
        }
    }
}

impl Intake for Collecting<'_> {
    fn records(&mut self, partition: Partition, records: &[Record<'_>]) {
        self.take(partition, records, true);
    }

    fn unusable(&mut self, partition: Partition, record: Record<'_>, _: Reason, _: String) {
        self.take(partition, &[record], false);
    }

    fn lag(&mut self, partition: Partition, records: u64) {
        self.stats.lags(partition, records);
    }
}

/// Milliseconds since 1970.
pub(crate) fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
