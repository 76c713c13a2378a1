//! `POST /v1/dead-letters/{number}/replay`: a dead letter's bytes go into its log again.

use super::letters::{Replayed, parse_number, reader, unknown};
use super::query::{bad, parameters};
use super::{raw_query, read, reply, with};
use crate::answer::Shared;
use crate::body::Body;
use crate::document::{Operation, Tag, schema};
use crate::handles::Event;
use crate::problem::{Problem, ProblemKind};
use crate::reader::{ReadError, ReplayRefusal};
use crate::rfc3339;
use serde::Deserialize;
use serde_json::json;
use std::borrow::Cow;
use std::sync::Arc;
use tidewatch_proto::time::EventTime;
use utoipa::IntoParams;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::path::FullPath;
use warp::reply::Response;
use warp::{Filter, path};

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct Params<'a> {
    /// Whether it is done once more when it was done before.
    #[serde(borrow)]
    force: Option<Cow<'a, str>>,
}

const DETAIL: &str = "\
Its key and bytes go to the end of the partition that they came from, as a new record, which is read as things are configured \
today. It is done once, also when it was cut off by a crash and is asked for again, unless `force` says to do it once more.";

/// What it is.
pub(crate) fn describe() -> Operation {
    Operation::new(Tag::DeadLetters, "Puts a dead letter into its log again", DETAIL)
        .segment("number", "The letter's number.", 7.into(), schema::number())
        .query::<Params<'_>>()
        .choices("force", ["true", "false"])
        .json::<Replayed>(
            StatusCode::OK,
            "Where the new record is",
            json!({"at": "2026-11-27T18:20:05.112Z", "partition": "raw.events/0", "offset": 48_213}),
        )
        .problems(&[
            ProblemKind::LettersElsewhere,
            ProblemKind::UnknownLetter,
            ProblemKind::LetterReplayed,
            ProblemKind::NoLog,
            ProblemKind::ReplayLost,
            ProblemKind::ReplayRefused,
            ProblemKind::ReplayUnknown,
        ])
}

/// The route.
pub(super) fn route(shared: &Arc<Shared>) -> BoxedFilter<(Response,)> {
    path!("v1" / "dead-letters" / String / "replay")
        .and(raw_query())
        .and(path::full())
        .and(with(shared))
        .then(
            |number: String, query: String, path: FullPath, shared: Arc<Shared>| async move {
                reply(replay(&shared, path.as_str(), &number, &query).await)
            },
        )
        .boxed()
}

async fn replay(shared: &Shared, path: &str, number: &str, query: &str) -> Result<Body, Problem> {
    let params: Params<'_> = parameters(query)?;
    let force = match params.force.as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(bad("force: true or false".to_owned())),
    };
    let (number, reader) = (parse_number(number)?, reader(shared)?);
    let done = read(shared, path, move || Ok(reader.replay(number, force))).await?;
    let (partition, replay) = done.map_err(|refusal| refused(shared, number, refusal))?;
    if let Some(offset) = replay.offset {
        (shared.handles.events)(Event::LetterReplayed {
            number,
            partition: &partition,
            offset: offset.0,
        });
    }
    Ok(Body::json(&Replayed::new(&replay, &partition)))
}

fn refused(shared: &Shared, number: u64, refusal: ReplayRefusal) -> Problem {
    let told = |error: &ReadError| (shared.handles.events)(Event::ReplayFailed { number, error });
    match refusal {
        ReplayRefusal::Unknown => unknown(number),
        ReplayRefusal::Done(partition, replay) => {
            let at = rfc3339::format(EventTime(replay.at_ms));
            let offset = replay
                .offset
                .map_or_else(|| "?".to_owned(), |offset| offset.to_string());
            let detail =
                format!("it was put into {partition} at offset {offset} at {at}; force=true does it once more");
            Problem::new(ProblemKind::LetterReplayed, detail)
        }
        ReplayRefusal::NoLog(why) => Problem::new(ProblemKind::NoLog, why),
        ReplayRefusal::Lost => {
            let detail = "a replay was cut off, and the log has let go of where its record would be; force=true puts it \
                          there, perhaps for the second time";
            Problem::new(ProblemKind::ReplayLost, detail)
        }
        ReplayRefusal::Refused(error) => {
            told(&error);
            let detail = "it is too large, or writing is not allowed; the log of the process says why";
            Problem::new(ProblemKind::ReplayRefused, detail)
        }
        ReplayRefusal::Failed(error) => {
            told(&error);
            let detail = "it is not known whether the log has it; ask again, that never puts it there twice; the log of \
                          the process says why";
            Problem::new(ProblemKind::ReplayUnknown, detail)
        }
    }
}
