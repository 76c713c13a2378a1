//! What the engine is told at its start, resolved: nothing optional, all durations in milliseconds.

use std::sync::Arc;
use tidewatch_proto::anomaly::Rule;
use tidewatch_proto::calendar::{Calendar, Span};
use tidewatch_proto::ids::{EPOCH_MS, Epoch, stable_hash};
use tidewatch_proto::limits::Limits;
use tidewatch_proto::row::{Job, Jobs, Row};
use tidewatch_proto::time::{EventTime, PANE_MS, PaneNo};

/// The panes that a five-minute window is combined from.
pub const HOP_PANES: i32 = 5;
/// The engine's settings.
#[derive(Clone, Debug, PartialEq)]
pub struct EngineConfig {
    /// Worker threads.
    pub threads: usize,
    /// How far the watermark stays behind the log's running maximum.
    pub lateness_ms: i64,
    /// How long after the closing of its last window a pane can still be corrected.
    pub correction_horizon_ms: i64,
    /// Bytes of closed panes that one worker keeps at most; beyond it the oldest leave early.
    pub correction_bytes_max: usize,
    /// A window's corrections are published at most once in this time.
    pub correction_interval_ms: i64,
    /// After so long without a record that moves its watermark, a partition's windows are published by the wall
    /// clock.
    pub idle_ms: i64,
    /// How far an event time may be ahead of the log's timestamp.
    pub future_max_ms: i64,
    /// How far an event time may be behind the log's timestamp; `None`: any.
    pub age_max_ms: Option<i64>,
    /// Whether a message that a device sends again is dropped.
    pub drop_duplicates: bool,
    /// Whether quantiles are kept.
    pub quantiles: bool,
    /// Whether five-minute windows, hopping by one, are kept.
    pub five_minutes: bool,
    /// Whether one-hour windows are kept.
    pub hour: bool,
    /// Whether windows of a day are kept.
    pub day: bool,
    /// When days begin and end.
    pub calendar: Arc<Calendar>,
    /// How long a store keeps rows, by the start of their windows, that adds readings beyond the horizon to them;
    /// `None`: there is no such store, and these readings are dead letters.
    pub stored_ms: Option<i64>,
    /// Whether workers give out their journals, and their state round by round: what checkpoints are made of.
    pub journal: bool,
    /// Checkpoints are of epochs that are multiples of this: rows of epochs until there hold nothing of later ones.
    pub border_epochs: u64,
    /// How many series a slice of the state covers at most, unused slots included.
    pub slice_slots: usize,
    /// What is looked for.
    pub rules: Arc<[Rule]>,
    /// What is accepted.
    pub limits: Limits,
    /// How many epochs the source may be ahead of the slowest worker.
    pub epochs_ahead_max: u64,
    /// Bytes of records that one worker takes into one epoch at most.
    pub epoch_bytes_max: usize,
    /// Bytes that sinks may have left to confirm before the source waits.
    pub outbox_bytes_max: usize,
    /// Records that one poll of the source takes at most.
    pub poll_records_max: usize,
}

impl Default for EngineConfig {
    fn default() -> EngineConfig {
        EngineConfig {
            threads: 1,
            lateness_ms: 10_000,
            correction_horizon_ms: 15 * 60_000,
            correction_bytes_max: 4 << 30,
            correction_interval_ms: 1_000,
            idle_ms: 10_000,
            future_max_ms: 10 * 60_000,
            age_max_ms: None,
            drop_duplicates: true,
            quantiles: true,
            five_minutes: true,
            stored_ms: None,
            hour: true,
            day: true,
            calendar: Arc::default(),
            journal: false,
            border_epochs: 1_000 / EPOCH_MS,
            slice_slots: 2_048,
            rules: Arc::new([]),
            limits: Limits::default(),
            epochs_ahead_max: 4,
            epoch_bytes_max: 256 << 20,
            outbox_bytes_max: 512 << 20,
            poll_records_max: 4_096,
        }
    }
}

impl EngineConfig {
    /// Whether a store has rows of the windows of an event time that are long closed, and adds readings to them.
    pub fn is_stored(&self, at: EventTime, watermark_ms: i64) -> bool {
        let longest = self.span(if self.day { Job::Day } else { Job::Hour }, PaneNo::of(at));
        let begins = longest.first.start().0;
        self.stored_ms
            .is_some_and(|kept| begins > watermark_ms.saturating_sub(kept))
    }

