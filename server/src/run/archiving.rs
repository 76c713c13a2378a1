//! The archive of raw telemetry beside a run: on a thread of its own, which nothing waits for.

use super::begin::Begun;
use super::log::Terminal;
use super::opened;
use super::sinks::Surroundings;
use crate::config::{ArchivePlace, ArchiveSettings};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tidewatch_api::{ArchiveCounts, Writing};
use tidewatch_archive::{Begin, Log, Stats, log_name, run};
use tidewatch_checkpoints::{Folder, S3, Tree};
use tidewatch_proto::ids::{Offset, Partition};
use tidewatch_proto::source::{Assignment, SourceError};
use tidewatch_sources::begin::Before;
use tidewatch_sources::clock::wall;

/// How long is waited for the thread at a stop: what it was about to put is read again by the next start.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long to wait before the place is opened again.
const PAUSE: Duration = Duration::from_secs(2);
/// How often is looked whether to stop.
const LOOK: Duration = Duration::from_millis(20);

/// Says how far partitions are in the archive.
pub type Positions = Box<dyn Fn() -> Vec<(Partition, Offset)> + Send>;

/// The archive of a run.
pub struct Archiving {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
    stats: Arc<Stats>,
    partitions: Vec<Partition>,
}

impl Archiving {
    /// Begins to archive the partitions that this process reads.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn start(settings: &ArchiveSettings, begun: &Begun, around: &Surroundings) -> Result<Archiving, String> {
        let (factory, log) = (begun.source.factory.clone(), begun.source.log.clone());
        let count = factory.partitions().len();
        let member = begun.team.talk.member;
        let all = (0..count as u32).map(Partition);
        let partitions: Vec<Partition> = all.filter(|partition| member.reads(*partition)).collect();
        let base = factory.partitions().first().cloned().unwrap_or_default();
        let id = log.id();
        let positions = begun.restored.iter().flat_map(|restored| &restored.positions);
        let positions = positions.map(|position| (position.partition, position.next)).collect();
        let begin = begin(log, positions);
        let (stats, stop) = (Arc::new(Stats::new(count)), Arc::new(AtomicBool::new(false)));
        let (settings, terminal) = (settings.clone(), around.terminal.clone());
        let archived = partitions.clone();
        let (counting, stopping) = (stats.clone(), stop.clone());
        let archive = move || {
            let about = (&*stopping, &*terminal, &*counting);
            let Some((tree, (name, before))) = open(&settings.place, (&base, &id), about) else {
                return;
            };
            let log = Arc::new(Log {
                factory,
                name,
                before,
                partitions: archived,
                begin,
            });
            let tell = |event: tidewatch_archive::Event<'_>| terminal.trouble(&format!("archive: {event}"));
            run(&tree, &log, &settings.writing, &counting, &stopping, &tell);
        };
        let (terminal, crashed) = (around.terminal.clone(), stats.clone());
        let archive = move || {
            if catch_unwind(AssertUnwindSafe(archive)).is_err() {
                crashed.failed(wall()());
                terminal.news("archive: its thread has crashed: nothing is archived until the next start");
            }
        };
        let thread = std::thread::Builder::new().name("archive".to_owned()).spawn(archive);
        Ok(Archiving {
            thread: thread.map_err(|error| format!("can't start the archive's thread: {error}"))?,
            stop,
            stats,
            partitions,
        })
    }

    /// What it counts.
    pub fn counts(&self) -> impl Fn() -> ArchiveCounts + Send + Sync + use<> {
        let (stats, partitions) = (self.stats.clone(), self.partitions.clone());
        move || counts(&stats, &partitions)
    }

    /// How far each partition is in the archive; a partition of which that is not known yet begins with its first record.
    pub fn positions(&self) -> Positions {
        let (stats, partitions) = (self.stats.clone(), self.partitions.clone());
        let next = move |partition: Partition| {
            let next = stats.partitions.get(partition.index())?.next.load(Ordering::Relaxed);
            Some((partition, Offset(next.max(0))))
        };
        Box::new(move || partitions.iter().copied().filter_map(&next).collect())
    }

    /// Tells it to put what it has read, and to end.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    /// Waits for its end, not long.
    pub fn finish(self) {
        self.stop();
        let begun = Instant::now();
        while !self.thread.is_finished() && begun.elapsed() < PATIENCE {
            std::thread::sleep(LOOK);
        }
    }
}

impl Drop for Archiving {
    fn drop(&mut self) {
        self.stop();
    }
}

