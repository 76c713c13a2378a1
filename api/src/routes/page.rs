//! `/` and `/page/…`: the page, whose files are in the binary. It is public; what it shows it asks for as anybody does.

use crate::body::{accepts_gzip, add_vary, gzip};
use crate::document::{Operation, Tag, schema};
use crate::problem::ProblemKind;
use flate2::Compression;
use std::sync::LazyLock;
use tidewatch_proto::ids::stable_hash;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderMap,
    HeaderValue, IF_NONE_MATCH, REFERRER_POLICY,
};
use warp::http::{Response as HttpResponse, StatusCode};
use warp::path;
use warp::reject::not_found;
use warp::reply::Response;

/// Nothing but what comes from here, no script or style in the text of the page, and no frame around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// One file.
struct File {
    name: &'static str,
    content_type: &'static str,
    bytes: &'static [u8],
    compressed: LazyLock<Vec<u8>, Compressing>,
    tag: LazyLock<HeaderValue, Tagging>,
}

type Compressing = Box<dyn FnOnce() -> Vec<u8> + Send>;
type Tagging = Box<dyn FnOnce() -> HeaderValue + Send>;

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// A file of the folder `page`, under its name.
macro_rules! file {
    ($path:literal, $content_type:ident) => {
        File::new($path, $content_type, include_bytes!(concat!("../../page/", $path)))
    };
}

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

const TEXT: &str = "text/plain; charset=utf-8";

impl File {
    fn new(path: &'static str, content_type: &'static str, bytes: &'static [u8]) -> File {
        let compress: Compressing = Box::new(move || gzip(bytes, Compression::best()));
        let tag: Tagging = Box::new(move || {
            let tag = format!("\"{:016x}\"", stable_hash(bytes));
            HeaderValue::from_str(&tag).expect("hexadecimal digits and quotes can stand in a header")
        });
        File {
            name: path.rsplit('/').next().unwrap_or(path),
            content_type,
            bytes,
            compressed: LazyLock::new(compress),
            tag: LazyLock::new(tag),
        }
    }

    fn answer(&self, headers: &HeaderMap) -> Response {
        let known = headers
            .get(IF_NONE_MATCH)
            .and_then(|known| known.to_str().ok())
            .unwrap_or("");
        let tag = self.tag.to_str().unwrap_or("");
        let is_known = known.split(',').any(|one| one.trim().trim_start_matches("W/") == tag);
        let gzips = accepts_gzip(headers);
        let body = match (is_known, gzips) {
            (true, _) => Vec::new(),
            (false, true) => self.compressed.clone(),
            (false, false) => self.bytes.to_vec(),
        };
        let mut response = HttpResponse::new(body.into());
        if is_known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(ETAG, self.tag.clone());
        add_vary(headers, ACCEPT_ENCODING);
        if gzips && !is_known {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }
}

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
            let found = FILES.iter().find(|file| file.name == name);
            found.map(|file| file.answer(&headers)).ok_or_else(not_found)
        })
        .boxed()
}
