//! `/v1/anomalies`: what rules have found, those that started last first.

use super::query::{bad, cut, limit, named, parameters, time, unknown_cursor};
use super::{raw_query, read, reply, with};
use crate::anomaly::One;
use crate::answer::Shared;
use crate::body::Body;
use crate::document::{Operation, Tag, schema};
use crate::problem::{Problem, ProblemKind};
use crate::reader::{Anomalies, AnomalyReader};
use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::borrow::Cow;
use std::sync::Arc;
use tidewatch_proto::anomaly::{AnomalyStatus, Severity};
use tidewatch_proto::ids::Name;
use tidewatch_proto::limits::name_is_good;
use tidewatch_proto::query::{AnomalyPlace, AnomalyQuery};
use tidewatch_proto::time::{EVENT_TIME_MAX, EVENT_TIME_MIN, EventTime};
use utoipa::{IntoParams, ToSchema};
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::path::FullPath;
use warp::reply::Response;
use warp::{Filter, path};

/// Bytes of a name in a cursor at most.
const NAME_BYTES_MAX: usize = 1_024;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct Params<'a> {
    /// Only those of this device.
    #[serde(borrow)]
    #[param(min_length = 1, max_length = 1_024, pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$")]
    device: Option<Cow<'a, str>>,
    /// Only those of this metric; empty for those about devices as a whole.
    #[serde(borrow)]
    #[param(max_length = 1_024, pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$")]
    metric: Option<Cow<'a, str>>,
    /// Only those of this rule.
    #[serde(borrow)]
    #[param(min_length = 1, max_length = 1_024, pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$")]
    rule: Option<Cow<'a, str>>,
    /// Only those that are so bad or worse.
    #[serde(borrow)]
    severity: Option<Cow<'a, str>>,
    /// Only those that stand so; without it all but those withdrawn.
    #[serde(borrow)]
    status: Option<Cow<'a, str>>,
    /// Only those that still went on at this instant or later.
    #[serde(borrow)]
    #[param(value_type = schema::Time, required = false, inline, example = "2026-11-27T10:00:00Z")]
    from: Option<Cow<'a, str>>,
    /// Only those that started before this instant.
    #[serde(borrow)]
    #[param(value_type = schema::Time, required = false, inline, example = "2026-11-27T11:00:00Z")]
    to: Option<Cow<'a, str>>,
    /// Anomalies of a page at most.
    #[serde(borrow)]
    #[param(value_type = schema::Limit, required = false, inline)]
    limit: Option<Cow<'a, str>>,
    /// `next` of the page before.
    #[serde(borrow)]
    #[param(pattern = r"^n-?[0-9]{1,18}(\.[A-Za-z0-9_-]*){3}$")]
    cursor: Option<Cow<'a, str>>,
}

/// Anomalies, those that started last first.
#[derive(Serialize, ToSchema)]
#[schema(as = Anomalies)]
struct Page {
    anomalies: Vec<One>,
    #[schema(required)]
    next: Option<String>,
}

const DETAIL: &str = "\
Those that started last come first; of the same start by device, metric and rule. One of the same rule, device, metric and start \
with a greater `revision` takes the place of the one before.";

/// What the list is.
pub(crate) fn describe() -> Operation {
    let anomaly = json!({
        "rule": "hot", "detector": "threshold", "severity": "warning", "device_id": "dev-000042", "metric": "temperature",
        "started_at": "2026-11-27T10:02:00.000Z", "ended_at": "2026-11-27T10:09:00.000Z", "status": "cleared",
        "observed": 41.3, "expected": {"low": null, "high": 38.0},
        "evidence": {
            "kind": "threshold", "of": "mean", "low": null, "high": 38.0,
            "first": {"at": "2026-11-27T10:02:00.000Z", "value": 38.5},
            "worst": {"at": "2026-11-27T10:05:00.000Z", "value": 41.3},
        },
        "summary": "mean of temperature 41.3 above 38 from 2026-11-27 10:02 to 10:09 UTC",
        "rows": "/v1/series/dev-000042/temperature?from=2026-11-27T09:47:00.000Z&to=2026-11-27T10:24:00.000Z&limit=1000",
        "revision": 17_957_939_190_u64,
    });
    Operation::new(Tag::Anomalies, "Lists what rules have found", DETAIL)
        .query::<Params<'_>>()
        .choices("severity", Severity::ALL.map(Severity::as_str))
        .choices("status", AnomalyStatus::ALL.map(AnomalyStatus::as_str))
        .json::<Page>(
            StatusCode::OK,
            "A page of anomalies",
            json!({"anomalies": [anomaly], "next": "n1795773720000.ZGV2LTAwMDA0Mg.dGVtcGVyYXR1cmU.aG90"}),
        )
        .problems(&[ProblemKind::AnomaliesElsewhere, ProblemKind::Unavailable])
}

