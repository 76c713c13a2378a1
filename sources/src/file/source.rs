//! A reader of some files.

use super::config::{FileFormat, FileSettings, is_stdin};
use super::csv::CsvDecoder;
use super::framer::{Frame, Framer, Framing};
use super::input::Input;
use super::json::JsonDecoder;
use super::pace::Pace;
use super::{Decoded, Decoder, Problem};
use crate::clock::{Clock, wall};
use prost::Message;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use tidewatch_proto::headers::Headers;
use tidewatch_proto::ids::{Offset, Partition};
use tidewatch_proto::reject::Reason;
use tidewatch_proto::source::{Assignment, Intake, Polled, Record, Source, SourceError, SourceFactory};
use tidewatch_proto::time::EventTime;
use tidewatch_proto::wire::Telemetry;

/// How many bytes of messages are gathered at most before they are handed over.
const BATCH_BYTES_MAX: usize = 256 << 10;

/// Files that can be read.
pub struct FileFactory {
    settings: FileSettings,
    names: Vec<String>,
    clock: Clock,
    stdin_taken: AtomicBool,
}

impl FileFactory {
    /// Files that can be read, paced by the clock of this machine.
    pub fn new(settings: FileSettings) -> FileFactory {
        FileFactory::with_clock(settings, wall())
    }

    /// Files that can be read, paced by a clock.
    pub fn with_clock(settings: FileSettings, clock: Clock) -> FileFactory {
        let names = settings
            .files
            .iter()
            .map(|(path, _)| path.display().to_string())
            .collect();
        FileFactory {
            settings,
            names,
            clock,
            stdin_taken: AtomicBool::new(false),
        }
    }

    fn open_file(&self, assignment: &Assignment, pace: &Pace) -> Result<Reading, SourceError> {
        let Some((path, format)) = self.settings.files.get(assignment.partition.index()) else {
            let problem = format!("there are only {} files; were file.paths changed?", self.names.len());
            return Err(SourceError::new(format!("file {}", assignment.partition), problem));
        };
        let name = &self.names[assignment.partition.index()];
        if is_stdin(path) && self.stdin_taken.swap(true, Ordering::AcqRel) {
            return Err(SourceError::new(
                name,
                "standard input can be read once; start the process again",
            ));
        }
        let framer =
            open_framer(path, *format).map_err(|error| SourceError::new(name, format!("can't be opened: {error}")))?;
        let decoder: Box<dyn Decoder> = match format {
            FileFormat::Csv => Box::new(CsvDecoder::new(&self.settings.csv)),
            FileFormat::JsonLines => Box::new(JsonDecoder),
            FileFormat::Delimited => Box::new(MessageDecoder {
                reads_time: pace.needs_time(),
            }),
        };
        Ok(Reading {
            partition: assignment.partition,
            name: name.clone(),
            framer,
            decoder,
            next: Offset(0),
            from: assignment.from.unwrap_or(Offset(0)),
            held: None,
            finished: false,
        })
    }
}

fn open_framer(path: &Path, format: FileFormat) -> std::io::Result<Framer> {
    let framing = if format == FileFormat::Delimited {
        Framing::Delimited
    } else {
        Framing::Lines
    };
    Ok(Framer::new(Input::open(path)?, framing))
}

impl SourceFactory for FileFactory {
    fn partitions(&self) -> &[String] {
        &self.names
    }

    fn open(&self, assigned: &[Assignment]) -> Result<Box<dyn Source>, SourceError> {
        // The rate is that of all files together.
        let share = assigned.len() as f64 / self.names.len() as f64;
        let pace = Pace::new(self.settings.rate.map(|rate| rate * share), self.settings.speed);
        let files = assigned
            .iter()
            .map(|assignment| self.open_file(assignment, &pace))
            .collect::<Result<_, _>>()?;
        Ok(Box::new(FileSource {
            files,
            pace,
            clock: self.clock.clone(),
            batch: Batch::default(),
            turn: 0,
        }))
    }
}

/// Messages as they are: the engine decodes them.
struct MessageDecoder {
    reads_time: bool,
}

impl Decoder for MessageDecoder {
    fn decode(&mut self, frame: &[u8], out: &mut Vec<u8>) -> Result<Option<Decoded>, Problem> {
        out.extend_from_slice(frame);
        let ts = if self.reads_time {
            Telemetry::decode(frame).ok().map(|read| EventTime(read.ts))
        } else {
            None
        };
        Ok(Some(Decoded { ts }))
    }
}

struct FileSource {
    files: Vec<Reading>,
    pace: Pace,
    clock: Clock,
    batch: Batch,
    /// The file that is served first, so that none waits for ever behind the others.
    turn: usize,
}

impl Source for FileSource {
    fn poll(&mut self, intake: &mut dyn Intake, records_max: usize) -> Result<Polled, SourceError> {
        let now_ms = if self.pace.is_free() { 0 } else { (self.clock)() };
        let mut left = records_max;
        self.turn += 1;
        for step in 0..self.files.len() {
            let place = (self.turn + step) % self.files.len();
            if left > 0 && !self.files[place].finished {
                let mut turn = Turn {
                    pace: &mut self.pace,
                    now_ms,
                    batch: &mut self.batch,
                    intake: &mut *intake,
                    left,
                };
                let read = self.files[place].read(&mut turn);
                turn.hand_over(self.files[place].partition);
                left = turn.left;
                read?;
            }
        }
        match left < records_max {
            true => Ok(Polled::Some),
            false if self.files.iter().all(|file| file.finished) => Ok(Polled::Finished),
            false => Ok(Polled::Idle),
        }
    }
}

