//! Checkpoints as bytes, refused when a single bit is wrong.
//!
//! A header (magic, format version, what kind of file, checksum), then sections: a head (its number, from 0, how long
//! it is, the checksums of both) and its content in postcard. Integers of the frame are little endian. The header's
//! layout is the same in every version for ever, so that an older binary can tell a newer checkpoint from a broken one.

use super::{Meta, Part, Saved};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use tidewatch_proto::ids::{Epoch, Generation};
use tidewatch_proto::reject::Reject;
use tidewatch_proto::row::Row;

/// The first bytes of every file.
const MAGIC: [u8; 8] = *b"TIDEWCKP";
/// The format that this version writes, and the newest that it reads.
pub const FORMAT_VERSION: u32 = 10;
/// Magic, version, kind, CRC32C of these.
const HEADER_BYTES: usize = 8 + 4 + 4 + 4;
/// Section number, length of its content, CRC32C of the content, CRC32C of these.
const SECTION_HEAD_BYTES: usize = 4 + 8 + 4 + 4;

/// What kind of file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// A [`Manifest`].
    Manifest = 1,
    /// [`Part`]s.
    Segment = 2,
}

/// Which segments make up a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// What the checkpoint says beside the series.
    pub meta: Meta,
    /// Its segments, in their order.
    pub segments: Vec<SegmentRef>,
}

/// A segment as a manifest knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentRef {
    /// Its number in the run.
    pub number: u64,
    /// How many bytes of it are wanted.
    pub bytes: u64,
}

/// Why bytes are no checkpoint that can be gone on from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The bytes are something else.
    #[error("not a checkpoint: the first bytes are not {:?}", String::from_utf8_lossy(&MAGIC))]
    Foreign,
    /// A later version of Tidewatch wrote it.
    #[error("the checkpoint has format {found}; this version reads up to {FORMAT_VERSION}: use a newer tidewatch")]
    Newer {
        /// Its format.
        found: u32,
    },
    /// A version of Tidewatch wrote it that was never released.
    #[error("the checkpoint has format {found}, which no release has written; this version reads {FORMAT_VERSION}")]
    Older {
        /// Its format.
        found: u32,
    },
    /// The bytes end too early.
    #[error("the checkpoint is torn: {part} ends after {found} of {wanted} bytes")]
    Torn {
        /// Which part.
        part: String,
        /// How many bytes there are.
        found: usize,
        /// How many there should be.
        wanted: u64,
    },
    /// A checksum doesn't match.
    #[error("the checkpoint is damaged: the checksum of {part} is {found:08x}, not {wanted:08x}")]
    Checksum {
        /// Which part.
        part: String,
        /// What the bytes come to.
        found: u32,
        /// What they should come to.
        wanted: u32,
    },
    /// The checksums match, but what is inside doesn't fit together.
    #[error("the checkpoint is damaged: {part}: {problem}")]
    Content {
        /// Which part.
        part: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A worker's state is not there whole.
    #[error("the checkpoint has no whole state of worker {worker}")]
    Incomplete {
        /// The worker.
        worker: usize,
    },
    /// The source no longer has a partition that the checkpoint has read from.
    #[error("the checkpoint has read from partition {name}, which the source no longer has")]
    PartitionGone {
        /// The partition.
        name: String,
    },
}

