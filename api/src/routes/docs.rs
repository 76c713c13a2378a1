//! `/docs/`: Swagger UI over this API's document. It is public, as the page is.

use super::files::{File, HTML, SCRIPT, STYLE, TEXT, file};
use crate::document::{Operation, Tag, schema};
use crate::problem::ProblemKind;
use std::sync::LazyLock;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::http::header::HeaderMap;
use warp::path;
use warp::reject::not_found;
use warp::reply::Response;

static FILES: LazyLock<Vec<File>> = LazyLock::new(|| {
    vec![
        file!("docs/docs.html", HTML),
        file!("docs/docs.css", STYLE),
        file!("docs/docs.js", SCRIPT),
        file!("vendor/swagger-ui/swagger-ui-bundle.js", SCRIPT),
        file!("vendor/swagger-ui/swagger-ui.css", STYLE),
        file!("vendor/swagger-ui/LICENSE", TEXT),
        file!("vendor/swagger-ui/NOTICE", TEXT),
        file!("vendor/swagger-ui/swagger-ui-bundle.js.LICENSE.txt", TEXT),
    ]
});

/// What `/docs/` is.
pub(crate) fn describe_page() -> Operation {
    Operation::new(
        Tag::Page,
        "This document for a person",
        "Swagger UI, which can also ask.",
    )
    .content(StatusCode::OK, "The page", HTML)
}

/// What `/docs/{file}` is.
pub(crate) fn describe_file() -> Operation {
    Operation::new(
        Tag::Page,
        "A file of the documentation",
        "Scripts, styles and licences.",
    )
    .segment("file", "The file's name.", "docs.js".into(), schema::name())
    .content(StatusCode::OK, "The file", "*/*")
    .problems(&[ProblemKind::UnknownPath])
}

/// The routes.
pub(super) fn route() -> BoxedFilter<(Response,)> {
    let root = path!("docs").map(|| "docs.html".to_owned());
    let file = path!("docs" / String);
    root.or(file)
        .unify()
        .and(warp::header::headers_cloned())
        .and_then(|name: String, headers: HeaderMap| async move {
            let found = File::find(&FILES, &name);
            found.map(|file| file.answer(&headers)).ok_or_else(not_found)
        })
        .boxed()
}
