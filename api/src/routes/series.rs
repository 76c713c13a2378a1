//! `/v1/series/…` and `/v1/rollups/…`: rows of one series, or of one site's or fleet's rollup.

use super::query::{Asked, Scope};
use super::rows::{Curve, Page};
use super::{raw_query, read, reply, with};
use crate::answer::Shared;
use crate::body::Body;
use crate::problem::{Problem, ProblemKind};
use std::sync::Arc;
use warp::filters::BoxedFilter;
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
            async move { reply(rows(&shared, path.as_str(), Asked::parse(scope, &key, &metric, &query)).await) }
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
        return Ok(Body::json(&Page::new(&asked, rows, as_of)));
    };
    steps.refuse_too_many(&rows)?;
    Ok(Body::json(&Curve::new(&asked, steps, &rows)))
}
