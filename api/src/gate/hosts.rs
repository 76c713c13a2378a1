//! Which hosts a request may name and which pages may send one: against DNS rebinding and foreign pages.

use crate::problem::{Problem, ProblemKind};
use std::net::{IpAddr, SocketAddr};
use warp::http::header::{HOST, HeaderMap, HeaderValue, ORIGIN};
use warp::http::{Uri, uri::Authority};

/// The hosts and origins that are known.
#[derive(Debug)]
pub(crate) struct Hosts {
    address: SocketAddr,
    is_encrypted: bool,
    public: Vec<String>,
    origins: Vec<String>,
}

/// How a request's host is known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    /// By the address that is listened on, so plain HTTP.
    Plain,
    /// By that address, or by configuration, or not checked, over TLS.
    Encrypted,
    /// By configuration, or not checked: a proxy with TLS may stand before it.
    Public,
}

impl Hosts {
    /// `address` is listened on; names and origins are in lower case.
    pub(crate) fn new(address: SocketAddr, is_encrypted: bool, public: Vec<String>, origins: Vec<String>) -> Hosts {
        Hosts {
            address,
            is_encrypted,
            public,
            origins,
        }
    }

    /// Refuses a request for a host that isn't known, and one that a foreign page sent.
    pub(crate) fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        let host = host(uri, headers)?;
        let known = self.known(&host).ok_or_else(|| {
            let detail = format!("{host} is not a name of this server; if it should be, add it to `api.public_hosts`");
            Problem::new(ProblemKind::ForeignHost, detail)
        })?;
        let mut sent = headers.get_all(ORIGIN).iter();
        let Some(origin) = sent.next() else { return Ok(()) };
        let origin = origin.to_str().unwrap_or("").to_ascii_lowercase();
        if sent.next().is_none() && (self.origins.contains(&origin) || is_own(&origin, &host, known)) {
            return Ok(());
        }
        let detail = "if pages of this origin may send requests, add it to `api.allowed_origins`";
        Err(Problem::new(ProblemKind::ForeignOrigin, detail))
    }

    /// The origin of a page that may read the answer, when it is one of those that are allowed beside our own.
    pub(crate) fn foreign_origin(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(ORIGIN)?;
        let text = origin.to_str().ok()?.to_ascii_lowercase();
        self.origins.contains(&text).then(|| origin.clone())
    }

    fn known(&self, host: &Authority) -> Option<Known> {
        let known = self.known_in_plain(host)?;
        Some(if self.is_encrypted { Known::Encrypted } else { known })
    }

    fn known_in_plain(&self, host: &Authority) -> Option<Known> {
        let name = host.host();
        if self
            .public
            .iter()
            .any(|public| public == name || public == host.as_str())
        {
            return Some(Known::Public);
        }
        if self.address.ip().is_loopback() {
            let local = matches!(name, "localhost" | "127.0.0.1" | "[::1]");
            let default_port = if self.is_encrypted { 443 } else { 80 };
            return (local && host.port_u16().unwrap_or(default_port) == self.address.port()).then_some(Known::Plain);
        }
        // An address can't be rebound as a name can; without a list of names, tokens are what protects.
        let is_address = name
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse::<IpAddr>()
            .is_ok();
        (self.public.is_empty() || is_address).then_some(Known::Public)
    }
}

/// The host that the request names, in lower case: one, and the same everywhere it does.
fn host(uri: &Uri, headers: &HeaderMap) -> Result<Authority, Problem> {
    let bad = |detail: &str| Problem::new(ProblemKind::BadRequest, detail);
    let mut sent = headers.get_all(HOST).iter();
    let (Some(header), None) = (sent.next(), sent.next()) else {
        return Err(bad("send one header `Host`"));
    };
    let text = header.to_str().unwrap_or("").to_ascii_lowercase();
    let host: Authority = text.parse().map_err(|_| bad("the header `Host` is not a host"))?;
    if text.contains('@') {
        return Err(bad("the header `Host` is not a host"));
    }
    match uri.authority() {
        Some(authority) if *authority != host => Err(bad("the header `Host` is not the host of the request's target")),
        _ => Ok(host),
    }
}

