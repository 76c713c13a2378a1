//! What the archive costs: a stream of W1 from a log that makes its records as they are read, into a folder.

mod source;

use crate::measure::Usage;
use crate::w1::METRICS;
use crate::w1::spec::Spec;
use anyhow::{Result, anyhow};
use source::StreamFactory;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;
use tidewatch_archive::{Archiver, Chain, Hour, Log, Settings, Stats, Stepped, merge};
use tidewatch_checkpoints::{Folder, Tree};
use tidewatch_proto::ids::Partition;
use tidewatch_proto::source::SourceFactory;

/// What it came to.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Messages.
    pub messages: u64,
    /// Bytes of the objects as they were first put, and when all were merged that could be.
    pub bytes: (u64, u64),
    /// How many objects there were, and are then.
    pub objects: (usize, usize),
    /// CPU seconds of archiving, and of merging after it; making the records is not in it.
    pub cpu_s: (f64, f64),
}

/// Archives a stream into an empty folder.
///
/// # Errors
/// When it can't be written.
pub fn run(spec: Spec, settings: &Settings, folder: &Path) -> Result<Cost> {
    let factory = StreamFactory::new(spec);
    let making_s = factory.making_s()?;
    let tree = Folder::tree("--folder", folder).map_err(|problem| anyhow!(problem))?;
    let tree: Arc<dyn Tree> = Arc::new(tree);
    let partitions: Vec<Partition> = (0..spec.partitions).map(Partition).collect();
    let log = Arc::new(Log {
        before: Vec::new(),
        name: factory.name().to_owned(),
        partitions: partitions.clone(),
        begin: Box::new(|archived| Ok(archived.to_vec())),
        factory: Arc::new(factory) as Arc<dyn SourceFactory>,
    });
    let stats = Arc::new(Stats::new(partitions.len()));
    let before = Usage::now()?;
    let mut archiver = Archiver::begin(tree.clone(), log.clone(), settings.clone(), stats.clone())?;
    while archiver.step(Instant::now())? != Stepped::Finished {}
    let archived_s = Usage::now()?.since(before).thread_s - making_s;
    let load = || -> Result<Vec<Chain>> {
        let chains = partitions
            .iter()
            .map(|partition| Ok(Chain::load(&*tree, &log.name, *partition)?));
        chains.collect()
    };
    let mut chains = load()?;
    let first = held(&chains);
    let before = Usage::now()?;
    for chain in &mut chains {
        while merge(&*tree, chain, settings, Hour(i64::MAX), &stats)? {}
    }
    let merged_s = Usage::now()?.since(before).thread_s;
    let last = held(&chains);
    Ok(Cost {
        messages: stats.records.load(Ordering::Relaxed),
        bytes: (first.0, last.0),
        objects: (first.1, last.1),
        cpu_s: (archived_s, merged_s),
    })
}

/// Bytes and number of all objects.
fn held(chains: &[Chain]) -> (u64, usize) {
    let entries = || chains.iter().flat_map(Chain::entries);
    (entries().map(|entry| entry.bytes).sum(), entries().count())
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let readings = self.messages as f64 * METRICS.len() as f64;
        let millions = self.messages as f64 / 1e6;
        let line = |f: &mut fmt::Formatter<'_>, what: &str, objects: usize, bytes: u64, cpu_s: f64| {
            let (each, cpu) = (bytes as f64 / readings, cpu_s / millions);
            writeln!(
                f,
                "{what}: {objects} objects, {each:.2} bytes a reading, {cpu:.3} CPU s per M messages"
            )
        };
        line(f, "archived", self.objects.0, self.bytes.0, self.cpu_s.0)?;
        line(f, "merged", self.objects.1, self.bytes.1, self.cpu_s.1)
    }
}
