//! The API as a contract: an OpenAPI document, made of the table of routes and of what each route says of itself.
//!
//! * `operation`: what a route says: parameters, answers, its problems.
//! * `schema`: what stands for the types of others in it.

mod operation;
pub(crate) mod schema;

use crate::problem::ProblemKind;
use crate::roles::{ROUTES, Route};
pub(crate) use operation::{Operation, Tag};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What any request may get.
const PROBLEMS: [ProblemKind; 6] = [
    ProblemKind::BadRequest,
    ProblemKind::ForeignOrigin,
    ProblemKind::ForeignHost,
    ProblemKind::Internal,
    ProblemKind::Busy,
    ProblemKind::TooSlow,
];
/// What a request may get beside these where a role is needed.
const ROLE_PROBLEMS: [ProblemKind; 3] = [
    ProblemKind::Unauthorized,
    ProblemKind::RoleTooLow,
    ProblemKind::NotReady,
];

const DESCRIPTION: &str = "\
What a fleet's telemetry comes to, as it stands and as it changes.

Times are RFC 3339 in UTC; a request may give milliseconds since 1970 instead. Units are in the names: `_ms` are \
milliseconds, `_s` seconds, `bytes` bytes; values of metrics have the unit in which devices send them. Errors are \
`application/problem+json` with a `type` that doesn't change. Lists take `limit` and give `next`, which the next request \
sends as `cursor` with its other parameters unchanged. Fields may be added to answers; what isn't known is to be ignored.";

const BEARER: &str = "\
A token of `api.token_file`. The role that an operation needs is its `x-role`: `viewer` < `operator` < `admin`, each may do \
all that the one before it may. Without a token file whoever reaches the port may do everything.";

/// The document of this version.
pub fn document() -> Value {
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    let mut schemas = BTreeMap::from([operation::schema::<crate::problem::Body<'_>>("Problem")]);
    let mut responses = BTreeMap::new();
    for route in ROUTES {
        let operation = described(route);
        let method = route.method.as_str().to_ascii_lowercase();
        responses.extend(operation.problem_responses());
        let entry = operation.value(route.name, route.least);
        paths.entry(route.path).or_default().insert(method, entry);
        schemas.extend(operation.schemas);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tidewatch",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Real-time analytics for fleets of devices",
            "description": DESCRIPTION,
            "contact": {"name": "Tidewatch"},
            "license": {"name": "Apache License 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "The server that this document comes from"}],
        "tags": Tag::ALL.map(Tag::value),
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": responses,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": BEARER}},
        },
    })
}

/// What a route says of itself, and what all routes have.
fn described(route: &Route) -> Operation {
    let operation = (route.describe)().problems(&PROBLEMS);
    match route.least {
        Some(_) => operation.problems(&ROLE_PROBLEMS),
        None => operation,
    }
}

/// The names of a route's query parameters.
pub(crate) fn query_names(route: &Route) -> Vec<String> {
    (route.describe)().query_names()
}

#[cfg(test)]
mod tests;
