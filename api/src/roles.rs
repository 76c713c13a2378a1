//! The one table of routes: method, path, and the least role that may call it.

use crate::document::Operation;
use crate::routes;
use std::fmt;
use std::str::FromStr;
use warp::http::Method;

/// What somebody may do; each role may do all that the one before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Reads.
    Viewer,
    /// Also acts on what runs.
    Operator,
    /// Also changes what runs.
    Admin,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Admin => "admin",
        })
    }
}

impl FromStr for Role {
    type Err = ();

    fn from_str(text: &str) -> Result<Role, ()> {
        match text {
            "viewer" => Ok(Role::Viewer),
            "operator" => Ok(Role::Operator),
            "admin" => Ok(Role::Admin),
            _ => Err(()),
        }
    }
}

/// One row of the table.
#[derive(Debug)]
pub struct Route {
    /// What the index calls it.
    pub name: &'static str,
    /// The method; GET stands for HEAD too.
    pub method: Method,
    /// The path; a segment in braces stands for any that isn't empty. It is the label in metrics too.
    pub path: &'static str,
    /// The least role that may call it; `None` is anybody.
    pub least: Option<Role>,
    /// What it says of itself, for the document.
    pub(crate) describe: fn() -> Operation,
}

/// Every route.
pub const ROUTES: &[Route] = &[
    get("health", "/healthz", None, routes::health::describe_health),
    get("readiness", "/readyz", None, routes::health::describe_readiness),
    get("metrics", "/metrics", VIEWER, routes::metrics::describe),
    get("page", "/", None, routes::page::describe_page),
    get("page_file", "/page/{file}", None, routes::page::describe_file),
    get("docs", "/docs/", None, routes::docs::describe_page),
    get("docs_file", "/docs/{file}", None, routes::docs::describe_file),
    get("index", "/v1/", VIEWER, routes::index::describe),
    get("openapi", "/v1/openapi.json", None, routes::openapi::describe),
    get(
        "series",
        "/v1/series/{device}/{metric}",
        VIEWER,
        routes::series::describe_series,
    ),
    get(
        "site_rollups",
        "/v1/rollups/site/{site}/{metric}",
        VIEWER,
        routes::series::describe_site,
    ),
    get(
        "fleet_rollups",
        "/v1/rollups/fleet/{fleet}/{metric}",
        VIEWER,
        routes::series::describe_fleet,
    ),
    get("devices", "/v1/devices", VIEWER, routes::devices::describe),
    get("anomalies", "/v1/anomalies", VIEWER, routes::anomalies::describe),
    get(
        "metric_metadata",
        "/v1/metrics",
        VIEWER,
        routes::catalogue::describe_list,
    ),
    get(
        "metric",
        "/v1/metrics/{metric}",
        VIEWER,
        routes::catalogue::describe_one,
    ),
    get("fleet", "/v1/fleet", VIEWER, routes::fleet::describe),
    get(
        "dead_letters",
        "/v1/dead-letters",
        VIEWER,
        routes::letters::describe_list,
    ),
    get(
        "dead_letter",
        "/v1/dead-letters/{number}",
        VIEWER,
        routes::letters::describe_one,
    ),
    post(
        "replay_dead_letter",
        "/v1/dead-letters/{number}/replay",
        Role::Operator,
        routes::replay::describe,
    ),
    get("live", "/v1/live", VIEWER, routes::live::describe),
];

const VIEWER: Option<Role> = Some(Role::Viewer);

const fn get(name: &'static str, path: &'static str, least: Option<Role>, describe: fn() -> Operation) -> Route {
    Route {
        name,
        method: Method::GET,
        path,
        least,
        describe,
    }
}

const fn post(name: &'static str, path: &'static str, least: Role, describe: fn() -> Operation) -> Route {
    Route {
        name,
        method: Method::POST,
        path,
        least: Some(least),
        describe,
    }
}

/// What the table says of a request.
#[derive(Debug)]
pub(crate) enum Match {
    /// It has this row.
    Found(&'static Route),
    /// The path is there, for these methods only.
    WrongMethod(Vec<&'static str>),
    /// There is no such path.
    Unknown,
}

/// Looks a request up; the path is as it was sent, still percent-encoded.
pub(crate) fn find(method: &Method, path: &str) -> Match {
    let method = if method == Method::HEAD { &Method::GET } else { method };
    let mut allowed = Vec::new();
    for route in ROUTES.iter().filter(|route| matches(route.path, path)) {
        if route.method == method {
            return Match::Found(route);
        }
        allowed.push(route.method.as_str());
        if route.method == Method::GET {
            allowed.push("HEAD");
        }
    }
    if allowed.is_empty() {
        Match::Unknown
    } else {
        Match::WrongMethod(allowed)
    }
}

fn matches(pattern: &str, path: &str) -> bool {
    let (mut wanted, mut got) = (pattern.split('/'), path.split('/'));
    loop {
        match (wanted.next(), got.next()) {
            (None, None) => return true,
            (Some(wanted), Some(got)) if wanted == got => {}
            (Some(wanted), Some(got)) if wanted.starts_with('{') && !got.is_empty() => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_match_segment_by_segment() {
        for (path, name) in [
            ("/healthz", Some("health")),
            ("/v1/", Some("index")),
            ("/v1/series/a/b", Some("series")),
            ("/v1/series/a%2Fb/c", Some("series")),
            ("/v1/rollups/site/a/b", Some("site_rollups")),
            ("/v1/rollups/world/a/b", None),
            ("/v1/series/a/", None),
            ("/v1/series/a/b/", None),
            ("/v1/series//b", None),
            ("/healthz/", None),
            ("//healthz", None),
            ("/v1", None),
            ("/", Some("page")),
            ("/page/app.js", Some("page_file")),
            ("/page/a/b", None),
            ("/v1/dead-letters/7", Some("dead_letter")),
            ("/v1/anomalies", Some("anomalies")),
            ("", None),
        ] {
            let found = match find(&Method::GET, path) {
                Match::Found(route) => Some(route.name),
                _ => None,
            };
            assert_eq!(found, name, "{path}");
        }
    }

    #[test]
    fn only_probes_the_pages_and_the_document_are_public() {
        let public: Vec<_> = ROUTES
            .iter()
            .filter(|route| route.least.is_none())
            .map(|route| route.path)
            .collect();
        assert_eq!(
            public,
            [
                "/healthz",
                "/readyz",
                "/",
                "/page/{file}",
                "/docs/",
                "/docs/{file}",
                "/v1/openapi.json"
            ]
        );
    }
}
