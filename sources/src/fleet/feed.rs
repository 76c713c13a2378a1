//! The fleet as what writes to the embedded log. Each batch in the log says where the fleet goes on behind it, so a start
//! goes on there, with nothing twice and no gap.
//!
//! What fell due before the first start, and what is further back than `retention` after a stop, is played as fast as can
//! be, of a fleet that sends at `history_interval`; then the fleet is live. Both fleets are functions of the configuration,
//! and the cut between them is where the log says: behind the last record of the first.

use super::config::{FleetSettings, HISTORY};
use super::source::FleetFactory;
use crate::clock::Clock;
use crate::log::{AppendError, Batch, LogWriter, Origin, Tail};
use std::sync::Arc;
use std::time::Duration;
use tidewatch_proto::ids::{Offset, Partition, stable_hash};
use tidewatch_proto::reject::Reason;
use tidewatch_proto::source::{Assignment, Intake, Polled, Record, Source, SourceError, SourceFactory};

/// How many records are made at once: with the largest messages they fit into a batch of the smallest log.
const RECORDS: usize = 2_000;
/// A log that is this far ahead of the clock was written by another clock.
const AHEAD_MAX_MS: i64 = 10_000;

/// Writes what a fleet sends to the log.
pub struct FleetFeed {
    settings: FleetSettings,
    clock: Clock,
    writer: LogWriter,
    phase: Phase,
    made: Made,
    /// How many records of the history were made.
    played: usize,
}

enum Phase {
    /// Where the log ends is still to be looked at.
    Begin,
    /// The past is played; where the live fleet begins then, and what it is.
    History(Box<dyn Source>, Vec<Assignment>, u64),
    /// What falls due is sent.
    Live(Box<dyn Source>),
}

/// What a step came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// There may be more at once.
    Wrote,
    /// Nothing is due.
    Idle,
    /// The log takes nothing just now; what was made is kept for the next step.
    Full,
    /// Something worth saying has begun.
    News(String),
}

impl FleetFeed {
    /// A fleet that writes to this log, divided among its partitions, by this clock.
    pub fn new(settings: &FleetSettings, writer: LogWriter, clock: Clock) -> FleetFeed {
        let partitions = writer.partitions();
        FleetFeed {
            settings: FleetSettings {
                partitions: partitions as u32,
                ..settings.clone()
            },
            clock,
            phase: Phase::Begin,
            made: Made::new(partitions),
            writer,
            played: 0,
        }
    }

    /// Appends some of what is due. Doesn't block for the disk.
    ///
    /// # Errors
    /// When the fleet can't go on as things are. It may later: what is wrong can be tried again.
    pub fn step(&mut self) -> Result<Step, SourceError> {
        if !self.made.append(&self.writer)? {
            return Ok(Step::Full);
        }
        let polled = match &mut self.phase {
            Phase::Begin => return self.begin(),
            Phase::History(source, ..) => {
                let polled = source.poll(&mut self.made, RECORDS)?;
                self.played += self.made.records();
                polled
            }
            Phase::Live(source) => source.poll(&mut self.made, RECORDS)?,
        };
        match (polled, &mut self.phase) {
            (Polled::Some, _) => self.made.append(&self.writer).map(|_| Step::Wrote),
            (_, Phase::History(_, lives, feed)) => {
                let (lives, feed) = (std::mem::take(lives), *feed);
                self.live(&lives, feed)
            }
            _ => Ok(Step::Idle),
        }
    }

    /// Looks where the log ends, and begins there.
    fn begin(&mut self) -> Result<Step, SourceError> {
        let now_ms = (self.clock)();
        let past = FleetSettings {
            interval_ms: self.settings.history_interval_ms,
            retention_ms: i64::MAX,
            ..self.settings.clone()
        };
        let partitions = (0..self.settings.partitions).map(Partition);
        let tails: Vec<Tail> = partitions.filter_map(|partition| self.writer.tail(partition)).collect();
        let plan = Plan::new(&tails, &self.settings, &past, now_ms)?;
        self.made.feed = feed(&past);
        self.played = 0;
        let step = match plan.begins_ms {
            Some(from_ms) if from_ms < now_ms => {
                let seconds = u64::try_from((now_ms - from_ms + 999) / 1_000).unwrap_or(0);
                let past = humantime::format_duration(Duration::from_secs(seconds));
                Step::News(format!(
                    "the fleet plays the last {past} into the log, then it goes live"
                ))
            }
            _ => Step::Wrote,
        };
        // Nothing falls due any more while it is played.
        let history = FleetFactory::with_clock(past, Arc::new(move || now_ms));
        let source = history.open(&plan.history)?;
        self.phase = Phase::History(source, plan.lives, feed(&self.settings));
        Ok(step)
    }

    fn live(&mut self, lives: &[Assignment], feed: u64) -> Result<Step, SourceError> {
        let live = FleetFactory::with_clock(self.settings.clone(), self.clock.clone()).open(lives)?;
        self.phase = Phase::Live(live);
        self.made.feed = feed;
        Ok(Step::News(match self.played {
            0 => "the fleet goes on where the log ends and is live".to_owned(),
            played => format!("the fleet has played {played} messages and is live"),
        }))
    }
}

