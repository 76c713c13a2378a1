//! A partition as the fetching thread sees it: who leads it, and what is to be asked for next.

use super::super::source::DAMAGED;
use super::aborted::Aborted;
use super::batch::{Damage, Head};
use super::protocol::fetch::{self, Fetched};
use super::protocol::offsets::{self, EARLIEST, LATEST};
use super::queue::{Frame, Piece};
use super::settings::{NativeSettings, end};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidewatch_proto::source::{Assignment, SourceError};

/// The first pause after a failure; it doubles.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// The longest.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// What a batch may take at most to be asked for, in bytes.
const BATCH_BYTES_MAX: usize = 90 << 20;

/// What is to be asked for next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// The batches from an offset on.
    Offset(i64),
    /// Which offset an end of the log has: that of this timestamp, [`EARLIEST`] or [`LATEST`].
    End(i64),
}

/// A partition.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) partition: i32,
    pub(super) at: At,
    /// The broker that leads it, once it is known.
    pub(super) leader: Option<i32>,
    /// Which of its leaders that is, counted; -1 when it isn't known.
    pub(super) leader_epoch: i32,
    /// The leader's epoch of the last batch.
    fetched_epoch: i32,
    bytes_max: i32,
    not_before: Instant,
    failures: u32,
    /// Since when the brokers don't know it, or name a leader from before the one we know.
    pub(super) doubted_since: Option<Instant>,
    /// Where it was last said to stand: the offset behind what was read, the log's end, whether all was read.
    told: Option<(i64, i64, bool)>,
}

impl Part {
    pub(super) fn new(assignment: &Assignment, settings: &NativeSettings, now: Instant) -> Part {
        let end = if settings.from_latest { LATEST } else { EARLIEST };
        Part {
            partition: assignment.partition.0 as i32,
            at: assignment.from.map_or(At::End(end), |from| At::Offset(from.0)),
            leader: None,
            leader_epoch: -1,
            fetched_epoch: -1,
            bytes_max: settings.fetch_bytes(),
            not_before: now,
            failures: 0,
            doubted_since: None,
            told: None,
        }
    }

    /// The offset that is wanted, for errors; the ends of a log as their timestamps.
    pub(super) fn offset(&self) -> i64 {
        match self.at {
            At::Offset(offset) | At::End(offset) => offset,
        }
    }

    /// Whether it may be asked for at this broker.
    pub(super) fn is_due(&self, broker: i32, now: Instant) -> bool {
        self.leader == Some(broker) && now >= self.not_before
    }

    /// When it may be asked for again, if that is still to come.
    pub(super) fn wakes_at(&self, now: Instant) -> Option<Instant> {
        (self.not_before > now).then_some(self.not_before)
    }

    /// Waits a while before it is asked for again.
    pub(super) fn pause(&mut self, now: Instant) {
        self.not_before = now + (PAUSE_MIN * (1 << self.failures.min(8))).min(PAUSE_MAX);
        self.failures = self.failures.saturating_add(1);
    }

    /// The question about an end of the log, if that is what is to be asked.
    pub(super) fn wants_end(&self) -> Option<offsets::Wanted> {
        let At::End(end) = self.at else { return None };
        Some(offsets::Wanted {
            partition: self.partition,
            leader_epoch: self.leader_epoch,
            end,
        })
    }

    /// The question for batches, if that is what is to be asked.
    pub(super) fn wants_batches(&self) -> Option<fetch::Wanted> {
        let At::Offset(offset) = self.at else { return None };
        Some(fetch::Wanted {
            partition: self.partition,
            leader_epoch: self.leader_epoch,
            offset,
            fetched_epoch: self.fetched_epoch,
            bytes_max: self.bytes_max,
        })
    }

    /// Takes what came without an error, and steps behind it; a piece when there is news.
    ///
    /// # Errors
    /// When the batches don't hang together.
    pub(super) fn take(
        &mut self,
        fetched: &Fetched,
        frame: &Arc<Frame>,
        place: usize,
        settings: &NativeSettings,
    ) -> Result<Option<Piece>, SourceError> {
        let At::Offset(offset) = self.at else { return Ok(None) };
        self.failures = 0;
        let damaged =
            |offset: i64, damage: Damage| end(settings.place(self.partition, offset), &damage.to_string(), DAMAGED);
        let whole = Span::of(&frame.bytes[fetched.records.clone()], offset)
            .map_err(|(offset, damage)| damaged(offset, damage))?;
        match whole.cut {
            // The next answer has to have room for it.
            Some(bytes) if whole.len == 0 && bytes <= BATCH_BYTES_MAX => self.bytes_max = bytes as i32,
            Some(_) if whole.len == 0 => return Err(damaged(offset, Damage::Shape)),
            _ => self.bytes_max = settings.fetch_bytes(),
        }
        self.at = At::Offset(whole.next);
        self.fetched_epoch = whole.leader_epoch.unwrap_or(self.fetched_epoch);
        let ended = whole.next >= fetched.stable;
        let standing = Some((whole.next, fetched.high_watermark, ended));
        if whole.len == 0 && self.told == standing {
            return Ok(None);
        }
        self.told = standing;
        Ok(Some(Piece {
            place,
            frame: Arc::clone(frame),
            batches: fetched.records.start..fetched.records.start + whole.len,
            aborted: Aborted::new(&fetched.aborted),
            from: offset,
            next: whole.next,
            high_watermark: fetched.high_watermark,
            ended,
        }))
    }
}

/// The whole batches at the beginning of what came.
struct Span {
    /// Their bytes.
    len: usize,
    /// The offset behind them.
    next: i64,
    /// The leader's epoch of the last.
    leader_epoch: Option<i32>,
    /// The bytes of the batch that is cut off behind them, if one is.
    cut: Option<usize>,
}

impl Span {
    /// Steps from head to head, from the batch with this offset on; the error says at which offset.
    fn of(bytes: &[u8], offset: i64) -> Result<Span, (i64, Damage)> {
        let mut span = Span {
            len: 0,
            next: offset,
            leader_epoch: None,
            cut: None,
        };
        while span.len < bytes.len() {
            let rest = &bytes[span.len..];
            let Some(head) = Head::read(rest).map_err(|damage| (span.next, damage))? else {
                span.cut = Head::len(rest).ok().flatten().or(Some(rest.len()));
                break;
            };
            if head.next() <= span.next {
                return Err((span.next, Damage::Shape));
            }
            span.len += head.len;
            (span.next, span.leader_epoch) = (head.next(), Some(head.leader_epoch));
        }
        Ok(span)
    }
}
