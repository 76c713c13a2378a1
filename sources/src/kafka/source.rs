//! A reader of some partitions of a topic.

use super::batch::{Fetcher, Item, Trouble, is};
use super::config::KafkaSettings;
use crate::event::{EventHook, SourceEvent};
use rdkafka::error::RDKafkaErrorCode as Code;
use std::ffi::CString;
use std::time::{Duration, Instant};
use tidewatch_proto::ids::{Offset, Partition};
use tidewatch_proto::source::{Assignment, Intake, Polled, Record, Source, SourceError};

/// How often a partition's lag is told.
const LAG_INTERVAL: Duration = Duration::from_secs(1);
/// What to do about a position that the log doesn't have.
pub(super) const LOST: &str = "the records from there on are gone, or the topic was made anew; bring the log back, or \
    set kafka.on_gap = \"skip\" and start again to go on with what it has";
/// What to do about a topic that isn't there.
pub(super) const MISSING: &str = "create the topic, or bring it back, and start again";
/// What to do about a topic that may not be read.
pub(super) const DENIED: &str = "give kafka.username the right to read the topic, and start again";
/// What to do about a batch that can't be read.
pub(super) const DAMAGED: &str = "the batch there can't be read; repair the log, or remove its records up to behind \
    that batch and start with an empty state folder";

/// A reader of some partitions of a topic; without any, of nothing.
pub(super) struct KafkaSource(Option<Reader>);

struct Reader {
    fetcher: Fetcher,
    positions: Positions,
    hook: EventHook,
    /// Room for the records of a poll, kept between polls.
    records: Vec<Record<'static>>,
    lag_told: Instant,
    /// Whether records were known to lie ahead when the lag was told, so that reaching the end is news.
    behind: bool,
}

/// Where the reader stands.
struct Positions {
    brokers: String,
    topic: String,
    /// The topic's name as librdkafka wants it.
    topic_c: CString,
    assigned: Vec<Partition>,
    /// For each partition of the topic the first offset not handed over, once it is known.
    next: Vec<Option<Offset>>,
    /// Whether some partition's end was reached in this poll.
    ended: bool,
}

impl KafkaSource {
    /// A reader that has no partition, and so needs no client.
    pub(super) fn of_nothing() -> KafkaSource {
        KafkaSource(None)
    }

    /// A reader whose consumer was assigned these partitions.
    pub(super) fn new(
        fetcher: Fetcher,
        settings: &KafkaSettings,
        assigned: &[Assignment],
        hook: EventHook,
    ) -> KafkaSource {
        let mut next = Vec::new();
        for assignment in assigned {
            next.resize(next.len().max(assignment.partition.index() + 1), None);
            next[assignment.partition.index()] = assignment.from;
        }
        let positions = Positions {
            brokers: settings.brokers.clone(),
            topic: settings.topic.clone(),
            topic_c: CString::new(settings.topic.as_str()).unwrap_or_default(),
            assigned: assigned.iter().map(|assignment| assignment.partition).collect(),
            next,
            ended: false,
        };
        KafkaSource(Some(Reader {
            fetcher,
            positions,
            hook,
            records: Vec::new(),
            lag_told: Instant::now(),
            behind: true,
        }))
    }
}

impl Source for KafkaSource {
    fn poll(&mut self, intake: &mut dyn Intake, records_max: usize) -> Result<Polled, SourceError> {
        let Some(reader) = &mut self.0 else {
            return Ok(Polled::Idle);
        };
        while let Some(trouble) = reader.fetcher.trouble() {
            reader.positions.judge(&trouble, &reader.hook)?;
        }
        let polled = reader.take(intake, records_max)?;
        reader.tell_lag(intake);
        Ok(polled)
    }
}

impl Reader {
    fn take(&mut self, intake: &mut dyn Intake, records_max: usize) -> Result<Polled, SourceError> {
        let mut run: Vec<Record<'_>> = std::mem::take(&mut self.records);
        let mut partition = Partition(0);
        let mut polled = Polled::Idle;
        let mut failed = Ok(());
        let batch = self.fetcher.fetch(records_max);
        for item in batch.items() {
            match item {
                Item::Record(from, record) => {
                    let from = Partition(from as u32);
                    if from != partition {
                        hand_over(intake, partition, &mut run);
                        partition = from;
                    }
                    if self.positions.advance(partition, record.offset) {
                        run.push(record);
                        polled = Polled::Some;
                    }
                }
                Item::Error {
                    partition: from,
                    offset,
                    code,
                    text,
                } => {
                    hand_over(intake, partition, &mut run);
                    failed = self.positions.judge_at(from, offset, code, &text, &self.hook);
                    if failed.is_err() {
                        break;
                    }
                }
            }
        }
        hand_over(intake, partition, &mut run);
        // Nothing is in it, so it may outlive the batch; collecting in place keeps the room.
        self.records = run
            .into_iter()
            .map(|_| unreachable!("the run was handed over"))
            .collect();
        failed.map(|()| polled)
    }

