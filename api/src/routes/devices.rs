//! `/v1/devices`: which devices there are.

use super::query::{bad, cut, limit, parameters, unknown_cursor};
use super::{raw_query, read, reply, with};
use crate::answer::Shared;
use crate::body::Body;
use crate::document::{Operation, Tag, schema};
use crate::problem::{Problem, ProblemKind};
use crate::rfc3339;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::borrow::Cow;
use std::sync::Arc;
use tidewatch_proto::ids::Name;
use tidewatch_proto::query::{DeviceQuery, DeviceSummary};
use utoipa::{IntoParams, ToSchema};
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::path::FullPath;
use warp::reply::Response;
use warp::{Filter, path};

/// Bytes of a search, and of a cursor, at most.
const TEXT_BYTES_MAX: usize = 1_024;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct Params<'a> {
    /// What the id holds somewhere, ASCII letters in either case.
    #[serde(borrow)]
    #[param(max_length = 1_024, pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$")]
    search: Option<Cow<'a, str>>,
    /// Devices of a page at most.
    #[serde(borrow)]
    #[param(value_type = schema::Limit, required = false, inline)]
    limit: Option<Cow<'a, str>>,
    /// `next` of the page before.
    #[serde(borrow)]
    #[param(max_length = 1_025, pattern = r"^d[^\u0000]*$")]
    cursor: Option<Cow<'a, str>>,
}

/// Devices, ascending by their ids byte by byte.
#[derive(Serialize, ToSchema)]
#[schema(as = Devices)]
struct Page {
    devices: Vec<Device>,
    #[schema(required)]
    next: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct Device {
    #[schema(value_type = String)]
    device_id: Name,
    #[schema(value_type = Vec<String>)]
    metrics: Vec<Name>,
    /// The start of its latest published one-minute window.
    #[schema(format = DateTime)]
    latest: String,
}

/// What it is.
pub(crate) fn describe() -> Operation {
    let device = json!({
        "device_id": "dev-000042", "metrics": ["humidity", "temperature"], "latest": "2026-11-27T15:37:00.000Z",
    });
    Operation::new(
        Tag::Devices,
        "Lists devices",
        "Those with a published one-minute window, ascending by their ids byte by byte.",
    )
    .query::<Params<'_>>()
    .json::<Page>(
        StatusCode::OK,
        "A page of devices",
        json!({"devices": [device], "next": "ddev-000042"}),
    )
    .problems(&[ProblemKind::Unavailable])
}

/// The route.
pub(super) fn route(shared: &Arc<Shared>) -> BoxedFilter<(Response,)> {
    path!("v1" / "devices")
        .and(raw_query())
        .and(path::full())
        .and(with(shared))
        .then(|query: String, path: FullPath, shared: Arc<Shared>| async move {
            reply(devices(&shared, path.as_str(), &query).await)
        })
        .boxed()
}

async fn devices(shared: &Shared, path: &str, query: &str) -> Result<Body, Problem> {
    let asked = parse(query)?;
    let (reader, limit) = (shared.handles.devices.clone(), asked.limit);
    // One more tells whether there is a next page.
    let one_more = DeviceQuery {
        limit: limit + 1,
        ..asked
    };
    let mut found = read(shared, path, move || reader.devices(&one_more)).await?;
    let next = cut(&mut found, limit).map(|last| format!("d{}", last.device));
    Ok(Body::json(&Page {
        devices: found.into_iter().map(device).collect(),
        next,
    }))
}

fn device(summary: DeviceSummary) -> Device {
    Device {
        device_id: summary.device,
        metrics: summary.metrics,
        latest: rfc3339::format(summary.latest),
    }
}

fn parse(query: &str) -> Result<DeviceQuery, Problem> {
    let params: Params<'_> = parameters(query)?;
    let search = params.search.unwrap_or_default();
    if search.len() > TEXT_BYTES_MAX || search.chars().any(char::is_control) {
        return Err(bad(format!(
            "search: at most {TEXT_BYTES_MAX} bytes without control characters"
        )));
    }
    let after = params.cursor.as_deref().map(|cursor| {
        let last = cursor
            .strip_prefix('d')
            .filter(|last| last.len() <= TEXT_BYTES_MAX && !last.contains('\0'));
        last.map(Name::from).ok_or_else(unknown_cursor)
    });
    Ok(DeviceQuery {
        search: search.into_owned(),
        after: after.transpose()?,
        limit: limit(params.limit.as_deref())?,
    })
}
