//! The memory curve: hours of event time through the engine with everything on, its memory looked at on the way.
//!
//! The engine's clock follows event time here, so that a quick run has as many epochs as a slow one, and what is in
//! memory at an event time is the same in every run.

mod source;
mod table;

pub use source::Shape;
pub use table::{Sample, is_flat, table};

use crate::measure::own_rss_bytes;
use anyhow::{Context, Result, bail};
use source::EventLog;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidewatch_dataflow::capture::{Captured, reject_bytes};
use tidewatch_dataflow::rollup::Level;
use tidewatch_dataflow::stats::Stats;
use tidewatch_dataflow::{Engine, EngineConfig};
use tidewatch_proto::anomaly::Anomaly;
use tidewatch_proto::registry::{Placement, RegistryChange};
use tidewatch_proto::straggler::Straggler;
use tidewatch_proto::time::EventTime;

/// How long the engine may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Sites that the devices stand in, and fleets that they belong to.
const SITES: u32 = 10;
const FLEETS: u32 = 3;

/// How long the rollups may take to begin.
const ROLLUPS_WAIT: Duration = Duration::from_secs(10);

/// Runs the engine over the whole span and samples it each `every_ms` of event time, as long as it goes on: at the
/// end of the span rollups leave and the state is saved.
pub fn run(shape: Shape, config: EngineConfig, every_ms: i64, mut seen: impl FnMut(&Sample)) -> Result<Vec<Sample>> {
    let begun = Instant::now();
    let mut running = config.threads;
    let end_ms = shape.span_ms;
    let log = EventLog::new(shape);
    let clock = log.clock();
    let (engine, captured) = Engine::start(config, Arc::new(log), clock.clone(), None);
    let handle = engine.handle();
    handle.change_registry(registry(shape.devices));
    handle.start_rollup(Level::Site);
    handle.start_rollup(Level::Fleet);
    while handle.stats.rollups.get() < 2 {
        if begun.elapsed() > ROLLUPS_WAIT {
            bail!("the rollups do not begin");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    clock.go();
    let (mut samples, mut rows, mut due_ms) = (Vec::new(), 0, every_ms);
    while running > 0 {
        match captured.recv_timeout(SILENCE_MAX).context("the engine is silent")? {
            Captured::Rows(_, list) => {
                rows += list.len() as u64;
                handle.stats.outbox_bytes.add(-(list.bytes() as i64));
            }
            Captured::Rejects(_, list) => {
                let bytes: i64 = list.iter().map(reject_bytes).sum();
                handle.stats.outbox_bytes.add(-bytes);
            }
            Captured::Stragglers(_, list) => {
                let bytes: i64 = list.iter().map(Straggler::bytes).sum();
                handle.stats.outbox_bytes.add(-bytes);
            }
            Captured::Anomalies(_, list) => {
                let bytes: i64 = list.iter().map(Anomaly::bytes).sum();
                handle.stats.outbox_bytes.add(-bytes);
            }
            Captured::Through { epoch, .. } => {
                let event_ms = clock.event_ms(epoch);
                if event_ms >= due_ms && event_ms < end_ms {
                    due_ms = event_ms - event_ms % every_ms + every_ms;
                    let sample = look(&handle.stats, event_ms, begun.elapsed(), rows);
                    seen(&sample);
                    samples.push(sample);
                }
            }
            Captured::Ended { worker, error } => {
                if let Some(error) = error {
                    bail!("worker {worker} ended: {error}");
                }
                running -= 1;
            }
            Captured::Positions(..) | Captured::State(_) | Captured::Journal { .. } | Captured::Crashed { .. } => {}
        }
    }
    engine.join();
    Ok(samples)
}

fn look(stats: &Stats, event_ms: i64, elapsed: Duration, rows: u64) -> Sample {
    Sample {
        event_ms,
        elapsed_s: elapsed.as_secs_f64(),
        rss_bytes: own_rss_bytes(),
        series: stats.series.get(),
        panes_open: stats.panes_open.get(),
        panes_closed: stats.panes_closed.get(),
        arrangement_records: stats.arrangement_records.get(),
        messages: stats.messages.get(),
        rows,
    }
}

/// Every device in a site and a fleet since ever.
fn registry(devices: u32) -> RegistryChange {
    let added = (0..devices).map(|device| Placement {
        device: format!("dev-{device:06}").into(),
        site: format!("site-{}", device % SITES).into(),
        fleet: format!("fleet-{}", device % FLEETS).into(),
        from: EventTime(0),
        to: None,
    });
    RegistryChange {
        removed: Vec::new(),
        added: added.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_an_hour_leaves_samples() {
        let shape = Shape {
            devices: 20,
            every_ms: 20_000,
            span_ms: 1_800_000,
        };
        let samples = run(shape, EngineConfig::default(), 600_000, |_| {}).unwrap();
        assert!((2..=3).contains(&samples.len()), "{samples:?}");
        let last = samples.last().unwrap();
        assert_eq!(last.series, 80);
        assert!(last.arrangement_records > 0 && last.panes_closed > 0, "{last:?}");
    }
}
