//! `/v1/dead-letters`: records that can't be used, with their bytes; `/v1/dead-letters/{number}`: the bytes of one.

use super::query::{bad, cut, limit, parameters, unknown_cursor};
use super::{raw_query, read, reply, with};
use crate::answer::Shared;
use crate::body::Body;
use crate::problem::{Problem, ProblemKind};
use crate::reader::{LetterReader, Letters};
use crate::rfc3339;
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::sync::Arc;
use tidewatch_proto::query::{Letter, LetterQuery};
use tidewatch_proto::reject::Reason;
use tidewatch_proto::time::EventTime;
use warp::filters::BoxedFilter;
use warp::path::FullPath;
use warp::reply::Response;
use warp::{Filter, path};

/// Bytes of each letter in a page at most; the whole of one is asked for by its number.
const BYTES_MAX: usize = 1_024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params<'a> {
    #[serde(borrow)]
    reason: Option<Cow<'a, str>>,
    #[serde(borrow)]
    limit: Option<Cow<'a, str>>,
    #[serde(borrow)]
    cursor: Option<Cow<'a, str>>,
}

#[derive(Serialize)]
struct Page {
    letters: Vec<One>,
    next: Option<String>,
}

#[derive(Serialize)]
struct One {
    number: u64,
    partition: String,
    offset: i64,
    /// Null when the log doesn't say.
    log_time: Option<String>,
    reason: &'static str,
    detail: String,
    /// In base64; null when the record had none.
    key: Option<String>,
    /// The record's first bytes, in base64, and how many it has.
    payload: String,
    payload_bytes: usize,
}

/// Both routes.
pub(super) fn route(shared: &Arc<Shared>) -> BoxedFilter<(Response,)> {
    let page = path!("v1" / "dead-letters")
        .and(raw_query())
        .and(path::full())
        .and(with(shared))
        .then(|query: String, path: FullPath, shared: Arc<Shared>| async move {
            reply(letters(&shared, path.as_str(), &query).await)
        });
    let one = path!("v1" / "dead-letters" / String)
        .and(path::full())
        .and(with(shared))
        .then(|number: String, path: FullPath, shared: Arc<Shared>| async move {
            reply(letter(&shared, path.as_str(), &number).await)
        });
    page.or(one).unify().boxed()
}

fn reader(shared: &Shared) -> Result<Arc<dyn LetterReader>, Problem> {
    match &shared.handles.letters {
        Letters::Here(reader) => Ok(reader.clone()),
        Letters::Elsewhere(place) => Err(Problem::new(ProblemKind::LettersElsewhere, place)),
    }
}

async fn letters(shared: &Shared, path: &str, query: &str) -> Result<Body, Problem> {
    let (asked, reader) = (parse(query)?, reader(shared)?);
    let limit = asked.limit;
    // One more tells whether there is a next page.
    let one_more = LetterQuery {
        limit: limit + 1,
        ..asked
    };
    let mut found = read(shared, path, move || reader.letters(&one_more)).await?;
    let next = cut(&mut found, limit).map(|last| format!("l{}", last.number));
    Ok(Body::json(&Page {
        letters: found.into_iter().map(one).collect(),
        next,
    }))
}

async fn letter(shared: &Shared, path: &str, number: &str) -> Result<Body, Problem> {
    let reader = reader(shared)?;
    let number: u64 = number
        .parse()
        .map_err(|_| bad("the number in the path is none".to_owned()))?;
    let query = LetterQuery {
        reason: None,
        before: number.checked_add(1),
        limit: 1,
    };
    let found = read(shared, path, move || reader.letters(&query)).await?;
    match found.into_iter().find(|letter| letter.number == number) {
        Some(letter) => Ok(Body::new(letter.payload, "application/octet-stream")),
        None => {
            let detail = format!("there is no dead letter {number}; it may have left by its age or a limit");
            Err(Problem::new(ProblemKind::UnknownLetter, detail))
        }
    }
}

fn one(letter: Letter) -> One {
    let start = &letter.payload[..letter.payload.len().min(BYTES_MAX)];
    One {
        number: letter.number,
        partition: letter.partition,
        offset: letter.offset.0,
        log_time: letter.log_time_ms.map(|ms| rfc3339::format(EventTime(ms))),
        reason: letter.reason.as_str(),
        detail: letter.detail,
        key: letter.key.map(|key| BASE64.encode(&key)),
        payload: BASE64.encode(start),
        payload_bytes: letter.payload.len(),
    }
}

fn parse(query: &str) -> Result<LetterQuery, Problem> {
    let params: Params<'_> = parameters(query)?;
    let reason = params.reason.as_deref().map(|name| {
        let found = Reason::ALL.into_iter().find(|reason| reason.as_str() == name);
        found.ok_or_else(|| bad(format!("reason: {}", Reason::ALL.map(Reason::as_str).join(", "))))
    });
    let before = params.cursor.as_deref().map(|cursor| {
        let number = cursor.strip_prefix('l').and_then(|number| number.parse().ok());
        number.ok_or_else(unknown_cursor)
    });
    Ok(LetterQuery {
        reason: reason.transpose()?,
        before: before.transpose()?,
        limit: limit(params.limit.as_deref())?,
    })
}
