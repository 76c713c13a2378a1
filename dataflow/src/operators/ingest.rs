//! Ingest: polls the reader under a capability of the epoch that the clock shows.

use crate::batch::{Batch, Position};
use crate::config::{Clock, EngineConfig};
use crate::ingest::Reader;
use crate::stats::Stats;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tidewatch_proto::ids::Epoch;
use tidewatch_proto::reject::Reject;
use tidewatch_proto::source::{Polled, SourceError};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::probe::Handle as Probe;
use timely::dataflow::{Scope, Stream};

/// How the rest of the worker and its ingest operator speak.
#[derive(Debug, Default)]
pub struct IngestControl {
    /// Read no further than this epoch.
    pub stop_after: Option<Epoch>,
    /// Why reading ended, when it failed.
    pub error: Option<SourceError>,
}

/// The three streams of ingest.
pub struct Ingested<'scope> {
    /// Readings.
    pub batches: Stream<'scope, u64, Vec<Batch>>,
    /// Where reading stood at the end of each epoch.
    pub positions: Stream<'scope, u64, Vec<Position>>,
    /// Records that can't be used.
    pub rejects: Stream<'scope, u64, Vec<Reject>>,
}

/// How long an ingest without anything to read waits, growing from the first to the second.
const IDLE_WAIT: (Duration, Duration) = (Duration::from_micros(500), Duration::from_millis(20));

/// How long an ingest waits that is ahead of the workers or of the sinks.
const FULL_WAIT: Duration = Duration::from_micros(300);

/// Ingests from a reader. `probe` is the end of the dataflow: reading waits when it is too far behind.
pub fn ingest<'scope>(
    scope: Scope<'scope, u64>,
    mut reader: Reader,
    clock: Arc<dyn Clock>,
    config: Arc<EngineConfig>,
    stats: Arc<Stats>,
    control: Rc<RefCell<IngestControl>>,
    probe: Probe<u64>,
) -> Ingested<'scope> {
    let mut builder = OperatorBuilder::new("ingest".into(), scope);
    let (batches_out, batches) = builder.new_output();
    let (positions_out, positions) = builder.new_output();
    let (rejects_out, rejects) = builder.new_output();
    let mut batches_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<Batch>>>::from(batches_out);
    let mut positions_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<Position>>>::from(positions_out);
    let mut rejects_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<Reject>>>::from(rejects_out);
    let activator = scope.activator_for(builder.operator_info().address);
    builder.build(move |mut capabilities| {
        let mut rejects_capability = capabilities.pop();
        let mut positions_capability = capabilities.pop();
        let mut batches_capability = capabilities.pop();
        let mut wait = IDLE_WAIT.0;
        let mut epoch_bytes = 0;
        move |_frontiers| {
            let (Some(batches), Some(positions), Some(rejects)) = (
                batches_capability.as_mut(),
                positions_capability.as_mut(),
                rejects_capability.as_mut(),
            ) else {
                return;
            };
            let epoch = *batches.time();
            let now = clock.epoch().0.max(epoch);
            let stop_after = control.borrow().stop_after;
            let stopped = stop_after.is_some_and(|last| now > last.0);
            let behind = probe.with_frontier(|frontier| frontier.first().map_or(0, |done| now.saturating_sub(*done)));
            stats.epoch_lag.set(behind as i64);
            if now > epoch {
                epoch_bytes = 0;
                let where_it_stood = reader.positions();
                if !where_it_stood.is_empty() {
                    positions_out
                        .activate()
                        .session(&*positions)
                        .give_iterator(where_it_stood.into_iter());
                }
                // The last epoch is the same for all workers, also for one that hears of it before it has begun.
                let next = stop_after.map_or(now, |last| now.min(last.0)).max(epoch);
                batches.downgrade(&next);
                positions.downgrade(&next);
                rejects.downgrade(&next);
            }
            let full = behind > config.epochs_ahead_max
                || epoch_bytes >= config.epoch_bytes_max
                || stats.outbox_bytes.get() + stats.unpublished_bytes.get() >= config.outbox_bytes_max as i64;
            let polled = if stopped || full {
                reader.hold_back(Epoch(now));
                Ok((Polled::Idle, 0))
            } else {
                reader.poll(Epoch(now))
            };
            let (found, finished) = match polled {
                Ok((polled, bytes)) => {
                    epoch_bytes += bytes;
                    (polled == Polled::Some, polled == Polled::Finished)
                }
                Err(error) => {
                    control.borrow_mut().error = Some(error);
                    (false, true)
                }
            };
            if stopped {
                reader.farewell();
            }
            let (decoded, refused) = reader.take();
            batches_out
                .activate()
                .session(&*batches)
                .give_iterator(decoded.into_iter());
            rejects_out
                .activate()
                .session(&*rejects)
                .give_iterator(refused.into_iter());
            if finished || stopped {
                positions_out
                    .activate()
                    .session(&*positions)
                    .give_iterator(reader.positions().into_iter());
                (batches_capability, positions_capability, rejects_capability) = (None, None, None);
                return;
            }
            if full {
                activator.activate_after(FULL_WAIT);
            } else if found {
                wait = IDLE_WAIT.0;
                activator.activate();
            } else {
                activator.activate_after(wait);
                wait = (wait * 2).min(IDLE_WAIT.1);
            }
        }
    });
    Ingested {
        batches,
        positions,
        rejects,
    }
}
