//! How the fleet and the process are doing, in numbers that a page can show: what the engine counts, and what of it has
//! changed in the last seconds.
//!
//! * `samples`: the counters once a second, rates, and a quarter of an hour of history.
//! * `body`: all of it as JSON.

mod body;
mod samples;

use crate::answer::Shared;
use crate::live;
use crate::reader::Anomalies;
pub(crate) use body::{Body, example};
use samples::Samples;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tidewatch_dataflow::stats::Stats;
use tidewatch_proto::ids::Epoch;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How often the counters are looked at.
const EVERY: Duration = Duration::from_secs(1);
/// How often anomalies are counted while none is shown here: another process of the cluster may have found some.
const COUNT_EVERY: Duration = Duration::from_secs(10);

/// What was seen of the counters.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    samples: Mutex<Samples>,
    /// How many anomalies go on, once that is known.
    raised: Mutex<Option<u64>>,
}

impl Fleet {
    // A panic while the lock was held leaves samples that are each whole.
    fn samples(&self) -> MutexGuard<'_, Samples> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn raised(&self) -> MutexGuard<'_, Option<u64>> {
        self.raised.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How things stand, as JSON.
pub(crate) fn json(shared: &Shared) -> Vec<u8> {
    let samples = shared.fleet.samples();
    let raised = *shared.fleet.raised();
    let body = Body::new(&shared.handles, (&samples, raised), wall_ms());
    serde_json::to_vec(&body).expect("names are keys, and numbers have a form")
}

/// Looks at the counters once a second, and tells whoever listens, until it is told to stop.
pub(crate) async fn watch(shared: Arc<Shared>, mut shutdown: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(EVERY);
    let mut counting = Counting::default();
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            // An error says that the sender is gone, which means the same.
            _ = shutdown.wait_for(|stop| *stop) => return,
            _ = ticks.tick() => {}
        }
        let handles = &shared.handles;
        shared
            .fleet
            .samples()
            .take(Instant::now(), wall_ms(), &handles.stats, &handles.sinks);
        counting.go_on(&shared);
        let hub = &handles.tap.hub;
        if hub.subscribers() > 0 {
            let epoch = handles.series.as_of().unwrap_or_default();
            let durable = durable(&handles.stats);
            let fleet = String::from_utf8(json(&shared)).expect("JSON is UTF-8");
            let plain = live::progress(epoch, durable, None);
            hub.progress(plain, live::progress(epoch, durable, Some(&fleet)));
        }
    }
}

/// Counts the anomalies that go on, on a thread that may block, one question at a time.
#[derive(Default)]
struct Counting {
    asked: Option<(Instant, JoinHandle<()>)>,
}

impl Counting {
    /// Asks when there is reason to.
    fn go_on(&mut self, shared: &Arc<Shared>) {
        let Anomalies::Here(reader) = &shared.handles.anomalies else {
            return;
        };
        let is_due = match &self.asked {
            Some((_, asking)) if !asking.is_finished() => return,
            Some((at, _)) => at.elapsed() >= COUNT_EVERY,
            None => true,
        };
        if !is_due && !shared.handles.tap.has_found() {
            return;
        }
        let (reader, shared) = (reader.clone(), shared.clone());
        let asking = tokio::task::spawn_blocking(move || {
            // A store that is away says so elsewhere; what was known is shown no more.
            *shared.fleet.raised() = reader.raised().ok();
        });
        self.asked = Some((Instant::now(), asking));
    }
}

/// The last epoch that is durable.
fn durable(stats: &Stats) -> Epoch {
    Epoch(stats.checkpoint_epoch.get().max(0).unsigned_abs())
}

/// Now, milliseconds since 1970.
pub(crate) fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
