//! The files of a partition: each holds the records from one offset on, and says at its head what came before.

use super::frame::{Head, Origin, Tail, find, take};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use tidewatch_failpoints::{Point, check};
use tidewatch_proto::ids::{Offset, Partition};
use tidewatch_proto::source::SourceError;
use tidewatch_proto::time::LogTime;

/// The bytes in front of a file's first frame.
pub(super) const HEADER_BYTES: usize = 68;

const MAGIC: [u8; 8] = *b"tidelog1";
/// What the header's checksum is of begins here.
const CHECKED_FROM: usize = 12;
pub(super) const ENDING: &str = ".log";
/// What a file is called until its header is durable.
const FRESH: &str = "new";

/// The bytes that tell one log from another.
pub(super) type Id = [u8; 16];

/// A file as writer and readers know it.
#[derive(Debug)]
pub(super) struct Segment {
    /// Where it is.
    pub(super) path: PathBuf,
    /// Its first offset.
    pub(super) base: Offset,
    /// How the partition ended in front of it.
    pub(super) before: Tail,
    /// How many of its bytes are durable.
    bytes: AtomicU64,
    /// The offset after its last durable record.
    end: AtomicI64,
}

impl Segment {
    fn new(path: PathBuf, before: Tail, bytes: u64, end: Offset) -> Segment {
        Segment {
            path,
            base: before.end,
            before,
            bytes: AtomicU64::new(bytes),
            end: AtomicI64::new(end.0),
        }
    }

    /// How many of its bytes are durable.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Acquire)
    }

    /// The offset after its last durable record.
    pub(super) fn end(&self) -> Offset {
        Offset(self.end.load(Ordering::Acquire))
    }

    /// Lets readers have more of it.
    pub(super) fn grow(&self, bytes: u64, end: Offset) {
        self.bytes.store(bytes, Ordering::Release);
        self.end.store(end.0, Ordering::Release);
    }

    /// Makes a file without records, durable, in place of one that nobody has got anything of.
    ///
    /// # Errors
    /// When the folder can't be written.
    pub(super) fn create(folder: &Path, id: &Id, partition: Partition, before: Tail) -> io::Result<(Segment, File)> {
        check(Point::LogRoll)?;
        let path = folder.join(format!("{:020}{ENDING}", before.end.0));
        let fresh = path.with_extension(FRESH);
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&fresh)?;
        file.write_all(&header(id, partition, &before))?;
        file.sync_all()?;
        fs::rename(&fresh, &path)?;
        check(Point::LogRolled)?;
        File::open(folder)?.sync_all()?;
        Ok((Segment::new(path, before, HEADER_BYTES as u64, before.end), file))
    }

    /// The files of a partition, in their order; the last one still has to be looked through. What was never finished
    /// is removed.
    ///
    /// # Errors
    /// Which file is none of this log.
    pub(super) fn list(folder: &Path, id: &Id, partition: Partition) -> Result<Vec<Segment>, SourceError> {
        let at = |path: &Path, error: &io::Error| SourceError::new(path.display().to_string(), error.to_string());
        let mut paths = Vec::new();
        for entry in fs::read_dir(folder).map_err(|error| at(folder, &error))? {
            let path = entry.map_err(|error| at(folder, &error))?.path();
            if path.extension().is_some_and(|ending| ending == FRESH) {
                fs::remove_file(&path).map_err(|error| at(&path, &error))?;
            } else if path.extension().is_some_and(|ending| ending == &ENDING[1..]) {
                paths.push(path);
            }
        }
        paths.sort_unstable();
        let segments = paths.into_iter().map(|path| {
            let before = read_header(&path, id, partition)?;
            let bytes = fs::metadata(&path).map_err(|error| at(&path, &error))?.len();
            Ok(Segment::new(path, before, bytes, before.end))
        });
        let segments: Vec<Segment> = segments.collect::<Result<_, SourceError>>()?;
        for pair in segments.windows(2) {
            pair[0].end.store(pair[1].base.0, Ordering::Release);
        }
        Ok(segments)
    }
}

