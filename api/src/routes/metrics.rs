//! `/metrics`: the page for Prometheus.

use super::{reply, with};
use crate::answer::Shared;
use crate::body::Body;
use crate::document::{Operation, Tag};
use crate::metrics::CONTENT_TYPE;
use crate::problem::{Problem, ProblemKind};
use std::sync::Arc;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;
use warp::{Filter, path};

/// What it is.
pub(crate) fn describe() -> Operation {
    Operation::new(
        Tag::Process,
        "What is counted, for Prometheus",
        "OpenMetrics' counters and gauges of the engine, sinks, archive and this API.",
    )
    .content(StatusCode::OK, "The metrics as text", CONTENT_TYPE)
}

/// The route.
pub(super) fn route(shared: &Arc<Shared>) -> BoxedFilter<(Response,)> {
    path!("metrics")
        .and(with(shared))
        .map(|shared: Arc<Shared>| reply(page(&shared)))
        .boxed()
}

fn page(shared: &Shared) -> Result<Body, Problem> {
    match shared.metrics.render() {
        Ok(page) => Ok(Body::new(page.into_bytes(), CONTENT_TYPE)),
        Err(_) => Err(Problem::new(
            ProblemKind::Internal,
            "the metrics can't be written as text",
        )),
    }
}
