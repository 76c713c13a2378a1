//! Where reading begins: the positions of a checkpoint are compared with what the log has, and those that it doesn't
//! give yet are looked up once, so that every later start goes on from them.

use super::config::{KafkaSettings, Start};
use super::connect::{CONNECT_TIMEOUT, KafkaFactory};
use crate::begin::{Before, OnGap};
use crate::event::SourceEvent;
use rdkafka::consumer::{BaseConsumer, Consumer};
use std::time::{Duration, Instant};
use tidewatch_proto::ids::{Offset, Partition};
use tidewatch_proto::source::SourceError;

/// How long one question to the brokers takes at most.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long to wait before asking again.
const PAUSE: Duration = Duration::from_millis(100);
/// What to do about records that are gone.
const WAY_ON: &str = "bring the log back, or set kafka.on_gap = \"skip\" to go on with what it has";

/// The first offset of a partition, and the one after its last record that may be read.
type Extent = (i64, i64);

impl KafkaFactory {
    /// Where reading of each partition begins, in their order. With a checkpoint that is where it ended, and a
    /// partition that was added since begins with its first record; without one it is as `kafka.start` says.
    ///
    /// # Errors
    /// When the log has not got what comes next (records were removed or lost, or the topic was made anew), unless
    /// `kafka.on_gap` says to skip that; or when the brokers don't say what the log has.
    pub fn begin(&self, before: Option<Before<'_>>) -> Result<Vec<Offset>, SourceError> {
        let consumer: BaseConsumer = self.settings.reader().create().map_err(|error| {
            SourceError::new(self.settings.object(), format!("the client can't be set up: {error}"))
        })?;
        let is_anew = match before {
            Some(before) => self.is_anew(before.log)?,
            None => false,
        };
        (0..self.names.len())
            .map(|index| {
                let partition = Partition(index as u32);
                let position = before
                    .filter(|_| !is_anew)
                    .and_then(|before| before.positions.iter().find(|position| position.0 == partition))
                    .map(|position| position.1);
                match (position, before, self.settings.start) {
                    (Some(position), ..) => self.go_on(&consumer, partition, position),
                    (None, None, Start::Latest) => Ok(Offset(self.extent(&consumer, partition)?.1)),
                    _ => Ok(Offset(self.extent(&consumer, partition)?.0)),
                }
            })
            .collect()
    }

    /// Whether the topic is another one than that of a checkpoint, and its records are all new.
    fn is_anew(&self, before: &str) -> Result<bool, SourceError> {
        if before.is_empty() || self.log.is_empty() || before == self.log {
            return Ok(false);
        }
        let problem = anew(before, &self.log);
        match self.settings.on_gap {
            OnGap::Stop => Err(SourceError::new(self.settings.object(), format!("{problem}; {WAY_ON}"))),
            OnGap::Skip => {
                self.tell(
                    self.settings.object(),
                    format!("{problem}; it is read from its first record"),
                );
                Ok(true)
            }
        }
    }

    /// Where to go on: at the position, if the log has it.
    fn go_on(&self, consumer: &BaseConsumer, partition: Partition, position: Offset) -> Result<Offset, SourceError> {
        let begun = Instant::now();
        let (first, end) = loop {
            let extent = self.extent(consumer, partition)?;
            // A leader that has just begun may not know yet how far its log goes.
            if position.0 <= extent.1 || begun.elapsed() > CONNECT_TIMEOUT {
                break extent;
            }
            std::thread::sleep(PAUSE);
        };
        let (problem, next) = match position.0 {
            at if at < first => (
                format!("the log begins at {first}: {} offsets are gone", first - at),
                first,
            ),
            at if at > end => (format!("the log ends at {end}: what was read there is lost to it"), end),
            _ => return Ok(position),
        };
        let object = place(&self.settings, partition, position);
        match self.settings.on_gap {
            OnGap::Stop => Err(SourceError::new(object, format!("{problem}; {WAY_ON}"))),
            OnGap::Skip => {
                self.tell(object, format!("{problem}; reading goes on at {next}"));
                Ok(Offset(next))
            }
        }
    }

    pub(super) fn extent(&self, consumer: &BaseConsumer, partition: Partition) -> Result<Extent, SourceError> {
        let begun = Instant::now();
        loop {
            match consumer.fetch_watermarks(&self.settings.topic, partition.0 as i32, ATTEMPT_TIMEOUT) {
                Ok(extent) => return Ok(extent),
                Err(error) if begun.elapsed() > CONNECT_TIMEOUT => {
                    let object = format!("{}/{partition} at {}", self.settings.topic, self.settings.brokers);
                    let problem = format!("its brokers don't say what the log has: {error}; bring them back");
                    return Err(SourceError::new(object, problem));
                }
                Err(_) => std::thread::sleep(PAUSE),
            }
        }
    }

    fn tell(&self, object: String, problem: String) {
        (self.hook)(SourceEvent::Skipped { object, problem });
    }
}

/// What is wrong with a topic that was made anew.
pub(super) fn anew(before: &str, now: &str) -> String {
    format!("the topic was made anew: its id was {before} and is {now}")
}

/// The error about a topic that is made anew while it is read.
pub(super) fn made_anew(settings: &KafkaSettings, before: &str, now: &str) -> SourceError {
    SourceError::new(settings.object(), format!("{}; {WAY_ON}", anew(before, now)))
}

fn place(settings: &KafkaSettings, partition: Partition, offset: Offset) -> String {
    format!(
        "{}/{partition} at {}, offset {offset}",
        settings.topic, settings.brokers
    )
}
