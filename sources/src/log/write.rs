//! The file of a partition that is written.

use super::frame::Head;
use super::partition::{Part, Shared};
use super::retain;
use super::segment::{HEADER_BYTES, Segment};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;
use tidewatch_failpoints::{Point, check};
use tidewatch_proto::time::LogTime;

/// A file spans this part of the retention at most, so that what is kept is not much older than it has to be.
const SPAN_PART: u32 = 8;

/// The last file of a partition, and what is to be written to it.
pub(super) struct Active {
    segment: Arc<Segment>,
    file: File,
    /// The latest log time of its first frame.
    first: Option<LogTime>,
    /// Whether a sync of it has failed: what the disk has of it nobody knows, and it is written no more.
    is_lost: bool,
    /// Frames that are not durable yet, in their order.
    pub(super) pending: Vec<u8>,
}

impl Active {
    /// A file whose first frame is of this log time.
    pub(super) fn new(segment: Arc<Segment>, file: File, first: Option<LogTime>) -> Active {
        Active {
            segment,
            file,
            first,
            is_lost: false,
            pending: Vec::new(),
        }
    }

    /// Makes what is pending durable, lets readers have it, and gives how many bytes that were. What was written when an
    /// error comes stays written.
    ///
    /// # Errors
    /// When the disk is full or fails. All of it can be tried again.
    pub(super) fn flush(&mut self, shared: &Shared, part: &Part, written: &mut usize) -> io::Result<()> {
        while let Some(head) = Head::read(&self.pending) {
            if self.is_lost || self.is_full(&head, shared) {
                self.roll(shared, part)?;
            }
            *written += self.write(shared, part)?;
        }
        Ok(())
    }

    /// Begins a new file when nothing in this one is to be kept, so that it can leave.
    ///
    /// # Errors
    /// When the new file can't be made.
    pub(super) fn retire(&mut self, shared: &Shared, part: &Part, oldest: LogTime) -> io::Result<()> {
        let is_old = part.tail().time.is_some_and(|time| time < oldest);
        match is_old && self.segment.bytes() > HEADER_BYTES as u64 {
            true => self.roll(shared, part),
            false => Ok(()),
        }
    }

    fn is_full(&self, head: &Head, shared: &Shared) -> bool {
        let bytes = self.segment.bytes() + head.whole() as u64;
        bytes > shared.settings.segment_bytes && self.first.is_some() || self.is_long(head, shared.settings.retention)
    }

    fn is_long(&self, head: &Head, retention: Duration) -> bool {
        let span = i64::try_from((retention / SPAN_PART).as_millis()).unwrap_or(i64::MAX);
        self.first
            .is_some_and(|first| head.time.0.saturating_sub(first.0) > span)
    }

    fn roll(&mut self, shared: &Shared, part: &Part) -> io::Result<()> {
        let (segment, file) = Segment::create(&part.folder, &shared.id, part.partition, part.tail())?;
        let pending = std::mem::take(&mut self.pending);
        let segment = Arc::new(segment);
        part.push(segment.clone());
        *self = Active {
            pending,
            ..Active::new(segment, file, None)
        };
        Ok(())
    }

    /// Writes as many frames as belong into this file, one at least, and gives their bytes.
    fn write(&mut self, shared: &Shared, part: &Part) -> io::Result<usize> {
        let (begin, mut bytes, mut tail, mut first) = (self.segment.bytes(), 0, part.tail(), self.first);
        while let Some(head) = Head::read(&self.pending[bytes..]) {
            let end = begin + (bytes + head.whole()) as u64;
            if bytes > 0 && (end > shared.settings.segment_bytes || self.is_long(&head, shared.settings.retention)) {
                break;
            }
            bytes += head.whole();
            tail = tail.behind(&head);
            first = first.or(Some(head.time));
        }
        retain::make_room(shared, bytes as u64)?;
        check(Point::LogWrite)?;
        if let Err(error) = self.file.write_all_at(&self.pending[..bytes], begin) {
            // Readers don't see it, and the next try writes the same there: it only gives back the room.
            let _ = self.file.set_len(begin);
            return Err(error);
        }
        let synced = check(Point::LogWritten).map_err(io::Error::from);
        if let Err(error) = synced.and_then(|()| self.file.sync_data()) {
            self.is_lost = true;
            return Err(error);
        }
        check(Point::LogSynced)?;
        self.first = first;
        self.segment.grow(begin + bytes as u64, tail.end);
        part.publish(tail);
        self.pending.drain(..bytes);
        Ok(bytes)
    }
}