/// Where each partition begins.
struct Plan {
    /// In the past that is played, where there is one.
    history: Vec<Assignment>,
    /// Live.
    lives: Vec<Assignment>,
    /// From when on the past is played, if it is.
    begins_ms: Option<i64>,
}

impl Plan {
    fn new(tails: &[Tail], live: &FleetSettings, past: &FleetSettings, now_ms: i64) -> Result<Plan, SourceError> {
        let ends: Vec<i64> = tails
            .iter()
            .map(|tail| tail.time.map_or(i64::MIN, |time| time.0))
            .collect();
        is_behind(&ends, now_ms)?;
        let history_ms = past.history_ms.unwrap_or(HISTORY.as_millis());
        let oldest_ms = now_ms.saturating_sub(history_ms).saturating_add(1);
        let from_ms: Vec<i64> = ends.iter().map(|end| end.saturating_add(1).max(oldest_ms)).collect();
        let everywhere = |ms| vec![ms; tails.len()];
        let fleets = (FleetFactory::new(past.clone()), FleetFactory::new(live.clone()));
        let (oldest, fresh) = (fleets.0.places(&everywhere(oldest_ms)), fleets.0.places(&from_ms));
        let in_reach = fleets.1.places(&everywhere(now_ms.saturating_sub(live.retention_ms)));
        let after = fleets.1.places(&everywhere(now_ms.saturating_add(1)));
        let ids = (feed(past), feed(live));
        let mut plan = Plan {
            history: Vec::new(),
            lives: Vec::new(),
            begins_ms: None,
        };
        for (n, Tail { origin, .. }) in tails.iter().enumerate() {
            let partition = Partition(n as u32);
            if origin.feed == ids.1 && origin.next >= in_reach[n] {
                plan.lives.push(at(partition, origin.next));
                continue;
            }
            let from = match origin.feed == ids.0 {
                true => origin.next.max(oldest[n]),
                false => fresh[n],
            };
            plan.history.push(at(partition, from));
            plan.lives.push(at(partition, after[n]));
            plan.begins_ms = Some(plan.begins_ms.unwrap_or(i64::MAX).min(from_ms[n]));
        }
        Ok(plan)
    }
}

/// Refuses a log that was written by another clock.
fn is_behind(ends: &[i64], now_ms: i64) -> Result<(), SourceError> {
    match ends.iter().max() {
        Some(end) if *end > now_ms + AHEAD_MAX_MS => {
            let seconds = (end - now_ms) / 1_000;
            let problem =
                format!("its last record is {seconds} s ahead of this machine's clock; the fleet waits for that");
            Err(SourceError::new("log", problem))
        }
        _ => Ok(()),
    }
}

fn at(partition: Partition, from: Offset) -> Assignment {
    Assignment {
        partition,
        from: Some(from),
    }
}

/// Which fleet it is: one of other settings has other offsets, and begins behind the log's end.
fn feed(settings: &FleetSettings) -> u64 {
    let FleetSettings {
        seed,
        devices,
        interval_ms,
        partitions,
        faults,
        ..
    } = settings;
    let text = format!("fleet {seed} {devices} {interval_ms} {partitions} {faults:?}");
    stable_hash(text.as_bytes()).max(1)
}

/// What was made and is not appended yet.
struct Made {
    feed: u64,
    /// For each partition its records, and where the fleet goes on.
    parts: Vec<(Batch, Offset)>,
}

impl Made {
    fn new(partitions: usize) -> Made {
        Made {
            feed: 0,
            parts: vec![(Batch::default(), Offset(0)); partitions],
        }
    }

    fn records(&self) -> usize {
        self.parts.iter().map(|(batch, _)| batch.len()).sum()
    }

    /// Appends all of it, and says whether the log has taken it.
    fn append(&mut self, writer: &LogWriter) -> Result<bool, SourceError> {
        for (index, (batch, next)) in self.parts.iter_mut().enumerate() {
            if batch.is_empty() {
                continue;
            }
            let origin = Origin {
                feed: self.feed,
                next: *next,
            };
            match writer.append(Partition(index as u32), batch, origin) {
                Ok(_) => batch.clear(),
                Err(AppendError::Full) => return Ok(false),
                Err(error) => return Err(SourceError::new("the fleet", error.to_string())),
            }
        }
        Ok(true)
    }
}

impl Intake for Made {
    fn records(&mut self, partition: Partition, records: &[Record<'_>]) {
        let (batch, next) = &mut self.parts[partition.index()];
        for record in records {
            batch.push(record.key, record.payload, record.log_time.unwrap_or_default());
            *next = record.offset.next();
        }
    }

    fn unusable(&mut self, _: Partition, _: Record<'_>, _: Reason, _: String) {
        unreachable!("a fleet's records are telemetry, or garbage that the engine is to find");
    }

    fn lag(&mut self, _: Partition, _: u64) {}
}

#[cfg(test)]
#[path = "feed_tests.rs"]
mod tests;
