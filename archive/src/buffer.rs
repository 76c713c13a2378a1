//! Records that were read and are not in an object yet.

use crate::error::ArchiveError;
use crate::names::{Hour, ObjectName};
use crate::row::{Row, event_time, telemetry};
use crate::writer::{Summary, Writer};
use hashbrown::HashMap;
use std::time::Instant;
use tidewatch_proto::headers::Headers;
use tidewatch_proto::ids::{Offset, Partition};
use tidewatch_proto::source::Record;
use tidewatch_proto::time::LogTime;

/// Bytes lie in pieces of this size: memory that is used again and never moves costs a third less than all else that is
/// done here. A record that is larger has a piece of its own.
const PIECE_BYTES: usize = 1 << 20;
/// What the place of a record takes beside its bytes.
const PLACE_BYTES: usize = size_of::<Place>();

/// Contiguous records of a partition, in the order of the log.
#[derive(Debug)]
pub(crate) struct Buffer {
    /// The first position that it stands for.
    pub(crate) first: Offset,
    /// The hour that the log had come to.
    pub(crate) hour: Hour,
    /// When its first record came.
    pub(crate) since: Instant,
    /// When the log appended that, milliseconds since 1970; when it came if the log doesn't know.
    pub(crate) since_ms: i64,
    /// Keys, payloads and headers.
    pieces: Vec<Vec<u8>>,
    places: Vec<Place>,
}

/// Memory of buffers that were put, for those to come.
#[derive(Debug, Default)]
pub(crate) struct Spare {
    pieces: Vec<Vec<u8>>,
    places: Vec<Vec<Place>>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    offset: Offset,
    log_time: Option<LogTime>,
    /// The piece that its bytes are in, and where they begin.
    piece: u32,
    start: u32,
    /// The key's bytes come first.
    key: Option<u32>,
    payload: u32,
    /// The headers' bytes come last.
    headers: u32,
    is_usable: bool,
}

impl Buffer {
    /// None yet.
    pub(crate) fn new(first: Offset, hour: Hour, (since, since_ms): (Instant, i64), spare: &mut Spare) -> Buffer {
        Buffer {
            first,
            hour,
            since,
            since_ms,
            pieces: Vec::new(),
            places: spare.places.pop().unwrap_or_default(),
        }
    }

    /// Gives its memory back.
    pub(crate) fn recycle(mut self, spare: &mut Spare) {
        self.pieces.retain(|piece| piece.capacity() == PIECE_BYTES);
        self.pieces.iter_mut().for_each(Vec::clear);
        spare.pieces.append(&mut self.pieces);
        self.places.clear();
        spare.places.push(self.places);
    }

    /// Takes a record; one that is not usable is kept as its bytes.
    pub(crate) fn push(&mut self, record: &Record<'_>, is_usable: bool, spare: &mut Spare) {
        let key = record.key.unwrap_or_default();
        let headers = record.headers.bytes();
        let needed = key.len() + record.payload.len() + headers.len();
        let fits = |piece: &Vec<u8>| piece.capacity() - piece.len() >= needed;
        if !self.pieces.last().is_some_and(fits) {
            self.pieces.push(match needed <= PIECE_BYTES {
                true => spare.pieces.pop().unwrap_or_else(|| Vec::with_capacity(PIECE_BYTES)),
                false => Vec::with_capacity(needed),
            });
        }
        let number = self.pieces.len() - 1;
        let piece = &mut self.pieces[number];
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.places.push(Place {
            offset: record.offset,
            log_time: record.log_time,
            piece: number as u32,
            start: piece.len() as u32,
            key: record.key.map(length),
            payload: length(record.payload),
            headers: length(headers),
            is_usable,
        });
        piece.extend_from_slice(key);
        piece.extend_from_slice(record.payload);
        piece.extend_from_slice(headers);
    }

    /// How much memory it takes, about.
    pub(crate) fn bytes(&self) -> u64 {
        (self.pieces.iter().map(Vec::len).sum::<usize>() + self.places.len() * PLACE_BYTES) as u64
    }

    /// Its last position.
    fn last(&self) -> Offset {
        self.places.last().map_or(self.first, |place| place.offset)
    }

    /// A record as it came.
    fn record(&self, place: &Place) -> Record<'_> {
        let (piece, start) = (&self.pieces[place.piece as usize], place.start as usize);
        let key = start..start + place.key.unwrap_or(0) as usize;
        let payload = key.end..key.end + place.payload as usize;
        let headers = payload.end..payload.end + place.headers as usize;
        Record {
            offset: place.offset,
            log_time: place.log_time,
            key: place.key.map(|_| &piece[key]),
            payload: &piece[payload],
            headers: Headers::new(&piece[headers]),
        }
    }

    /// The object of all of it.
    ///
    /// # Errors
    /// When it can't be encoded.
    pub(crate) fn encode(
        &self,
        (log, partition): (&str, Partition),
        level: i32,
    ) -> Result<(ObjectName, Vec<u8>, Summary), ArchiveError> {
        let name = ObjectName {
            hour: self.hour,
            log: log.to_owned(),
            partition,
            first: self.first,
            last: self.last(),
        };
        let mut writer = Writer::new(&name, level)?;
        let mut metrics = Vec::new();
        for at in self.sorted() {
            let place = &self.places[at];
            writer.push(&Row::of(&self.record(place), place.is_usable, &mut metrics))?;
        }
        let (bytes, summary) = writer.finish()?;
        Ok((name, bytes, summary))
    }

    /// The records by device, event time and offset. Devices are numbered first, so that few texts are compared.
    fn sorted(&self) -> Vec<usize> {
        let mut devices: HashMap<Option<&[u8]>, u32> = HashMap::new();
        // What has no time comes first.
        let mut keys: Vec<(u32, i64, u32)> = Vec::with_capacity(self.places.len());
        let mut metrics = Vec::new();
        for (at, place) in self.places.iter().enumerate() {
            let message = telemetry(self.record(place).payload, place.is_usable, &mut metrics);
            let ts = message.as_ref().and_then(event_time).map_or(i64::MIN, |ts| ts.0);
            let device = message.map(|message| message.device_id);
            let next = devices.len() as u32;
            keys.push((*devices.entry(device).or_insert(next), ts, at as u32));
        }
        let mut names: Vec<(Option<&[u8]>, u32)> = devices.into_iter().collect();
        names.sort_unstable();
        let mut ranks = vec![0; names.len()];
        for (rank, (_, number)) in names.iter().enumerate() {
            ranks[*number as usize] = rank as u32;
        }
        keys.iter_mut().for_each(|key| key.0 = ranks[key.0 as usize]);
        keys.sort_unstable();
        keys.into_iter().map(|key| key.2 as usize).collect()
    }
}
