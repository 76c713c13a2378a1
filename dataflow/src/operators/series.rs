//! Series: applies batches as they come and publishes windows when an epoch is complete.

use crate::batch::Batch;
use crate::capture::{CaptureSender, Captured, StateSlice};
use crate::journal::Entry;
use crate::live::Listener;
use crate::rollup::bus::{Bounds, Bus};
use crate::series::{Rows, SeriesState};
use crate::stats::Stats;
use crate::witness;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use tidewatch_proto::anomaly::Anomaly;
use tidewatch_proto::block::RowList;
use tidewatch_proto::ids::Epoch;
use tidewatch_proto::reject::Reject;
use tidewatch_proto::straggler::Straggler;
use tidewatch_proto::time::PaneNo;
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

/// Who listens to open windows, if anybody does.
pub type Listening = Rc<RefCell<Option<Listener>>>;

/// What the operator works with.
pub struct Keeper {
    /// This worker.
    pub worker: usize,
    /// The series.
    pub state: Rc<RefCell<SeriesState>>,
    /// The way to rollups.
    pub bus: Rc<RefCell<Bus>>,
    /// The journal is given out, and checkpoints may be of epochs that are multiples of this.
    pub borders: Option<u64>,
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
/// Batches are applied at once, whatever their epoch; the journal says in which order, and what was completed between
/// them. Only at a border, an epoch of which a checkpoint may be, are those of later epochs set aside until it is
/// complete: then rows, rejects and positions of epochs up to it are just what the state has behind it.
pub fn series<'scope>(batches: Stream<'scope, u64, Vec<Batch>>, keeper: Keeper) -> Published<'scope> {
    let scope = batches.scope();
    let mut builder = OperatorBuilder::new("series".into(), scope);
    let activator = scope.activator_for(builder.operator_info().address);
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
            if applied.give_restored() {
                activator.activate();
            }
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
                let lists = published.into_lists().into_iter();
                rows_out.activate().session(&*rows).give_iterator(lists);
                let refused = refused.into_iter();
                rejects_out.activate().session(&*rejects).give_iterator(refused);
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
    last: bool,
}

/// What was applied, and what was set aside at a border.
struct Applied {
    keeper: Keeper,
    aside: BTreeMap<u64, Vec<Batch>>,
    /// The last epoch of which a batch came.
    begun: u64,
    /// The last epoch of which a batch was applied.
    applied: u64,
    /// The last epoch that was completed.
    completed: Option<Epoch>,
    /// What was given out for checkpoints.
    given: Given,
}

/// How much of the journal and of the state has been given out.
#[derive(Default)]
struct Given {
    /// The round of slices that is under way; none has begun yet at 0.
    round: u64,
    /// The next slice of it.
    slice: u32,
    /// How many entries the journal has.
    entries: u64,
    /// So many bytes of slices are due.
    owed: usize,
}

/// Slices come to a quarter of the journal's bytes, and to as many more when the state is as large as this: the journal
/// of a round stays under four times a small state, and about as large as a large one.
const JOURNAL_BYTES: usize = 256 << 20;

/// A round takes no longer than about so many borders, however little is read: each adds a file to a checkpoint.
const ROUND_BORDERS: usize = 600;

/// About what a slice takes beside its series.
const SLICE_BYTES: usize = 256;

impl Applied {
    fn new(keeper: Keeper) -> Applied {
        Applied {
            keeper,
            aside: BTreeMap::new(),
            begun: 0,
            applied: 0,
            completed: None,
            given: Given::default(),
        }
    }

    /// Gives out a slice of what was restored, and says whether there is more of it: no checkpoint can be made before all of
    /// it is out, and records are not to wait for that.
    fn give_restored(&mut self) -> bool {
        let is_left = |applied: &Applied| applied.keeper.borders.is_some() && applied.given.round == 0;
        if is_left(self) {
            self.give_slice();
        }
        is_left(self)
    }

    fn take(&mut self, epoch: u64, batch: Batch) {
        self.begun = self.begun.max(epoch);
        match self.border().is_some_and(|border| epoch > border) {
            true => self.aside.entry(epoch).or_default().push(batch),
            false => self.apply(epoch, batch),
        }
    }

    /// The next border.
    fn border(&self) -> Option<u64> {
        let next = self.completed.map_or(self.keeper.begun.0, |completed| completed.0 + 1);
        self.keeper.borders.map(|every| next.next_multiple_of(every))
    }

    /// Applies what was set aside, up to the next border.
    fn resume(&mut self) {
        let border = self.border();
        while let Some(entry) = self.aside.first_entry() {
            let epoch = *entry.key();
            if border.is_some_and(|border| epoch > border) {
                return;
            }
            entry.remove().into_iter().for_each(|batch| self.apply(epoch, batch));
        }
    }

    fn apply(&mut self, epoch: u64, batch: Batch) {
        self.applied = self.applied.max(epoch);
        let messages = &batch.messages;
        if let (Some(first), Some(last)) = (messages.offset.first(), messages.offset.last()) {
            witness::begin(batch.partition, *first, *last);
        }
        #[cfg(feature = "failpoints")]
        let () = messages
            .event_time
            .iter()
            .for_each(|time| witness::trip(witness::POISON_TO_APPLY, *time));
        self.keeper.state.borrow_mut().apply(&batch);
        witness::end();
        if self.keeper.borders.is_none() {
            return;
        }
        self.keeper.stats.outbox_bytes.add(batch.bytes() as i64);
        self.write(Entry::Applied(Epoch(epoch), Box::new(batch)));
    }

