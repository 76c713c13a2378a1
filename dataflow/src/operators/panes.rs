//! The ends of the rollups' dataflows: a source that drains the bus, the bounds, the publisher of groups.

use crate::rollup::bus::{Bus, Notice};
use crate::rollup::{GroupKey, GroupRows, GroupValue};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use tidewatch_proto::ids::{Epoch, KeyGroup};
use tidewatch_proto::row::Row;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::operator::{Operator, source};
use timely::dataflow::operators::probe::{Handle as Probe, Probe as _};
use timely::dataflow::{Scope, Stream};

/// A source of what `take` finds on the bus, until `running` is false or the bus has ended.
pub fn bus_source<'scope, D: Clone + 'static>(
    scope: Scope<'scope, u64>,
    name: &str,
    bus: Rc<RefCell<Bus>>,
    running: Rc<RefCell<bool>>,
    take: impl Fn(&mut Bus) -> Vec<(Epoch, D)> + 'static,
) -> Stream<'scope, u64, Vec<(Epoch, D)>> {
    source::<_, CapacityContainerBuilder<Vec<(Epoch, D)>>, _, _>(scope, name, move |capability, info| {
        bus.borrow_mut().wake.push(scope.activator_for(info.address));
        let mut capability = Some(capability);
        move |output| {
            let Some(held) = capability.as_mut() else { return };
            let mut bus = bus.borrow_mut();
            if !*running.borrow() {
                capability = None;
                return;
            }
            let mut begun: BTreeMap<Epoch, Vec<(Epoch, D)>> = BTreeMap::new();
            for item in take(&mut bus) {
                begun.entry(item.0).or_default().push(item);
            }
            for (epoch, items) in begun {
                output
                    .session(&held.delayed(&epoch.0.max(*held.time())))
                    .give_iterator(items.into_iter());
            }
            match bus.ended {
                Some(_) => capability = None,
                None if bus.frontier.0 > *held.time() => held.downgrade(&bus.frontier.0),
                None => {}
            }
        }
    })
}

/// Lets panes pass, and every worker's notices to the bus. What comes out has completed an epoch only when all
/// notices of that epoch have arrived: whoever reads it can ask the bus what all agree on.
pub fn with_bounds<'scope, D: Clone + 'static>(
    panes: Stream<'scope, u64, Vec<D>>,
    notices: Stream<'scope, u64, Vec<(Epoch, Notice)>>,
    bus: Rc<RefCell<Bus>>,
) -> Stream<'scope, u64, Vec<D>> {
    let by_target = Exchange::new(|(_, notice): &(Epoch, Notice)| notice.target as u64);
    panes.binary::<_, CapacityContainerBuilder<Vec<D>>, _, _, _, _>(
        notices,
        Pipeline,
        by_target,
        "bounds",
        move |_, _| {
            move |panes, notices, output| {
                notices.for_each(|_, list| {
                    let mut bus = bus.borrow_mut();
                    list.drain(..).for_each(|(epoch, notice)| bus.hear(epoch, &notice));
                });
                panes.for_each(|stamp, list| output.session(&stamp).give_container(list));
            }
        },
    )
}

/// Changes of groups' values, with their epochs.
pub type GroupChanges = Vec<((GroupKey, GroupValue), u64, isize)>;

/// For which worker, and the epoch of which a worker's panes tell first.
pub type Begins = Vec<(usize, Epoch)>;

/// Publishes groups' values as rows whenever an epoch is complete. The first is the last of those that `begins`
/// names, one from each worker: before it, a part of the panes is still to come.
pub fn publish_groups<'scope>(
    changes: Stream<'scope, u64, GroupChanges>,
    begins: Stream<'scope, u64, Begins>,
    mut rows: GroupRows,
    bus: Rc<RefCell<Bus>>,
    probe: &Probe<u64>,
    mut yield_rows: impl FnMut(Epoch, Vec<Row>) + 'static,
) {
    let by_target = Exchange::new(|(target, _): &(usize, Epoch)| *target as u64);
    // To whom the rows' part of the outbox belongs.
    let peers = changes.scope().peers();
    let by_part = Exchange::new(move |((key, _), _, _): &((GroupKey, GroupValue), u64, isize)| {
        KeyGroup::of(key.group.as_bytes()).worker(peers) as u64
    });
    let publish = changes.binary_frontier::<_, CapacityContainerBuilder<Vec<()>>, _, _, _, _>(
        begins,
        by_part,
        by_target,
        "publish groups",
        move |_, _| {
            let mut waiting: BTreeMap<u64, BTreeMap<(GroupKey, GroupValue), isize>> = BTreeMap::new();
            let mut done = 0;
            move |(input, frontier), (begins, begins_frontier), _output| {
                begins.for_each(|_, list| list.drain(..).for_each(|(_, epoch)| rows.begin_at(epoch)));
                input.for_each(|_, list| {
                    for (change, epoch, diff) in list.drain(..) {
                        *waiting.entry(epoch).or_default().entry(change).or_default() += diff;
                    }
                });
                let next = [frontier, begins_frontier]
                    .iter()
                    .filter_map(|f| f.frontier().first().copied())
                    .min();
                // Without a next epoch the rollup was stopped in the midst of things, unless all has ended.
                let Some(through) = next.map_or(bus.borrow().ended.map(|last| last.0), |next| next.checked_sub(1))
                else {
                    return;
                };
                if done == u64::MAX || next.is_some() && through < done {
                    return;
                }
                done = next.unwrap_or(u64::MAX);
                let mut publish = |rows: &mut GroupRows, epoch: u64, last: bool| {
                    let agreed = bus.borrow().agreed(Epoch(epoch));
                    let published = agreed.map_or(Vec::new(), |bounds| rows.publish(Epoch(epoch), bounds, last));
                    if !published.is_empty() {
                        yield_rows(Epoch(epoch), published);
                    }
                };
                let later = waiting.split_off(&(through + 1));
                for (epoch, changes) in std::mem::replace(&mut waiting, later) {
                    // What had expired before is gone before its panes leave.
                    publish(&mut rows, epoch.saturating_sub(1), false);
                    let mut changes: Vec<_> = changes.into_iter().filter(|(_, diff)| *diff != 0).collect();
                    // What goes comes before what comes.
                    changes.sort_by_key(|(_, diff)| *diff);
                    changes
                        .into_iter()
                        .for_each(|((key, value), diff)| rows.change(key, value, diff));
                }
                publish(&mut rows, through, next.is_none());
            }
        },
    );
    publish.probe_with(probe);
}
