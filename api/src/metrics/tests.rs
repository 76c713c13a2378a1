//! The page's shape: what `promtool check metrics` would say, without it.

use super::Metrics;
use crate::handles::Handles;
use crate::kept::{ArchiveCounts, Kept, LogCounts, StoreCounts, Writing};
use crate::sink_stats::SinkStats;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tidewatch_dataflow::stats::Stats;
use tidewatch_proto::reject::Reason;
use warp::http::StatusCode;

fn page(partitions: usize, sinks: &[&str]) -> String {
    let stats = Stats::new(partitions);
    stats.messages.add(7);
    stats.epoch_lag.set(3);
    stats.dead_letters(Reason::Future).add(2);
    if let Some(first) = stats.partitions.first() {
        first.watermark_ms.set(1_700_000_000_500);
        first.lag_records.set(-4);
    }
    let sinks: Vec<_> = sinks.iter().map(|name| Arc::new(SinkStats::new(*name))).collect();
    for sink in &sinks {
        sink.delivered(5, Duration::from_millis(30));
        sink.retried();
    }
    let handles = Handles {
        stats: Arc::new(stats),
        partition_names: vec!["raw.events/0".to_owned(), "a\"b\\c\n".to_owned()],
        sinks,
        kept: Arc::new(|| Kept {
            now_ms: 1_700_000_012_000,
            archive: Some(ArchiveCounts {
                objects: 3,
                partitions: vec![(0, Some(17), 2), (1, None, 0)],
                ..ArchiveCounts::default()
            }),
            log: Some(LogCounts {
                writing: Writing {
                    failing_since_ms: Some(1_700_000_000_000),
                    ..Writing::default()
                },
                by_room: (5, 600),
                ..LogCounts::default()
            }),
            store: Some(StoreCounts {
                bytes: 9,
                evicted: vec![("dead_letters", 2)],
            }),
        }),
        ..Handles::of_nothing()
    };
    let metrics = Metrics::new(&handles);
    metrics.http.answered(Some("/healthz"), StatusCode::OK);
    metrics.http.answered(None, StatusCode::NOT_FOUND);
    metrics.render().expect("it is only text")
}

/// The family that a sample belongs to: histograms have three kinds of samples.
fn family<'a>(sample: &'a str, types: &BTreeMap<&str, &str>) -> &'a str {
    for suffix in ["_bucket", "_sum", "_count"] {
        if let Some(name) = sample
            .strip_suffix(suffix)
            .filter(|name| types.get(name) == Some(&"histogram"))
        {
            return name;
        }
    }
    sample
}

fn check_shape(page: &str) {
    let (mut helps, mut types, mut samples) = (BTreeSet::new(), BTreeMap::new(), BTreeSet::new());
    for line in page.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, text) = help.split_once(' ').expect("help has text");
            assert!(helps.insert(name) && text.len() > 8, "{line}");
        } else if let Some(of) = line.strip_prefix("# TYPE ") {
            let (name, of) = of.split_once(' ').expect("a type");
            assert!(types.insert(name, of).is_none() && helps.contains(name), "{line}");
            assert_eq!(of == "counter", name.ends_with("_total"), "{line}");
            assert!(["counter", "gauge", "histogram"].contains(&of), "{line}");
            assert!(
                !["_ms", "_millis", "_kb", "_mb"].iter().any(|unit| name.contains(unit)),
                "{line}"
            );
        } else {
            let (series, value) = line.rsplit_once(' ').expect("a sample");
            assert!(samples.insert(series), "twice: {line}");
            assert!(value.parse::<f64>().is_ok(), "{line}");
            let name = family(series.split('{').next().expect("a name"), &types);
            assert!(types.contains_key(name) && name.starts_with("tidewatch_"), "{line}");
            assert!(
                name.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase()),
                "{line}"
            );
        }
    }
    let used: BTreeSet<&str> = samples
        .iter()
        .map(|series| family(series.split('{').next().expect("a name"), &types))
        .collect();
    assert_eq!(used, types.keys().copied().collect(), "every family has a sample");
}

#[test]
fn the_page_is_well_formed() {
    check_shape(&page(2, &["timescale", "kafka"]));
    check_shape(&page(0, &[]));
}

#[test]
fn the_page_says_what_was_counted() {
    let page = page(3, &["timescale"]);
    for line in [
        "tidewatch_build_info{version=\"0.1.0\",revision=\"\"} 1",
        "tidewatch_ready 1",
        "tidewatch_messages_total 7",
        "tidewatch_epoch_lag_seconds 0.3",
        "tidewatch_dead_letters_total{reason=\"future\"} 2",
        "tidewatch_rows_total{status=\"corrected\"} 0",
        "tidewatch_panes{state=\"open\"} 0",
        "tidewatch_partition_lag_records{partition=\"raw.events/0\"} 0",
        "tidewatch_partition_watermark_timestamp_seconds{partition=\"raw.events/0\"} 1700000000.5",
        "tidewatch_partition_next_offset{partition=\"a\\\"b\\\\c\\n\"} 0",
        "tidewatch_partition_idle{partition=\"2\"} 0",
        "tidewatch_sink_deliveries_total{sink=\"timescale\"} 1",
        "tidewatch_sink_items_total{sink=\"timescale\"} 5",
        "tidewatch_sink_retries_total{sink=\"timescale\"} 1",
        "tidewatch_sink_delivery_latency_seconds_count{sink=\"timescale\"} 1",
        "tidewatch_archive_objects_total 3",
        "tidewatch_archive_failing_seconds 0.0",
        "tidewatch_log_failing_seconds 12.0",
        "tidewatch_log_removed_records_total{reason=\"room\"} 5",
        "tidewatch_log_removed_bytes_total{reason=\"room\"} 600",
        "tidewatch_embedded_evictions_total{what=\"dead_letters\"} 2",
        "tidewatch_http_requests_total{route=\"/healthz\",status=\"200\"} 1",
        "tidewatch_http_requests_total{route=\"unmatched\",status=\"404\"} 1",
    ] {
        assert!(page.lines().any(|other| other == line), "{line} is not in\n{page}");
    }
    assert_eq!(
        page.matches("tidewatch_partition_watermark_timestamp_seconds{").count(),
        1
    );
    for reason in Reason::ALL {
        assert!(
            page.contains(&format!("reason=\"{}\"", reason.as_str())),
            "{reason:?} is always there"
        );
    }
}

/// Runs only where the variable `PROMTOOL` names the tool, as in `PROMTOOL=promtool cargo test -p tidewatch-api`.
#[test]
fn promtool_agrees() {
    let Some(promtool) = std::env::var_os("PROMTOOL") else {
        return;
    };
    for page in [page(2, &["timescale", "kafka"]), page(0, &[])] {
        let mut tool = Command::new(&promtool)
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("promtool runs");
        tool.stdin
            .take()
            .expect("piped")
            .write_all(page.as_bytes())
            .expect("it reads");
        let said = tool.wait_with_output().expect("it ends");
        assert!(
            said.status.success() && said.stderr.is_empty(),
            "{}",
            String::from_utf8_lossy(&said.stderr)
        );
    }
}
