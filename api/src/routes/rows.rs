//! Rows as JSON, one by one or put together in steps.

use super::query::{Asked, Scope, cursor};
use super::steps::{Point, Steps};
use crate::document::schema::RowValues;
use crate::rfc3339;
use serde::Serialize;
use tidewatch_proto::ids::{Epoch, Name};
use tidewatch_proto::query::Order;
use tidewatch_proto::row::{Row, RowBody};
use utoipa::ToSchema;

/// What rows are of.
#[derive(Serialize, ToSchema)]
#[schema(as = RowsOf)]
struct Of {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, nullable = false)]
    device_id: Option<Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, nullable = false)]
    site: Option<Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, nullable = false)]
    fleet: Option<Name>,
    #[schema(value_type = String)]
    metric: Name,
    window: &'static str,
}

impl Of {
    fn new(asked: &Asked) -> Of {
        let query = &asked.query;
        let key = |scope| (asked.scope == scope).then(|| query.key.clone());
        Of {
            device_id: key(Scope::Device),
            site: key(Scope::Site),
            fleet: key(Scope::Fleet),
            metric: query.metric.clone(),
            window: asked.window,
        }
    }
}

/// Rows put together, ascending; a step without rows isn't there.
#[derive(Serialize, ToSchema)]
pub(super) struct Curve<'a> {
    #[serde(flatten)]
    of: Of,
    /// As it was asked for.
    step: &'a str,
    points: Vec<Point>,
}

impl<'a> Curve<'a> {
    /// The steps of the rows that were read.
    pub(super) fn new(asked: &Asked, steps: &'a Steps, rows: &[Row]) -> Curve<'a> {
        Curve {
            of: Of::new(asked),
            step: &steps.text,
            points: steps.points(rows),
        }
    }
}

/// A page of rows, ascending, and where the next one begins.
#[derive(Serialize, ToSchema)]
#[schema(as = Rows)]
pub(super) struct Page {
    #[serde(flatten)]
    of: Of,
    rows: Vec<PageRow>,
    #[schema(required)]
    next: Option<String>,
}

/// What is answered of rows.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum SeriesAnswer<'a> {
    Rows(Page),
    Curve(Curve<'a>),
}

/// One row.
#[derive(Serialize, ToSchema)]
#[schema(as = Row)]
struct PageRow {
    /// The first instant in it.
    #[schema(format = DateTime)]
    window_start: String,
    /// The first instant behind it.
    #[schema(format = DateTime)]
    window_end: String,
    #[serde(flatten)]
    #[schema(value_type = RowValues)]
    body: RowBody,
}

impl Page {
    /// The page of what was asked, from the rows that were read: up to one more than it holds.
    pub(super) fn new(asked: &Asked, mut rows: Vec<Row>, as_of: Option<Epoch>) -> Page {
        let query = &asked.query;
        let excess = rows.len().saturating_sub(query.limit);
        let last = match query.order {
            Order::OldestFirst => {
                rows.truncate(query.limit);
                rows.last()
            }
            Order::NewestFirst => {
                rows.drain(..excess);
                rows.first()
            }
        };
        let next = last
            .filter(|_| excess > 0)
            .map(|row| cursor(query.order, row.window_start));
        Page {
            of: Of::new(asked),
            rows: rows.iter().map(|row| PageRow::new(row, as_of)).collect(),
            next,
        }
    }
}

impl PageRow {
    fn new(row: &Row, as_of: Option<Epoch>) -> PageRow {
        PageRow {
            window_start: rfc3339::format(row.window_start),
            window_end: rfc3339::format(row.window_end),
            body: row.body(as_of.map_or(row.revision, |as_of| as_of.max(row.revision))),
        }
    }
}
