//! `/v1/openapi.json`: the document of this API.

use crate::body::Body;
use crate::document::{Operation, Tag, document};
use serde_json::json;
use std::sync::LazyLock;
use utoipa::openapi::{Object, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::{Reply, Response};
use warp::{Filter, path};

/// The document as it is answered.
struct Document;

impl PartialSchema for Document {
    fn schema() -> RefOr<Schema> {
        Object::new().into()
    }
}

impl ToSchema for Document {}

/// What it is.
pub(crate) fn describe() -> Operation {
    Operation::new(
        Tag::Process,
        "This document",
        "OpenAPI 3.1, of the version that answers.",
    )
    .json::<Document>(StatusCode::OK, "The document", json!({"openapi": "3.1.0"}))
}

/// The route.
pub(super) fn route() -> BoxedFilter<(Response,)> {
    static DOCUMENT: LazyLock<Body> = LazyLock::new(|| Body::json(&document()));
    path!("v1" / "openapi.json")
        .map(|| DOCUMENT.clone().into_response())
        .boxed()
}
