//! `/healthz`: the process lives. `/readyz`: it can do its work.

use super::{reply, with};
use crate::answer::Shared;
use crate::problem::{Problem, ProblemKind};
use serde_json::json;
use std::sync::Arc;
use warp::filters::BoxedFilter;
use warp::reply::{Reply, Response};
use warp::{Filter, path};

/// Both routes.
pub(super) fn route(shared: &Arc<Shared>) -> BoxedFilter<(Response,)> {
    let health = path!("healthz").map(|| warp::reply::json(&json!({"status": "ok"})).into_response());
    let ready = path!("readyz")
        .and(with(shared))
        .map(|shared: Arc<Shared>| reply(ready(&shared)));
    health.or(ready).unify().boxed()
}

fn ready(shared: &Shared) -> Result<impl Reply + use<>, Problem> {
    let mut reasons = shared.handles.readiness.not_ready();
    reasons.extend(shared.gate.not_ready(&shared.handles));
    if reasons.is_empty() {
        return Ok(warp::reply::json(&json!({"status": "ready"})));
    }
    Err(Problem::new(ProblemKind::NotReady, reasons.join("; ")).because(reasons))
}
