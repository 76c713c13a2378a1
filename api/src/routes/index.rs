//! `/v1/`: what there is, from the table of routes.

use crate::body::Body;
use crate::roles::{ROUTES, Role};
use serde::Serialize;
use warp::filters::BoxedFilter;
use warp::reply::{Reply, Response};
use warp::{Filter, path};

#[derive(Serialize)]
struct Index {
    links: Vec<Link>,
}

#[derive(Serialize)]
struct Link {
    rel: &'static str,
    method: &'static str,
    /// A URI template (RFC 6570).
    href: String,
    role: Option<String>,
}

/// The route.
pub(super) fn route() -> BoxedFilter<(Response,)> {
    path!("v1").map(|| Body::json(&index()).into_response()).boxed()
}

fn index() -> Index {
    let links = ROUTES.iter().map(|route| {
        let query = if route.query.is_empty() {
            String::new()
        } else {
            format!("{{?{}}}", route.query.join(","))
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