/// Whether an origin is the host's own.
fn is_own(origin: &str, host: &Authority, known: Known) -> bool {
    let (of_origin, default_port) = match (origin.strip_prefix("http://"), origin.strip_prefix("https://")) {
        (Some(of_origin), _) if known != Known::Encrypted => (of_origin, ":80"),
        (_, Some(of_origin)) if known != Known::Plain => (of_origin, ":443"),
        _ => return false,
    };
    let host = host.as_str();
    of_origin.strip_suffix(default_port).unwrap_or(of_origin) == host.strip_suffix(default_port).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(address: &str, public: &[&str], host: &[&str], origin: &[&str]) -> u16 {
        let public = public.iter().map(|name| name.to_string()).collect();
        let hosts = Hosts::new(
            address.parse().expect("an address"),
            false,
            public,
            vec!["https://dash.example".to_owned()],
        );
        let mut headers = HeaderMap::new();
        for value in host {
            headers.append(HOST, HeaderValue::from_str(value).expect("a value"));
        }
        for value in origin {
            headers.append(ORIGIN, HeaderValue::from_str(value).expect("a value"));
        }
        match hosts.check(&Uri::from_static("/v1/"), &headers) {
            Ok(()) => 200,
            Err(problem) => problem.kind.status().as_u16(),
        }
    }

    #[test]
    fn hosts() {
        const LOCAL: &str = "127.0.0.1:8080";
        const ANY: &str = "0.0.0.0:8080";
        for (address, public, host, expected) in [
            (LOCAL, &[][..], &["localhost:8080"][..], 200),
            (LOCAL, &[], &["LOCALHOST:8080"], 200),
            (LOCAL, &[], &["127.0.0.1:8080"], 200),
            (LOCAL, &[], &["[::1]:8080"], 200),
            (LOCAL, &[], &["localhost"], 421),
            ("127.0.0.1:80", &[], &["localhost"], 200),
            (LOCAL, &[], &["localhost:8081"], 421),
            (LOCAL, &[], &["localhost.evil.example:8080"], 421),
            (LOCAL, &[], &["evil.example:8080"], 421),
            (LOCAL, &[], &["10.0.0.1:8080"], 421),
            (LOCAL, &[], &["localhost:8080@evil.example"], 400),
            (LOCAL, &[], &["evil@localhost:8080"], 400),
            (LOCAL, &[], &[""], 400),
            (LOCAL, &[], &[], 400),
            (LOCAL, &[], &["localhost:8080", "localhost:8080"], 400),
            (LOCAL, &["tw.example"], &["tw.example:444"], 200),
            (LOCAL, &["tw.example:444"], &["tw.example:444"], 200),
            (LOCAL, &["tw.example:444"], &["tw.example"], 421),
            (LOCAL, &["tw.example"], &["localhost:8080"], 200),
            (ANY, &[], &["whatever.example"], 200),
            (ANY, &["tw.example"], &["whatever.example"], 421),
            (ANY, &["tw.example"], &["10.1.2.3:8080"], 200),
            (ANY, &["tw.example"], &["[fd00::1]:8080"], 200),
        ] {
            assert_eq!(
                status(address, public, host, &[]),
                expected,
                "{address} {public:?} {host:?}"
            );
        }
    }

    #[test]
    fn origins() {
        for (host, origin, expected) in [
            ("localhost:8080", &["http://localhost:8080"][..], 200),
            ("localhost:8080", &["https://dash.example"], 200),
            ("localhost:8080", &["HTTPS://DASH.EXAMPLE"], 200),
            ("localhost:8080", &["https://localhost:8080"], 403),
            ("localhost:8080", &["http://127.0.0.1:8080"], 403),
            ("localhost:8080", &["http://localhost:3000"], 403),
            ("localhost:8080", &["http://localhost"], 403),
            ("localhost:8080", &["null"], 403),
            ("localhost:8080", &[""], 403),
            ("localhost:8080", &["https://dash.example", "https://dash.example"], 403),
            ("tw.example", &["https://tw.example"], 200),
            ("tw.example", &["https://tw.example:443"], 200),
            ("tw.example:80", &["http://tw.example"], 200),
            ("tw.example", &["https://evil.example"], 403),
        ] {
            assert_eq!(
                status("127.0.0.1:8080", &["tw.example"], &[host], origin),
                expected,
                "{host} {origin:?}"
            );
        }
    }

    #[test]
    fn the_target_and_the_header_name_one_host() {
        let hosts = Hosts::new(
            "127.0.0.1:8080".parse().expect("an address"),
            false,
            Vec::new(),
            Vec::new(),
        );
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("localhost:8080"));
        assert!(
            hosts
                .check(&Uri::from_static("http://localhost:8080/"), &headers)
                .is_ok()
        );
        assert!(
            hosts
                .check(&Uri::from_static("http://evil.example/"), &headers)
                .is_err()
        );
    }
}
