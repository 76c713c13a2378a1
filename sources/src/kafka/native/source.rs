//! The reader on a worker's side: takes batches off the queue, decompresses each once, and hands over its records.

use super::fetcher::{Fetcher, WAKER};
use super::part::Part;
use super::piece::{OpenPiece, Step};
use super::queue::{Item, Queue};
use super::settings::{NativeSettings, end};
use super::unpack::Unpacker;
use crate::event::EventHook;
use crate::kafka::source::DAMAGED;
use mio::{Poll, Waker};
use std::io::{Error, ErrorKind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tidewatch_proto::ids::{Offset, Partition};
use tidewatch_proto::source::{Assignment, Intake, Polled, Record, Source, SourceError};

/// How often a partition's lag is told.
const LAG_INTERVAL: Duration = Duration::from_secs(1);
/// How many steps that find no record a poll takes at most.
const EMPTY_STEPS_MAX: usize = 256;

/// A reader of some partitions of a topic.
pub(in crate::kafka) struct NativeSource {
    settings: NativeSettings,
    queue: Arc<Queue>,
    thread: JoinHandle<()>,
    standings: Vec<Standing>,
    open: Option<OpenPiece>,
    unpacker: Unpacker,
    /// Room for the records of a batch, kept between polls.
    records: Vec<Record<'static>>,
    lag_told: Instant,
    /// Whether records were known to lie ahead when the lag was told, so that reaching the end is news.
    behind: bool,
    /// Whether some partition's end was reached in this poll.
    ended: bool,
}

/// Where a partition stands.
#[derive(Clone, Copy, Debug)]
struct Standing {
    partition: Partition,
    /// The first offset not handed over, once it is known.
    next: Option<Offset>,
    /// The offset after the log's last record, once it is known.
    high_watermark: Option<i64>,
}

impl NativeSource {
    /// Starts fetching.
    ///
    /// # Errors
    /// When the system gives no thread, or nothing to wait with.
    pub(in crate::kafka) fn open(
        settings: &NativeSettings,
        assigned: &[Assignment],
        hook: EventHook,
    ) -> Result<NativeSource, SourceError> {
        let failed = |error: Error| SourceError::new(settings.object(), format!("can't be read: {error}"));
        let poll = Poll::new().map_err(failed)?;
        let waker = Waker::new(poll.registry(), WAKER).map_err(failed)?;
        let queue = Arc::new(Queue::new(settings.queue_bytes_max as usize, waker));
        let now = Instant::now();
        let parts = assigned.iter().map(|one| Part::new(one, settings, now)).collect();
        let fetcher = Fetcher::new(settings.clone(), parts, (poll, Arc::clone(&queue)), hook);
        let thread = std::thread::Builder::new()
            .name("kafka-fetch".to_owned())
            .spawn(move || fetcher.run())
            .map_err(failed)?;
        let standing = |one: &Assignment| Standing {
            partition: one.partition,
            next: one.from,
            high_watermark: None,
        };
        Ok(NativeSource {
            settings: settings.clone(),
            queue,
            thread,
            standings: assigned.iter().map(standing).collect(),
            open: None,
            unpacker: Unpacker::new().ok_or_else(|| failed(ErrorKind::OutOfMemory.into()))?,
            records: Vec::new(),
            lag_told: now,
            behind: true,
            ended: false,
        })
    }

    /// Sees to it that a piece is open; false when none has come.
    fn open_piece(&mut self) -> Result<bool, SourceError> {
        if self.open.is_some() {
            return Ok(true);
        }
        // Asked first: a thread that ends in between leaves its reason in the queue.
        let ended = self.thread.is_finished();
        match self.queue.pop() {
            Some(Item::Piece(piece)) => self.open = Some(OpenPiece::new(piece)),
            Some(Item::Failed(error)) => return Err(error),
            None if ended => {
                let object = self.settings.object();
                return Err(SourceError::new(object, "nothing fetches any more; start again"));
            }
            None => return Ok(false),
        }
        Ok(true)
    }

    /// Hands over records of one batch of the open piece, `most` at most; how many there were.
    fn hand_over(&mut self, intake: &mut dyn Intake, most: usize) -> Result<usize, SourceError> {
        let Some(open) = &mut self.open else { return Ok(0) };
        let standing = &mut self.standings[open.piece.place];
        let from = Offset(open.piece.from).max(standing.next.unwrap_or(Offset(0)));
        let mut run: Vec<Record<'_>> = std::mem::take(&mut self.records);
        let step = open.step(&mut self.unpacker, self.settings.check_crcs, from, most, &mut run);
        let taken = run.len();
        if let Some(last) = run.last() {
            standing.next = Some(last.offset.next());
            intake.records(standing.partition, &run);
        }
        run.clear();
        // Nothing is in it, so it may outlive the batch; collecting in place keeps the room.
        self.records = run
            .into_iter()
            .map(|_| unreachable!("the run was handed over"))
            .collect();
        match step {
            Ok(Step::On) => {}
            Ok(Step::Done) => self.close_piece(),
            Err(damage) => {
                let offset = standing.next.unwrap_or(from);
                let object = self.settings.place(standing.partition.0 as i32, offset.0);
                return Err(end(object, &damage.to_string(), DAMAGED));
            }
        }
        Ok(taken)
    }

    /// Steps behind a piece that was read.
    fn close_piece(&mut self) {
        let Some(OpenPiece { piece, .. }) = self.open.take() else {
            return;
        };
        let standing = &mut self.standings[piece.place];
        // Behind the last record there may be holes: what was removed, and marks of transactions.
        standing.next = standing.next.max(Some(Offset(piece.next)));
        standing.high_watermark = Some(piece.high_watermark);
        self.ended |= piece.ended;
    }

    fn tell_lag(&mut self, intake: &mut dyn Intake) {
        let ended = std::mem::take(&mut self.ended);
        if !(ended && self.behind) && self.lag_told.elapsed() < LAG_INTERVAL {
            return;
        }
        self.lag_told = Instant::now();
        self.behind = false;
        for standing in &self.standings {
            let ahead = standing.next.zip(standing.high_watermark);
            let lag = ahead.map(|(next, high)| (high - next.0).max(0) as u64);
            self.behind |= lag != Some(0);
            if let Some(lag) = lag {
                intake.lag(standing.partition, lag);
            }
        }
    }
}

impl Source for NativeSource {
    fn poll(&mut self, intake: &mut dyn Intake, records_max: usize) -> Result<Polled, SourceError> {
        let (mut taken, mut empty_steps) = (0, 0);
        while taken < records_max && empty_steps < EMPTY_STEPS_MAX && self.open_piece()? {
            match self.hand_over(intake, records_max - taken)? {
                0 => empty_steps += 1,
                records => taken += records,
            }
        }
        self.tell_lag(intake);
        Ok(match taken {
            0 => Polled::Idle,
            _ => Polled::Some,
        })
    }
}

impl Drop for NativeSource {
    /// The thread ends by itself as soon as it looks.
    fn drop(&mut self) {
        self.queue.stop();
    }
}
