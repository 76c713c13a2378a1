//! What a log wants beyond reading: where to begin, and for a topic of Kafka a look now and then whether it is still the
//! same.

use super::opened::Log;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tidewatch_dataflow::Restored;
use tidewatch_dataflow::batch::Position;
use tidewatch_dataflow::checkpoint::Meta;
use tidewatch_proto::ids::Partition;
use tidewatch_proto::source::SourceError;
use tidewatch_sources::begin::Before;
use tidewatch_sources::kafka::{Change, KafkaFactory, TopicWatch};

/// How often is looked whether the topic has changed.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The state to go on from, with a position for every partition of a log: from the first checkpoint on a restart goes on
/// where this run began, also by a partition that had no record.
///
/// # Errors
/// When the log doesn't have what comes next.
pub fn begin(
    log: &Log,
    was: Option<&Meta>,
    restored: Option<Restored>,
    partitions: usize,
) -> Result<Option<Restored>, SourceError> {
    let known = restored.iter().flat_map(|restored| &restored.positions);
    let positions: Vec<_> = known.map(|position| (position.partition, position.next)).collect();
    let before = was.map(|meta| Before {
        log: &meta.log,
        positions: &positions,
    });
    let Some(begin) = log.begin(before)? else {
        return Ok(restored);
    };
    let mut restored = restored.unwrap_or_else(|| Restored::fresh(partitions));
    let clock_ms = |partition| {
        let known = restored.positions.iter().find(|known| known.partition == partition);
        known.map_or(i64::MIN, |known| known.clock_ms)
    };
    let begin = begin.into_iter().enumerate().map(|(index, next)| {
        let partition = Partition(index as u32);
        Position {
            partition,
            next,
            clock_ms: clock_ms(partition),
        }
    });
    restored.positions = begin.collect();
    Ok(Some(restored))
}

/// What is to be done about a topic that has changed.
#[derive(Debug)]
pub enum Verdict {
    /// The run ends at a border and the next begins at once, with the partitions that were added.
    Again(String),
    /// The run ends: what is read does not follow what was read.
    Stop(String),
}

/// Looks whether the topic changes, on a thread of its own that ends with this.
pub struct Changes(Arc<Mutex<Option<Change>>>);

impl Changes {
    /// Begins to look.
    ///
    /// # Errors
    /// When the client or the thread can't be set up.
    pub fn watch(kafka: Option<&KafkaFactory>) -> Result<Changes, SourceError> {
        let found = Arc::new(Mutex::new(None));
        if let Some(kafka) = kafka {
            let (watch, to) = (kafka.watch()?, Arc::downgrade(&found));
            let thread = std::thread::Builder::new().name("kafka-watch".to_owned());
            let begun = thread.spawn(move || look(&watch, &to));
            begun.map_err(|error| SourceError::new("the watch of the topic", error.to_string()))?;
        }
        Ok(Changes(found))
    }

    /// What is to be done, if anything. While something can't be reached a run doesn't end for new partitions: the
    /// next could not begin.
    pub fn verdict(&self, is_away: bool) -> Option<Verdict> {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(Change::Grown(now)) if !is_away => Some(Verdict::Again(format!(
                "the topic has {now} partitions now; reading begins again with all of them"
            ))),
            Some(Change::Anew(error)) => Some(Verdict::Stop(error.to_string())),
            _ => None,
        }
    }
}

fn look(watch: &TopicWatch, to: &Weak<Mutex<Option<Change>>>) {
    loop {
        std::thread::sleep(LOOK_INTERVAL);
        let Some(found) = to.upgrade() else { return };
        if let Some(change) = watch.look() {
            *found.lock().unwrap_or_else(PoisonError::into_inner) = Some(change);
        }
    }
}
