//! All that a worker can be told: one closed enum, in one order for all workers.

use crate::live::Listener;
use crate::rollup::Level;
use std::sync::Arc;
use std::sync::mpsc;
use tidewatch_proto::ids::Epoch;
use tidewatch_proto::registry::RegistryChange;
use tidewatch_proto::row::Row;

/// A command. It is validated before it is sent, so that carrying it out can't fail on one worker alone.
#[derive(Clone, Debug)]
pub enum Command {
    /// Read no further than this epoch, complete it, save the state, and end.
    Stop(Epoch),
    /// Run a rollup. Running it twice is running it once.
    StartRollup(Level),
    /// End a rollup.
    StopRollup(Level),
    /// The registry has changed.
    Registry(Arc<RegistryChange>),
    /// Answer with the open windows of a series; only the worker that owns the device does.
    Peek {
        /// The device.
        device: Arc<str>,
        /// The metric.
        metric: Arc<str>,
        /// Where the answer goes.
        answer: mpsc::Sender<Vec<Row>>,
    },
    /// Push open windows as they change to who listens, and to nobody else any more.
    Watch(Listener),
}
