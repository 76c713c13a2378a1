//! The only place where operators are chained.

use crate::capture::{CaptureSender, Captured, reject_bytes};
use crate::config::{Clock, EngineConfig};
use crate::ingest::Reader;
use crate::operators::capture::capture;
use crate::operators::ingest::{IngestControl, ingest};
use crate::operators::series::{Keeper, Listening, series};
use crate::rollup::bus::Bus;
use crate::series::SeriesState;
use crate::stats::Stats;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use tidewatch_proto::block::RowList;
use tidewatch_proto::ids::Epoch;
use tidewatch_proto::reject::Reject;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::Concat;
use timely::dataflow::operators::probe::Handle as Probe;
use timely::worker::Worker;

/// What the main dataflow is built from, on one worker.
pub struct Parts {
    /// The reader.
    pub reader: Reader,
    /// The state of the worker's series.
    pub state: Rc<RefCell<SeriesState>>,
    /// How ingest is told to end.
    pub control: Rc<RefCell<IngestControl>>,
    /// The way to rollups.
    pub bus: Rc<RefCell<Bus>>,
    /// The settings.
    pub config: Arc<EngineConfig>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The epoch at the start.
    pub begun: Epoch,
    /// The counters.
    pub stats: Arc<Stats>,
    /// Where results go.
    pub capture: CaptureSender,
    /// Who listens to open windows.
    pub listener: Listening,
}

/// Builds the main dataflow: ingest, series, capture. The probe shows what has been captured.
pub fn render(worker: &mut Worker, parts: Parts) -> Probe<u64> {
    let (probe, peers) = (Probe::new(), worker.peers());
    let Parts {
        reader,
        state,
        control,
        bus,
        config,
        clock,
        begun,
        stats,
        capture: sender,
        listener,
    } = parts;
    let keeper = Keeper {
        worker: worker.index(),
        state,
        bus,
        borders: config.journal.then_some(config.border_epochs),
        begun,
        stats: stats.clone(),
        capture: sender.clone(),
        listener,
    };
    let outbox = stats.clone();
    let weigh_rows = move |lists: &[RowList]| {
        outbox
            .outbox_bytes
            .add(lists.iter().map(|list| list.bytes() as i64).sum())
    };
    let outbox = stats.clone();
    let weigh_rejects = move |list: &[Reject]| outbox.outbox_bytes.add(list.iter().map(reject_bytes).sum());
    worker.dataflow_named::<u64, _, _>("main", |scope| {
        let ingested = ingest(scope, reader, clock, config, stats, control, probe.clone());
        let published = series(ingested.batches, keeper);
        let rejects = ingested.rejects.concat(published.rejects);
        let each = |epoch, lists: Vec<_>| lists.into_iter().map(move |list| Captured::Rows(epoch, list));
        capture(published.rows, Pipeline, sender.clone(), &probe, weigh_rows, each);
        // To whom their part of the outbox belongs.
        let by_part = Exchange::new(move |reject: &Reject| reject.part().worker(peers) as u64);
        let all = |epoch, rejects| Some(Captured::Rejects(epoch, rejects));
        capture(rejects, by_part, sender.clone(), &probe, weigh_rejects, all);
        let all = |epoch, positions| Some(Captured::Positions(epoch, positions));
        capture(ingested.positions, Pipeline, sender, &probe, |_| {}, all);
    });
    probe
}
