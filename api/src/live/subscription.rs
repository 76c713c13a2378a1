//! What a subscriber wants, as it says it: a JSON object.

use crate::problem::{Problem, ProblemKind};
use serde::Deserialize;
use std::collections::HashSet;
use std::time::Duration;
use tidewatch_proto::ids::Name;
use tidewatch_proto::row::Job;

/// The longest subscription in bytes.
pub(crate) const BYTES_MAX: usize = 64 * 1024;
/// Devices, and metrics, that a subscription may name.
const NAMES_MAX: usize = 1_000;
/// How long changes are put together unless the subscriber says so.
const THROTTLE_MS_DEFAULT: u64 = 1_000;
/// The most of it; 0 puts nothing together.
const THROTTLE_MS_MAX: u64 = 60_000;

/// As it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    /// Rows of these devices.
    #[serde(default)]
    devices: Vec<String>,
    /// Rows of the devices whose ids hold this.
    search: Option<String>,
    /// Of these metrics only.
    #[serde(default)]
    metrics: Vec<String>,
    /// Windows of these lengths.
    #[serde(default = "minute")]
    jobs: Vec<String>,
    /// How long changes are put together.
    #[serde(default = "throttle")]
    throttle_ms: u64,
    /// Whether progress says how the fleet does.
    #[serde(default)]
    fleet: bool,
    /// Whether anomalies are wanted.
    #[serde(default)]
    anomalies: bool,
}

fn minute() -> Vec<String> {
    vec!["1m".to_owned()]
}

fn throttle() -> u64 {
    THROTTLE_MS_DEFAULT
}

/// Whose rows are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Devices {
    /// Nobody's.
    None,
    /// Theirs.
    These(HashSet<Name>),
    /// Theirs whose ids hold this, in lower case; empty for all.
    Search(String),
}

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subscription {
    /// Whose rows.
    pub(crate) devices: Devices,
    /// Of which metrics; empty for all.
    pub(crate) metrics: HashSet<Name>,
    /// Of which jobs.
    pub(crate) jobs: Vec<Job>,
    /// How long changes are put together.
    pub(crate) throttle: Duration,
    /// Whether progress says how the fleet does.
    pub(crate) fleet: bool,
    /// Whether anomalies are wanted: of the devices, or all of them where it names none.
    pub(crate) anomalies: bool,
}

impl Subscription {
    /// Reads one.
    pub(crate) fn parse(text: &str) -> Result<Subscription, Problem> {
        let written: Written =
            serde_json::from_str(text).map_err(|error| bad(format!("the subscription can't be used: {error}")))?;
        if written.devices.len() > NAMES_MAX || written.metrics.len() > NAMES_MAX {
            return Err(bad(format!("devices, metrics: at most {NAMES_MAX}")));
        }
        if written.throttle_ms > THROTTLE_MS_MAX {
            return Err(bad(format!("throttle_ms: from 0 to {THROTTLE_MS_MAX}")));
        }
        let devices = match (written.devices.is_empty(), written.search) {
            (false, None) => Devices::These(names(written.devices)),
            (true, Some(search)) => Devices::Search(search.to_ascii_lowercase()),
            (true, None) => Devices::None,
            (false, Some(_)) => return Err(bad("devices, search: one of them".to_owned())),
        };
        let jobs: Result<Vec<Job>, Problem> = written.jobs.iter().map(|name| job(name)).collect();
        Ok(Subscription {
            devices,
            metrics: names(written.metrics),
            jobs: jobs?,
            throttle: Duration::from_millis(written.throttle_ms),
            fleet: written.fleet,
            anomalies: written.anomalies,
        })
    }

    /// Whether it wants rows at all.
    pub(crate) fn wants_rows(&self) -> bool {
        self.devices != Devices::None && !self.jobs.is_empty()
    }

    /// Whether it wants the anomalies of a device.
    pub(crate) fn wants_anomalies_of(&self, device: &Name) -> bool {
        self.anomalies
            && match &self.devices {
                Devices::None => true,
                Devices::These(devices) => devices.contains(device),
                Devices::Search(search) => device.to_ascii_lowercase().contains(search.as_str()),
            }
    }

    /// Whether it wants rows of a job and metric, by a device that it wants.
    pub(crate) fn wants(&self, job: Job, metric: &Name) -> bool {
        self.jobs.contains(&job) && (self.metrics.is_empty() || self.metrics.contains(metric))
    }
}

/// The name of a job's windows.
pub(crate) fn window(job: Job) -> &'static str {
    match job {
        Job::Minute | Job::SiteMinute | Job::FleetMinute => "1m",
        Job::FiveMinutes => "5m",
        Job::Hour => "1h",
        Job::Day => "1d",
    }
}

fn job(name: &str) -> Result<Job, Problem> {
    let jobs = [Job::Minute, Job::FiveMinutes, Job::Hour, Job::Day];
    let found = jobs.into_iter().find(|job| window(*job) == name);
    found.ok_or_else(|| bad("jobs: 1m, 5m, 1h, 1d".to_owned()))
}

fn names(texts: Vec<String>) -> HashSet<Name> {
    texts.into_iter().map(Name::from).collect()
}

fn bad(detail: String) -> Problem {
    Problem::new(ProblemKind::BadRequest, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_has_a_default() {
        let all = Subscription::parse(r#"{"search":"DEV"}"#).expect("it is good");
        assert_eq!(all.devices, Devices::Search("dev".to_owned()));
        assert_eq!(
            (all.jobs.as_slice(), all.throttle),
            (&[Job::Minute][..], Duration::from_secs(1))
        );
        assert!(all.wants(Job::Minute, &"t".into()) && !all.wants(Job::Hour, &"t".into()) && all.wants_rows());
        let nothing = Subscription::parse("{}").expect("it is good");
        assert!(!nothing.wants_rows() && !nothing.fleet);
        let one = r#"{"devices":["a"],"metrics":["t"],"jobs":["1h"],"throttle_ms":100,"fleet":true}"#;
        let one = Subscription::parse(one).expect("it is good");
        assert!(one.wants(Job::Hour, &"t".into()) && !one.wants(Job::Hour, &"p".into()) && one.fleet);
    }

    #[test]
    fn anomalies_are_of_the_devices_or_all() {
        for (text, one, other) in [
            (r#"{"anomalies":true}"#, true, true),
            (r#"{"anomalies":true,"devices":["dev-1"]}"#, true, false),
            (r#"{"anomalies":true,"search":"V-2"}"#, false, true),
            (r#"{"anomalies":false}"#, false, false),
            (r#"{"search":""}"#, false, false),
        ] {
            let wants = Subscription::parse(text).expect("it is good");
            let found = ["dev-1", "Dev-2"].map(|device| wants.wants_anomalies_of(&device.into()));
            assert_eq!(found, [one, other], "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, what) in [
            ("", "subscription"),
            ("[]", "subscription"),
            (r#"{"device":["a"]}"#, "device"),
            (r#"{"devices":["a"],"search":""}"#, "one of them"),
            (r#"{"jobs":["2d"]}"#, "1m, 5m, 1h, 1d"),
            (r#"{"throttle_ms":60001}"#, "throttle_ms"),
        ] {
            let problem = Subscription::parse(text).expect_err("it is not good");
            let body = String::from_utf8(problem.body("/v1/live")).expect("text");
            assert!(body.contains(what), "{text}: {body}");
        }
    }
}
