//! Partials: what one worker's panes come to in each group, epoch by epoch.

use crate::rollup::bus::Bus;
use crate::rollup::{GroupValue, Partials, Place, Placed};
use crate::series::{Given, Minutes};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use tidewatch_proto::ids::Epoch;
use tidewatch_proto::time::PaneNo;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::operator::Operator;

/// Differences of an epoch.
type Updates<D> = Vec<(D, u64, isize)>;

/// Keeps the groups of this worker's panes: what comes and goes in an epoch is taken together when the epoch is
/// complete, and the groups' values change once, those of a metric by its number here. A minute's panes arrive together, so that one change stands for
/// hundreds of them.
pub fn partials<'scope>(
    placed: Stream<'scope, u64, Updates<(Place, Given)>>,
    bus: Rc<RefCell<Bus>>,
    minutes: Arc<Mutex<Minutes>>,
) -> Stream<'scope, u64, Updates<(Place, u32, GroupValue)>> {
    placed.unary_frontier::<CapacityContainerBuilder<Updates<(Place, u32, GroupValue)>>, _, _, _>(
        Pipeline,
        "partials",
        move |_, _| {
            let mut groups = Partials::default();
            let mut waiting = BTreeMap::new();
            move |(input, frontier), output| {
                input.for_each(|stamp, list| {
                    let Some(capability) = stamp.retain_least(output.output_index()) else {
                        return;
                    };
                    for (pane, epoch, diff) in list.drain(..) {
                        let (_, changes): &mut (_, Vec<Placed>) = waiting
                            .entry(epoch)
                            .or_insert_with(|| (capability.delayed(&epoch), Vec::new()));
                        changes.push((pane, diff));
                    }
                });
                let next = frontier.frontier().first().copied();
                while let Some(first) = waiting.first_entry() {
                    if next.is_some_and(|next| next <= *first.key()) {
                        return;
                    }
                    let (epoch, (capability, changes)) = first.remove_entry();
                    let agreed = epoch
                        .checked_sub(1)
                        .and_then(|before| bus.borrow().agreed(Epoch(before)));
                    let expired = agreed.map_or(PaneNo::NONE, |bounds| bounds.expired);
                    let changes = groups
                        .change(
                            changes,
                            expired,
                            &minutes.lock().unwrap_or_else(PoisonError::into_inner),
                        )
                        .into_iter();
                    let mut output = output.session(&capability);
                    changes.for_each(|(value, diff)| output.give((value, epoch, diff)));
                }
            }
        },
    )
}