/// A file that is being read.
struct Reading {
    partition: Partition,
    name: String,
    framer: Framer,
    decoder: Box<dyn Decoder>,
    /// The number of the next frame.
    next: Offset,
    /// The first frame to hand over.
    from: Offset,
    /// A message that was read but isn't due.
    held: Option<(Offset, Option<EventTime>, Vec<u8>)>,
    finished: bool,
}

impl Reading {
    /// Reads until enough is handed over, nothing is due, or nothing is there.
    fn read(&mut self, turn: &mut Turn<'_>) -> Result<(), SourceError> {
        if let Some((offset, ts, payload)) = self.held.take() {
            if !turn.pace.admit(ts, turn.now_ms) {
                self.held = Some((offset, ts, payload));
                return Ok(());
            }
            turn.batch.bytes.extend_from_slice(&payload);
            turn.push(self.partition, offset);
        }
        while turn.left > 0 && self.held.is_none() {
            let frame = self.framer.next();
            let offset = self.next;
            match frame.map_err(|error| self.error(offset, format!("can't be read: {error}")))? {
                Frame::Pending => return Ok(()),
                Frame::End => return self.end(turn),
                Frame::Whole(range) => self.take(turn, offset, range)?,
                Frame::Broken(range, why) if offset >= self.from => {
                    turn.unusable(
                        self.partition,
                        offset,
                        self.framer.bytes(&range),
                        self.place(offset, &why),
                    );
                }
                Frame::Broken(..) => {}
            }
            self.next = offset.next();
        }
        Ok(())
    }

    fn take(&mut self, turn: &mut Turn<'_>, offset: Offset, range: std::ops::Range<usize>) -> Result<(), SourceError> {
        let header = offset == Offset(0) && self.decoder.has_header();
        if offset < self.from && !header {
            return Ok(());
        }
        let frame = self.framer.bytes(&range);
        let begin = turn.batch.bytes.len();
        // The decoder is given the batch's own room; what it wrote before it failed is taken back.
        match self.decoder.decode(frame, &mut turn.batch.bytes) {
            Ok(None) => {}
            Ok(Some(Decoded { ts })) if turn.pace.is_free() || turn.pace.admit(ts, turn.now_ms) => {
                turn.push(self.partition, offset);
            }
            Ok(Some(Decoded { ts })) => {
                self.held = Some((offset, ts, turn.batch.bytes.split_off(begin)));
            }
            Err(Problem::Frame(why)) => {
                turn.batch.bytes.truncate(begin);
                turn.unusable(self.partition, offset, frame, self.place(offset, &why));
            }
            Err(Problem::File(why)) => return Err(self.error(offset, why)),
        }
        Ok(())
    }

    fn end(&mut self, turn: &mut Turn<'_>) -> Result<(), SourceError> {
        if self.next < self.from {
            let why = format!(
                "the file ends here, but reading was to go on at {}; was it replaced?",
                self.from.next()
            );
            return Err(self.error(self.next, why));
        }
        self.finished = true;
        turn.intake.lag(self.partition, 0);
        Ok(())
    }

    /// `line 7: …`, counted from 1 as editors do.
    fn place(&self, offset: Offset, what: &str) -> String {
        format!("line {}: {what}", offset.next())
    }

    fn error(&self, offset: Offset, problem: String) -> SourceError {
        SourceError::new(format!("{}, line {}", self.name, offset.next()), problem)
    }
}

/// One file's part of a poll.
struct Turn<'a> {
    pace: &'a mut Pace,
    now_ms: i64,
    batch: &'a mut Batch,
    intake: &'a mut dyn Intake,
    left: usize,
}

/// Messages that were read and not yet handed over.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    /// Each message's offset, and where it ends in the bytes.
    messages: Vec<(Offset, usize)>,
}

impl Turn<'_> {
    /// Adds the message that was written last.
    fn push(&mut self, partition: Partition, offset: Offset) {
        self.batch.messages.push((offset, self.batch.bytes.len()));
        self.left -= 1;
        if self.batch.bytes.len() >= BATCH_BYTES_MAX {
            self.hand_over(partition);
        }
    }

    fn unusable(&mut self, partition: Partition, offset: Offset, payload: &[u8], detail: String) {
        self.hand_over(partition);
        let record = Record {
            offset,
            log_time: None,
            key: None,
            payload,
            headers: Headers::NONE,
        };
        self.intake.unusable(partition, record, Reason::Schema, detail);
        self.left -= 1;
    }

    fn hand_over(&mut self, partition: Partition) {
        let mut start = 0;
        let mut records = Vec::with_capacity(self.batch.messages.len());
        for (offset, end) in self.batch.messages.drain(..) {
            records.push(Record {
                offset,
                log_time: None,
                key: None,
                payload: &self.batch.bytes[start..end],
                headers: Headers::NONE,
            });
            start = end;
        }
        if !records.is_empty() {
            self.intake.records(partition, &records);
        }
        self.batch.bytes.clear();
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
