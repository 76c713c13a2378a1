//! What is counted about a sink: written by whoever delivers, read by `/metrics`.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;
use std::time::Duration;

/// Upper bounds of the delivery latency's buckets in seconds.
const LATENCY_BUCKETS: [f64; 13] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0,
];

/// The counters of one sink; shared, and cheap enough to be called for each delivery.
#[derive(Debug)]
pub struct SinkStats {
    name: String,
    pub(crate) latency: Histogram,
    pub(crate) deliveries: Counter,
    pub(crate) items: Counter,
    pub(crate) retries: Counter,
}

impl SinkStats {
    /// Counters at zero; the name is the label `sink`.
    pub fn new(name: impl Into<String>) -> SinkStats {
        SinkStats {
            name: name.into(),
            latency: Histogram::new(LATENCY_BUCKETS),
            deliveries: Counter::default(),
            items: Counter::default(),
            retries: Counter::default(),
        }
    }

    /// The sink's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Counts a delivery that the sink confirmed: how many rows or rejects it held, and how long it took from the
    /// first attempt on, retries included.
    pub fn delivered(&self, items: u64, took: Duration) {
        self.deliveries.inc();
        self.items.inc_by(items);
        self.latency.observe(took.as_secs_f64());
    }

    /// Counts an attempt that failed and is made again.
    pub fn retried(&self) {
        self.retries.inc();
    }
}
