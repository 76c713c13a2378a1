//! Errors as `application/problem+json` (RFC 9457): one table from kind to status.

use crate::reader::ReadErrorKind;
use serde::Serialize;
use utoipa::ToSchema;
use warp::http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use warp::http::{Response, StatusCode};
use warp::reply::Response as WarpResponse;

/// What kind of problem a client has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ProblemKind {
    BadRequest,
    Unauthorized,
    RoleTooLow,
    ForeignOrigin,
    UnknownPath,
    UnknownSeries,
    UnknownLetter,
    UnknownMetric,
    LettersElsewhere,
    AnomaliesElsewhere,
    LetterReplayed,
    NoLog,
    ReplayLost,
    ReplayRefused,
    ReplayUnknown,
    WrongMethod,
    NeedsWebSocket,
    ForeignHost,
    Internal,
    NotReady,
    Busy,
    Unavailable,
    TooSlow,
}

impl ProblemKind {
    /// The table: status, last part of the type, and title of each kind.
    fn row(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            ProblemKind::BadRequest => (
                StatusCode::BAD_REQUEST,
                "bad-request",
                "The request can't be understood",
            ),
            ProblemKind::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized", "A valid token is needed"),
            ProblemKind::RoleTooLow => (
                StatusCode::FORBIDDEN,
                "role-too-low",
                "The token's role doesn't suffice",
            ),
            ProblemKind::ForeignOrigin => (
                StatusCode::FORBIDDEN,
                "foreign-origin",
                "Pages of this origin may not ask",
            ),
            ProblemKind::UnknownPath => (StatusCode::NOT_FOUND, "unknown-path", "There is nothing here"),
            ProblemKind::UnknownSeries => (StatusCode::NOT_FOUND, "unknown-series", "There is no such series"),
            ProblemKind::UnknownLetter => (StatusCode::NOT_FOUND, "unknown-letter", "There is no such dead letter"),
            ProblemKind::UnknownMetric => (
                StatusCode::NOT_FOUND,
                "unknown-metric",
                "Nothing is known of this metric",
            ),
            ProblemKind::LettersElsewhere => (
                StatusCode::NOT_FOUND,
                "letters-elsewhere",
                "Dead letters aren't kept here",
            ),
            ProblemKind::AnomaliesElsewhere => (
                StatusCode::NOT_FOUND,
                "anomalies-elsewhere",
                "Anomalies aren't kept here",
            ),
            ProblemKind::LetterReplayed => (
                StatusCode::CONFLICT,
                "letter-replayed",
                "The dead letter was replayed before",
            ),
            ProblemKind::NoLog => (StatusCode::CONFLICT, "no-log", "There is no log to put it into"),
            ProblemKind::ReplayLost => (
                StatusCode::CONFLICT,
                "replay-lost",
                "Nobody can say whether it was replayed",
            ),
            ProblemKind::ReplayRefused => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "replay-refused",
                "The log doesn't take it",
            ),
            ProblemKind::ReplayUnknown => (
                StatusCode::SERVICE_UNAVAILABLE,
                "replay-unknown",
                "Nobody knows yet whether it was replayed",
            ),
            ProblemKind::NeedsWebSocket => (StatusCode::UPGRADE_REQUIRED, "needs-websocket", "This is a WebSocket"),
            ProblemKind::WrongMethod => (
                StatusCode::METHOD_NOT_ALLOWED,
                "wrong-method",
                "The method isn't supported here",
            ),
            ProblemKind::ForeignHost => (
                StatusCode::MISDIRECTED_REQUEST,
                "foreign-host",
                "This server doesn't answer for this host",
            ),
            ProblemKind::Internal => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "Something went wrong here",
            ),
            ProblemKind::NotReady => (StatusCode::SERVICE_UNAVAILABLE, "not-ready", "Not ready"),
            ProblemKind::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy", "Too much is asked at once"),
            ProblemKind::Unavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "The rows can't be reached",
            ),
            ProblemKind::TooSlow => (StatusCode::GATEWAY_TIMEOUT, "too-slow", "The answer took too long"),
        }
    }

    /// The status that goes with it.
    pub(crate) fn status(self) -> StatusCode {
        self.row().0
    }

    /// The last part of its type.
    pub(crate) fn name(self) -> &'static str {
        self.row().1
    }

    /// Its type, which doesn't change.
    pub(crate) fn urn(self) -> String {
        format!("urn:tidewatch:problem:{}", self.name())
    }

    /// What it is called.
    pub(crate) fn title(self) -> &'static str {
        self.row().2
    }
}

impl From<ReadErrorKind> for ProblemKind {
    fn from(kind: ReadErrorKind) -> ProblemKind {
        match kind {
            ReadErrorKind::Busy => ProblemKind::Busy,
            ReadErrorKind::Unavailable => ProblemKind::Unavailable,
            ReadErrorKind::Failed => ProblemKind::Internal,
        }
    }
}

/// One problem: what a route answers instead of its reply.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) kind: ProblemKind,
    detail: String,
    reasons: Vec<String>,
    header: Option<Box<(HeaderName, HeaderValue)>>,
}

/// A problem as it is answered (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct Body<'a> {
    /// What kind of problem it is; it doesn't change, so that programs can go by it.
    #[schema(format = "uri")]
    r#type: String,
    title: &'a str,
    /// The status of the answer.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// A sentence for a person: what is wrong, and what to do.
    detail: &'a str,
    /// The path that was asked for.
    instance: &'a str,
    /// Why the process isn't ready.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    #[schema(required = false)]
    reasons: &'a [String],
}

impl Problem {
    /// A problem of a kind; the detail is a sentence for a person.
    pub(crate) fn new(kind: ProblemKind, detail: impl Into<String>) -> Problem {
        Problem {
            kind,
            detail: detail.into(),
            reasons: Vec::new(),
            header: None,
        }
    }

    /// The same problem with its reasons listed.
    pub(crate) fn because(mut self, reasons: Vec<String>) -> Problem {
        self.reasons = reasons;
        self
    }

    /// The same problem with a header beside it.
    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Problem {
        self.header = Some(Box::new((name, value)));
        self
    }

    /// The body, for the request of that path.
    pub(crate) fn body(&self, instance: &str) -> Vec<u8> {
        let (status, _, title) = self.kind.row();
        let (detail, reasons) = (self.detail.as_str(), self.reasons.as_slice());
        let body = Body {
            r#type: self.kind.urn(),
            title,
            status: status.as_u16(),
            detail,
            instance,
            reasons,
        };
        serde_json::to_vec(&body).expect("strings and a number are always JSON")
    }

    /// The whole response, for the request of that path.
    pub(crate) fn response(&self, instance: &str) -> WarpResponse {
        let mut response = Response::new(self.body(instance).into());
        *response.status_mut() = self.kind.status();
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(header) = &self.header {
            response.headers_mut().insert(header.0.clone(), header.1.clone());
        }
        response
    }
}

/// Leaves a note for `answer`, which knows the path and writes the body.
impl warp::Reply for Problem {
    fn into_response(self) -> WarpResponse {
        let mut response = WarpResponse::default();
        *response.status_mut() = self.kind.status();
        response.extensions_mut().insert(self);
        response
    }
}
