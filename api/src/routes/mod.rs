//! What the API answers: a resource a file, each with one function that composes and one that answers.
//!
//! Which of them may be called by whom stands in [`crate::roles`]; a request comes here only when it matches there.

pub(crate) mod anomalies;
pub(crate) mod catalogue;
pub(crate) mod devices;
pub(crate) mod docs;
mod files;
pub(crate) mod fleet;
pub(crate) mod health;
pub(crate) mod index;
pub(crate) mod letters;
pub(crate) mod live;
pub(crate) mod metrics;
pub(crate) mod openapi;
pub(crate) mod page;
mod query;
pub(crate) mod replay;
mod rows;
pub(crate) mod series;
mod steps;

use crate::answer::Shared;
use crate::handles::Event;
use crate::problem::{Problem, ProblemKind};
use crate::reader::ReadError;
use std::convert::Infallible;
use std::sync::Arc;
use warp::filters::BoxedFilter;
use warp::reply::{Reply, Response};
use warp::{Filter, any};

pub(crate) use query::{LIMIT_DEFAULT, LIMIT_MAX};

/// All routes. The table of routes has checked the method.
pub(crate) fn all(shared: &Arc<Shared>) -> BoxedFilter<(Response,)> {
    let routes = health::route(shared)
        .or(metrics::route(shared))
        .unify()
        .or(index::route())
        .unify()
        .or(openapi::route())
        .unify()
        .or(series::route(shared))
        .unify()
        .or(devices::route(shared))
        .unify()
        .or(catalogue::route(shared))
        .unify()
        .or(letters::route(shared))
        .unify()
        .or(anomalies::route(shared))
        .unify()
        .or(fleet::route(shared))
        .unify()
        .or(live::route(shared))
        .unify()
        .or(docs::route())
        .unify()
        .or(page::route())
        .unify()
        .or(replay::route(shared))
        .unify();
    routes.boxed()
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

/// The query as it was sent; empty when there is none.
fn raw_query() -> impl Filter<Extract = (String,), Error = Infallible> + Clone {
    warp::query::raw().or(any().map(String::new)).unify()
}

/// Reads on a thread that may block; at most so many at a time, those whose client has gone included.
async fn read<T: Send + 'static>(
    shared: &Shared,
    path: &str,
    work: impl FnOnce() -> Result<T, ReadError> + Send + 'static,
) -> Result<T, Problem> {
    const DETAIL: &str = "the rows can't be read; the log says why";
    let failed = || Problem::new(ProblemKind::Internal, DETAIL);
    let permit = shared.reads.clone().acquire_owned().await.map_err(|_| failed())?;
    let reading = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        work()
    });
    match reading.await {
        Ok(Ok(read)) => Ok(read),
        Ok(Err(error)) => {
            (shared.handles.events)(Event::ReadFailed { path, error: &error });
            Err(Problem::new(error.kind().into(), DETAIL))
        }
        Err(_) => {
            (shared.handles.events)(Event::ReadPanicked { path });
            Err(failed())
        }
    }
}
