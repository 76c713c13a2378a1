//! `/metrics`: what the process counts, as Prometheus reads it.
//!
//! Names begin with `tidewatch_`, units are seconds and bytes, counters end in `_total`. Every label has few values,
//! known beforehand: partitions, sinks, reasons, routes and statuses, never a device.

mod classic;
mod engine;
mod http;
mod kept;
mod page;

use crate::handles::Handles;
use page::Page;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::Arc;

pub(crate) use http::HttpStats;

/// What `/metrics` is served as: the text format that every tool reads, promtool too.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics, collected on each scrape.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    /// What is counted about requests.
    pub(crate) http: Arc<HttpStats>,
}

impl Metrics {
    /// Metrics of what the handles give, and of requests.
    pub(crate) fn new(handles: &Handles) -> Metrics {
        let http = Arc::new(HttpStats::default());
        let mut registry = Registry::with_prefix("tidewatch");
        registry.register_collector(Box::new(All {
            handles: handles.clone(),
            http: http.clone(),
        }));
        Metrics { registry, http }
    }

    /// The page as it stands now.
    pub(crate) fn render(&self) -> Result<String, fmt::Error> {
        let mut open_metrics = String::new();
        text::encode_registry(&mut open_metrics, &self.registry)?;
        Ok(classic::of(&open_metrics))
    }
}

struct All {
    handles: Handles,
    http: Arc<HttpStats>,
}

impl Collector for All {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        let build = &self.handles.build;
        let labels = [
            ("version", build.version.as_str()),
            ("revision", build.revision.as_str()),
        ];
        page.gauges("build_info", "The build that runs; always 1", [(labels, 1)])?;
        let ready = self.handles.readiness.not_ready().is_empty();
        page.gauge("ready", "1 when the process can do its work", i64::from(ready))?;
        engine::intake(&mut page, &self.handles.stats)?;
        engine::state(&mut page, &self.handles.stats)?;
        engine::partitions(&mut page, &self.handles.stats, &self.handles.partition_names)?;
        engine::sinks(&mut page, &self.handles.sinks)?;
        kept::encode(&mut page, &(self.handles.kept)(), &self.handles.partition_names)?;
        let subscribers = i64::try_from(self.handles.tap.hub.subscribers()).unwrap_or(i64::MAX);
        page.gauge("live_subscribers", "WebSockets on which rows are pushed", subscribers)?;
        http::encode(&mut page, &self.http)
    }
}

impl fmt::Debug for All {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("All").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
