//! The vocabulary of Tidewatch: what flows, on the wire and in memory. No IO.
//!
//! * [`wire`]: protobuf `Telemetry` as prost types, for the edges.
//! * [`walk`]: the same wire format walked in place, for the engine; [`template`]: compared with the form expected.
//! * [`ids`], [`time`]: positions and times as types, never bare integers.
//! * [`source`]: the contract between whatever holds a log and the engine; [`headers`]: what a record has beside key and payload.
//! * [`limits`], [`reject`]: what is accepted, and why a record is not; [`straggler`]: what came too late for memory.
//! * [`pane`], [`aggregate`], [`sketch`], [`together`]: what readings become; [`calendar`]: which windows cover a time.
//! * [`anomaly`]: what is looked for, and what was found.
//! * [`registry`]: which site and fleet a device belongs to, and since when; [`metric`]: what people should know about a metric.
//! * [`row`], [`block`]: what the engine yields, and how it leaves; [`names`]: the names in it; [`query`]: what is asked of whoever keeps rows.

pub mod aggregate;
pub mod anomaly;
pub mod block;
pub mod calendar;
pub mod headers;
pub mod ids;
pub mod limits;
pub mod metric;
pub mod names;
pub mod pane;
pub mod query;
pub mod registry;
pub mod reject;
pub mod row;
pub mod sketch;
pub mod source;
pub mod straggler;
pub mod template;
pub mod time;
pub mod together;
pub mod walk;

/// Generated protobuf types, for the edges: gateway, clients and tests.
#[allow(missing_docs)]
pub mod wire {
    include!(concat!(env!("OUT_DIR"), "/tidewatch.rs"));
}