/// The route.
pub(super) fn route(shared: &Arc<Shared>) -> BoxedFilter<(Response,)> {
    path!("v1" / "anomalies")
        .and(raw_query())
        .and(path::full())
        .and(with(shared))
        .then(|query: String, path: FullPath, shared: Arc<Shared>| async move {
            reply(anomalies(&shared, path.as_str(), &query).await)
        })
        .boxed()
}

fn reader(shared: &Shared) -> Result<Arc<dyn AnomalyReader>, Problem> {
    match &shared.handles.anomalies {
        Anomalies::Here(reader) => Ok(reader.clone()),
        Anomalies::Elsewhere(place) => Err(Problem::new(ProblemKind::AnomaliesElsewhere, place)),
    }
}

async fn anomalies(shared: &Shared, path: &str, query: &str) -> Result<Body, Problem> {
    let (asked, reader) = (parse(query)?, reader(shared)?);
    let limit = asked.limit;
    // One more tells whether there is a next page.
    let one_more = AnomalyQuery {
        limit: limit + 1,
        ..asked
    };
    let mut found = read(shared, path, move || reader.anomalies(&one_more)).await?;
    let next = cut(&mut found, limit).map(|last| cursor(&AnomalyPlace::of(last)));
    Ok(Body::json(&Page {
        anomalies: found.iter().map(One::from).collect(),
        next,
    }))
}

fn parse(query: &str) -> Result<AnomalyQuery, Problem> {
    let params: Params<'_> = parameters(query)?;
    let name = |what: &str, text: &Option<Cow<'_, str>>| text.as_deref().map(|text| named(what, text)).transpose();
    let at = |what: &str, text: &Option<Cow<'_, str>>| text.as_deref().map(|text| time(what, text)).transpose();
    // Without a name: those about devices as a whole.
    let metric = match params.metric.as_deref() {
        Some("") => Some(Name::from("")),
        _ => name("metric", &params.metric)?,
    };
    let least = params.severity.as_deref().map(|name| {
        let found = Severity::ALL.into_iter().find(|severity| severity.as_str() == name);
        found.ok_or_else(|| bad(format!("severity: {}", Severity::ALL.map(Severity::as_str).join(", "))))
    });
    let status = params.status.as_deref().map(|name| {
        let found = AnomalyStatus::ALL.into_iter().find(|status| status.as_str() == name);
        found.ok_or_else(|| {
            let names = AnomalyStatus::ALL.map(AnomalyStatus::as_str);
            bad(format!("status: {}", names.join(", ")))
        })
    });
    let after = params
        .cursor
        .as_deref()
        .map(|cursor| place(cursor).ok_or_else(unknown_cursor));
    Ok(AnomalyQuery {
        device: name("device", &params.device)?,
        metric,
        rule: name("rule", &params.rule)?,
        least: least.transpose()?,
        status: status.transpose()?,
        from: at("from", &params.from)?,
        to: at("to", &params.to)?,
        after: after.transpose()?,
        limit: limit(params.limit.as_deref())?,
    })
}

/// Where the next page begins: the start of the last one given, and its names in base64.
fn cursor(last: &AnomalyPlace) -> String {
    let names = [&last.device, &last.metric, &last.rule];
    let [device, metric, rule] = names.map(|name| BASE64URL_NOPAD.encode(name.as_bytes()));
    format!("n{}.{device}.{metric}.{rule}", last.started_at.0)
}

/// The place of a cursor.
fn place(cursor: &str) -> Option<AnomalyPlace> {
    let mut parts = cursor.strip_prefix('n')?.split('.');
    let started_at = EventTime(parts.next()?.parse().ok()?);
    let mut name = || -> Option<Name> {
        let bytes = BASE64URL_NOPAD.decode(parts.next()?.as_bytes()).ok()?;
        let is_good = bytes.is_empty() || name_is_good(&bytes, NAME_BYTES_MAX);
        String::from_utf8(bytes).ok().filter(|_| is_good).map(Name::from)
    };
    let (device, metric, rule) = (name()?, name()?, name()?);
    let is_known = parts.next().is_none() && (EVENT_TIME_MIN..=EVENT_TIME_MAX).contains(&started_at);
    is_known.then_some(AnomalyPlace {
        started_at,
        device,
        metric,
        rule,
    })
}
