//! `/v1/series/…` and `/v1/rollups/…`: rows of one series, or of one site's or fleet's rollup.

use super::query::{Asked, Params, Scope};
use super::rows::{Curve, Page, SeriesAnswer};
use super::steps::agg_names;
use super::{raw_query, read, reply, with};
use crate::answer::Shared;
use crate::body::Body;
use crate::document::{Operation, Tag, schema};
use crate::problem::{Problem, ProblemKind};
use serde_json::json;
use std::sync::Arc;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::path::FullPath;
use warp::reply::Response;
use warp::{Filter, path};

/// The routes of each scope.
pub(super) fn route(shared: &Arc<Shared>) -> BoxedFilter<(Response,)> {
    let device = path!("v1" / "series" / String / String).map(|key, metric| (Scope::Device, key, metric));
    let site = path!("v1" / "rollups" / "site" / String / String).map(|key, metric| (Scope::Site, key, metric));
    let fleet = path!("v1" / "rollups" / "fleet" / String / String).map(|key, metric| (Scope::Fleet, key, metric));
    let scope = device.or(site).unify().or(fleet).unify();
    scope
        .and(raw_query())
        .and(path::full())
        .and(with(shared))
        .then(|(scope, key, metric): (Scope, String, String), query: String, path: FullPath, shared: Arc<Shared>| {
            async move {
                let asked = Asked::parse(scope, (&key, &metric), &query, &shared.handles.calendar);
                reply(rows(&shared, path.as_str(), asked).await)
            }
        })
        .boxed()
}

async fn rows(shared: &Shared, path: &str, asked: Result<Asked, Problem>) -> Result<Body, Problem> {
    let asked = asked?;
    let (reader, query) = (shared.handles.series.clone(), asked.query_one_more());
    let found = read(shared, path, move || {
        let as_of = reader.as_of();
        Ok(reader.series(query)?.map(|rows| (rows, as_of)))
    });
    let Some((rows, as_of)) = found.await? else {
        let query = &asked.query;
        let (noun, key, metric) = (asked.scope.noun(), &query.key, &query.metric);
        let detail = format!(
            "there are no {} rows of {noun} {key:?} and metric {metric:?}",
            asked.window
        );
        return Err(Problem::new(ProblemKind::UnknownSeries, detail));
    };
    let Some(steps) = &asked.steps else {
        return Ok(Body::json(&SeriesAnswer::Rows(Page::new(&asked, rows, as_of))));
    };
    steps.refuse_too_many(&rows)?;
    Ok(Body::json(&SeriesAnswer::Curve(Curve::new(&asked, steps, &rows))))
}

const DESCRIPTION: &str = "\
One-minute, five-minute (every minute) and one-hour windows and those of a day, ascending, the open one included as `live`. With `step` and `agg` \
they are put together into steps; a step without rows isn't there.";
const ROLLUP_DESCRIPTION: &str = "\
One-minute windows of all devices that belong there, as of event time, ascending. With `step` and `agg` they are put together \
into steps; a step without rows isn't there.";

/// What `/v1/series/…` is.
pub(crate) fn describe_series() -> Operation {
    describe(
        Operation::new(Tag::Rows, "Rows of a series", DESCRIPTION),
        Scope::Device,
        "dev-000042",
    )
}

/// What `/v1/rollups/site/…` is.
pub(crate) fn describe_site() -> Operation {
    describe(
        Operation::new(Tag::Rows, "Rows of a site's rollup", ROLLUP_DESCRIPTION),
        Scope::Site,
        "north",
    )
}

/// What `/v1/rollups/fleet/…` is.
pub(crate) fn describe_fleet() -> Operation {
    describe(
        Operation::new(Tag::Rows, "Rows of a fleet's rollup", ROLLUP_DESCRIPTION),
        Scope::Fleet,
        "trucks",
    )
}

fn describe(operation: Operation, scope: Scope, key: &str) -> Operation {
    let noun = scope.noun();
    let windows = scope.windows().iter().map(|(name, _)| *name);
    let of_series = |value: f64| (scope == Scope::Device).then_some(value);
    let mut row = json!({
        "window_start": "2026-11-27T15:30:00.000Z", "window_end": "2026-11-27T15:31:00.000Z",
        "count": 3, "sum": 61.5, "min": 20.25, "max": 21.0, "first": of_series(20.25), "last": of_series(20.25),
        "mean": 20.5, "stddev": of_series(0.5), "p50": of_series(20.25), "p95": of_series(21.0), "p99": of_series(21.0),
        "invalid_count": 0, "status": "final", "revision": 17_957_939_190_u64, "as_of": 17_957_939_190_u64,
    });
    let mut example = json!({"metric": "temperature", "window": "1m", "next": "b1795793430000"});
    match scope {
        Scope::Device => example["device_id"] = key.into(),
        Scope::Site | Scope::Fleet => {
            example[noun] = key.into();
            row["devices"] = 3.into();
        }
    }
    example["rows"] = json!([row]);
    operation
        .segment(noun, &format!("The {noun}'s name."), key.into(), schema::name())
        .segment("metric", "The metric's name.", "temperature".into(), schema::name())
        .query::<Params<'_>>()
        .choices("window", windows)
        .choices("agg", agg_names())
        .json::<SeriesAnswer<'_>>(StatusCode::OK, "Rows, or steps of them", example)
        .problems(&[ProblemKind::UnknownSeries, ProblemKind::Unavailable])
}
