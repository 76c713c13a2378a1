//! What the sinks for rows take a second, each beside the same bytes sent without it.
//!
//! `workload` makes the rows, `kafka`, `postgres` and `embedded` deliver them through the real sinks and through a reference that
//! has everything encoded beforehand, `turns` runs both in turn and makes the table.

pub mod embedded;
pub mod kafka;
pub mod postgres;
pub mod turns;
pub mod workload;

use anyhow::Result;
use tidewatch_proto::row::{Delivery, Row};
use tidewatch_sinks::Sink;

/// Delivers everything, as the thread of a sink does.
fn deliver(sink: &mut impl Sink<Row>, deliveries: &[Delivery<Row>]) -> Result<()> {
    for delivery in deliveries {
        sink.deliver(delivery)?;
    }
    Ok(())
}

/// Rows in all deliveries.
fn rows(deliveries: &[Delivery<Row>]) -> usize {
    deliveries.iter().map(|delivery| delivery.items.len()).sum()
}

/// A name that nobody else uses meanwhile.
fn own_name(what: &str) -> String {
    format!("bench_sinks_{what}_{}", std::process::id())
}
