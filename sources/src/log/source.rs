//! A reader of some partitions of the log.

use super::frame::{HEAD_BYTES, Head, Place};
use super::partition::{Part, Shared};
use super::segment::{HEADER_BYTES, Segment, WAY_ON};
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidewatch_proto::ids::{Offset, Partition};
use tidewatch_proto::source::{Assignment, Intake, Polled, Record, Source, SourceError, SourceFactory};

/// How much is read at once.
const READ_BYTES: usize = 256 << 10;
/// How often a partition's lag is told.
const LAG_INTERVAL: Duration = Duration::from_secs(1);
/// What to do about records that have left.
pub(super) const GONE: &str =
    "bring the log back, or set log.on_gap = \"skip\" and start again to go on with what it has";

/// The log, to be read.
#[derive(Clone)]
pub struct LogFactory {
    pub(super) log: Arc<Shared>,
}

impl SourceFactory for LogFactory {
    fn partitions(&self) -> &[String] {
        &self.log.names
    }

    fn open(&self, assigned: &[Assignment]) -> Result<Box<dyn Source>, SourceError> {
        let cursors = assigned.iter().map(|assignment| {
            let part = self.log.parts.get(assignment.partition.index());
            let part = part.ok_or_else(|| {
                let problem = format!("there are only {} partitions", self.log.parts.len());
                SourceError::new(format!("log/{}", assignment.partition), problem)
            })?;
            Ok(Cursor {
                partition: assignment.partition,
                next: assignment.from.unwrap_or_else(|| part.first()),
                file: None,
                frame: None,
                room: Vec::new(),
                from: 0,
            })
        });
        Ok(Box::new(LogSource {
            cursors: cursors.collect::<Result<_, SourceError>>()?,
            log: Arc::clone(&self.log),
            turn: 0,
            lag_told: Instant::now(),
            is_behind: true,
        }))
    }
}

struct LogSource {
    log: Arc<Shared>,
    cursors: Vec<Cursor>,
    /// The partition that is served first, so that none waits for ever behind the others.
    turn: usize,
    lag_told: Instant,
    /// Whether records were known to lie ahead when the lag was told, so that reaching the end is news.
    is_behind: bool,
}

impl Source for LogSource {
    fn poll(&mut self, intake: &mut dyn Intake, records_max: usize) -> Result<Polled, SourceError> {
        let mut left = records_max;
        self.turn += 1;
        for step in 0..self.cursors.len() {
            let place = (self.turn + step) % self.cursors.len();
            let cursor = &mut self.cursors[place];
            let part = &self.log.parts[cursor.partition.index()];
            while left > 0 && cursor.finds_frame(part)? {
                left -= cursor.hand_over(intake, left)?;
            }
        }
        let is_idle = left == records_max;
        self.tell_lag(intake, is_idle);
        Ok(if is_idle { Polled::Idle } else { Polled::Some })
    }
}

impl LogSource {
    fn tell_lag(&mut self, intake: &mut dyn Intake, is_idle: bool) {
        if !(is_idle && self.is_behind) && self.lag_told.elapsed() < LAG_INTERVAL {
            return;
        }
        self.lag_told = Instant::now();
        self.is_behind = false;
        for cursor in &self.cursors {
            let end = self.log.parts[cursor.partition.index()].end();
            let lag = (end.0 - cursor.next.0).max(0) as u64;
            self.is_behind |= lag > 0;
            intake.lag(cursor.partition, lag);
        }
    }
}

/// A reader of one partition.
struct Cursor {
    partition: Partition,
    /// The first record that was not handed over.
    next: Offset,
    /// The file that it is in, and where in the file `room` ends.
    file: Option<(Arc<Segment>, File, u64)>,
    /// The frame that it is in.
    frame: Option<Place>,
    /// What was read of the file.
    room: Vec<u8>,
    /// Where in the room the frame begins, or else the next one.
    from: usize,
}

impl Cursor {
    /// Goes to the frame that has the next record; `false` when that isn't there yet.
    fn finds_frame(&mut self, part: &Part) -> Result<bool, SourceError> {
        while self.frame.is_none() {
            if self.next >= part.end() {
                return Ok(false);
            }
            if self
                .file
                .as_ref()
                .is_none_or(|(segment, ..)| self.next >= segment.end())
            {
                self.open(part)?;
            }
            self.step()?;
        }
        Ok(true)
    }

