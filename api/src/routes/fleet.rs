//! `/v1/fleet`: how the fleet and this process are doing.

use super::with;
use crate::answer::Shared;
use crate::body::Body;
use crate::fleet;
use std::sync::Arc;
use warp::filters::BoxedFilter;
use warp::reply::{Reply, Response};
use warp::{Filter, path};

/// The route.
pub(super) fn route(shared: &Arc<Shared>) -> BoxedFilter<(Response,)> {
    path!("v1" / "fleet")
        .and(with(shared))
        .map(|shared: Arc<Shared>| Body::new(fleet::json(&shared), "application/json").into_response())
        .boxed()
}
