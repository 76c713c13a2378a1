//! Capture: hands what a stream carries to whoever holds the other end, epoch by epoch.

use crate::capture::{CaptureSender, Captured};
use tidewatch_proto::ids::Epoch;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::ParallelizationContract;
use timely::dataflow::operators::generic::operator::Operator;
use timely::dataflow::operators::probe::{Handle as Probe, Probe as _};

/// Sends a stream's items as captured messages, and shows their completion on `probe`.
pub fn capture<D: Clone + 'static, I: IntoIterator<Item = Captured>>(
    stream: Stream<'_, u64, Vec<D>>,
    pact: impl ParallelizationContract<u64, Vec<D>>,
    sender: CaptureSender,
    probe: &Probe<u64>,
    mut weigh: impl FnMut(&[D]) + 'static,
    wrap: impl Fn(Epoch, Vec<D>) -> I + 'static,
) {
    stream
        .unary::<timely::container::CapacityContainerBuilder<Vec<()>>, _, _, _>(pact, "capture", move |_, _| {
            move |input, _output| {
                input.for_each(|stamp, items| {
                    let epoch = Epoch(stamp.least().copied().unwrap_or_default());
                    let items = std::mem::take(items);
                    weigh(&items);
                    for captured in wrap(epoch, items) {
                        // Without a receiver nobody wants it.
                        let _ = sender.send(captured);
                    }
                });
            }
        })
        .probe_with(probe);
}