    /// The long windows that are kept: hours and days.
    pub fn long_jobs(&self) -> impl Iterator<Item = Job> + use<> {
        let jobs = [(Job::Hour, self.hour), (Job::Day, self.day)];
        jobs.into_iter().filter_map(|(job, is_kept)| is_kept.then_some(job))
    }

    /// Whether there is any long window: days are made of hours.
    pub fn has_long(&self) -> bool {
        self.hour || self.day
    }

    /// The long window of a job that a pane lies in.
    pub fn span(&self, job: Job, pane: PaneNo) -> Span {
        match job {
            Job::Day => self.calendar.day(pane),
            _ => Span::hour(pane),
        }
    }

    /// How many panes the longest window combined from panes spans.
    pub fn panes_per_window_max(&self) -> i32 {
        if self.five_minutes { HOP_PANES } else { 1 }
    }

    /// What the rows take at most that a pane is published with: one in each window that is combined with it.
    pub fn row_bytes_per_pane(&self) -> i64 {
        let hops = if self.five_minutes { HOP_PANES } else { 0 };
        i64::from(1 + hops) * size_of::<Row>() as i64
    }

    /// The last pane that can't change any more when a partition's watermark stands at `watermark_ms`: its last
    /// window closed more than the horizon ago. A reading in it is beyond the horizon.
    pub fn expired_by(&self, watermark_ms: i64) -> PaneNo {
        let closed = PaneNo::closed_by(EventTime(watermark_ms.saturating_sub(self.correction_horizon_ms)));
        closed.plus(1 - self.panes_per_window_max())
    }

    /// The last pane that surely can't change any more when a partition has closed panes through `closed`: it is not before
    /// that of [`EngineConfig::expired_by`], and goes by panes alone.
    pub fn expired_by_closed(&self, closed: PaneNo) -> PaneNo {
        let horizon = self
            .correction_horizon_ms
            .div_euclid(PANE_MS)
            .clamp(0, i64::from(i32::MAX)) as i32;
        closed.plus(-horizon).plus(1 - self.panes_per_window_max())
    }

    /// Which long windows take a reading when a partition has closed and let expire panes through these.
    pub fn late(&self, pane: PaneNo, closed: PaneNo, expired: PaneNo) -> Late {
        let last = |job| self.span(job, pane).last;
        Late {
            hour: self.has_long() && last(Job::Hour) > expired,
            day: self.day && last(Job::Day) > expired,
            hour_closed: last(Job::Hour) <= closed,
        }
    }

    /// The last pane that no window needs any more when panes until `expired` can't change: a correction of the
    /// next one still combines it with those before.
    pub fn forgotten_by(&self, expired: PaneNo) -> PaneNo {
        expired.plus(1 - self.panes_per_window_max())
    }

    /// A hash of the settings that saved state depends on. State that was saved under others can be gone on
    /// from, but the windows that were open then are neither what the one nor the other would have made.
    pub fn fingerprint(&self) -> u64 {
        let settings = (
            (
                self.lateness_ms,
                self.correction_horizon_ms,
                self.future_max_ms,
                self.age_max_ms,
            ),
            (self.drop_duplicates, self.quantiles, self.five_minutes, self.hour),
            self.day.then_some(&self.calendar),
        );
        stable_hash(format!("{settings:?}").as_bytes())
    }

    /// The per-series jobs that are on.
    pub fn jobs(&self) -> Vec<Job> {
        let mut jobs = vec![Job::Minute];
        jobs.extend(self.five_minutes.then_some(Job::FiveMinutes));
        jobs.extend(self.long_jobs());
        jobs
    }
}

/// Which long windows a reading enters that came after its pane had closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Late {
    /// Whether its hour is in memory.
    pub hour: bool,
    /// Whether its day is in memory.
    pub day: bool,
    /// Whether the hour had closed.
    pub hour_closed: bool,
}

impl Late {
    /// The jobs whose windows take it.
    pub fn jobs(self) -> Jobs {
        let own = [(Job::Hour, self.hour), (Job::Day, self.day)];
        let taking = own.into_iter().filter(|own| own.1);
        taking.fold(Jobs::default(), |jobs, own| jobs.with(own.0))
    }
}

/// The engine's only view of time: given by whoever runs it, so that tests can stop it.
pub trait Clock: Send + Sync {
    /// The epoch now. It never goes back; it goes on from the epoch that was restored.
    fn epoch(&self) -> Epoch;

    /// The wall clock, milliseconds since 1970.
    fn wall_ms(&self) -> i64;
}

/// How many epochs a duration spans, at least one.
pub fn epochs_of(ms: i64) -> u64 {
    (ms.max(0) as u64).div_ceil(EPOCH_MS).max(1)
}