fn counts(stats: &Stats, partitions: &[Partition]) -> ArchiveCounts {
    let of_partition = |partition: &Partition| {
        let stats = stats.partitions.get(partition.index())?;
        let next = Some(stats.next.load(Ordering::Relaxed)).filter(|next| *next >= 0);
        Some((partition.index(), next, stats.lag.load(Ordering::Relaxed)))
    };
    let some = |since: &AtomicI64| Some(since.load(Ordering::Relaxed)).filter(|since| *since != 0);
    ArchiveCounts {
        objects: stats.objects.load(Ordering::Relaxed),
        bytes: stats.bytes.load(Ordering::Relaxed),
        records: stats.records.load(Ordering::Relaxed),
        merged: stats.merged.load(Ordering::Relaxed),
        expired: stats.expired.load(Ordering::Relaxed),
        removed: stats.removed.load(Ordering::Relaxed),
        writing: Writing {
            failures: stats.failures.load(Ordering::Relaxed),
            failing_since_ms: some(&stats.failing_since_ms),
            waiting_bytes: stats.buffered_bytes.load(Ordering::Relaxed),
            waiting_since_ms: some(&stats.buffered_since_ms),
        },
        partitions: partitions.iter().filter_map(of_partition).collect(),
    }
}

/// What a log is called in an archive, and what those were called whose place it has taken.
type Named = (String, Vec<String>);

/// Opens the place, again and again until it can be; gives it with the log's names there. None when it is to stop.
fn open(
    place: &ArchivePlace,
    (base, id): (&str, &str),
    (stop, terminal, stats): (&AtomicBool, &Terminal, &Stats),
) -> Option<(Arc<dyn Tree>, Named)> {
    while !stop.load(Ordering::SeqCst) {
        let opened = tree(place).and_then(|tree| {
            let name = named(&*tree, base, id).map_err(|error| error.to_string())?;
            Ok((tree, name))
        });
        match opened {
            Ok(opened) => return Some(opened),
            Err(problem) => {
                stats.failed(wall()());
                terminal.trouble(&format!("archive: {problem}; it is tried again"));
            }
        }
        let begun = Instant::now();
        while begun.elapsed() < PAUSE && !stop.load(Ordering::SeqCst) {
            std::thread::sleep(LOOK);
        }
    }
    None
}

/// Opens the place once.
///
/// # Errors
/// A line that names the key to look at.
pub fn tree(place: &ArchivePlace) -> Result<Arc<dyn Tree>, String> {
    Ok(match place {
        ArchivePlace::Folder(folder) => Arc::new(Folder::tree("archive.folder", folder)?),
        ArchivePlace::S3(settings) => Arc::new(S3::open(settings).map_err(|error| error.to_string())?),
    })
}

/// What the log is called. When its brokers don't say which one it is, it is the one that the archive knows, if that is
/// one; else others of its name are logs that were there before it was made anew.
fn named(tree: &dyn Tree, base: &str, id: &str) -> Result<Named, tidewatch_archive::ArchiveError> {
    let plain = log_name(base, "");
    let mut known: Vec<String> = tidewatch_archive::partitions(tree)?
        .into_iter()
        .map(|(log, _)| log)
        .collect();
    known.dedup();
    known.retain(|log| {
        log.strip_prefix(&plain)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    });
    if id.is_empty() {
        return Ok(match known.as_slice() {
            [one] => (one.clone(), Vec::new()),
            _ => (plain, Vec::new()),
        });
    }
    let name = log_name(base, id);
    // An id has no dot: what has one is another log, of a longer name.
    let is_before = |log: &String| *log != name && log[plain.len()..].bytes().filter(|byte| *byte == b'.').count() == 1;
    known.retain(is_before);
    Ok((name, known))
}

/// Where to begin. What was archived goes on there, if the log still has it; a partition of which nothing is archived
/// begins where the run began, or where the source is told to, whichever is first.
fn begin(log: opened::Log, positions: Vec<(Partition, Offset)>) -> Begin {
    Box::new(move |archived| goes_on(&log, archived, &positions))
}

fn goes_on(
    log: &opened::Log,
    archived: &[Assignment],
    positions: &[(Partition, Offset)],
) -> Result<Vec<Assignment>, SourceError> {
    let known: Vec<(Partition, Offset)> = archived
        .iter()
        .filter_map(|assignment| Some((assignment.partition, assignment.from?)))
        .collect();
    let id = log.id();
    let before = Before {
        log: &id,
        positions: &known,
    };
    let is_known = |assignment: &Assignment| assignment.from.is_some();
    let on = archived.iter().any(is_known).then(|| log.positions(Some(before)));
    let fresh = (!archived.iter().all(is_known)).then(|| log.positions(None));
    let (on, fresh) = (on.transpose()?.flatten(), fresh.transpose()?.flatten());
    let of = |begin: &Option<Vec<Offset>>, partition: Partition| begin.as_ref()?.get(partition.index()).copied();
    let of_run = |partition: Partition| positions.iter().find(|known| known.0 == partition).map(|known| known.1);
    let begin = archived.iter().map(|assignment| {
        let partition = assignment.partition;
        let from = match assignment.from {
            // A source that isn't a log says it itself.
            Some(from) => of(&on, partition).or(Some(from)),
            None => of(&fresh, partition).map(|first| of_run(partition).map_or(first, |next| next.min(first))),
        };
        Assignment { partition, from }
    });
    Ok(begin.collect())
}
