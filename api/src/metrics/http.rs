//! What is counted about requests and connections.

use super::page::Page;
use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use std::fmt;
use warp::http::StatusCode;

/// The label `route` of requests that match no row of the table.
const UNMATCHED: &str = "unmatched";

/// Counters of the API itself.
#[derive(Debug, Default)]
pub(crate) struct HttpStats {
    requests: Family<Labels, Counter>,
    /// Connections that are open.
    pub(crate) connections: Gauge,
    /// Connections that were turned away at the cap.
    pub(crate) refused: Counter,
    /// Connections that ended before they were encrypted.
    pub(crate) handshakes_failed: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    route: &'static str,
    status: u16,
}

impl HttpStats {
    /// Counts a request by the route it matched, if any, and the status it got.
    pub(crate) fn answered(&self, route: Option<&'static str>, status: StatusCode) {
        let labels = Labels {
            route: route.unwrap_or(UNMATCHED),
            status: status.as_u16(),
        };
        self.requests.get_or_create(&labels).inc();
    }
}

/// Writes them.
pub(super) fn encode(page: &mut Page<'_>, http: &HttpStats) -> fmt::Result {
    page.gauge(
        "http_connections",
        "Connections to the API that are open",
        http.connections.get(),
    )?;
    let help = "Connections to the API turned away because too many were open";
    page.counter("http_connections_refused", help, http.refused.get())?;
    let help = "Connections to the API that ended before they were encrypted, where TLS is on";
    page.counter("http_tls_handshakes_failed", help, http.handshakes_failed.get())?;
    let help = "Requests answered, by route and status";
    http.requests.encode(
        page.0
            .encode_descriptor("http_requests", help, None, MetricType::Counter)?,
    )
}
