//! What the API answers: a resource a file, each with one function that composes and one that answers.
//!
//! Which of them may be called by whom stands in [`crate::roles`]; a request comes here only when it matches there.

mod health;
mod index;
mod metrics;
mod query;
mod rows;
mod series;

use crate::answer::Shared;
use crate::problem::Problem;
use std::convert::Infallible;
use std::sync::Arc;
use warp::filters::BoxedFilter;
use warp::reply::{Reply, Response};
use warp::{Filter, any};

/// All routes.
pub(crate) fn all(shared: &Arc<Shared>) -> BoxedFilter<(Response,)> {
    let routes = health::route(shared)
        .or(metrics::route(shared))
        .unify()
        .or(index::route())
        .unify()
        .or(series::route(shared))
        .unify();
    warp::get().and(routes).boxed()
}

/// Hands what all requests share to a route.
fn with(shared: &Arc<Shared>) -> impl Filter<Extract = (Arc<Shared>,), Error = Infallible> + Clone + use<> {
    let shared = shared.clone();
    any().map(move || shared.clone())
}

/// A route's reply, or the problem that it has instead.
fn reply(result: Result<impl Reply, Problem>) -> Response {
    match result {
        Ok(reply) => reply.into_response(),
        Err(problem) => problem.into_response(),
    }
}
