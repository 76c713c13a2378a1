//! Bodies: a route leaves one as a note, and `answer`, which knows what the client takes, writes it.

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;
use std::io::Write;
use warp::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, VARY};
use warp::reply::{Reply, Response};

/// Bodies that are smaller aren't compressed: it wouldn't save a packet.
const BYTES_MIN: usize = 1_024;
/// Larger ones are compressed on a thread that may take its time.
const BYTES_ASIDE: usize = 32 * 1_024;

/// A body that isn't written yet.
#[derive(Clone, Debug)]
pub(crate) struct Body {
    bytes: Vec<u8>,
    content_type: &'static str,
}

impl Body {
    /// A text of a type.
    pub(crate) fn new(bytes: Vec<u8>, content_type: &'static str) -> Body {
        Body { bytes, content_type }
    }

    /// A value as JSON.
    pub(crate) fn json(value: &impl Serialize) -> Body {
        let bytes = serde_json::to_vec(value).expect("what we answer has names as keys, and its numbers have a form");
        Body::new(bytes, "application/json")
    }

    /// Writes it into the response.
    pub(crate) async fn write(self, response: &mut Response, accepts_gzip: bool) {
        let Body { bytes, content_type } = self;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        add_vary(headers, ACCEPT_ENCODING);
        let gzips = accepts_gzip && bytes.len() >= BYTES_MIN;
        if gzips {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        let bytes = match gzips {
            false => bytes,
            true if bytes.len() < BYTES_ASIDE => gzip(&bytes),
            true => {
                let compressing = tokio::task::spawn_blocking(move || gzip(&bytes));
                compressing
                    .await
                    .expect("compressing does not panic, and is not cancelled")
            }
        };
        *response.body_mut() = bytes.into();
    }
}

/// Leaves a note for `answer`.
impl Reply for Body {
    fn into_response(self) -> Response {
        let mut response = Response::default();
        response.extensions_mut().insert(self);
        response
    }
}

/// The bytes, compressed.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 3), Compression::fast());
    let written = encoder.write_all(bytes).and_then(|()| encoder.finish());
    written.expect("a vector takes everything")
}

/// Whether the client takes gzip: the header names it, or anything, and not with a quality of 0.
pub(crate) fn accepts_gzip(headers: &HeaderMap) -> bool {
    let lines = headers
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|line| line.to_str().ok());
    let mut any = false;
    for entry in lines.flat_map(|line| line.split(',')) {
        let (name, parameters) = entry.split_once(';').unwrap_or((entry, ""));
        let quality = parameters.trim().strip_prefix("q=").unwrap_or("1");
        let is_taken = quality.trim().parse::<f32>().is_ok_and(|quality| quality > 0.0);
        match name.trim() {
            name if name.eq_ignore_ascii_case("gzip") => return is_taken,
            "*" => any = is_taken,
            _ => {}
        }
    }
    any
}

/// Says that the answer depends on a header of the request.
pub(crate) fn add_vary(headers: &mut HeaderMap, name: HeaderName) {
    headers.append(VARY, name.into());
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[tokio::test]
    async fn what_is_compressed_comes_back() {
        for (size, compressed) in [(BYTES_MIN - 1, false), (BYTES_MIN, true), (BYTES_ASIDE + 1, true)] {
            let bytes: Vec<u8> = (0..size).map(|at| at as u8).collect();
            let mut response = Response::default();
            Body::new(bytes.clone(), "text/plain").write(&mut response, true).await;
            let encoding = response.headers().get(CONTENT_ENCODING);
            assert_eq!(
                encoding.is_some_and(|encoding| encoding == "gzip"),
                compressed,
                "{size}"
            );
            let packed = gzip(&bytes);
            let mut unpacked = Vec::new();
            flate2::read::GzDecoder::new(&packed[..])
                .read_to_end(&mut unpacked)
                .expect("gzip");
            assert_eq!(unpacked, bytes);
        }
    }

    #[test]
    fn gzip_is_taken_when_it_is_named() {
        for (header, expected) in [
            (None, false),
            (Some("gzip"), true),
            (Some("br, GZIP;q=0.5"), true),
            (Some("gzip;q=0, *"), false),
            (Some("*"), true),
            (Some("*;q=0"), false),
            (Some("identity"), false),
            (Some("gzip; q=0.0"), false),
            (Some(""), false),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(value) = header {
                headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(value));
            }
            assert_eq!(accepts_gzip(&headers), expected, "{header:?}");
        }
    }
}
