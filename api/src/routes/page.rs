//! `/` and `/page/…`: the page. It is public; what it shows it asks for as anybody does.

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
        file!("index.html", HTML),
        file!("style.css", STYLE),
        file!("theme.js", SCRIPT),
        file!("app.js", SCRIPT),
        file!("api.js", SCRIPT),
        file!("live.js", SCRIPT),
        file!("format.js", SCRIPT),
        file!("dom.js", SCRIPT),
        file!("chart.js", SCRIPT),
        file!("fleet.js", SCRIPT),
        file!("devices.js", SCRIPT),
        file!("series.js", SCRIPT),
        file!("marks.js", SCRIPT),
        file!("anomaly.js", SCRIPT),
        file!("anomalies.js", SCRIPT),
        file!("letters.js", SCRIPT),
        file!("engine.js", SCRIPT),
        file!("metrics.js", SCRIPT),
        file!("diagram.js", SCRIPT),
        file!("vendor/uplot/uPlot.iife.min.js", SCRIPT),
        file!("vendor/uplot/uPlot.min.css", STYLE),
        file!("vendor/uplot/LICENSE", TEXT),
    ]
});

/// What `/` is.
pub(crate) fn describe_page() -> Operation {
    Operation::new(Tag::Page, "The page", "What it shows it asks for as anybody does.").content(
        StatusCode::OK,
        "The page",
        HTML,
    )
}

/// What `/page/{file}` is.
pub(crate) fn describe_file() -> Operation {
    Operation::new(Tag::Page, "A file of the page", "Scripts and styles.")
        .segment("file", "The file's name.", "app.js".into(), schema::name())
        .content(StatusCode::OK, "The file", "*/*")
        .problems(&[ProblemKind::UnknownPath])
}

/// The routes.
pub(super) fn route() -> BoxedFilter<(Response,)> {
    let root = path::end().map(|| "index.html".to_owned());
    let file = path!("page" / String);
    root.or(file)
        .unify()
        .and(warp::header::headers_cloned())
        .and_then(|name: String, headers: HeaderMap| async move {
            let found = File::find(&FILES, &name);
            found.map(|file| file.answer(&headers)).ok_or_else(not_found)
        })
        .boxed()
}
