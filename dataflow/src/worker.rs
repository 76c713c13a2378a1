//! A worker: take commands, step, report. One screen.

use crate::batch::Position;
use crate::capture::{CaptureSender, Captured};
use crate::checkpoint::Share;
use crate::command::Command;
use crate::config::{Clock, EngineConfig, epochs_of};
use crate::ingest::{Decoder, Reader};
use crate::operators::ingest::IngestControl;
use crate::operators::series::Listening;
use crate::render::{Parts, render};
use crate::rollup::bus::Bus;
use crate::rollup::{GroupRows, Level, SharedPanes, build_rollup};
use crate::series::SeriesState;
use crate::stats::Stats;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;
use tidewatch_proto::block::RowList;
use tidewatch_proto::ids::{Epoch, KeyGroup, Partition};
use tidewatch_proto::row::Status;
use tidewatch_proto::source::{Assignment, SourceError, SourceFactory};
use timely::dataflow::operators::probe::Handle as Probe;
use timely::worker::Worker;

/// What every worker is given.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) config: Arc<EngineConfig>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) source: Arc<dyn SourceFactory>,
    /// What each worker goes on from, until it has taken it.
    pub(crate) shares: Arc<[Mutex<Option<Share>>]>,
    pub(crate) capture: CaptureSender,
    /// The epoch at the start: the run brings nothing to earlier ones.
    pub(crate) begun: Epoch,
    /// The number of this process's first worker.
    pub(crate) first_worker: usize,
    /// Where commands come from: emptied under its lock when the first worker has ended, so that either all
    /// workers get a command or none.
    pub(crate) commands: Arc<Mutex<Vec<Inbox>>>,
    /// A worker has failed: the others end as well, since timely would wait for it for ever.
    pub(crate) failed: Arc<AtomicBool>,
}

/// Where a worker gets its commands.
pub(crate) struct Inbox {
    pub(crate) sender: mpsc::Sender<Command>,
    /// Whom to wake, once the worker runs.
    pub(crate) thread: Option<std::thread::Thread>,
}

/// How long a worker sleeps at most when it has nothing to do: its ingest wakes it sooner while it reads, a command
/// at once.
const PARK: Duration = Duration::from_millis(100);

/// Runs a worker until all is done or it is told to stop.
pub(crate) fn run(worker: &mut Worker, shared: &Shared, commands: &mpsc::Receiver<Command>) -> Result<(), SourceError> {
    let mut own = Own::build(worker, shared)?;
    let mut reported = None;
    let mut reported_bounds = 0;
    loop {
        while let Ok(command) = commands.try_recv() {
            own.obey(worker, shared, command);
        }
        let more = worker.step_or_park(Some(PARK));
        let through = own
            .main
            .with_frontier(|frontier| frontier.first().map(|next| next.saturating_sub(1)));
        let through = own.rollups.values().fold(through, |least, rollup| {
            let own = rollup
                .probe
                .with_frontier(|frontier| frontier.first().map(|next| next.saturating_sub(1)));
            least.into_iter().chain(own).min()
        });
        let ended = own.ended();
        if let Some(epoch) = through
            .or(ended)
            .filter(|epoch| reported.is_none_or(|before| *epoch > before))
        {
            reported = Some(epoch);
            let _ = shared.capture.send(Captured::Through {
                worker: worker.index(),
                epoch: Epoch(epoch),
            });
        }
        if through.unwrap_or(0) >= reported_bounds + 2 {
            reported_bounds = through.unwrap_or(0);
            own.tend(shared);
        }
        let failed = own.control.borrow_mut().error.take();
        if failed.is_some() || shared.failed.load(Ordering::SeqCst) {
            shared.failed.store(true, Ordering::SeqCst);
            worker
                .installed_dataflows()
                .into_iter()
                .for_each(|dataflow| worker.drop_dataflow(dataflow));
            return failed.map_or(Ok(()), Err);
        }
        if own.main.done() || !more {
            shared.commands.lock().unwrap_or_else(PoisonError::into_inner).clear();
            while let Ok(command) = commands.try_recv() {
                own.obey(worker, shared, command);
            }
            own.end_rollups(shared);
            if worker.installed_dataflows().is_empty() {
                return Ok(());
            }
        }
    }
}

