//! The rules file: which anomalies are looked for.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use tidewatch_proto::anomaly::{DeadMan, Detector, Field, Rule, Severity, Threshold};
use tidewatch_proto::time::PANE_MS;
use tidewatch_settings::Span;

/// Rules at most.
const RULES_MAX: usize = 1_000;
/// Bytes of a rule's name at most.
const NAME_BYTES_MAX: usize = 128;
/// Minutes in a row, or without a reading, at most: a week.
const MINUTES_MAX: i64 = 7 * 24 * 60;
/// After how long a silent device is one, where no file says it.
const SILENCE_MINUTES: i32 = 15;

/// A rule as it is written: `[name]`, and its keys below.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    detector: Kind,
    #[serde(default)]
    severity: Severity,
    metric: Option<String>,
    of: Option<Field>,
    above: Option<f64>,
    below: Option<f64>,
    hysteresis: Option<f64>,
    #[serde(rename = "for")]
    lasting: Option<Span>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Threshold,
    DeadMan,
}

/// What is looked for when no file says it: devices that are silent, and the simulated fleet's heat when it sends.
pub fn defaults(has_fleet: bool) -> Vec<Rule> {
    let silent = Rule {
        name: "silent".into(),
        severity: Severity::Warning,
        detector: Detector::DeadMan(DeadMan {
            minutes: SILENCE_MINUTES,
        }),
    };
    let hot = Rule {
        name: "temperature-high".into(),
        severity: Severity::Critical,
        detector: Detector::Threshold(Threshold {
            metric: "temperature".into(),
            of: Field::Mean,
            above: Some(38.0),
            below: None,
            hysteresis: 1.0,
            windows: 1,
        }),
    };
    [silent].into_iter().chain(has_fleet.then_some(hot)).collect()
}

/// The rules of a file.
///
/// # Errors
/// What can't be read, or which rule can't be used.
pub fn read(path: &Path) -> Result<Vec<Rule>, String> {
    let at = |problem: String| format!("{}: {problem}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| at(format!("can't be read: {error}")))?;
    parse(&text).map_err(at)
}

fn parse(text: &str) -> Result<Vec<Rule>, String> {
    let written = toml::from_str(text).map_err(|error| {
        let before = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = text.as_bytes()[..before].iter().filter(|byte| **byte == b'\n').count() + 1;
        format!("line {line}: {}", error.message())
    });
    let written: BTreeMap<String, Written> = written?;
    if written.len() > RULES_MAX {
        return Err(format!("has {} rules, at most {RULES_MAX}", written.len()));
    }
    let rules = written.into_iter().map(|(name, rule)| {
        let about = |problem: String| format!("rule [{name}]: {problem}");
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
            return Err(about(format!(
                "a name has 1 to {NAME_BYTES_MAX} bytes without control characters"
            )));
        }
        let detector = rule.detector().map_err(about)?;
        Ok(Rule {
            name: name.as_str().into(),
            severity: rule.severity,
            detector,
        })
    });
    rules.collect()
}

impl Written {
    fn detector(&self) -> Result<Detector, String> {
        match self.detector {
            Kind::Threshold => self.threshold().map(Detector::Threshold),
            Kind::DeadMan => self.dead_man().map(Detector::DeadMan),
        }
    }

    fn threshold(&self) -> Result<Threshold, String> {
        let metric = self.metric.as_deref().filter(|metric| !metric.is_empty());
        let metric = metric.ok_or("lacks metric: which one it looks at")?;
        let hysteresis = self.hysteresis.unwrap_or(0.0);
        for (key, value) in [
            ("above", self.above),
            ("below", self.below),
            ("hysteresis", Some(hysteresis)),
        ] {
            if value.is_some_and(|value| !value.is_finite()) {
                return Err(format!("{key} must be a finite number"));
            }
        }
        match (self.above, self.below) {
            (None, None) => return Err("lacks above or below: the limit".to_owned()),
            (Some(above), Some(below)) if above < below => {
                return Err(format!(
                    "above = {above} is less than below = {below}: each value is beyond one of them"
                ));
            }
            (Some(above), Some(below)) if hysteresis > (above - below) / 2.0 => {
                return Err(format!(
                    "hysteresis = {hysteresis} is more than half of what lies between the limits: it never ends"
                ));
            }
            _ if hysteresis < 0.0 => return Err("hysteresis must be 0 or more".to_owned()),
            _ => {}
        }
        Ok(Threshold {
            metric: metric.into(),
            of: self.of.unwrap_or_default(),
            above: self.above,
            below: self.below,
            hysteresis,
            windows: self.minutes()?.unwrap_or(1) as u32,
        })
    }

