//! A checkpoint as bytes: everything that a restart needs, refused when a single bit is wrong.
//!
//! A header (magic, format version, number of sections, checksum), then sections: a head (which section, how
//! long, the checksums of both) and its content in postcard. Section 0 is [`Meta`], section 1 + g is key group
//! g, or a part of it. Integers of the frame are little endian. The header's layout is the same in every version for ever, so
//! that an older binary can tell a newer checkpoint from a broken one.

use crate::batch::Position;
use crate::capture::StateSlice;
use crate::series::{GroupState, PartitionSnapshot};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use tidewatch_proto::ids::{Epoch, Generation, KEY_GROUPS, KeyGroup, Partition};

/// The first bytes of every checkpoint.
const MAGIC: [u8; 8] = *b"TIDEWCKP";
/// The format that this version writes, and the newest that it reads.
pub const FORMAT_VERSION: u32 = 4;
/// Magic, version, number of sections, CRC32C of these.
const HEADER_BYTES: usize = 8 + 4 + 4 + 4;
/// Section number, length of its content, CRC32C of the content, CRC32C of these.
const SECTION_HEAD_BYTES: usize = 4 + 8 + 4 + 4;

/// The state at the end of an epoch, of all workers together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Saved {
    /// Where it stands in time and in the log.
    pub meta: Meta,
    /// Series by key group, in parts: what [`GroupState`] is in postcard.
    pub groups: BTreeMap<KeyGroup, Vec<Vec<u8>>>,
}

/// The state to go on from.
#[derive(Debug, Default)]
pub struct Restored {
    /// Where reading goes on.
    pub positions: Vec<Position>,
    /// How far partitions had come.
    pub partitions: Vec<PartitionSnapshot>,
    /// Series by key group.
    pub groups: BTreeMap<KeyGroup, GroupState>,
}

/// What a checkpoint says beside the series.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Meta {
    /// The run that saved it.
    pub generation: Generation,
    /// The epoch it completes.
    pub epoch: Epoch,
    /// What the settings came to that the state depends on: see [`crate::EngineConfig::fingerprint`].
    pub settings: u64,
    /// The names of the source's partitions: the numbers below are places in this list.
    pub partition_names: Vec<String>,
    /// Where reading goes on; a partition that never had a record has none.
    pub positions: Vec<Position>,
    /// How far each partition had come, one for each name.
    pub partitions: Vec<PartitionSnapshot>,
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
    /// The source no longer has a partition that the checkpoint has read from.
    #[error("the checkpoint has read from partition {name}, which the source no longer has")]
    PartitionGone {
        /// The partition.
        name: String,
    },
}

/// A checkpoint as bytes.
pub fn encode(saved: &Saved) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(MAGIC);
    bytes.extend(FORMAT_VERSION.to_le_bytes());
    let parts: usize = saved.groups.values().map(Vec::len).sum();
    bytes.extend((1 + parts as u32).to_le_bytes());
    seal(&mut bytes, 0);
    let meta = postcard::to_stdvec(&saved.meta).expect("every sequence knows its length, and a Vec has no end");
    section(&mut bytes, 0, &meta);
    for (group, parts) in &saved.groups {
        for part in parts {
            section(&mut bytes, 1 + u32::from(group.0), part);
        }
    }
    bytes
}

/// The checkpoint in `bytes`, all of them.
///
/// # Errors
/// When one bit is not as it was written, or a newer version wrote it; the error names what is wrong.
pub fn decode(bytes: &[u8]) -> Result<Saved, CheckpointError> {
    let head = &bytes[..bytes.len().min(MAGIC.len())];
    if !MAGIC.starts_with(head) {
        return Err(CheckpointError::Foreign);
    }
    let mut rest = bytes;
    let header = take(&mut rest, HEADER_BYTES as u64, "the header")?;
    check(&header[..HEADER_BYTES - 4], number(&header[16..20]), "the header")?;
    let (version, sections) = (number(&header[8..12]), number(&header[12..16]));
    match version.cmp(&FORMAT_VERSION) {
        Ordering::Greater => return Err(CheckpointError::Newer { found: version }),
        Ordering::Less => return Err(CheckpointError::Older { found: version }),
        Ordering::Equal => {}
    }
    let mut saved = Saved::default();
    let mut before = None;
    for at in 0..sections {
        let (found, content) = take_section(&mut rest, at)?;
        if before.map_or(found != 0, |before| found == 0 || found < before) || found > u32::from(KEY_GROUPS) {
            return Err(content_error(&name(found), "it comes out of order"));
        }
        before = Some(found);
        match found {
            0 => saved.meta = parse(content, found)?,
            group => {
                let group = KeyGroup((group - 1) as u16);
                saved.groups.entry(group).or_default().push(content.to_vec());
            }
        }
    }
    if sections == 0 || !rest.is_empty() {
        return Err(content_error("the end", "sections are missing or bytes follow"));
    }
    saved.validate()?;
    Ok(saved)
}