/// What one worker holds beside its dataflows.
struct Own {
    main: Probe<u64>,
    state: Rc<RefCell<SeriesState>>,
    control: Rc<RefCell<IngestControl>>,
    listener: Listening,
    bus: Rc<RefCell<Bus>>,
    shared_panes: Option<SharedPanes>,
    rollups: BTreeMap<Level, Rollup>,
    records: i64,
}

struct Rollup {
    probe: Probe<u64>,
    buttons: crate::rollup::RollupButtons,
}

impl Own {
    fn build(worker: &mut Worker, shared: &Shared) -> Result<Own, SourceError> {
        let partitions = shared.source.partitions().len();
        let (index, peers) = (worker.index(), worker.peers());
        let mut decoder = Decoder::new(shared.config.clone(), shared.stats.clone(), index, peers, partitions);
        let assigned: Vec<Partition> = (0..partitions as u32)
            .map(Partition)
            .filter(|p| p.index() % peers == index)
            .collect();
        let mut from = vec![None; partitions];
        let own = shared.shares.get(index - shared.first_worker).map(|own| own.lock());
        let own = own.and_then(|own| own.unwrap_or_else(PoisonError::into_inner).take());
        let state = match own {
            None => SeriesState::new(shared.config.clone(), shared.stats.clone(), partitions),
            Some(share) => {
                for position in &share.positions {
                    from[position.partition.index()] = Some(position.next);
                }
                restore(&mut decoder, &assigned, share)
            }
        };
        let state = Rc::new(RefCell::new(state));
        let assignments: Vec<Assignment> = assigned
            .iter()
            .map(|p| Assignment {
                partition: *p,
                from: from[p.index()],
            })
            .collect();
        let source = shared.source.open(&assignments)?;
        let reader = Reader::new(
            source,
            decoder,
            assigned,
            shared.clock.clone(),
            shared.config.clone(),
            shared.stats.clone(),
        );
        let control = Rc::new(RefCell::new(IngestControl::default()));
        let listener = Listening::default();
        let bus = Rc::new(RefCell::new(Bus::new(index, peers)));
        let parts = Parts {
            reader,
            state: state.clone(),
            control: control.clone(),
            bus: bus.clone(),
            config: shared.config.clone(),
            clock: shared.clock.clone(),
            begun: shared.begun,
            stats: shared.stats.clone(),
            capture: shared.capture.clone(),
            listener: listener.clone(),
        };
        let main = render(worker, parts);
        Ok(Own {
            main,
            state,
            control,
            listener,
            bus,
            shared_panes: None,
            rollups: BTreeMap::new(),
            records: 0,
        })
    }

    fn obey(&mut self, worker: &mut Worker, shared: &Shared, command: Command) {
        match command {
            Command::Stop(epoch) => self.control.borrow_mut().stop_after = Some(epoch),
            Command::StartRollup(level) => self.start_rollup(worker, shared, level),
            Command::StopRollup(level) => self.stop_rollup(shared, level),
            Command::Registry(change) => {
                self.bus.borrow_mut().change_registry(&change);
            }
            Command::Watch(listener) => {
                self.state.borrow_mut().touch_all();
                *self.listener.borrow_mut() = Some(listener);
            }
            Command::Peek { device, metric, answer } => {
                if KeyGroup::of(device.as_bytes()).worker(worker.peers()) == worker.index() {
                    // What is shown holds all of the last epoch that was completed, and more.
                    let next = self.main.with_frontier(|frontier| frontier.first().copied());
                    let completed = next.unwrap_or_default().max(shared.begun.0).saturating_sub(1);
                    let as_of = Epoch(completed);
                    // The one who asked may have left.
                    let _ = answer.send(self.state.borrow().live(&device, &metric, as_of));
                }
            }
        }
    }

