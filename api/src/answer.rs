//! What every request gets, whatever it asks: checks, a timeout, errors as problems, headers, and counting.

use crate::body::{Body, accepts_gzip, add_vary};
use crate::fleet::Fleet;
use crate::gate::Gate;
use crate::handles::Handles;
use crate::metrics::Metrics;
use crate::problem::{Problem, ProblemKind};
use crate::roles::{self, Match};
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use warp::filters::BoxedFilter;
use warp::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, CACHE_CONTROL, HeaderMap, HeaderValue, ORIGIN, X_CONTENT_TYPE_OPTIONS,
};
use warp::http::{Method, Request, StatusCode};
use warp::reply::Response;

/// What all requests share.
pub(crate) struct Shared {
    pub(crate) handles: Handles,
    pub(crate) gate: Gate,
    pub(crate) metrics: Metrics,
    pub(crate) reads: Arc<Semaphore>,
    pub(crate) request_timeout: Duration,
    pub(crate) fleet: Fleet,
    /// Room for those who listen.
    pub(crate) subscribers: Arc<Semaphore>,
    /// Says true when it is time to stop.
    pub(crate) shutdown: watch::Receiver<bool>,
}

/// The routes as a function; the type of warp's own service can't be named.
pub(crate) type Routes = Arc<dyn Fn(Request<Incoming>) -> Answering + Send + Sync>;

/// A route's answer, in the making.
pub(crate) type Answering = Pin<Box<dyn Future<Output = Response> + Send>>;

/// The routes of a filter.
pub(crate) fn routes(filter: BoxedFilter<(Response,)>) -> Routes {
    let service = TowerToHyperService::new(warp::service(filter));
    Arc::new(move |request| {
        let answering = service.call(request);
        Box::pin(async move {
            let Ok(response) = answering.await;
            response
        })
    })
}

/// Answers one request, always.
pub(crate) async fn answer(
    shared: Arc<Shared>,
    routes: Routes,
    request: Request<Incoming>,
) -> Result<Response, Infallible> {
    let path = request.uri().path().to_owned();
    let route = match roles::find(request.method(), &path) {
        Match::Found(route) => Some(route.path),
        _ => None,
    };
    let asked = Asked::of(&shared, request.headers());
    let response = match preflight(&shared, &request) {
        Some(Ok(())) => allowed(),
        Some(Err(problem)) => problem.response(&path),
        None => checked(&shared, routes, request).await,
    };
    let response = finished(response, &path, asked).await;
    shared.metrics.http.answered(route, response.status());
    Ok(response)
}

/// What of a request's headers says how it is answered.
struct Asked {
    gzip: bool,
    /// The allowed page of another origin that sent it.
    origin: Option<HeaderValue>,
}

impl Asked {
    fn of(shared: &Shared, headers: &HeaderMap) -> Asked {
        Asked {
            gzip: accepts_gzip(headers),
            origin: shared.gate.foreign_origin(headers),
        }
    }
}

/// Whether a page of another origin asks if it may send a request, and may.
fn preflight(shared: &Shared, request: &Request<Incoming>) -> Option<Result<(), Problem>> {
    let headers = request.headers();
    let asks = request.method() == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    let is_page = headers.contains_key(ORIGIN);
    (asks && is_page).then(|| shared.gate.check_preflight(request.uri(), headers))
}

/// The answer to a page that may.
fn allowed() -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(
        ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET, HEAD, POST"),
    );
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("authorization"));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    response
}

/// What the routes say, if the gate lets the request through.
async fn checked(shared: &Shared, routes: Routes, request: Request<Incoming>) -> Response {
    let checked = shared
        .gate
        .check(request.method(), request.uri(), request.headers(), &shared.handles);
    match checked {
        Ok(_) => routed(shared, routes, request).await,
        Err(problem) => problem.response(request.uri().path()),
    }
}

/// What the routes say, in time. A HEAD is answered as a GET; hyper leaves the body away.
async fn routed(shared: &Shared, routes: Routes, mut request: Request<Incoming>) -> Response {
    if request.method() == Method::HEAD {
        *request.method_mut() = Method::GET;
    }
    let path = request.uri().path().to_owned();
    match tokio::time::timeout(shared.request_timeout, routes(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(ProblemKind::TooSlow, "ask for less, or again later").response(&path),
    }
}

/// Writes the body or the problem that a route left, or that warp itself had, and adds the headers that all answers
/// have.
async fn finished(mut response: Response, path: &str, asked: Asked) -> Response {
    if let Some(body) = response.extensions_mut().remove::<Body>() {
        body.write(&mut response, asked.gzip).await;
    }
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        response = problem.response(path);
    } else if is_error && !is_problem(&response) {
        let kind = match status {
            StatusCode::NOT_FOUND => ProblemKind::UnknownPath,
            StatusCode::METHOD_NOT_ALLOWED => ProblemKind::WrongMethod,
            status if status.is_client_error() => ProblemKind::BadRequest,
            _ => ProblemKind::Internal,
        };
        response = Problem::new(kind, "GET /v1/ lists what there is").response(path);
    }
    let headers = response.headers_mut();
    if let Some(origin) = asked.origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        add_vary(headers, ORIGIN);
    }
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn is_problem(response: &Response) -> bool {
    let of = response.headers().get(warp::http::header::CONTENT_TYPE);
    of.is_some_and(|of| of == "application/problem+json")
}
