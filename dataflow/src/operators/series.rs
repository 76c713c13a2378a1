//! Series: applies batches as they come and publishes windows when an epoch is complete.

use crate::batch::Batch;
use crate::capture::{CaptureSender, Captured, StateSlice};
use crate::live::Listener;
use crate::rollup::bus::{Bounds, Bus};
use crate::series::{Rows, SeriesState};
use crate::stats::Stats;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use tidewatch_proto::block::RowList;
use tidewatch_proto::ids::Epoch;
use tidewatch_proto::reject::Reject;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

/// The streams of the series operator.
pub struct Published<'scope> {
    /// Rows.
    pub rows: Stream<'scope, u64, Vec<RowList>>,
    /// Readings that could not be used after all.
    pub rejects: Stream<'scope, u64, Vec<Reject>>,
}

/// When to save the state: epochs that are still to be completed.
pub type PendingCuts = Rc<RefCell<BTreeSet<Epoch>>>;

/// Who listens to open windows, if anybody does.
pub type Listening = Rc<RefCell<Option<Listener>>>;

/// What the operator works with.
pub struct Keeper {
    /// This worker.
    pub worker: usize,
    /// The series.
    pub state: Rc<RefCell<SeriesState>>,
    /// When to save them.
    pub cuts: PendingCuts,
    /// The way to rollups.
    pub bus: Rc<RefCell<Bus>>,
    /// The epoch at the start.
    pub begun: Epoch,
    /// The counters.
    pub stats: Arc<Stats>,
    /// Where the state goes.
    pub capture: CaptureSender,
    /// Who listens to open windows.
    pub listener: Listening,
}

/// Keeps the windows of the series that this worker owns. Batches are exchanged by their target.
///
/// Batches are applied at once, whatever their epoch. Only while a cut is pending are those of later epochs
/// set aside, until the cut's epoch is complete and its state is saved: then rows, rejects and positions of
/// epochs up to the cut are just what the saved state has behind it.
pub fn series<'scope>(batches: Stream<'scope, u64, Vec<Batch>>, keeper: Keeper) -> Published<'scope> {
    let mut builder = OperatorBuilder::new("series".into(), batches.scope());
    let mut input = builder.new_input(batches, Exchange::new(|batch: &Batch| u64::from(batch.target)));
    let (rows_out, rows) = builder.new_output();
    let (rejects_out, rejects) = builder.new_output();
    let mut rows_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<RowList>>>::from(rows_out);
    let mut rejects_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<Reject>>>::from(rejects_out);
    builder.build(move |mut capabilities| {
        let mut rejects_capability = capabilities.pop();
        let mut rows_capability = capabilities.pop();
        let mut applied = Applied::new(keeper);
        let mut arrived: Vec<(u64, Batch)> = Vec::new();
        move |frontiers| {
            // Not `for_each_stamp`: its sort loses the order of messages of one epoch. What has arrived is
            // taken first and applied then, so that what goes on arriving can't keep this call from ending.
            input.for_each(|stamp, list| {
                let epoch = stamp.least().copied().unwrap_or_default();
                arrived.extend(list.drain(..).map(|batch| (epoch, batch)));
            });
            applied.forget_missed_cuts();
            arrived.drain(..).for_each(|(epoch, batch)| applied.take(epoch, batch));
            let next = frontiers[0].frontier().first().copied();
            applied.push_open(next);
            let (Some(rows), Some(rejects)) = (rows_capability.as_mut(), rejects_capability.as_mut()) else {
                return;
            };
            if next.is_some_and(|next| next <= *rows.time()) {
                return;
            }
            // Epochs before `next` are complete; without a next one all that was begun is.
            let last = next.map_or(applied.begun.max(*rows.time()), |next| next - 1);
            for step in applied.steps(Epoch(last), next.is_none()) {
                rows.downgrade(&step.epoch.0);
                rejects.downgrade(&step.epoch.0);
                let (published, refused) = applied.complete(step);
                rows_out
                    .activate()
                    .session(&*rows)
                    .give_iterator(published.into_lists().into_iter());
                rejects_out
                    .activate()
                    .session(&*rejects)
                    .give_iterator(refused.into_iter());
            }
            match next {
                Some(next) => {
                    rows.downgrade(&next);
                    rejects.downgrade(&next);
                }
                None => (rows_capability, rejects_capability) = (None, None),
            }
        }
    });
    Published { rows, rejects }
}

/// An epoch to complete.
#[derive(Clone, Copy, Debug)]
struct Step {
    epoch: Epoch,
    save: bool,
    last: bool,
}

/// What was applied, and what was set aside for a cut.
struct Applied {
    keeper: Keeper,
    aside: BTreeMap<u64, Vec<Batch>>,
    /// The last epoch of which a batch came.
    begun: u64,
    /// The last epoch of which a batch was applied.
    applied: u64,
    /// The last epoch that was completed.
    completed: Option<Epoch>,
}