/// Some of [`Part`], of what somebody else has; the places of the others are kept.
#[derive(Serialize)]
enum Borrowed<'a> {
    _Begin,
    _State,
    _Journal,
    Rows(Epoch, &'a [Row]),
    Rejects(Epoch, &'a [Reject]),
}

/// Writes a segment, part by part.
#[derive(Debug)]
pub struct SegmentWriter {
    bytes: Vec<u8>,
    parts: u32,
    taken: u64,
}

impl SegmentWriter {
    /// Begins a run's segment.
    pub fn new(generation: Generation, number: u64) -> SegmentWriter {
        SegmentWriter::over(Vec::new(), generation, number)
    }

    /// Begins a run's segment in memory that was used before: what is touched for the first time is dear.
    pub fn over(mut bytes: Vec<u8>, generation: Generation, number: u64) -> SegmentWriter {
        bytes.clear();
        header(&mut bytes, Kind::Segment);
        let mut writer = SegmentWriter {
            bytes,
            parts: 0,
            taken: 0,
        };
        writer.write(&Part::Begin(generation, number));
        writer
    }

    /// Writes a part.
    pub fn write(&mut self, part: &Part) {
        section(&mut self.bytes, self.parts, part);
        self.parts += 1;
    }

    /// Writes rows of an epoch: what [`Part::Rows`] is.
    pub fn write_rows(&mut self, epoch: Epoch, rows: &[Row]) {
        section(&mut self.bytes, self.parts, &Borrowed::Rows(epoch, rows));
        self.parts += 1;
    }

    /// Writes rejects of an epoch: what [`Part::Rejects`] is.
    pub fn write_rejects(&mut self, epoch: Epoch, rejects: &[Reject]) {
        section(&mut self.bytes, self.parts, &Borrowed::Rejects(epoch, rejects));
        self.parts += 1;
    }

    /// How many bytes were written.
    pub fn len(&self) -> u64 {
        self.taken + self.bytes.len() as u64
    }

    /// Whether no part was written but the first.
    pub fn is_empty(&self) -> bool {
        self.parts <= 1
    }

    /// How many bytes wait to be taken.
    pub fn waiting(&self) -> usize {
        self.bytes.len()
    }

    /// The bytes since the last call.
    pub fn take(&mut self) -> Vec<u8> {
        self.taken += self.bytes.len() as u64;
        std::mem::take(&mut self.bytes)
    }
}

/// The parts of a run's segment, of whose bytes these are all.
///
/// # Errors
/// When one bit is not as it was written, another run wrote it or a newer version; the error names what is wrong.
pub fn read_segment(bytes: &[u8], generation: Generation, number: u64) -> Result<Vec<Part>, CheckpointError> {
    let parts = sections(bytes, Kind::Segment)?.into_iter();
    let parts = parts.map(|(at, content)| parse::<Part>(content, &name(at)));
    let parts = parts.collect::<Result<Vec<Part>, CheckpointError>>()?;
    match parts.first() {
        Some(Part::Begin(run, own)) if (*run, *own) == (generation, number) => Ok(parts),
        Some(Part::Begin(run, own)) => {
            let problem = format!("it is segment {own} of run {run}, not segment {number} of run {generation}");
            Err(content_error("the segment", &problem))
        }
        _ => Err(content_error("the segment", "it doesn't say whose it is")),
    }
}

/// A manifest as bytes.
pub fn write_manifest(manifest: &Manifest) -> Vec<u8> {
    let mut bytes = Vec::new();
    header(&mut bytes, Kind::Manifest);
    section(&mut bytes, 0, manifest);
    bytes
}

/// The manifest in `bytes`, all of them.
///
/// # Errors
/// When one bit is not as it was written, or a newer version wrote it; the error names what is wrong.
pub fn read_manifest(bytes: &[u8]) -> Result<Manifest, CheckpointError> {
    match sections(bytes, Kind::Manifest)?[..] {
        [(0, content)] => parse(content, "the manifest"),
        _ => Err(content_error("the manifest", "it has not one section")),
    }
}

/// A checkpoint as one manifest and one segment.
pub fn encode(saved: &Saved) -> (Vec<u8>, Vec<u8>) {
    let mut writer = SegmentWriter::new(saved.meta.generation, 0);
    saved.parts.iter().for_each(|part| writer.write(part));
    let segments = vec![SegmentRef {
        number: 0,
        bytes: writer.len(),
    }];
    let meta = saved.meta.clone();
    (write_manifest(&Manifest { meta, segments }), writer.take())
}

/// The checkpoint of a manifest and its only segment.
///
/// # Errors
/// When one bit is not as it was written; the error names what is wrong.
pub fn decode(manifest: &[u8], segment: &[u8]) -> Result<Saved, CheckpointError> {
    let manifest = read_manifest(manifest)?;
    let mut parts = read_segment(segment, manifest.meta.generation, 0)?;
    parts.remove(0);
    Ok(Saved {
        meta: manifest.meta,
        parts,
    })
}

fn header(bytes: &mut Vec<u8>, kind: Kind) {
    bytes.extend(MAGIC);
    bytes.extend(FORMAT_VERSION.to_le_bytes());
    bytes.extend((kind as u32).to_le_bytes());
    seal(bytes, 0);
}

fn section(bytes: &mut Vec<u8>, number: u32, content: &impl Serialize) {
    let head = bytes.len();
    bytes.resize(head + SECTION_HEAD_BYTES, 0);
    postcard::to_io(content, &mut *bytes).expect("every sequence knows its length, and a Vec has no end");
    let content = &bytes[head + SECTION_HEAD_BYTES..];
    let mut filled = Vec::with_capacity(SECTION_HEAD_BYTES);
    filled.extend(number.to_le_bytes());
    filled.extend((content.len() as u64).to_le_bytes());
    filled.extend(crc32c::crc32c(content).to_le_bytes());
    seal(&mut filled, 0);
    bytes[head..head + SECTION_HEAD_BYTES].copy_from_slice(&filled);
}

/// Appends the checksum of what lies behind `from`.
fn seal(bytes: &mut Vec<u8>, from: usize) {
    let checksum = crc32c::crc32c(&bytes[from..]);
    bytes.extend(checksum.to_le_bytes());
}

fn sections(bytes: &[u8], kind: Kind) -> Result<Vec<(u32, &[u8])>, CheckpointError> {
    let head = &bytes[..bytes.len().min(MAGIC.len())];
    if !MAGIC.starts_with(head) {
        return Err(CheckpointError::Foreign);
    }
    let mut rest = bytes;
    let header = take(&mut rest, HEADER_BYTES as u64, "the header")?;
    check(&header[..HEADER_BYTES - 4], number(&header[16..20]), "the header")?;
    let (version, found) = (number(&header[8..12]), number(&header[12..16]));
    match version.cmp(&FORMAT_VERSION) {
        Ordering::Greater => return Err(CheckpointError::Newer { found: version }),
        Ordering::Less => return Err(CheckpointError::Older { found: version }),
        Ordering::Equal => {}
    }
    if found != kind as u32 {
        return Err(content_error("the header", &format!("it is no {kind:?}")));
    }
    let mut sections = Vec::new();
    while !rest.is_empty() {
        let at = sections.len() as u32;
        let (found, content) = take_section(&mut rest, at)?;
        if found != at {
            return Err(content_error(&name(found), "it comes out of order"));
        }
        sections.push((at, content));
    }
    Ok(sections)
}

fn take_section<'a>(rest: &mut &'a [u8], at: u32) -> Result<(u32, &'a [u8]), CheckpointError> {
    let part = format!("the head of section {at}");
    let head = take(rest, SECTION_HEAD_BYTES as u64, &part)?;
    check(&head[..16], number(&head[16..20]), &part)?;
    let found = number(&head[..4]);
    let bytes = u64::from(number(&head[4..8])) | u64::from(number(&head[8..12])) << 32;
    let content = take(rest, bytes, &name(found))?;
    check(content, number(&head[12..16]), &name(found))?;
    Ok((found, content))
}

