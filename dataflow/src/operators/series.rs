//! Series: applies batches as they come and publishes windows when an epoch is complete.

use crate::batch::Batch;
use crate::capture::{CaptureSender, Captured, WorkerState};
use crate::rollup::bus::{Bounds, Bus};
use crate::series::SeriesState;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use tidewatch_proto::ids::Epoch;
use tidewatch_proto::reject::Reject;
use tidewatch_proto::row::Row;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

/// The streams of the series operator.
pub struct Published<'scope> {
    /// Rows.
    pub rows: Stream<'scope, u64, Vec<Row>>,
    /// Readings that could not be used after all.
    pub rejects: Stream<'scope, u64, Vec<Reject>>,
}

/// When to save the state: an epoch that is still to be completed.
pub type PendingCut = Rc<RefCell<Option<Epoch>>>;

/// Keeps the windows of the series that this worker owns. Batches are exchanged by their target.
///
/// Batches are applied at once, whatever their epoch. Only while a cut is pending are those of later epochs
/// set aside, until the cut's epoch is complete and its state is saved.
pub fn series<'scope>(
    batches: Stream<'scope, u64, Vec<Batch>>,
    state: Rc<RefCell<SeriesState>>,
    cut: PendingCut,
    bus: Rc<RefCell<Bus>>,
    capture: CaptureSender,
) -> Published<'scope> {
    let scope = batches.scope();
    let worker = scope.index();
    let mut builder = OperatorBuilder::new("series".into(), scope);
    let mut input = builder.new_input(batches, Exchange::new(|batch: &Batch| u64::from(batch.target)));
    let (rows_out, rows) = builder.new_output();
    let (rejects_out, rejects) = builder.new_output();
    let mut rows_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<Row>>>::from(rows_out);
    let mut rejects_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<Reject>>>::from(rejects_out);
    builder.build(move |mut capabilities| {
        let mut rejects_capability = capabilities.pop();
        let mut rows_capability = capabilities.pop();
        let mut aside: BTreeMap<u64, Vec<Batch>> = BTreeMap::new();
        let mut arrived: Vec<(u64, Batch)> = Vec::new();
        move |frontiers| {
            // Not `for_each_stamp`: its sort loses the order of messages of one epoch. What has arrived is
            // taken first and applied then, so that what goes on arriving can't keep this call from ending.
            input.for_each(|stamp, list| {
                let epoch = stamp.least().copied().unwrap_or_default();
                arrived.extend(list.drain(..).map(|batch| (epoch, batch)));
            });
            for (epoch, batch) in arrived.drain(..) {
                match *cut.borrow() {
                    Some(cut) if epoch > cut.0 => aside.entry(epoch).or_default().push(batch),
                    _ => state.borrow_mut().apply(&batch),
                }
            }
            let (Some(rows), Some(rejects)) = (rows_capability.as_mut(), rejects_capability.as_mut()) else {
                return;
            };
            let next = frontiers[0].frontier().first().copied();
            if next.is_some_and(|next| next <= *rows.time()) {
                return;
            }
            // Epochs before `next` are complete; without a next one all that was begun is.
            let complete = Epoch(next.map_or(*rows.time(), |next| next - 1));
            let mut state = state.borrow_mut();
            rows.downgrade(&complete.0);
            rejects.downgrade(&complete.0);
            let published = state.publish(complete, next.is_none());
            rows_out.activate().session(&*rows).give_iterator(published.into_iter());
            let refused = state.take_rejects();
            rejects_out
                .activate()
                .session(&*rejects)
                .give_iterator(refused.into_iter());
            let bounds = Bounds {
                closed: state.closed_everywhere(),
                expired: state.expired_everywhere(),
            };
            let changes = state.feed().take();
            bus.borrow_mut().advance(complete, changes, bounds, next.map(Epoch));
            let due = cut.borrow().is_some_and(|cut| cut <= complete) || next.is_none();
            if due {
                *cut.borrow_mut() = None;
                let (groups, partitions) = state.snapshot();
                let saved = WorkerState {
                    worker,
                    epoch: complete,
                    groups,
                    partitions,
                };
                // Without a receiver nobody wants the state.
                let _ = capture.send(Captured::State(Box::new(saved)));
                for batch in std::mem::take(&mut aside).into_values().flatten() {
                    state.apply(&batch);
                }
            }
            state.report();
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