fn header(id: &Id, partition: Partition, before: &Tail) -> Vec<u8> {
    let time = before.time.unwrap_or(LogTime(i64::MIN));
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(id);
    bytes.extend_from_slice(&u64::from(partition.0).to_le_bytes());
    for number in [before.end.0, before.origin.feed as i64, before.origin.next.0, time.0] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    let crc = crc32c::crc32c(&bytes[CHECKED_FROM..]);
    bytes[MAGIC.len()..CHECKED_FROM].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// How the partition ended in front of a file, as that says.
fn read_header(path: &Path, id: &Id, partition: Partition) -> Result<Tail, SourceError> {
    let wrong = |problem: &str| SourceError::new(path.display().to_string(), problem);
    let mut bytes = [0; HEADER_BYTES];
    let file = File::open(path).map_err(|error| wrong(&error.to_string()))?;
    let read = std::os::unix::fs::FileExt::read_exact_at(&file, &mut bytes, 0);
    read.map_err(|error| wrong(&format!("its header can't be read: {error}; {WAY_ON}")))?;
    tail_before(path, &bytes, id, partition)
}

/// How the partition ended in front of a file, as its first bytes say.
///
/// # Errors
/// When they are no such header, or of another log.
pub(super) fn tail_before(path: &Path, bytes: &[u8], id: &Id, partition: Partition) -> Result<Tail, SourceError> {
    let wrong = |problem: &str| SourceError::new(path.display().to_string(), problem);
    let known = bytes.get(..HEADER_BYTES).and_then(parse);
    let known = known.ok_or_else(|| wrong(&format!("it doesn't begin as a file of a log does; {WAY_ON}")))?;
    let name = format!("{:020}", known.2.end.0);
    if (&known.0, known.1) != (id, u64::from(partition.0)) || path.file_stem().is_none_or(|stem| stem != &name[..]) {
        return Err(wrong(
            "it belongs to another log, or another place of this one; take it away",
        ));
    }
    Ok(known.2)
}

/// What to do about a file that is damaged.
pub(super) const WAY_ON: &str = "bring the file back from a copy, or move the log away to begin a new one";

fn parse(bytes: &[u8]) -> Option<(Id, u64, Tail)> {
    let mut rest = bytes.strip_prefix(&MAGIC)?;
    let crc = u32::from_le_bytes(take(&mut rest)?);
    if crc != crc32c::crc32c(rest) {
        return None;
    }
    let id = take(&mut rest)?;
    let mut number = || take(&mut rest).map(i64::from_le_bytes);
    let partition = number()? as u64;
    let tail = Tail {
        end: Offset(number()?),
        origin: Origin {
            feed: number()? as u64,
            next: Offset(number()?),
        },
        time: Some(LogTime(number()?)).filter(|time| time.0 != i64::MIN),
    };
    Some((id, partition, tail))
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// The bytes of header and whole frames.
    pub(super) bytes: u64,
    /// What lies behind these: a write that was cut off.
    pub(super) torn: u64,
    /// The partition's end.
    pub(super) tail: Tail,
    /// The latest log time of the first frame.
    pub(super) first: Option<LogTime>,
}

/// Looks through a file, whose bytes these are.
///
/// # Errors
/// Where it is damaged: what can't be read was durable.
pub(super) fn look_through(bytes: &[u8], before: Tail) -> Result<Found, String> {
    let mut found = Found {
        bytes: HEADER_BYTES.min(bytes.len()) as u64,
        torn: 0,
        tail: before,
        first: None,
    };
    loop {
        let rest = &bytes[found.bytes as usize..];
        match Head::read(rest) {
            Some(head) if head.base == found.tail.end && head.is_whole(rest) => {
                found.tail = found.tail.behind(&head);
                found.first = found.first.or(Some(head.time));
                found.bytes += head.whole() as u64;
            }
            _ => {
                found.torn = rest.len() as u64;
                return match was_durable(rest, found.tail.end) {
                    true => Err(format!(
                        "it is damaged at byte {}, in front of records that are whole: what was there from offset {} on is lost",
                        found.bytes, found.tail.end
                    )),
                    false => Ok(found),
                };
            }
        }
    }
}

/// Whether a whole frame among these bytes says that the record of this offset was durable before it was written.
fn was_durable(mut bytes: &[u8], offset: Offset) -> bool {
    while let Some(at) = find(bytes) {
        bytes = &bytes[at..];
        if Head::read(bytes).is_some_and(|head| head.durable > offset && head.is_whole(bytes)) {
            return true;
        }
        bytes = &bytes[1..];
    }
    false
}
