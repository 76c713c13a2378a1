//! What a request for rows asks: path and query, checked.

use super::steps::Steps;
use crate::document::schema::{self, NAME_CHARS_MAX};
use crate::problem::{Problem, ProblemKind};
use crate::rfc3339;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use std::borrow::Cow;
use std::sync::Arc;
use tidewatch_proto::calendar::Calendar;
use tidewatch_proto::ids::Name;
use tidewatch_proto::query::{Order, SeriesQuery};
use tidewatch_proto::row::Job;
use tidewatch_proto::time::{EVENT_TIME_MAX, EVENT_TIME_MIN, EventTime};
use utoipa::IntoParams;

/// Rows of a page unless the client says otherwise.
pub(crate) const LIMIT_DEFAULT: usize = 100;
/// Rows of a page at most.
pub(crate) const LIMIT_MAX: usize = 1_000;

/// What rows are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    Device,
    Site,
    Fleet,
}

impl Scope {
    /// What a key of it is called.
    pub(super) fn noun(self) -> &'static str {
        match self {
            Scope::Device => "device",
            Scope::Site => "site",
            Scope::Fleet => "fleet",
        }
    }

    /// The windows it has, and the job of each; the first one is the default.
    pub(super) fn windows(self) -> &'static [(&'static str, Job)] {
        match self {
            Scope::Device => &[
                ("1m", Job::Minute),
                ("5m", Job::FiveMinutes),
                ("1h", Job::Hour),
                ("1d", Job::Day),
            ],
            Scope::Site => &[("1m", Job::SiteMinute)],
            Scope::Fleet => &[("1m", Job::FleetMinute)],
        }
    }
}

/// The query parameters as they were sent.
#[derive(Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Params<'a> {
    /// Windows that start at or after this instant. Without it the newest rows are answered.
    #[serde(borrow)]
    #[param(value_type = schema::Time, required = false, inline, example = "2026-11-27T15:30:00Z")]
    from: Option<Cow<'a, str>>,
    /// Windows that start before this instant.
    #[serde(borrow)]
    #[param(value_type = schema::Time, required = false, inline, example = "2026-11-27T15:40:00Z")]
    to: Option<Cow<'a, str>>,
    /// Rows of a page at most; not with `step`.
    #[serde(borrow)]
    #[param(value_type = schema::Limit, required = false, inline)]
    limit: Option<Cow<'a, str>>,
    /// How long the windows are.
    #[serde(borrow)]
    window: Option<Cow<'a, str>>,
    /// `next` of the page before; not with `step`.
    #[serde(borrow)]
    #[param(pattern = "^[ab]-?[0-9]+$")]
    cursor: Option<Cow<'a, str>>,
    /// Rows are put together into steps of this length, a multiple of the windows': `5m`, `1h`, `1day`. It needs `from` and
    /// `to`, gives at most 1,000 steps of at most 20,160 rows, and is not for the overlapping windows of `5m`.
    #[serde(borrow)]
    #[param(pattern = "^[1-9][0-9]{0,4}(m|h|day|days)$")]
    step: Option<Cow<'a, str>>,
    /// What a step says of its rows: all but quantiles, which can't be put together. `avg,min,max` unless given.
    #[serde(borrow)]
    #[param(value_type = Vec<String>, required = false, style = Form, explode = false)]
    agg: Option<Cow<'a, str>>,
}

/// The parameters of a query string.
pub(super) fn parameters<'a, T: Deserialize<'a>>(query: &'a str) -> Result<T, Problem> {
    serde_urlencoded::from_str(query).map_err(|error| bad(format!("the query can't be used: {error}")))
}

/// What a cursor gets that no page has given.
pub(super) fn unknown_cursor() -> Problem {
    bad("cursor: send `next` of the page before, with its other parameters unchanged".to_owned())
}

/// Leaves a page of so many, of up to one more that were read; gives its last one when there is a next page.
pub(super) fn cut<T>(found: &mut Vec<T>, limit: usize) -> Option<&T> {
    let is_more = found.len() > limit;
    found.truncate(limit);
    found.last().filter(|_| is_more)
}

/// What a request asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// What the rows are of.
    pub(super) scope: Scope,
    /// The windows' name.
    pub(super) window: &'static str,
    /// What the reader is asked.
    pub(super) query: SeriesQuery,
    /// Into which steps rows are put together, if they are.
    pub(super) steps: Option<Steps>,
}

