//! `/v1/fleet`: how the fleet and this process are doing.

use super::with;
use crate::answer::Shared;
use crate::body::Body;
use crate::document::{Operation, Tag};
use crate::fleet;
use std::sync::Arc;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::{Reply, Response};
use warp::{Filter, path};

/// What it is.
pub(crate) fn describe() -> Operation {
    Operation::new(
        Tag::Live,
        "How the fleet and this process are doing",
        "Of a cluster it is about the one process that is asked. Rates are over the last five seconds.",
    )
    .json::<fleet::Body<'_>>(
        StatusCode::OK,
        "Counters, rates and the last quarter of an hour",
        fleet::example(),
    )
}

/// The route.
pub(super) fn route(shared: &Arc<Shared>) -> BoxedFilter<(Response,)> {
    path!("v1" / "fleet")
        .and(with(shared))
        .map(|shared: Arc<Shared>| Body::new(fleet::json(&shared), "application/json").into_response())
        .boxed()
}