impl Applied {
    fn new(keeper: Keeper) -> Applied {
        Applied {
            keeper,
            aside: BTreeMap::new(),
            begun: 0,
            applied: 0,
            completed: None,
        }
    }

    /// A cut that is heard of too late can't be exact any more: nothing is saved for it.
    fn forget_missed_cuts(&mut self) {
        let mut cuts = self.keeper.cuts.borrow_mut();
        let before = cuts.len();
        cuts.retain(|cut| cut.0 >= self.applied && self.completed.is_none_or(|completed| *cut > completed));
        self.keeper.stats.cuts_missed.add((before - cuts.len()) as u64);
    }

    fn take(&mut self, epoch: u64, batch: Batch) {
        self.begun = self.begun.max(epoch);
        match self.keeper.cuts.borrow().first() {
            Some(cut) if epoch > cut.0 => self.aside.entry(epoch).or_default().push(batch),
            _ => {
                self.applied = self.applied.max(epoch);
                self.keeper.state.borrow_mut().apply(&batch);
            }
        }
    }

    /// Pushes the open windows that have changed, if somebody listens. They hold all of the last epoch that was
    /// completed, and more; the rows that are published later are of later epochs.
    fn push_open(&self, next: Option<u64>) {
        let mut listener = self.keeper.listener.borrow_mut();
        let now = Epoch(next.unwrap_or_default().max(self.applied));
        let as_of = self.completed.unwrap_or(self.keeper.begun);
        let Some(due) = listener.as_mut().filter(|listener| listener.is_due(now)) else {
            return;
        };
        let mut state = self.keeper.state.borrow_mut();
        let rows = state.take_touched(due.jobs(), as_of);
        if !rows.is_empty() && due.push(now, rows.into_lists()).is_err() {
            state.stop_touching();
            *listener = None;
        }
    }

    /// The epochs to complete one after the other: that of each cut that is due, and `through`.
    fn steps(&self, through: Epoch, last: bool) -> Vec<Step> {
        if through < self.keeper.begun && !last {
            // What was applied already belongs to a later epoch.
            self.keeper.bus.borrow_mut().skip_to(Epoch(through.0 + 1));
            return Vec::new();
        }
        let cuts = self.keeper.cuts.borrow();
        let cuts = cuts.iter().filter(|cut| **cut < through || **cut == through && !last);
        let step = |epoch: &Epoch| Step {
            epoch: *epoch,
            save: true,
            last: false,
        };
        let mut steps: Vec<Step> = cuts.map(step).collect();
        if last || steps.last().is_none_or(|step| step.epoch < through) {
            steps.push(Step {
                epoch: through,
                save: last,
                last,
            });
        }
        steps
    }

    fn complete(&mut self, Step { epoch, save, last }: Step) -> (Rows, Vec<Reject>) {
        if last {
            self.keeper.cuts.borrow_mut().clear();
        }
        self.resume();
        let mut state = self.keeper.state.borrow_mut();
        let mut bus = self.keeper.bus.borrow_mut();
        if let Some(agreed) = epoch.0.checked_sub(1).and_then(|before| bus.agreed(Epoch(before))) {
            state.feed().expire(agreed.expired, epoch);
        }
        let rows = state.publish(epoch, last);
        let rejects = state.take_rejects();
        let bounds = Bounds {
            closed: state.closed_everywhere(),
            expired: state.feed().flushed(),
            partial: state.feed().partial(),
        };
        let next = (!last).then_some(Epoch(epoch.0 + 1));
        bus.advance(epoch, state.feed().take(), bounds, next);
        state.report();
        drop((state, bus));
        self.completed = Some(epoch);
        if save {
            self.save(epoch);
            self.keeper.cuts.borrow_mut().remove(&epoch);
            self.resume();
        }
        (rows, rejects)
    }

    fn save(&self, epoch: Epoch) {
        let state = self.keeper.state.borrow();
        let partitions = state.save_partitions();
        let send = |groups, last| {
            // Without a receiver nobody wants the state.
            let _ = self.keeper.capture.send(Captured::State(Box::new(StateSlice {
                worker: self.keeper.worker,
                epoch,
                groups,
                last,
                partitions: partitions.clone(),
            })));
        };
        state.save(|groups| send(groups, false));
        send(BTreeMap::new(), true);
    }

    /// Applies what was set aside, up to the next cut.
    fn resume(&mut self) {
        let next = self.keeper.cuts.borrow().first().copied();
        let mut state = self.keeper.state.borrow_mut();
        while let Some(entry) = self.aside.first_entry() {
            if next.is_some_and(|cut| *entry.key() > cut.0) {
                return;
            }
            self.applied = self.applied.max(*entry.key());
            entry.remove().iter().for_each(|batch| state.apply(batch));
        }
    }
}
