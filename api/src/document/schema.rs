//! What stands in the document for types that aren't of this crate, or have a form of their own.

use crate::routes::{LIMIT_DEFAULT, LIMIT_MAX};
use serde_json::{Value, json};
use tidewatch_proto::time::{EVENT_TIME_MAX, EVENT_TIME_MIN};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{AnyOfBuilder, KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

/// Characters of a device's, site's, fleet's or metric's name at most: more than any record may hold.
pub(crate) const NAME_CHARS_MAX: usize = 1_024;

/// A name in a path.
pub(crate) fn name() -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": NAME_CHARS_MAX, "pattern": r"^[^\u0000-\u001f\u007f-\u009f]+$"})
}

/// A number in a path.
pub(crate) fn number() -> Value {
    json!({"type": "integer", "format": "int64", "minimum": 0})
}

/// A time that a request gives.
pub(crate) struct Time;

impl ToSchema for Time {}

impl PartialSchema for Time {
    fn schema() -> RefOr<Schema> {
        let text = ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .pattern(Some("^[0-5][0-9]{3}-"));
        let ms = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
            .minimum(Some(EVENT_TIME_MIN.0 as f64))
            .maximum(Some(EVENT_TIME_MAX.0 as f64))
            .description(Some("Milliseconds since 1970"));
        AnyOfBuilder::new().item(text).item(ms).into()
    }
}

/// How many a page holds.
pub(crate) struct Limit;

impl ToSchema for Limit {}

impl PartialSchema for Limit {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(1))
            .maximum(Some(LIMIT_MAX as f64))
            .default(Some(LIMIT_DEFAULT.into()))
            .into()
    }
}

/// What a row holds: [`tidewatch_proto::row::RowBody`].
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes the form of a type that knows no documents")]
pub(crate) struct RowValues {
    /// Devices that sent a reading; of rollups only.
    #[schema(nullable = false)]
    devices: Option<u64>,
    /// Readings that count.
    count: u64,
    /// Null when it is beyond what a number can be.
    #[schema(required)]
    sum: Option<f64>,
    #[schema(required)]
    min: Option<f64>,
    #[schema(required)]
    max: Option<f64>,
    /// The first by event time; null in rollups.
    #[schema(required)]
    first: Option<f64>,
    #[schema(required)]
    last: Option<f64>,
    #[schema(required)]
    mean: Option<f64>,
    /// Of the population; null in rollups.
    #[schema(required)]
    stddev: Option<f64>,
    /// Exact up to 16 readings, within 1.6 % beyond; null in rollups, and where readings came beyond the horizon.
    #[schema(required)]
    p50: Option<f64>,
    #[schema(required)]
    p95: Option<f64>,
    #[schema(required)]
    p99: Option<f64>,
    /// Readings that are no numbers (NaN, infinities); they are in nothing else.
    invalid_count: u64,
    status: RowStatus,
    /// The epoch that produced it: of two rows of one window the greater one is newer.
    revision: u64,
    /// The epoch through which it is known to be complete.
    as_of: u64,
}

/// How final a row is: of an open window, the first of a closed one, or a later one.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "it describes the form of a type that knows no documents")]
enum RowStatus {
    Live,
    Final,
    Corrected,
}