    fn start_rollup(&mut self, worker: &mut Worker, shared: &Shared, level: Level) {
        if self.rollups.contains_key(&level) {
            return;
        }
        if self.shared_panes.is_none() {
            self.state.borrow_mut().start_feed();
            self.shared_panes = Some(SharedPanes::build(worker, &self.bus, &self.state));
        }
        let Some(shared_panes) = self.shared_panes.as_mut() else {
            return;
        };
        let probe = Probe::new();
        let rows = GroupRows::new(level, epochs_of(shared.config.correction_interval_ms));
        let (sender, stats) = (shared.capture.clone(), shared.stats.clone());
        let yield_rows = move |epoch, rows: Vec<tidewatch_proto::row::Row>| {
            let corrected = rows.iter().filter(|row| row.status == Status::Corrected).count();
            stats.rows_corrected.add(corrected as u64);
            stats.rows_final.add((rows.len() - corrected) as u64);
            let list = RowList::Rows(rows);
            stats.outbox_bytes.add(list.bytes() as i64);
            let _ = sender.send(Captured::Rows(epoch, list));
        };
        let buttons = build_rollup(worker, shared_panes, rows, &self.bus, &probe, yield_rows);
        self.rollups.insert(level, Rollup { probe, buttons });
        shared.stats.rollups.set(self.rollups.len() as i64);
    }

    fn stop_rollup(&mut self, shared: &Shared, level: Level) {
        let Some(mut rollup) = self.rollups.remove(&level) else {
            return;
        };
        rollup.buttons.0.press();
        rollup.buttons.1.press();
        if self.rollups.is_empty()
            && let Some(panes) = self.shared_panes.take()
        {
            panes.stop(&self.bus);
            self.state.borrow_mut().feed().stop();
        }
        shared.stats.rollups.set(self.rollups.len() as i64);
        self.tend(shared);
    }

    /// The last epoch, when all of it is out.
    fn ended(&self) -> Option<u64> {
        let out = self.main.done() && self.rollups.values().all(|rollup| rollup.probe.done());
        self.bus.borrow().ended.filter(|_| out).map(|epoch| epoch.0)
    }

    /// Ends what only listens, when nothing more will come.
    fn end_rollups(&mut self, shared: &Shared) {
        if self.rollups.values().all(|rollup| rollup.probe.done()) {
            self.rollups.clear();
            self.shared_panes = None;
            self.tend(shared);
        }
    }

    /// Now and then: lets arrangements compact, and counts their records.
    fn tend(&mut self, shared: &Shared) {
        if let Some(panes) = self.shared_panes.as_mut() {
            panes.compact();
            let asked = self
                .rollups
                .values()
                .map(|rollup| rollup.probe.with_frontier(|f| f.first().copied()));
            if let Some(Some(least)) = asked.min() {
                self.bus.borrow_mut().forget_before(Epoch(least.saturating_sub(2)));
                self.state.borrow_mut().feed().forget_before(Epoch(least));
            }
        }
        let records = self.shared_panes.as_ref().map_or(0, |panes| panes.records() as i64);
        shared.stats.arrangement_records.add(records - self.records);
        self.records = records;
    }
}

/// Has a decoder know what it knew, and gives the series.
fn restore(decoder: &mut Decoder, assigned: &[Partition], share: Share) -> SeriesState {
    decoder.suspect(&share.crashes);
    let own = |position: &&Position| assigned.contains(&position.partition);
    share
        .positions
        .iter()
        .filter(own)
        .for_each(|position| decoder.restore(*position));
    for (home, devices) in &share.known {
        devices
            .iter()
            .for_each(|device| decoder.restore_device(*home, &device.name, &device.metrics));
    }
    share.state
}