impl Asked {
    /// Checks the path's two names, still percent-encoded, and the query string.
    ///
    /// With `from` rows are taken from there on; without it the newest are.
    pub(super) fn parse(
        scope: Scope,
        (key, metric): (&str, &str),
        query: &str,
        calendar: &Arc<Calendar>,
    ) -> Result<Asked, Problem> {
        let params: Params<'_> = parameters(query)?;
        let (window, job) = window(scope, params.window.as_deref())?;
        if params.step.is_some() && (params.limit.is_some() || params.cursor.is_some()) {
            return Err(bad(
                "limit, cursor: not with step, of which there is one page".to_owned()
            ));
        }
        let is_range = params.from.is_some() && params.to.is_some();
        let order = if params.from.is_some() {
            Order::OldestFirst
        } else {
            Order::NewestFirst
        };
        let from = params
            .from
            .as_deref()
            .map_or(Ok(EVENT_TIME_MIN), |text| time("from", text))?;
        // The range ends before `to`, so the last possible instant is within it.
        let to = params
            .to
            .as_deref()
            .map_or(Ok(EventTime(EVENT_TIME_MAX.0 + 1)), |text| time("to", text))?;
        let mut query = SeriesQuery {
            job,
            key: name(scope.noun(), key)?,
            metric: name("metric", metric)?,
            from,
            to,
            limit: limit(params.limit.as_deref())?,
            order,
        };
        if let Some(cursor) = params.cursor {
            go_on(&mut query, &cursor)?;
        }
        let steps = match (params.step.as_deref(), params.agg.as_deref()) {
            (None, None) => None,
            (None, Some(_)) => return Err(bad("agg: only with step".to_owned())),
            (Some(_), _) if !is_range => return Err(bad("step: needs from and to".to_owned())),
            (Some(step), agg) => Some(Steps::parse(step, agg, &mut query, calendar)?),
        };
        Ok(Asked {
            scope,
            window,
            query,
            steps,
        })
    }

    /// The query for one row more than the page holds, which tells whether there is a next page.
    pub(super) fn query_one_more(&self) -> SeriesQuery {
        SeriesQuery {
            limit: self.query.limit + 1,
            ..self.query.clone()
        }
    }
}

/// Where the next page begins: a letter for the direction, and the start of the last window given.
pub(super) fn cursor(order: Order, last: EventTime) -> String {
    match order {
        Order::OldestFirst => format!("a{}", last.0),
        Order::NewestFirst => format!("b{}", last.0),
    }
}

/// Narrows the query to what lies behind a cursor.
fn go_on(query: &mut SeriesQuery, cursor: &str) -> Result<(), Problem> {
    let direction = match query.order {
        Order::OldestFirst => 'a',
        Order::NewestFirst => 'b',
    };
    let last: i64 = cursor
        .strip_prefix(direction)
        .and_then(|ms| ms.parse().ok())
        .ok_or_else(unknown_cursor)?;
    if !(EVENT_TIME_MIN.0..=EVENT_TIME_MAX.0).contains(&last) {
        return Err(unknown_cursor());
    }
    match query.order {
        Order::OldestFirst => query.from = query.from.max(EventTime(last + 1)),
        Order::NewestFirst => query.to = query.to.min(EventTime(last)),
    }
    Ok(())
}

/// A request that can't be understood.
pub(super) fn bad(detail: String) -> Problem {
    Problem::new(ProblemKind::BadRequest, detail)
}

/// A name in a query; `what` is its parameter.
pub(super) fn named(what: &str, text: &str) -> Result<Name, Problem> {
    match is_name(text) {
        true => Ok(text.into()),
        false => Err(bad(format!(
            "{what}: 1 to {NAME_CHARS_MAX} characters, no control characters"
        ))),
    }
}

/// Whether this is a device's, site's, fleet's or metric's name.
pub(super) fn is_name(text: &str) -> bool {
    (1..=NAME_CHARS_MAX).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

/// A name in a path, still percent-encoded.
pub(super) fn name(what: &str, encoded: &str) -> Result<Name, Problem> {
    let bytes: Cow<'_, [u8]> = percent_decode_str(encoded).into();
    match std::str::from_utf8(&bytes) {
        Ok(name) if is_name(name) => Ok(name.into()),
        _ => Err(bad(format!(
            "the {what} in the path is not 1 to {NAME_CHARS_MAX} characters of percent-encoded UTF-8 without control \
             characters"
        ))),
    }
}

fn window(scope: Scope, text: Option<&str>) -> Result<(&'static str, Job), Problem> {
    let windows = scope.windows();
    let found = match text {
        None => windows.first(),
        Some(text) => windows.iter().find(|(name, _)| *name == text),
    };
    found.copied().ok_or_else(|| {
        let names: Vec<&str> = windows.iter().map(|(name, _)| *name).collect();
        bad(format!("window: a {} has {}", scope.noun(), names.join(", ")))
    })
}

/// How many a page holds.
pub(super) fn limit(text: Option<&str>) -> Result<usize, Problem> {
    let Some(text) = text else { return Ok(LIMIT_DEFAULT) };
    match text.parse() {
        Ok(limit) if (1..=LIMIT_MAX).contains(&limit) => Ok(limit),
        _ => Err(bad(format!("limit: a number from 1 to {LIMIT_MAX}"))),
    }
}

/// A time in a query; `what` is its parameter.
pub(super) fn time(what: &str, text: &str) -> Result<EventTime, Problem> {
    let time = text.parse().map(EventTime).ok().or_else(|| rfc3339::parse(text));
    match time {
        Some(time) if (EVENT_TIME_MIN..=EVENT_TIME_MAX).contains(&time) => Ok(time),
        Some(_) => Err(bad(format!("{what}: a time in the years 0000 to 5999"))),
        None => Err(bad(format!(
            "{what}: a time such as 2025-01-31T23:59:59Z, or milliseconds since 1970"
        ))),
    }
}
