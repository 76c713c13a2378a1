//! From OpenMetrics, which the library writes, to the classic text format.
//!
//! They differ, for what is used here, in the name that HELP and TYPE give to a counter: without `_total` in
//! OpenMetrics, with it in the classic format, where tools take a counter without it for two broken metrics.

/// The same metrics in the classic format.
pub(super) fn of(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len() + 1024);
    let mut help = None;
    for line in open_metrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            let total = if kind == "counter" { "_total" } else { "" };
            if let Some((_, help)) = help.take() {
                text.push_str(&format!("# HELP {name}{total} {help}\n"));
            }
            text.push_str(&format!("# TYPE {name}{total} {kind}\n"));
        } else if !line.starts_with('#') {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn counters_are_named_whole_and_gauges_left_alone() {
        let open = "# HELP a_b Counts.\n# TYPE a_b counter\na_b_total 1\n\
                    # HELP c_seconds Waits.\n# TYPE c_seconds gauge\n# UNIT c_seconds seconds\nc_seconds{x=\"#\"} 2.5\n# EOF\n";
        let classic = "# HELP a_b_total Counts.\n# TYPE a_b_total counter\na_b_total 1\n\
                       # HELP c_seconds Waits.\n# TYPE c_seconds gauge\nc_seconds{x=\"#\"} 2.5\n";
        assert_eq!(super::of(open), classic);
    }
}