impl Saved {
    /// Puts together what all workers have saved at one cut, with the last positions that were reported for
    /// its epoch or an earlier one.
    pub fn gather(
        generation: Generation,
        settings: u64,
        partition_names: Vec<String>,
        positions: Vec<Position>,
        states: impl IntoIterator<Item = StateSlice>,
    ) -> Saved {
        let mut saved = Saved {
            meta: Meta {
                generation,
                settings,
                partitions: vec![PartitionSnapshot::FRESH; partition_names.len()],
                partition_names,
                positions,
                ..Meta::default()
            },
            groups: BTreeMap::new(),
        };
        for state in states {
            saved.meta.epoch = saved.meta.epoch.max(state.epoch);
            for (own, other) in saved.meta.partitions.iter_mut().zip(&state.partitions) {
                own.widen(other);
            }
            for (group, part) in state.groups {
                saved.groups.entry(group).or_default().push(part);
            }
        }
        saved
    }

    /// What an engine goes on from whose source has these partitions now. Partitions go by name: those that
    /// are new start fresh.
    ///
    /// # Errors
    /// When a partition is gone: its name; or when a group holds something else than devices.
    pub fn into_restored(self, partition_names: &[String]) -> Result<Restored, CheckpointError> {
        let places: HashMap<&str, u32> = (0..)
            .zip(partition_names)
            .map(|(at, name)| (name.as_str(), at))
            .collect();
        let now = self.meta.partition_names.iter().map(|name| {
            let place = places.get(name.as_str()).copied().map(Partition);
            place.ok_or_else(|| CheckpointError::PartitionGone { name: name.clone() })
        });
        let now = now.collect::<Result<Vec<Partition>, CheckpointError>>()?;
        let mut partitions = vec![PartitionSnapshot::FRESH; partition_names.len()];
        for (partition, snapshot) in now.iter().zip(self.meta.partitions) {
            partitions[partition.index()] = snapshot;
        }
        let mut positions = self.meta.positions;
        for position in &mut positions {
            position.partition = now[position.partition.index()];
        }
        let mut groups: BTreeMap<KeyGroup, GroupState> = BTreeMap::new();
        let parts = self.groups.into_iter();
        for (group, content) in parts.flat_map(|(group, parts)| parts.into_iter().map(move |part| (group, part))) {
            let section = 1 + u32::from(group.0);
            let mut state: GroupState = parse(&content, section)?;
            for device in &mut state.devices {
                let home = now.get(device.home.index()).ok_or_else(|| {
                    let problem = format!("device {} is at home on no partition", device.name);
                    content_error(&name(section), &problem)
                })?;
                device.home = *home;
            }
            groups.entry(group).or_default().devices.extend(state.devices);
        }
        Ok(Restored {
            positions,
            partitions,
            groups,
        })
    }

    fn validate(&self) -> Result<(), CheckpointError> {
        let partitions = self.meta.partition_names.len();
        let positions = &self.meta.positions;
        if self.meta.partitions.len() != partitions || positions.iter().any(|p| p.partition.index() >= partitions) {
            return Err(content_error(&name(0), "partitions and their names don't fit together"));
        }
        Ok(())
    }
}

fn section(bytes: &mut Vec<u8>, number: u32, content: &[u8]) {
    let head = bytes.len();
    bytes.extend(number.to_le_bytes());
    bytes.extend((content.len() as u64).to_le_bytes());
    bytes.extend(crc32c::crc32c(content).to_le_bytes());
    seal(bytes, head);
    bytes.extend(content);
}

/// Appends the checksum of what lies behind `from`.
fn seal(bytes: &mut Vec<u8>, from: usize) {
    let checksum = crc32c::crc32c(&bytes[from..]);
    bytes.extend(checksum.to_le_bytes());
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

fn parse<'a, T: Deserialize<'a>>(content: &'a [u8], number: u32) -> Result<T, CheckpointError> {
    match postcard::take_from_bytes(content) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(content_error(&name(number), &format!("{} bytes are left", rest.len()))),
        Err(problem) => Err(content_error(&name(number), &problem.to_string())),
    }
}

fn name(section: u32) -> String {
    match section {
        0 => "the positions".into(),
        group => format!("key group {}", group - 1),
    }
}

fn content_error(part: &str, problem: &str) -> CheckpointError {
    CheckpointError::Content {
        part: part.to_string(),
        problem: problem.to_string(),
    }
}