    /// Opens the file that has the next record.
    fn open(&mut self, part: &Part) -> Result<(), SourceError> {
        let segment = part.find(self.next).ok_or_else(|| self.is_gone(part.first()))?;
        if self.next >= segment.end() {
            return Err(self.is_damaged(&segment, "it lacks its last records"));
        }
        let file = File::open(&segment.path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => self.is_gone(part.first()),
            _ => SourceError::new(segment.path.display().to_string(), error.to_string()),
        })?;
        self.room.clear();
        self.from = 0;
        self.file = Some((segment, file, HEADER_BYTES as u64));
        Ok(())
    }

    /// Steps into the next frame, or over it when it lies before the next record.
    fn step(&mut self) -> Result<(), SourceError> {
        self.fill(HEAD_BYTES)?;
        let head = Head::read(&self.room[self.from..]);
        let head = head.filter(|head| head.base <= self.next);
        let Some(head) = head else {
            return Err(self.damage("there is no batch where one should be"));
        };
        self.fill(head.whole())?;
        if !head.is_whole(&self.room[self.from..]) {
            return Err(self.damage("a batch has another checksum than it was written with"));
        }
        if head.end() <= self.next {
            self.from += head.whole();
            return Ok(());
        }
        let mut place = Place::first(&head);
        let body = &self.room[self.from + HEAD_BYTES..self.from + head.whole()];
        while place.offset < self.next {
            if place.read(body).is_none() {
                return Err(self.damage(MALFORMED));
            }
        }
        self.frame = Some(place);
        Ok(())
    }

    /// Sees to it that so many bytes from the frame's begin on are in the room.
    fn fill(&mut self, bytes: usize) -> Result<(), SourceError> {
        let has = self.room.len() - self.from;
        if has >= bytes {
            return Ok(());
        }
        self.room.drain(..self.from);
        self.from = 0;
        let Some((segment, file, at)) = &mut self.file else {
            return Ok(());
        };
        let there = usize::try_from(segment.bytes().saturating_sub(*at)).unwrap_or(usize::MAX);
        let wanted = there.min((bytes - has).max(READ_BYTES));
        self.room.resize(has + wanted, 0);
        let read = match wanted < bytes - has {
            true => Err(ErrorKind::UnexpectedEof.into()),
            false => file.read_exact_at(&mut self.room[has..], *at),
        };
        *at += wanted as u64;
        match read {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(self.damage("it ends within a batch")),
            Err(error) => Err(SourceError::new(segment.path.display().to_string(), error.to_string())),
        }
    }

    /// Hands over up to `wanted` records of the frame and returns how many.
    fn hand_over(&mut self, intake: &mut dyn Intake, wanted: usize) -> Result<usize, SourceError> {
        let (Some(place), Some(head)) = (&mut self.frame, Head::read(&self.room[self.from..])) else {
            return Ok(0);
        };
        let body = &self.room[self.from + HEAD_BYTES..self.from + head.whole()];
        let count = wanted.min(place.left as usize);
        let records: Vec<Record<'_>> = std::iter::from_fn(|| place.read(body)).take(count).collect();
        if records.len() < count {
            return Err(self.damage(MALFORMED));
        }
        intake.records(self.partition, &records);
        self.next = place.offset;
        if place.left == 0 {
            self.frame = None;
            self.from += head.whole();
        }
        Ok(count)
    }

    fn damage(&self, what: &str) -> SourceError {
        match &self.file {
            Some((segment, ..)) => self.is_damaged(segment, what),
            None => SourceError::new(format!("log/{}", self.partition), what),
        }
    }

    fn is_damaged(&self, segment: &Segment, what: &str) -> SourceError {
        SourceError::new(
            segment.path.display().to_string(),
            format!("it is damaged at offset {}: {what}; {WAY_ON}", self.next),
        )
    }

    fn is_gone(&self, first: Offset) -> SourceError {
        SourceError::new(
            format!("log/{}, offset {}", self.partition, self.next),
            format!("the log begins at {first}; {GONE}"),
        )
    }
}

/// What is wrong with a batch of which the checksum is right.
const MALFORMED: &str = "a batch doesn't hold the records that it should";
