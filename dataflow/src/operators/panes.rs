//! The ends of the rollups' dataflows: a source that drains the bus, and the publisher of groups.

use crate::rollup::bus::Bus;
use crate::rollup::{GroupKey, GroupRows, GroupValue};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use tidewatch_proto::ids::Epoch;
use tidewatch_proto::row::Row;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Pipeline;
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
                true => capability = None,
                false if bus.frontier.0 > *held.time() => held.downgrade(&bus.frontier.0),
                false => {}
            }
        }
    })
}

/// Publishes groups' values as rows whenever an epoch is complete.
pub fn publish_groups(
    changes: Stream<'_, u64, Vec<((GroupKey, GroupValue), u64, isize)>>,
    mut rows: GroupRows,
    bus: Rc<RefCell<Bus>>,
    probe: &Probe<u64>,
    mut yield_rows: impl FnMut(Epoch, Vec<Row>) + 'static,
) {
    changes
        .unary_frontier::<CapacityContainerBuilder<Vec<()>>, _, _, _>(Pipeline, "publish groups", move |_, _| {
            let mut waiting: BTreeMap<u64, BTreeMap<(GroupKey, GroupValue), isize>> = BTreeMap::new();
            let mut done = 0;
            move |(input, frontier), _output| {
                input.for_each(|_, list| {
                    for (change, epoch, diff) in list.drain(..) {
                        *waiting.entry(epoch).or_default().entry(change).or_default() += diff;
                    }
                });
                let next = frontier.frontier().first().copied().unwrap_or(u64::MAX);
                if next <= done {
                    return;
                }
                done = next;
                let mut last = None;
                let later = waiting.split_off(&next);
                for (epoch, changes) in std::mem::replace(&mut waiting, later) {
                    let mut changes: Vec<_> = changes.into_iter().filter(|(_, diff)| *diff != 0).collect();
                    // What goes comes before what comes.
                    changes.sort_by_key(|(_, diff)| *diff);
                    changes
                        .into_iter()
                        .for_each(|((key, value), diff)| rows.change(key, value, diff));
                    last = Some(epoch);
                }
                let epoch = if next == u64::MAX { last.unwrap_or(0) } else { next - 1 };
                let Some(bounds) = bus.borrow().bounds_at(Epoch(epoch)) else {
                    return;
                };
                let published = rows.publish(Epoch(epoch), bounds);
                if !published.is_empty() {
                    yield_rows(Epoch(epoch), published);
                }
            }
        })
        .probe_with(probe);
}
