//! The dataflows of rollups: the shared arrangements, and one dataflow a job on top of them.

use super::bus::Bus;
use super::partial::combined;
use super::rows::GroupRows;
use super::{GroupKey, Level};
use crate::operators::panes::{Begins, bus_source, publish_groups, with_bounds};
use crate::operators::partials::partials;
use crate::series::{Given, Minutes, SeriesState};
use differential_dataflow::operators::arrange::TraceAgent;
use differential_dataflow::operators::arrange::agent::ShutdownButton;
use differential_dataflow::operators::arrange::arrangement::arrange_core;
use differential_dataflow::trace::TraceReader;
use differential_dataflow::trace::implementations::spine_fueled::SpineBatch;
use differential_dataflow::trace::implementations::{ValBatcher, ValSpine};
use differential_dataflow::{AsCollection, VecCollection};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use tidewatch_proto::ids::Epoch;
use tidewatch_proto::row::Row;
use tidewatch_proto::time::EventTime;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::CapabilitySet;
use timely::dataflow::operators::ToStream;
use timely::dataflow::operators::probe::{Handle as Probe, Probe as _};
use timely::dataflow::{Scope, Stream};
use timely::progress::frontier::AntichainRef;
use timely::worker::Worker;

type PaneTrace = TraceAgent<ValSpine<u32, Given, u64, isize>>;
type PlacementTrace = TraceAgent<ValSpine<u32, Stay, u64, isize>>;

/// Where a device belongs, by the groups' numbers, and when: a placement without the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stay {
    site: u32,
    fleet: u32,
    from: EventTime,
    to: Option<EventTime>,
}

/// The arrangements that all rollups of a worker share: closed panes and registry, both by device.
pub struct SharedPanes {
    state: Rc<RefCell<SeriesState>>,
    minutes: Arc<Mutex<Minutes>>,
    panes: PaneTrace,
    placements: PlacementTrace,
    running: Rc<RefCell<bool>>,
    probe: Probe<u64>,
}

impl SharedPanes {
    /// Builds them for a state that gives out its panes, and begins to listen to the bus.
    pub fn build(worker: &mut Worker, bus: &Rc<RefCell<Bus>>, state: &Rc<RefCell<SeriesState>>) -> SharedPanes {
        bus.borrow_mut().listen();
        let running = Rc::new(RefCell::new(true));
        let probe = Probe::new();
        let (panes, placements) = worker.dataflow_named::<u64, _, _>("panes", |scope| {
            let panes = bus_source(scope, "panes", bus.clone(), running.clone(), |bus| {
                std::mem::take(&mut bus.panes)
            });
            let notices = bus_source(scope, "notices", bus.clone(), running.clone(), |bus| {
                std::mem::take(&mut bus.notices)
            });
            let panes = with_bounds(panes, notices, bus.clone());
            let panes = flatten(panes, |record: (u32, Given)| record);
            let state = state.clone();
            let placements = bus_source(scope, "registry", bus.clone(), running.clone(), |bus| {
                std::mem::take(&mut bus.placements)
            });
            let placements = flatten(placements, move |placement| {
                let names = &mut state.borrow_mut().names;
                let number = names.devices.intern(&placement.device);
                let stay = Stay {
                    site: names.groups.intern(&placement.site),
                    fleet: names.groups.intern(&placement.fleet),
                    from: placement.from,
                    to: placement.to,
                };
                (number, stay)
            });
            let panes = arrange_core(panes.inner, Pipeline, "arrange panes", ValBatcher::new);
            let placements = arrange_core(placements.inner, Pipeline, "arrange registry", ValBatcher::new);
            panes.stream.clone().probe_with(&probe);
            placements.stream.clone().probe_with(&probe);
            (panes.trace, placements.trace)
        });
        SharedPanes {
            minutes: state.borrow_mut().feed().minutes(),
            state: state.clone(),
            panes,
            placements,
            running,
            probe,
        }
    }