fn take<'a>(rest: &mut &'a [u8], wanted: u64, part: &str) -> Result<&'a [u8], CheckpointError> {
    if wanted > rest.len() as u64 {
        return Err(CheckpointError::Torn {
            part: part.to_string(),
            found: rest.len(),
            wanted,
        });
    }
    let (taken, later) = rest.split_at(wanted as usize);
    *rest = later;
    Ok(taken)
}

fn check(bytes: &[u8], wanted: u32, part: &str) -> Result<(), CheckpointError> {
    let found = crc32c::crc32c(bytes);
    if found == wanted {
        return Ok(());
    }
    Err(CheckpointError::Checksum {
        part: part.to_string(),
        found,
        wanted,
    })
}

fn number(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .rev()
        .fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// Reads what postcard wrote, all of it.
pub(super) fn parse<'a, T: Deserialize<'a>>(content: &'a [u8], part: &str) -> Result<T, CheckpointError> {
    match postcard::take_from_bytes(content) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(content_error(part, &format!("{} bytes are left", rest.len()))),
        Err(problem) => Err(content_error(part, &problem.to_string())),
    }
}

fn name(section: u32) -> String {
    format!("section {section}")
}

pub(crate) fn content_error(part: &str, problem: &str) -> CheckpointError {
    CheckpointError::Content {
        part: part.to_string(),
        problem: problem.to_string(),
    }
}
