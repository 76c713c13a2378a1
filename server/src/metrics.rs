//! The file of metrics: what people should know about each.

use crate::table::{TableFile, lines};
use std::collections::BTreeMap;
use std::path::Path;
use tidewatch_proto::ids::Name;
use tidewatch_proto::metric::Metadata;

/// The columns of the file.
const COLUMNS: [&str; 6] = ["metric", "name", "unit", "min", "max", "description"];

/// What is known of metrics, by their names.
pub type Metrics = BTreeMap<Name, Metadata>;

/// A file of metrics, read again when it changes.
#[derive(Debug)]
pub struct MetricsFile(TableFile);

impl MetricsFile {
    /// A file that was not read yet.
    pub fn new(path: &Path) -> MetricsFile {
        MetricsFile(TableFile::new(path))
    }

    /// Reads the file if it has changed.
    ///
    /// # Errors
    /// What can't be read, or which line can't be used.
    pub fn read(&mut self) -> Result<Option<Metrics>, String> {
        self.0.read(parse)
    }
}

/// Reads `metric,name,unit,min,max,description`; all but the first may be empty.
fn parse(text: &[u8]) -> Result<Metrics, String> {
    let mut metrics = Metrics::new();
    for (at, [metric, name, unit, min, max, description]) in lines(text, COLUMNS)? {
        if metric.is_empty() {
            return Err(format!("line {at} lacks a metric"));
        }
        let bound = |what: &str, text: &str| match text.parse::<f64>() {
            _ if text.is_empty() => Ok(None),
            Ok(bound) if bound.is_finite() => Ok(Some(bound)),
            _ => Err(format!("line {at}: {what} \"{text}\" is no number")),
        };
        let (min, max) = (bound("min", &min)?, bound("max", &max)?);
        if let (Some(min), Some(max)) = (min, max)
            && min >= max
        {
            return Err(format!("line {at}: min {min} is not below max {max}"));
        }
        let known = |text: String| (!text.is_empty()).then(|| Name::from(text));
        let metadata = Metadata {
            name: known(name),
            unit: known(unit),
            min,
            max,
            description: known(description),
        };
        if metrics.insert(Name::from(metric.as_str()), metadata).is_some() {
            return Err(format!("line {at}: {metric} is there twice"));
        }
    }
    Ok(metrics)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "metric,name,unit,min,max,description\n";

    #[test]
    fn a_line_may_say_little_or_much() {
        let text = format!("{HEAD}rpm,,,,,\noil,\"Oil, hot\",°C,-40,120.5,In the sump\n");
        let metrics = parse(text.as_bytes()).expect("good");
        assert_eq!(metrics["rpm"], Metadata::default());
        let oil = Metadata {
            name: Some("Oil, hot".into()),
            unit: Some("°C".into()),
            min: Some(-40.0),
            max: Some(120.5),
            description: Some("In the sump".into()),
        };
        assert_eq!(metrics["oil"], oil);
    }

    #[test]
    fn a_bad_line_is_named() {
        for (lines, want) in [
            ("a,b\n", "line 2 has 2 fields, not the 6"),
            (",,,,,\n", "line 2 lacks a metric"),
            ("a,,,low,,\n", "line 2: min \"low\" is no number"),
            ("a,,,,inf,\n", "line 2: max \"inf\" is no number"),
            ("a,,,5,5,\n", "line 2: min 5 is not below max 5"),
            ("a,,,,,\n# again\na,,,,,\n", "line 4: a is there twice"),
        ] {
            let error = parse(format!("{HEAD}{lines}").as_bytes()).expect_err(lines);
            assert!(error.starts_with(want), "{error}");
        }
        let error = parse(b"metric,unit\n").expect_err("another head");
        assert!(error.starts_with("line 1 must be \"metric,name,"), "{error}");
    }

    #[test]
    fn a_change_is_seen() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let mut metrics = MetricsFile::new(file.path());
        std::fs::write(file.path(), format!("{HEAD}a,,m,,,\n")).expect("written");
        assert_eq!(metrics.read().expect("good").expect("new").len(), 1);
        assert_eq!(metrics.read(), Ok(None));
        std::fs::write(file.path(), format!("{HEAD}a,,m,,,\nb,,m,,,\n")).expect("written");
        assert_eq!(metrics.read().expect("good").expect("new").len(), 2);
        std::fs::write(file.path(), "").expect("written");
        assert!(metrics.read().is_err_and(|problem| problem.contains("line 1 must be")));
    }
}