    /// Lets the arrangements forget the difference between all times before now.
    pub fn compact(&mut self) {
        let frontier = self.probe.with_frontier(|frontier| frontier.to_owned());
        let frontier: AntichainRef<'_, u64> = frontier.borrow();
        self.panes.set_logical_compaction(frontier);
        self.panes.set_physical_compaction(frontier);
        self.placements.set_logical_compaction(frontier);
        self.placements.set_physical_compaction(frontier);
    }

    /// How many records the arrangement of panes holds.
    pub fn records(&self) -> usize {
        let mut records = 0;
        self.panes
            .clone()
            .map_spans(|span| records += span.inner.as_ref().map_or(0, |batch| batch.len()));
        records
    }

    /// Ends the sources, and with them the arrangements and all rollups that import them.
    pub fn stop(self, bus: &Rc<RefCell<Bus>>) {
        *self.running.borrow_mut() = false;
        bus.borrow()
            .wake
            .iter()
            .for_each(timely::scheduling::Activator::activate);
        bus.borrow_mut().hush();
    }
}

/// Things that came and went, with their epochs.
type Dated<D> = Vec<(Epoch, (D, isize))>;

fn flatten<'scope, D, K, V>(
    stream: Stream<'scope, u64, Dated<D>>,
    mut key: impl FnMut(D) -> (K, V) + 'static,
) -> VecCollection<'scope, u64, (K, V), isize>
where
    D: Clone + 'static,
    K: Clone + 'static,
    V: Clone + 'static,
{
    use timely::dataflow::operators::vec::Map;
    stream
        .map(move |(epoch, (item, diff))| (key(item), epoch.0, diff))
        .as_collection()
}

/// What ends a rollup's imports.
pub type RollupButtons = (ShutdownButton<CapabilitySet<u64>>, ShutdownButton<CapabilitySet<u64>>);

/// Builds a rollup on the shared arrangements. Its rows go to `yield_rows`.
pub fn build_rollup(
    worker: &mut Worker,
    shared: &mut SharedPanes,
    rows: GroupRows,
    bus: &Rc<RefCell<Bus>>,
    probe: &Probe<u64>,
    yield_rows: impl FnMut(Epoch, Vec<Row>) + 'static,
) -> RollupButtons {
    let level = rows.level();
    worker.dataflow_named::<u64, _, _>(level.job().as_str(), |scope: Scope<'_, u64>| {
        // The arrangement has forgotten what was before.
        let since = shared.panes.get_logical_compaction().first().copied();
        let since = Epoch(since.unwrap_or_default());
        let begins = (0..scope.peers())
            .map(move |target| (target, since))
            .to_stream(scope)
            .container::<Begins>();
        let (panes, stop_panes) = shared.panes.import_core(scope, "import panes");
        let (placements, stop_placements) = shared.placements.import_core(scope, "import registry");
        let state = shared.state.clone();
        let placed = panes.join_core(placements, move |_device, given: &Given, stay: &Stay| {
            let start = given.minute.start();
            let here = stay.from <= start && stay.to.is_none_or(|to| start < to);
            here.then(|| {
                let group = match level {
                    Level::Site => stay.site,
                    Level::Fleet => stay.fleet,
                };
                ((given.minute, group), *given)
            })
        });
        let worker = scope.index();
        let values = partials(placed.inner, bus.clone(), shared.minutes.clone())
            .as_collection()
            .map(move |((pane, group), metric, value)| {
                let names = &state.borrow().names;
                let group = names.groups.name(group).clone();
                let metric = names.metrics.name(metric).clone();
                (GroupKey { pane, group, metric }, (worker, value))
            })
            .reduce(|_, parts, output| {
                let parts = parts.iter().map(|((_, part), _)| part);
                output.extend(combined(parts).map(|value| (value, 1)));
            });
        publish_groups(values.inner, begins, rows, bus.clone(), probe, yield_rows);
        (stop_panes, stop_placements)
    })
}
