//! Files that are in the binary, compressed as `build.rs` leaves them: of the page, and of the API's documentation.

use crate::body::{accepts_gzip, add_vary};
use flate2::read::GzDecoder;
use std::io::Read;
use std::sync::LazyLock;
use tidewatch_proto::ids::stable_hash;
use warp::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderMap,
    HeaderValue, IF_NONE_MATCH, REFERRER_POLICY,
};
use warp::http::{Response as HttpResponse, StatusCode};
use warp::reply::Response;

/// Nothing but what comes from here, no script or style in the text of a page, and no frame around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

pub(super) const HTML: &str = "text/html; charset=utf-8";
pub(super) const SCRIPT: &str = "text/javascript; charset=utf-8";
pub(super) const STYLE: &str = "text/css; charset=utf-8";
pub(super) const TEXT: &str = "text/plain; charset=utf-8";

/// A file of the folder `page`, under its name.
macro_rules! file {
    ($path:literal, $content_type:ident) => {
        crate::routes::files::File::new(
            $path,
            $content_type,
            include_bytes!(concat!(env!("OUT_DIR"), "/page/", $path)),
        )
    };
}
pub(super) use file;

/// One file.
pub(super) struct File {
    name: &'static str,
    content_type: &'static str,
    compressed: &'static [u8],
    /// For those who don't take it compressed.
    plain: LazyLock<Vec<u8>, Making<Vec<u8>>>,
    tag: LazyLock<HeaderValue, Making<HeaderValue>>,
}

type Making<T> = Box<dyn FnOnce() -> T + Send>;

impl File {
    pub(super) fn new(path: &'static str, content_type: &'static str, compressed: &'static [u8]) -> File {
        let unpack: Making<Vec<u8>> = Box::new(move || {
            let mut plain = Vec::new();
            let unpacked = GzDecoder::new(compressed).read_to_end(&mut plain);
            unpacked.expect("the build has compressed it");
            plain
        });
        let tag: Making<HeaderValue> = Box::new(move || {
            let tag = format!("\"{:016x}\"", stable_hash(compressed));
            HeaderValue::from_str(&tag).expect("hexadecimal digits and quotes can stand in a header")
        });
        File {
            name: path.rsplit('/').next().unwrap_or(path),
            content_type,
            compressed,
            plain: LazyLock::new(unpack),
            tag: LazyLock::new(tag),
        }
    }

    /// The file of a name.
    pub(super) fn find<'a>(files: &'a [File], name: &str) -> Option<&'a File> {
        files.iter().find(|file| file.name == name)
    }

    /// The file, unless the client has it.
    pub(super) fn answer(&self, headers: &HeaderMap) -> Response {
        let known = headers
            .get(IF_NONE_MATCH)
            .and_then(|known| known.to_str().ok())
            .unwrap_or("");
        let tag = self.tag.to_str().unwrap_or("");
        let is_known = known.split(',').any(|one| one.trim().trim_start_matches("W/") == tag);
        let gzips = accepts_gzip(headers);
        let body = match (is_known, gzips) {
            (true, _) => &[],
            (false, true) => self.compressed,
            (false, false) => self.plain.as_slice(),
        };
        let mut response = HttpResponse::new(body.to_vec().into());
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
