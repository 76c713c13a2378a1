//! `/healthz`: the process lives. `/readyz`: it can do its work.

use super::{reply, with};
use crate::answer::Shared;
use crate::document::{Operation, Tag};
use crate::problem::{Problem, ProblemKind};
use serde::Serialize;
use serde_json::json;
use std::sync::Arc;
use utoipa::ToSchema;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::{Reply, Response};
use warp::{Filter, path};

/// How the process is.
#[derive(Serialize, ToSchema)]
struct Health {
    status: &'static str,
}

/// What `/healthz` is.
pub(crate) fn describe_health() -> Operation {
    Operation::new(
        Tag::Process,
        "Whether the process lives",
        "For a probe that restarts what doesn't.",
    )
    .json::<Health>(StatusCode::OK, "It lives", json!({"status": "ok"}))
}

/// What `/readyz` is.
pub(crate) fn describe_readiness() -> Operation {
    Operation::new(
        Tag::Process,
        "Whether the process can do its work",
        "For a probe that sends requests elsewhere meanwhile; the problem lists the `reasons`.",
    )
    .json::<Health>(StatusCode::OK, "It can", json!({"status": "ready"}))
    .problems(&[ProblemKind::NotReady])
}

/// Both routes.
pub(super) fn route(shared: &Arc<Shared>) -> BoxedFilter<(Response,)> {
    let health = path!("healthz").map(|| warp::reply::json(&Health { status: "ok" }).into_response());
    let ready = path!("readyz")
        .and(with(shared))
        .map(|shared: Arc<Shared>| reply(ready(&shared)));
    health.or(ready).unify().boxed()
}

fn ready(shared: &Shared) -> Result<impl Reply + use<>, Problem> {
    let mut reasons = shared.handles.readiness.not_ready();
    reasons.extend(shared.gate.not_ready(&shared.handles));
    if reasons.is_empty() {
        return Ok(warp::reply::json(&Health { status: "ready" }));
    }
    Err(Problem::new(ProblemKind::NotReady, reasons.join("; ")).because(reasons))
}
