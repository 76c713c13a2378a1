//! Archives until it is told to stop: on a thread of its own, since it waits for the place and for the log.

use crate::Settings;
use crate::archiver::{Archiver, Log, Stepped, wall_ms};
use crate::chain::Chain;
use crate::collect::Collector;
use crate::error::{ArchiveError, Kind};
use crate::read::partitions;
use crate::retain;
use crate::stats::Stats;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tidewatch_checkpoints::Tree;
use tidewatch_proto::ids::Partition;

/// How long to wait when there is nothing to read.
const IDLE: Duration = Duration::from_millis(20);
/// How long to wait after a failure: twice as long each time, between these.
const PAUSE: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// How long what was read may take to be put when it is to stop; the next start reads the rest again.
const STOP_TIME: Duration = Duration::from_secs(2);
/// How often the archive is looked through for what no manifest names: after so many times the grace, but at least so
/// often; and after one time while there is something.
const COLLECT_GRACES: u32 = 6;
const COLLECT_INTERVAL: Duration = Duration::from_secs(3_600);

/// What somebody should know; its `Display` is the line.
#[derive(Debug)]
pub enum Event<'a> {
    /// Something fails, and is tried again and again.
    Failing(&'a ArchiveError),
    /// It works again.
    Works,
}

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Failing(error) => write!(f, "{error}; nothing is lost while the log has it, it is tried again"),
            Event::Works => f.write_str("the archive goes on"),
        }
    }
}

/// Archives a log until `stop`, through every failure of the place and of the log.
pub fn run(
    tree: &Arc<dyn Tree>,
    log: &Arc<Log>,
    settings: &Settings,
    stats: &Arc<Stats>,
    stop: &AtomicBool,
    tell: &dyn Fn(Event<'_>),
) {
    let mut keeper = Keeper {
        settings,
        stats,
        collector: Collector::default(),
        collected: None,
    };
    let (mut archiver, mut pause) = (None, PAUSE);
    while !stop.load(Ordering::SeqCst) {
        let stepped = match &mut archiver {
            None => Archiver::begin(tree.clone(), log.clone(), settings.clone(), stats.clone()).map(|begun| {
                archiver = Some(begun);
                Stepped::Busy
            }),
            Some(archiver) => archiver.step(Instant::now()).and_then(|stepped| {
                keeper.keep(&**tree, archiver, stepped)?;
                Ok(stepped)
            }),
        };
        match stepped {
            Ok(Stepped::Finished) => break,
            Ok(stepped) => {
                stats.succeeded();
                if std::mem::replace(&mut pause, PAUSE) > PAUSE {
                    tell(Event::Works);
                }
                if stepped == Stepped::Idle {
                    std::thread::sleep(IDLE);
                }
            }
            Err(error) => {
                if error.kind != Kind::Retry {
                    archiver = None;
                }
                stats.failed(wall_ms());
                tell(Event::Failing(&error));
                wait(pause, stop);
                pause = (2 * pause).min(PAUSE_MAX);
            }
        }
    }
    let begun = Instant::now();
    while let Some(Err(_)) = archiver.as_mut().map(Archiver::flush)
        && begun.elapsed() < STOP_TIME
    {
        std::thread::sleep(PAUSE);
    }
}

/// Looks through the archive now and then.
struct Keeper<'a> {
    settings: &'a Settings,
    stats: &'a Stats,
    collector: Collector,
    /// When it was last looked through.
    collected: Option<Instant>,
}

impl Keeper<'_> {
    fn keep(&mut self, tree: &dyn Tree, archiver: &mut Archiver, stepped: Stepped) -> Result<(), ArchiveError> {
        let now = Instant::now();
        let interval = match self.collector.waits() {
            true => self.settings.grace,
            false => (COLLECT_GRACES * self.settings.grace).min(COLLECT_INTERVAL),
        };
        let is_due = self.collected.is_none_or(|last| now.duration_since(last) >= interval);
        if !is_due || stepped == Stepped::Busy {
            return Ok(());
        }
        let mut before = self.expired(tree, archiver.log())?;
        let chains = archiver.chains().chain(&mut before);
        self.collector
            .collect(tree, chains, (now, self.settings.grace), self.stats)?;
        self.collected = Some(now);
        Ok(())
    }

    /// Lets go of what is too old in logs that this one has taken the place of. Of several processes one does it.
    fn expired(&self, tree: &dyn Tree, log: &Log) -> Result<Vec<Chain>, ArchiveError> {
        let Some(before_ms) = self.settings.expired_ms() else {
            return Ok(Vec::new());
        };
        if log.before.is_empty() || !log.partitions.contains(&Partition(0)) {
            return Ok(Vec::new());
        }
        let mut chains = Vec::new();
        for (name, partition) in partitions(tree)? {
            if log.before.contains(&name) {
                let mut chain = Chain::load(tree, &name, partition)?;
                retain::expire(tree, &mut chain, before_ms, self.stats)?;
                chains.push(chain);
            }
        }
        Ok(chains)
    }
}

/// Waits, unless it is to stop.
fn wait(time: Duration, stop: &AtomicBool) {
    let begun = Instant::now();
    while begun.elapsed() < time && !stop.load(Ordering::SeqCst) {
        std::thread::sleep(IDLE);
    }
}