    fn tell_lag(&mut self, intake: &mut dyn Intake) {
        let ended = std::mem::take(&mut self.positions.ended);
        if !(ended && self.behind) && self.lag_told.elapsed() < LAG_INTERVAL {
            return;
        }
        self.lag_told = Instant::now();
        self.behind = false;
        for partition in &self.positions.assigned {
            let next = self.positions.next[partition.index()];
            let high = self.fetcher.high_watermark(&self.positions.topic_c, partition.0 as i32);
            let lag = next.zip(high).map(|(next, high)| (high.0 - next.0).max(0) as u64);
            self.behind |= lag != Some(0);
            if let Some(lag) = lag {
                intake.lag(*partition, lag);
            }
        }
    }
}

fn hand_over(intake: &mut dyn Intake, partition: Partition, run: &mut Vec<Record<'_>>) {
    if !run.is_empty() {
        intake.records(partition, run);
        run.clear();
    }
}

impl Positions {
    /// Steps over a record, and says whether it is one that wasn't handed over yet.
    fn advance(&mut self, partition: Partition, offset: Offset) -> bool {
        let Some(next) = self.next.get_mut(partition.index()) else {
            return false;
        };
        let new = next.is_none_or(|next| next <= offset);
        if new {
            *next = Some(offset.next());
        }
        new
    }

    /// Whether an error about the client as a whole ends the reading; if not, it is told.
    fn judge(&self, trouble: &Trouble, hook: &EventHook) -> Result<(), SourceError> {
        let object = format!("topic {} at {}", self.topic, self.brokers);
        let refused = [
            Code::Authentication,
            Code::SaslAuthenticationFailed,
            Code::UnsupportedSASLMechanism,
        ];
        if refused.iter().any(|code| is(trouble.code, *code)) {
            let way_on = "check kafka.username, kafka.password_file and kafka.sasl_mechanism";
            return Err(SourceError::new(
                object,
                format!("the login was refused ({}); {way_on}", trouble.text),
            ));
        }
        if trouble.fatal {
            return Err(SourceError::new(
                object,
                format!("the client gave up: {}", trouble.text),
            ));
        }
        // That all brokers are down only follows from what was said of each.
        if !is(trouble.code, Code::AllBrokersDown) {
            hook(SourceEvent::Retrying {
                object,
                problem: trouble.text.clone(),
            });
        }
        Ok(())
    }

    /// Whether an error at a position ends the reading; if not, it is told. The end of a partition is no error.
    fn judge_at(
        &mut self,
        partition: i32,
        offset: Offset,
        code: i32,
        text: &str,
        hook: &EventHook,
    ) -> Result<(), SourceError> {
        let place = usize::try_from(partition).ok().filter(|place| *place < self.next.len());
        if is(code, Code::PartitionEOF) {
            if let Some(place) = place {
                // Behind the last record there may be holes: what was removed, and marks of transactions.
                self.next[place] = self.next[place].max(Some(offset));
                self.ended = true;
            }
            return Ok(());
        }
        let object = match place {
            Some(place) => format!("{}/{place} at {}, offset {offset}", self.topic, self.brokers),
            None => format!("topic {} at {}", self.topic, self.brokers),
        };
        match way_on(code) {
            Some(way_on) => Err(SourceError::new(object, format!("{text}; {way_on}"))),
            None => {
                hook(SourceEvent::Retrying {
                    object,
                    problem: text.to_owned(),
                });
                Ok(())
            }
        }
    }
}

/// What to do about an error that waiting doesn't mend; `None` for all others.
fn way_on(code: i32) -> Option<&'static str> {
    let ways = [
        (Code::AutoOffsetReset, LOST),
        (Code::OffsetOutOfRange, LOST),
        (Code::LogTruncation, LOST),
        (Code::UnknownTopicOrPartition, MISSING),
        (Code::UnknownTopic, MISSING),
        (Code::UnknownPartition, MISSING),
        (Code::TopicAuthorizationFailed, DENIED),
        (Code::BadMessage, DAMAGED),
        (Code::InvalidMessage, DAMAGED),
        (Code::BadCompression, DAMAGED),
        (Code::NotImplemented, DAMAGED),
        (Code::MessageSizeTooLarge, DAMAGED),
        (Code::Fatal, "the client gave up; start again"),
    ];
    ways.iter()
        .find(|(known, _)| is(code, *known))
        .map(|(_, way_on)| *way_on)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
