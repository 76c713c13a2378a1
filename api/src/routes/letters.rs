//! `/v1/dead-letters`: records that can't be used, with their bytes; `/v1/dead-letters/{number}`: the bytes of one.

use super::query::{bad, cut, limit, parameters, unknown_cursor};
use super::{raw_query, read, reply, with};
use crate::answer::Shared;
use crate::body::Body;
use crate::document::{Operation, Tag, schema};
use crate::problem::{Problem, ProblemKind};
use crate::reader::{LetterReader, Letters};
use crate::rfc3339;
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::borrow::Cow;
use std::sync::Arc;
use tidewatch_proto::query::{Letter, LetterQuery, Replay};
use tidewatch_proto::reject::Reason;
use tidewatch_proto::time::EventTime;
use utoipa::{IntoParams, ToSchema};
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::path::FullPath;
use warp::reply::Response;
use warp::{Filter, path};

/// Bytes of each letter in a page at most; the whole of one is asked for by its number.
const BYTES_MAX: usize = 1_024;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct Params<'a> {
    /// Only those with this reason.
    #[serde(borrow)]
    reason: Option<Cow<'a, str>>,
    /// Letters of a page at most.
    #[serde(borrow)]
    #[param(value_type = schema::Limit, required = false, inline)]
    limit: Option<Cow<'a, str>>,
    /// `next` of the page before.
    #[serde(borrow)]
    #[param(pattern = "^l[0-9]{1,18}$")]
    cursor: Option<Cow<'a, str>>,
}

/// Dead letters, the last stored first.
#[derive(Serialize, ToSchema)]
#[schema(as = DeadLetters)]
struct Page {
    letters: Vec<One>,
    #[schema(required)]
    next: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = DeadLetter)]
struct One {
    /// Its number in the store: later ones have greater numbers.
    number: u64,
    partition: String,
    offset: i64,
    /// When the log says it arrived; null when it doesn't.
    #[schema(required, format = DateTime)]
    log_time: Option<String>,
    /// Why the record can't be used: more reasons may be added.
    reason: &'static str,
    /// What exactly was wrong.
    detail: String,
    /// In base64; null when the record had none.
    #[schema(required, content_encoding = "base64")]
    key: Option<String>,
    /// The record's first 1,024 bytes, in base64.
    #[schema(content_encoding = "base64")]
    payload: String,
    /// How many bytes it has.
    payload_bytes: usize,
    /// That it was put into its log again; null when it wasn't.
    #[schema(required)]
    replayed: Option<Replayed>,
}

/// A replay of a dead letter.
#[derive(Serialize, ToSchema)]
pub(super) struct Replayed {
    /// When it was asked for.
    #[schema(format = DateTime)]
    at: String,
    partition: String,
    /// Where the new record is; null while that isn't known: the replay was cut off, and the next one finds out.
    #[schema(required)]
    offset: Option<i64>,
}

impl Replayed {
    pub(super) fn new(replay: &Replay, partition: &str) -> Replayed {
        Replayed {
            at: rfc3339::format(EventTime(replay.at_ms)),
            partition: partition.to_owned(),
            offset: replay.offset.map(|offset| offset.0),
        }
    }
}

const DETAIL: &str = "\
Those of the store that rows are read from. When dead letters are discarded or go to Kafka they aren't here, and the answer \
says where they are.";

/// What the list is.
pub(crate) fn describe_list() -> Operation {
    let letter = json!({
        "number": 7, "partition": "raw.events/0", "offset": 4_711, "log_time": "2026-11-27T15:37:00.000Z",
        "reason": "schema", "detail": "the field 3 ends too early", "key": "ZGV2LTE=", "payload": "AwMD",
        "payload_bytes": 3, "replayed": null,
    });
    Operation::new(Tag::DeadLetters, "Lists records that can't be used", DETAIL)
        .query::<Params<'_>>()
        .choices("reason", Reason::ALL.map(Reason::as_str))
        .json::<Page>(
            StatusCode::OK,
            "A page of dead letters, the last stored first",
            json!({"letters": [letter], "next": "l7"}),
        )
        .problems(&[ProblemKind::LettersElsewhere, ProblemKind::Unavailable])
}

/// What one of it is.
pub(crate) fn describe_one() -> Operation {
    Operation::new(Tag::DeadLetters, "All bytes of a dead letter", DETAIL)
        .segment("number", "The letter's number.", 7.into(), schema::number())
        .content(
            StatusCode::OK,
            "The record's bytes, as they were read",
            "application/octet-stream",
        )
        .problems(&[
            ProblemKind::LettersElsewhere,
            ProblemKind::UnknownLetter,
            ProblemKind::Unavailable,
        ])
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

pub(super) fn reader(shared: &Shared) -> Result<Arc<dyn LetterReader>, Problem> {
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
    let (number, reader) = (parse_number(number)?, reader(shared)?);
    let query = LetterQuery {
        reason: None,
        before: number.checked_add(1),
        limit: 1,
    };
    let found = read(shared, path, move || reader.letters(&query)).await?;
    match found.into_iter().find(|letter| letter.number == number) {
        Some(letter) => Ok(Body::new(letter.payload, "application/octet-stream")),
        None => Err(unknown(number)),
    }
}

pub(super) fn unknown(number: u64) -> Problem {
    let detail = format!("there is no dead letter {number}; it may have left by its age or a limit");
    Problem::new(ProblemKind::UnknownLetter, detail)
}

pub(super) fn parse_number(number: &str) -> Result<u64, Problem> {
    number
        .parse()
        .map_err(|_| bad("the number in the path is none".to_owned()))
}

fn one(letter: Letter) -> One {
    let start = &letter.payload[..letter.payload.len().min(BYTES_MAX)];
    One {
        number: letter.number,
        replayed: letter.replay.map(|replay| Replayed::new(&replay, &letter.partition)),
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