    /// Gives out what a store is to add to its rows, and what rules have found.
    fn hand_over(&self, epoch: Epoch, stragglers: Vec<Straggler>, anomalies: Vec<Anomaly>) {
        let (outbox, capture) = (&self.keeper.stats.outbox_bytes, &self.keeper.capture);
        // Without a receiver nobody wants it.
        if !stragglers.is_empty() {
            outbox.add(stragglers.iter().map(Straggler::bytes).sum());
            let _ = capture.send(Captured::Stragglers(epoch, stragglers));
        }
        if !anomalies.is_empty() {
            outbox.add(anomalies.iter().map(Anomaly::bytes).sum());
            let _ = capture.send(Captured::Anomalies(epoch, anomalies));
        }
    }

    /// Gives out an entry of the journal, and the slices that are due with it.
    fn write(&mut self, entry: Entry) {
        self.given.entries += 1;
        let (bytes, borders) = match &entry {
            Entry::Applied(_, batch) => (batch.bytes(), 0),
            Entry::Completed(completion) => {
                let is_border = |every| completion.epoch.0.is_multiple_of(every);
                let bytes = completion.expired.len() * size_of::<PaneNo>();
                (bytes, usize::from(self.keeper.borders.is_some_and(is_border)))
            }
        };
        // Without a receiver nobody wants it.
        let _ = self.keeper.capture.send(Captured::Journal {
            worker: self.keeper.worker,
            entry,
        });
        let state = self.keeper.state.borrow();
        let (whole, slices) = (state.save_bytes(), state.slices().max(1) as usize);
        drop(state);
        let share = whole.min(JOURNAL_BYTES) as f64 / JOURNAL_BYTES as f64;
        self.given.owed += bytes / 4 + (bytes as f64 * share) as usize + borders * (whole / ROUND_BORDERS + 1);
        while self.given.owed > whole / slices {
            let given = self.give_slice() + SLICE_BYTES;
            self.given.owed = self.given.owed.saturating_sub(given);
        }
    }

    /// Gives out the next slice of the state, and says how large it is.
    fn give_slice(&mut self) -> usize {
        let (state, given) = (self.keeper.state.borrow(), &mut self.given);
        let groups = match given.slice < state.slices() {
            true => state.save_slice(given.slice),
            false => BTreeMap::new(),
        };
        let is_last = given.slice + 1 >= state.slices();
        let slice = StateSlice {
            worker: self.keeper.worker,
            round: given.round,
            number: given.slice,
            is_last,
            entries: given.entries,
            through: Epoch(self.applied).max(self.completed.unwrap_or_default()),
            partitions: state.save_partitions(),
            groups,
        };
        let bytes = slice.bytes();
        if self.keeper.borders.is_some() {
            self.keeper.stats.outbox_bytes.add(bytes as i64);
        }
        // Without a receiver nobody wants it.
        let _ = self.keeper.capture.send(Captured::State(Box::new(slice)));
        (given.round, given.slice) = match is_last {
            true => (given.round + 1, 0),
            false => (given.round, given.slice + 1),
        };
        bytes
    }

    /// Gives out all of the state.
    fn give_round(&mut self) {
        self.given.round += u64::from(self.given.slice > 0);
        self.given.slice = 0;
        let round = self.given.round;
        while self.given.round == round {
            self.give_slice();
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
        let rows = state.take_touched((due.jobs(), due.devices()), as_of);
        if !rows.is_empty() && due.push(now, rows.into_lists()).is_err() {
            state.stop_touching();
            *listener = None;
        }
    }

    /// The epochs to complete one after the other: each border, and `through`.
    fn steps(&self, through: Epoch, last: bool) -> Vec<Step> {
        if through < self.keeper.begun && !last {
            // What was applied already belongs to a later epoch.
            self.keeper.bus.borrow_mut().skip_to(Epoch(through.0 + 1));
            return Vec::new();
        }
        let borders = self.border().zip(self.keeper.borders);
        let borders = borders
            .into_iter()
            .flat_map(|(next, every)| (next..through.0).step_by(every as usize));
        let steps = borders.map(|border| (border, false)).chain([(through.0, last)]);
        let steps = steps.map(|(epoch, last)| Step {
            epoch: Epoch(epoch),
            last,
        });
        steps.collect()
    }

    fn complete(&mut self, Step { epoch, last }: Step) -> (Rows, Vec<Reject>) {
        let mut state = self.keeper.state.borrow_mut();
        let mut bus = self.keeper.bus.borrow_mut();
        if let Some(agreed) = epoch.0.checked_sub(1).and_then(|before| bus.agreed(Epoch(before))) {
            state.feed().expire(agreed.expired, epoch);
        }
        let completion = state.completion(epoch, last);
        let rows = state.complete(&completion);
        let (rejects, stragglers) = (state.take_rejects(), state.take_stragglers());
        let anomalies = state.take_anomalies();
        let bounds = Bounds {
            closed: state.closed_everywhere(),
            expired: state.feed().flushed(),
            partial: state.feed().partial(),
        };
        let next = (!last).then_some(Epoch(epoch.0 + 1));
        bus.advance(epoch, state.feed().take(), bounds, next);
        state.report();
        drop((state, bus));
        self.hand_over(epoch, stragglers, anomalies);
        self.completed = Some(epoch);
        if self.keeper.borders.is_some() {
            self.write(Entry::Completed(completion));
            self.resume();
        }
        if last {
            self.give_round();
        }
        (rows, rejects)
    }
}
