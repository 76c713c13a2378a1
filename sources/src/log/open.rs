//! How the log is opened: locked, found to be whole, and cut behind the last record that was written whole.

use super::config::LogSettings;
use super::frame::Tail;
use super::health::Health;
use super::partition::{Part, Shared};
use super::segment::{Found, Id, Segment, WAY_ON, look_through};
use super::write::Active;
use crate::clock::Clock;
use crate::event::{EventHook, SourceEvent};
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tidewatch_proto::ids::Partition;
use tidewatch_proto::source::SourceError;

/// The name of the file that is locked while the log is open.
const LOCK: &str = "lock";
/// The name of the file that says which log it is.
pub const ID: &str = "id";
/// What the file begins with.
const FORMAT: &str = "tidewatch log 1 ";

/// Opens the log, which is made when it isn't there, and gives what writes each partition.
pub(super) fn open(
    settings: &LogSettings,
    hook: EventHook,
    clock: Clock,
) -> Result<(Shared, Vec<Active>), SourceError> {
    let io = |error: io::Error| settings.error(error.to_string());
    fs::create_dir_all(&settings.folder).map_err(io)?;
    let parent = settings.folder.parent().filter(|parent| !parent.as_os_str().is_empty());
    sync(parent.unwrap_or(Path::new("."))).map_err(io)?;
    let lock = lock(settings)?;
    let id = id(settings)?;
    let count = partitions(settings)?;
    let mut parts = Vec::with_capacity(count as usize);
    let mut actives = Vec::with_capacity(count as usize);
    for partition in (0..count).map(Partition) {
        let folder = folder(settings, partition);
        if !folder.exists() {
            fs::create_dir(&folder).map_err(io)?;
            sync(&settings.folder).map_err(io)?;
        }
        let (part, active) = recover(&id, partition, folder, &hook)?;
        parts.push(part);
        actives.push(active);
    }
    let shared = Shared {
        settings: settings.clone(),
        id,
        names: (0..count).map(|index| format!("log/{index}")).collect(),
        parts,
        hook,
        clock,
        health: Health::default(),
        _lock: lock,
    };
    Ok((shared, actives))
}

fn folder(settings: &LogSettings, partition: Partition) -> PathBuf {
    settings.folder.join(partition.to_string())
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn lock(settings: &LogSettings) -> Result<File, SourceError> {
    let lock = File::create(settings.folder.join(LOCK)).map_err(|error| settings.error(error.to_string()))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => {
            Err(settings.error("another tidewatch writes to it: stop that one, or give this one its own"))
        }
        Err(TryLockError::Error(error)) => Err(settings.error(format!("it can't be locked: {error}"))),
    }
}

/// Which log it is: a random number that is written before all else.
fn id(settings: &LogSettings) -> Result<Id, SourceError> {
    let path = settings.folder.join(ID);
    let at = |problem: &str| SourceError::new(path.display().to_string(), problem);
    match fs::read_to_string(&path) {
        Ok(text) => known_id(&path, &text),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if folder(settings, Partition(0)).exists() {
                return Err(at(&format!(
                    "it is missing, and nothing else says which log this is; {WAY_ON}"
                )));
            }
            let mut id: Id = [0; 16];
            getrandom::fill(&mut id).map_err(|error| at(&error.to_string()))?;
            write_id(&path, &id).map_err(|error| at(&error.to_string()))?;
            Ok(id)
        }
        Err(error) => Err(at(&error.to_string())),
    }
}

/// The id that a file with this text says.
///
/// # Errors
/// When it says none.
pub(super) fn known_id(path: &Path, text: &str) -> Result<Id, SourceError> {
    let digits = text.strip_prefix(FORMAT).map(str::trim_end);
    let id = digits.and_then(|digits| u128::from_str_radix(digits, 16).ok());
    let problem = "it doesn't say which log this is, or in a form that this version doesn't know";
    id.map(u128::to_be_bytes)
        .ok_or_else(|| SourceError::new(path.display().to_string(), problem))
}

fn write_id(path: &Path, id: &Id) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    writeln!(file, "{FORMAT}{}", shown(id))?;
    file.sync_all()?;
    fs::rename(fresh, path)?;
    path.parent().map_or(Ok(()), sync)
}

/// An id as it is written.
pub(super) fn shown(id: &Id) -> String {
    format!("{:032x}", u128::from_be_bytes(*id))
}

/// How many partitions there are: what the configuration says, which is never less than what the log has.
fn partitions(settings: &LogSettings) -> Result<u32, SourceError> {
    let has = |index: &u32| folder(settings, Partition(*index)).is_dir();
    if has(&settings.partitions) {
        let found = (settings.partitions..)
            .take_while(has)
            .last()
            .map_or(0, |last| last + 1);
        let problem = format!(
            "is {}, but the log in {} has {found}: partitions can be added, not taken away",
            settings.partitions,
            settings.folder.display()
        );
        return Err(SourceError::new("log.partitions", problem));
    }
    Ok(settings.partitions)
}

/// Finds where a partition ends. What was not written whole is cut off, what can't be read is refused.
fn recover(id: &Id, partition: Partition, folder: PathBuf, hook: &EventHook) -> Result<(Part, Active), SourceError> {
    let mut segments = Segment::list(&folder, id, partition)?;
    let error = |path: &Path, problem: String| SourceError::new(path.display().to_string(), problem);
    let Some(last) = segments.pop() else {
        let created = Segment::create(&folder, id, partition, Tail::EMPTY);
        let (segment, file) = created.map_err(|problem| error(&folder, problem.to_string()))?;
        let segment = Arc::new(segment);
        let part = Part::new(partition, folder, vec![segment.clone()], Tail::EMPTY);
        return Ok((part, Active::new(segment, file, None)));
    };
    let bytes = fs::read(&last.path).map_err(|problem| error(&last.path, problem.to_string()))?;
    let found = look_through(&bytes, last.before);
    let found = found.map_err(|problem| error(&last.path, format!("{problem}; {WAY_ON}")))?;
    let file = make_durable(&last.path, &found).map_err(|problem| error(&last.path, problem.to_string()))?;
    if found.torn > 0 {
        hook(SourceEvent::Skipped {
            object: last.path.display().to_string(),
            problem: format!(
                "its last {} bytes were not written whole and are cut off; the log ends at {}",
                found.torn, found.tail.end
            ),
        });
    }
    last.grow(found.bytes, found.tail.end);
    let last = Arc::new(last);
    let segments = segments.into_iter().map(Arc::new).chain([last.clone()]);
    let part = Part::new(partition, folder, segments.collect(), found.tail);
    Ok((part, Active::new(last, file, found.first)))
}

/// A process that was killed may have left what is not on disk yet: it is, before anybody reads it.
fn make_durable(path: &Path, found: &Found) -> io::Result<File> {
    let file = File::options().read(true).write(true).open(path)?;
    if found.torn > 0 {
        file.set_len(found.bytes)?;
    }
    file.sync_all()?;
    Ok(file)
}
