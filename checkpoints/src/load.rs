//! The newest checkpoint that is whole.

use super::names::FileName;
use super::store::Store;
use tidewatch_dataflow::checkpoint::file::{self, Manifest, SegmentRef};
use tidewatch_dataflow::checkpoint::{CheckpointError, Part, Saved};
use tidewatch_failpoints::{Point, check};
use tidewatch_proto::ids::{Epoch, Generation};

/// What was found.
#[derive(Debug)]
pub struct Found<T = Saved> {
    /// The newest checkpoint that is whole, or what was made of it, if there is any.
    pub saved: Option<T>,
    /// What is wrong with newer ones, each with its file.
    pub refused: Vec<String>,
}

/// Looks for the newest whole checkpoint.
///
/// # Errors
/// When the store can't be read, or there are checkpoints and none of them is whole: starting over is the user's
/// decision.
pub fn load(store: &dyn Store) -> Result<Found, String> {
    load_with(store, |_, _| (), Ok)
}

/// Looks for the newest checkpoint that is whole and of which `restore` makes something. One of which it doesn't is
/// refused like one that is not whole; when a partition is gone, that is nothing that an older one would mend. `trying`
/// hears of which run and epoch each is before it is read.
///
/// # Errors
/// As [`load()`] says; or a partition is gone.
pub fn load_with<T>(
    store: &dyn Store,
    mut trying: impl FnMut(Generation, Epoch),
    mut restore: impl FnMut(Saved) -> Result<T, CheckpointError>,
) -> Result<Found<T>, String> {
    check(Point::LoadList).map_err(|error| error.to_string())?;
    let names = store.list().map_err(|error| error.to_string())?;
    let manifests = names.iter().rev().filter_map(|name| match FileName::parse(name) {
        Some(FileName::Manifest(generation, epoch)) => Some((name, generation, epoch)),
        _ => None,
    });
    let mut refused = Vec::new();
    for (name, generation, epoch) in manifests {
        trying(generation, epoch);
        let restored = read(store, name).map(&mut restore);
        let problem = match restored {
            Ok(Ok(restored)) => {
                let saved = Some(restored);
                return Ok(Found { saved, refused });
            }
            Ok(Err(gone @ CheckpointError::PartitionGone { .. })) => return Err(gone.to_string()),
            Ok(Err(error)) => format!("{}/{name}: {error}", store.place()),
            Err(problem) => problem,
        };
        refused.push(problem);
    }
    match refused.is_empty() {
        true => Ok(Found { saved: None, refused }),
        false => Err(refused.join("; ")),
    }
}

/// The checkpoint of an epoch that another process of the cluster has chosen.
///
/// # Errors
/// When it isn't there or isn't whole: with the file's name.
pub fn load_chosen(store: &dyn Store, generation: Generation, epoch: Epoch) -> Result<Saved, String> {
    read(store, &FileName::Manifest(generation, epoch).to_string())
}

/// So many segments are read at the same time.
const AT_ONCE: usize = 4;

fn read(store: &dyn Store, name: &str) -> Result<Saved, String> {
    let manifest = get(store, name, Point::LoadManifest)?;
    let manifest: Manifest = file::read_manifest(&manifest).map_err(|error| wrong(store, name, &error))?;
    let Manifest { meta, segments } = manifest;
    let mut parts = Vec::new();
    for together in segments.chunks(AT_ONCE) {
        let all = std::thread::scope(|scope| {
            let read = |segment| scope.spawn(move || read_segment(store, meta.generation, segment));
            let threads: Vec<_> = together.iter().map(read).collect();
            let ended = threads.into_iter().map(std::thread::ScopedJoinHandle::join);
            ended.collect::<Vec<_>>()
        });
        for ended in all {
            parts.extend(ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
    }
    Ok(Saved { meta, parts })
}

fn read_segment(store: &dyn Store, generation: Generation, segment: &SegmentRef) -> Result<Vec<Part>, String> {
    let name = FileName::Segment(generation, segment.number).to_string();
    let bytes = get(store, &name, Point::LoadSegment)?;
    if bytes.len() as u64 != segment.bytes {
        let problem = format!("it has {} bytes, not {}", bytes.len(), segment.bytes);
        return Err(format!("{}/{name}: the checkpoint is torn: {problem}", store.place()));
    }
    let read = file::read_segment(&bytes, generation, segment.number);
    read.map_err(|error| wrong(store, &name, &error))
}

fn get(store: &dyn Store, name: &str, point: Point) -> Result<Vec<u8>, String> {
    let bytes = store.get(name).map_err(|error| error.to_string())?;
    check(point).map_err(|error| format!("{}/{name}: {error}", store.place()))?;
    Ok(bytes)
}

fn wrong(store: &dyn Store, name: &str, error: &CheckpointError) -> String {
    format!("{}/{name}: {error}", store.place())
}
