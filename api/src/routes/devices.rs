//! `/v1/devices`: which devices there are.

use super::query::{bad, cut, is_name, limit, named, parameters, unknown_cursor};
use super::{raw_query, read, reply, with};
use crate::answer::Shared;
use crate::body::Body;
use crate::document::schema::{self, NAME_CHARS_MAX};
use crate::document::{Operation, Tag};
use crate::fleet::wall_ms;
use crate::places::{Places, Within};
use crate::problem::{Problem, ProblemKind};
use crate::reader::{DeviceReader, ReadError};
use crate::rfc3339;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::borrow::Cow;
use std::sync::Arc;
use tidewatch_proto::ids::Name;
use tidewatch_proto::query::{DeviceQuery, DeviceSummary};
use tidewatch_proto::time::EventTime;
use utoipa::{IntoParams, ToSchema};
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::path::FullPath;
use warp::reply::Response;
use warp::{Filter, path};

/// So many of a site's or fleet's devices are looked for at once.
const MEMBERS_AT_ONCE: usize = 1_000;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct Params<'a> {
    /// What the id holds somewhere, ASCII letters in either case.
    #[serde(borrow)]
    #[param(max_length = 1_024, pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$")]
    search: Option<Cow<'a, str>>,
    /// Only devices that stand in this site, as of now.
    #[serde(borrow)]
    #[param(min_length = 1, max_length = 1_024, pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$")]
    site: Option<Cow<'a, str>>,
    /// Only devices that belong to this fleet, as of now.
    #[serde(borrow)]
    #[param(min_length = 1, max_length = 1_024, pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$")]
    fleet: Option<Cow<'a, str>>,
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
    /// The site that it stands in, as of now; null when the registry doesn't say.
    #[schema(value_type = Option<String>, required)]
    site: Option<Name>,
    /// The fleet that it belongs to, as of now; null when the registry doesn't say.
    #[schema(value_type = Option<String>, required)]
    fleet: Option<Name>,
}

/// What it is.
pub(crate) fn describe() -> Operation {
    let device = json!({
        "device_id": "dev-000042", "metrics": ["humidity", "temperature"], "latest": "2026-11-27T15:37:00.000Z",
        "site": "north", "fleet": "trucks",
    });
    Operation::new(
        Tag::Devices,
        "Lists devices",
        "Those with a published one-minute window, ascending by their ids byte by byte, with where the registry says that they belong.",
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
    let (reader, places) = (shared.handles.devices.clone(), shared.handles.places.clone());
    let (limit, now) = (asked.query.limit, EventTime(wall_ms()));
    let (mut found, places) = read(shared, path, move || {
        let found = list(&*reader, &places, &asked, now)?;
        Ok((found, places))
    })
    .await?;
    let next = cut(&mut found, limit).map(|last| format!("d{}", last.device));
    let device = |summary| device(summary, &places, now);
    Ok(Body::json(&Page {
        devices: found.into_iter().map(device).collect(),
        next,
    }))
}

/// The devices that match, and one more, which tells whether there is a next page.
fn list(
    reader: &dyn DeviceReader,
    places: &Places,
    asked: &Asked,
    now: EventTime,
) -> Result<Vec<DeviceSummary>, ReadError> {
    let wanted = asked.query.limit + 1;
    let one_more = |among, limit| DeviceQuery {
        among,
        limit,
        ..asked.query.clone()
    };
    let Some(within) = &asked.within else {
        return reader.devices(&one_more(None, wanted));
    };
    let mut members = places.within(within, now);
    members.retain(|device| asked.query.after.as_ref().is_none_or(|after| device > after));
    let mut found = Vec::new();
    for some in members.chunks(MEMBERS_AT_ONCE) {
        found.extend(reader.devices(&one_more(Some(some.to_vec()), wanted - found.len()))?);
        if found.len() == wanted {
            break;
        }
    }
    Ok(found)
}

fn device(summary: DeviceSummary, places: &Places, now: EventTime) -> Device {
    let place = places.of(&summary.device, now);
    let (site, fleet) = place.map(|place| (place.site, place.fleet)).unzip();
    Device {
        device_id: summary.device,
        metrics: summary.metrics,
        latest: rfc3339::format(summary.latest),
        site,
        fleet,
    }
}

/// What a request asks.
struct Asked {
    query: DeviceQuery,
    /// Where devices are to belong; `None` for anywhere, or nowhere.
    within: Option<Within>,
}

fn parse(query: &str) -> Result<Asked, Problem> {
    let params: Params<'_> = parameters(query)?;
    let search = params.search.unwrap_or_default();
    if !search.is_empty() && !is_name(&search) {
        return Err(bad(format!(
            "search: at most {NAME_CHARS_MAX} characters, no control characters"
        )));
    }
    let after = params.cursor.as_deref().map(|cursor| {
        let last = cursor
            .strip_prefix('d')
            .filter(|last| last.chars().count() <= NAME_CHARS_MAX && !last.contains('\0'));
        last.map(Name::from).ok_or_else(unknown_cursor)
    });
    let within = Within {
        site: params.site.map(|site| named("site", &site)).transpose()?,
        fleet: params.fleet.map(|fleet| named("fleet", &fleet)).transpose()?,
    };
    Ok(Asked {
        query: DeviceQuery {
            search: search.into_owned(),
            after: after.transpose()?,
            among: None,
            limit: limit(params.limit.as_deref())?,
        },
        within: (within != Within::default()).then_some(within),
    })
}