    fn dead_man(&self) -> Result<DeadMan, String> {
        let keys = [
            ("metric", self.metric.is_some()),
            ("of", self.of.is_some()),
            ("above", self.above.is_some()),
            ("below", self.below.is_some()),
            ("hysteresis", self.hysteresis.is_some()),
        ];
        if let Some((key, _)) = keys.into_iter().find(|(_, is_there)| *is_there) {
            return Err(format!("{key} is not for a dead_man, which looks at whole devices"));
        }
        let minutes = self
            .minutes()?
            .ok_or("lacks for: after how long a device is silent, such as \"15m\"")?;
        Ok(DeadMan { minutes })
    }

    /// Whole minutes of `for`.
    fn minutes(&self) -> Result<Option<i32>, String> {
        let Some(lasting) = self.lasting.map(Span::as_millis) else {
            return Ok(None);
        };
        let minutes = lasting / PANE_MS;
        if lasting % PANE_MS != 0 || !(1..=MINUTES_MAX).contains(&minutes) {
            return Err("for must be whole minutes, from 1m to 7days".to_owned());
        }
        Ok(Some(minutes as i32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_with_their_defaults() {
        let text = r#"
            [kiln-hot]
            detector = "threshold"
            severity = "critical"
            metric = "temperature"
            of = "max"
            above = 900
            hysteresis = 20.0
            for = "3m"

            [pump-off]
            detector = "threshold"
            metric = "flow"
            below = 0.5

            [silent]
            detector = "dead_man"
            severity = "info"
            for = "1h"
        "#;
        let rules = parse(text).unwrap();
        let threshold = |metric: &str, of, above, below, hysteresis, windows| {
            Detector::Threshold(Threshold {
                metric: metric.into(),
                of,
                above,
                below,
                hysteresis,
                windows,
            })
        };
        let expected = [
            (
                "kiln-hot",
                Severity::Critical,
                threshold("temperature", Field::Max, Some(900.0), None, 20.0, 3),
            ),
            (
                "pump-off",
                Severity::Warning,
                threshold("flow", Field::Mean, None, Some(0.5), 0.0, 1),
            ),
            ("silent", Severity::Info, Detector::DeadMan(DeadMan { minutes: 60 })),
        ];
        let expected = expected.map(|(name, severity, detector)| Rule {
            name: name.into(),
            severity,
            detector,
        });
        assert_eq!(rules, expected);
    }

    #[test]
    fn errors_name_the_rule_and_the_key() {
        let check = |text: &str, expected: &str| {
            let problem = parse(text).expect_err(text);
            assert!(problem.contains(expected), "{text}: {problem}");
        };
        let threshold = |rest: &str| format!("[hot]\ndetector = \"threshold\"\n{rest}");
        check(&threshold("above = 3"), "rule [hot]: lacks metric");
        check(&threshold("metric = \"m\""), "rule [hot]: lacks above or below");
        check(
            &threshold("metric = \"m\"\nabove = 1\nbelow = 2"),
            "rule [hot]: above = 1 is less than below = 2",
        );
        check(
            &threshold("metric = \"m\"\nabove = nan"),
            "rule [hot]: above must be a finite number",
        );
        check(
            &threshold("metric = \"m\"\nabove = 1\nhysteresis = -1"),
            "rule [hot]: hysteresis must be 0 or more",
        );
        check(
            &threshold("metric = \"m\"\nabove = 2\nbelow = 1\nhysteresis = 1"),
            "it never ends",
        );
        check(
            &threshold("metric = \"m\"\nabove = 2\nfor = \"90s\""),
            "rule [hot]: for must be whole minutes",
        );
        check(&threshold("metrics = \"m\""), "unknown field `metrics`");
        check("[s]\ndetector = \"dead_man\"", "rule [s]: lacks for");
        check(
            "[s]\ndetector = \"dead_man\"\nfor = \"5m\"\nmetric = \"m\"",
            "rule [s]: metric is not for a dead_man",
        );
        check("[s]\ndetector = \"deadman\"", "unknown variant `deadman`");
        check("x = 1", "line 1");
    }

    #[test]
    fn what_is_looked_for_without_a_file_is_silence_and_the_heat_of_the_simulated_fleet() {
        let names = |has_fleet| {
            defaults(has_fleet)
                .iter()
                .map(|rule| rule.name.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(names(false), ["silent"]);
        assert_eq!(names(true), ["silent", "temperature-high"]);
    }
}
