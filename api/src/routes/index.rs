//! `/v1/`: what there is, from the table of routes.

use crate::body::Body;
use crate::document::{Operation, Tag, query_names};
use crate::roles::{ROUTES, Role};
use serde::Serialize;
use serde_json::json;
use std::sync::LazyLock;
use utoipa::ToSchema;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::{Reply, Response};
use warp::{Filter, path};

#[derive(Serialize, ToSchema)]
struct Index {
    links: Vec<Link>,
}

#[derive(Serialize, ToSchema)]
struct Link {
    /// The operation's name in the document.
    rel: &'static str,
    method: &'static str,
    /// A URI template (RFC 6570).
    href: String,
    /// The least role that may call it; null is anybody.
    #[schema(required)]
    role: Option<String>,
}

/// What it is.
pub(crate) fn describe() -> Operation {
    let link = json!({"rel": "fleet", "method": "GET", "href": "/v1/fleet", "role": "viewer"});
    Operation::new(
        Tag::Process,
        "What there is",
        "Every route, with its query parameters and the role that it needs.",
    )
    .json::<Index>(StatusCode::OK, "The routes", json!({"links": [link]}))
}

/// The route.
pub(super) fn route() -> BoxedFilter<(Response,)> {
    static INDEX: LazyLock<Body> = LazyLock::new(|| Body::json(&index()));
    path!("v1").map(|| INDEX.clone().into_response()).boxed()
}

fn index() -> Index {
    let links = ROUTES.iter().map(|route| {
        let names = query_names(route);
        let query = match names.is_empty() {
            true => String::new(),
            false => format!("{{?{}}}", names.join(",")),
        };
        Link {
            rel: route.name,
            method: route.method.as_str(),
            href: format!("{}{query}", route.path),
            role: route.least.as_ref().map(Role::to_string),
        }
    });
    Index { links: links.collect() }
}
