//! `/v1/metrics`: what is known of metrics, all or one.

use super::query::{cut, limit, name, parameters, unknown_cursor};
use super::{raw_query, reply, with};
use crate::answer::Shared;
use crate::body::Body;
use crate::document::{Operation, Tag, schema};
use crate::problem::{Problem, ProblemKind};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::ops::Bound;
use std::sync::Arc;
use tidewatch_proto::ids::Name;
use tidewatch_proto::metric::Metadata;
use utoipa::{IntoParams, ToSchema};
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;
use warp::{Filter, path};

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct Params<'a> {
    /// Metrics of a page at most.
    #[serde(borrow)]
    #[param(value_type = schema::Limit, required = false, inline)]
    limit: Option<Cow<'a, str>>,
    /// `next` of the page before.
    #[serde(borrow)]
    #[param(max_length = 1_025, pattern = r"^m[^\u0000]*$")]
    cursor: Option<Cow<'a, str>>,
}

/// Metrics, ascending by their names byte by byte.
#[derive(Serialize, ToSchema)]
#[schema(as = Metrics)]
struct Page {
    metrics: Vec<Metric>,
    #[schema(required)]
    next: Option<String>,
}

/// What is known of a metric; what isn't is null.
#[derive(Serialize, ToSchema)]
struct Metric {
    #[schema(value_type = String)]
    metric: Name,
    /// What people call it.
    #[schema(required, value_type = Option<String>)]
    name: Option<Name>,
    /// The unit of its values, as it is written behind them.
    #[schema(required, value_type = Option<String>)]
    unit: Option<Name>,
    /// The least value that is usual.
    #[schema(required)]
    min: Option<f64>,
    /// The greatest value that is usual.
    #[schema(required)]
    max: Option<f64>,
    /// What it is about.
    #[schema(required, value_type = Option<String>)]
    description: Option<Name>,
}

const DETAIL: &str = "\
As the file says that the configuration names (`metrics.file`), or the simulated fleet of its own. No value is refused by it.";

fn example() -> Value {
    json!({
        "metric": "temperature", "name": "Temperature", "unit": "°C", "min": -10.0, "max": 40.0,
        "description": "Of the air around the device.",
    })
}

/// What the list is.
pub(crate) fn describe_list() -> Operation {
    Operation::new(Tag::Devices, "Lists what is known of metrics", DETAIL)
        .query::<Params<'_>>()
        .json::<Page>(
            StatusCode::OK,
            "A page of metrics",
            json!({"metrics": [example()], "next": "mtemperature"}),
        )
}

/// What one of it is.
pub(crate) fn describe_one() -> Operation {
    Operation::new(Tag::Devices, "What is known of a metric", DETAIL)
        .segment("metric", "The metric.", "temperature".into(), schema::name())
        .json::<Metric>(StatusCode::OK, "What is known of it", example())
        .problems(&[ProblemKind::UnknownMetric])
}

/// Both routes.
pub(super) fn route(shared: &Arc<Shared>) -> BoxedFilter<(Response,)> {
    let page = path!("v1" / "metrics")
        .and(raw_query())
        .and(with(shared))
        .map(|query: String, shared: Arc<Shared>| reply(metrics(&shared, &query)));
    let one = path!("v1" / "metrics" / String)
        .and(with(shared))
        .map(|name: String, shared: Arc<Shared>| reply(metric(&shared, &name)));
    page.or(one).unify().boxed()
}

fn metrics(shared: &Shared, query: &str) -> Result<Body, Problem> {
    let params: Params<'_> = parameters(query)?;
    let limit = limit(params.limit.as_deref())?;
    let after = params.cursor.as_deref();
    let after = after.map(|cursor| cursor.strip_prefix('m').ok_or_else(unknown_cursor));
    let behind = after.transpose()?.map_or(Bound::Unbounded, Bound::Excluded);
    let all = shared.handles.catalogue.now();
    // One more tells whether there is a next page.
    let found = all.range::<str, _>((behind, Bound::Unbounded)).take(limit + 1);
    let mut found: Vec<Metric> = found.map(body).collect();
    let next = cut(&mut found, limit).map(|last| format!("m{}", last.metric));
    Ok(Body::json(&Page { metrics: found, next }))
}

fn metric(shared: &Shared, encoded: &str) -> Result<Body, Problem> {
    let name = name("metric", encoded)?;
    let all = shared.handles.catalogue.now();
    let found = all.get_key_value(&name).map(body);
    let found = found.ok_or_else(|| {
        let detail = format!("nothing is known of the metric {name}; metrics.file may say something");
        Problem::new(ProblemKind::UnknownMetric, detail)
    })?;
    Ok(Body::json(&found))
}

fn body((metric, about): (&Name, &Metadata)) -> Metric {
    let about = about.clone();
    Metric {
        metric: metric.clone(),
        name: about.name,
        unit: about.unit,
        min: about.min,
        max: about.max,
        description: about.description,
    }
}
