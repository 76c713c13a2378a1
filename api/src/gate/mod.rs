//! Who may come in: the host, the origin, the route and the role of a request, before any route sees it.

pub(crate) mod hosts;
pub(crate) mod tokens;

use crate::handles::{Event, Handles};
use crate::problem::{Problem, ProblemKind};
use crate::roles::{self, Match, Role, Route};
use data_encoding::HEXLOWER_PERMISSIVE;
use hosts::Hosts;
use std::borrow::Cow;
use tokens::TokenFile;
use warp::http::header::{
    ALLOW, AUTHORIZATION, HeaderMap, HeaderValue, SEC_WEBSOCKET_PROTOCOL, UPGRADE, WWW_AUTHENTICATE,
};
use warp::http::{Method, Uri};

/// The protocol that is spoken on a WebSocket.
pub(crate) const PROTOCOL: &str = "tidewatch";
/// A WebSocket's client may be a page, which can't set headers: it offers its token, in hexadecimal, as a protocol.
const PROTOCOL_TOKEN: &str = "bearer.";

/// Lets a request through or says what is wrong with it.
#[derive(Debug)]
pub(crate) struct Gate {
    hosts: Hosts,
    tokens: Option<TokenFile>,
}

impl Gate {
    /// A gate of these hosts and, if there are, tokens.
    pub(crate) fn new(hosts: Hosts, tokens: Option<TokenFile>) -> Gate {
        Gate { hosts, tokens }
    }

    /// Checks host, origin, route and role, in this order.
    pub(crate) fn check(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        handles: &Handles,
    ) -> Result<&'static Route, Problem> {
        self.hosts.check(uri, headers)?;
        self.route(method, uri, headers, handles)
    }

    /// The origin of a page that may read the answer, when another one has sent the request.
    pub(crate) fn foreign_origin(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        self.hosts.foreign_origin(headers)
    }

    /// Checks host and origin of a page's question whether it may send a request.
    pub(crate) fn check_preflight(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        self.hosts.check(uri, headers)
    }

    fn route(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        handles: &Handles,
    ) -> Result<&'static Route, Problem> {
        let route = match roles::find(method, uri.path()) {
            Match::Found(route) => route,
            Match::WrongMethod(allowed) => return Err(wrong_method(&allowed.join(", "))),
            Match::Unknown => return Err(Problem::new(ProblemKind::UnknownPath, "GET /v1/ lists what there is")),
        };
        match route.least {
            Some(least) => self.check_role(least, headers, handles).map(|()| route),
            None => Ok(route),
        }
    }

    /// Why nobody can come in, if so.
    pub(crate) fn not_ready(&self, handles: &Handles) -> Option<String> {
        let tokens = self.tokens.as_ref()?;
        self.refresh(tokens, handles);
        tokens
            .problem()
            .map(|_| "the token file can't be used; the log says why".to_owned())
    }

    /// Checks that a request's token has a role.
    pub(crate) fn check_role(&self, least: Role, headers: &HeaderMap, handles: &Handles) -> Result<(), Problem> {
        let Some(tokens) = &self.tokens else { return Ok(()) };
        self.refresh(tokens, handles);
        if tokens.problem().is_some() {
            return Err(Problem::new(
                ProblemKind::NotReady,
                "the token file can't be used; the log says why",
            ));
        }
        let token = match offered(headers) {
            Some(token) => Cow::Owned(token),
            None => Cow::Borrowed(bearer(headers)?),
        };
        match tokens.role_of(&token) {
            None => Err(unauthorized("the token is not known", "Bearer error=\"invalid_token\"")),
            Some(role) if role < least => {
                let detail = format!("this needs the role {least}; the token's is {role}");
                let challenge = HeaderValue::from_static("Bearer error=\"insufficient_scope\"");
                Err(Problem::new(ProblemKind::RoleTooLow, detail).with_header(WWW_AUTHENTICATE, challenge))
            }
            Some(_) => Ok(()),
        }
    }

    fn refresh(&self, tokens: &TokenFile, handles: &Handles) {
        match tokens.refresh() {
            None => {}
            Some(Ok(tokens)) => (handles.events)(Event::TokensLoaded { tokens }),
            Some(Err(problem)) => (handles.events)(Event::TokensRefused { problem: &problem }),
        }
    }
}

/// The token that a WebSocket's client offers as a protocol, when it sends none as others do.
fn offered(headers: &HeaderMap) -> Option<Vec<u8>> {
    if headers.contains_key(AUTHORIZATION) || !headers.contains_key(UPGRADE) {
        return None;
    }
    let lines = headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|line| line.to_str().ok());
    let mut offers = lines.flat_map(|line| line.split(',')).map(str::trim);
    let token = offers.find_map(|offer| offer.strip_prefix(PROTOCOL_TOKEN))?;
    HEXLOWER_PERMISSIVE.decode(token.as_bytes()).ok()
}

/// The token of the header `Authorization: Bearer`.
fn bearer(headers: &HeaderMap) -> Result<&[u8], Problem> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(unauthorized(
            "send one header `Authorization: Bearer <token>`",
            "Bearer",
        ));
    };
    match value.as_bytes().split_at_checked(7) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => Ok(token.trim_ascii()),
        _ => Err(unauthorized(
            "send the header `Authorization: Bearer <token>`",
            "Bearer",
        )),
    }
}

fn unauthorized(detail: &str, challenge: &'static str) -> Problem {
    Problem::new(ProblemKind::Unauthorized, detail).with_header(WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
}

fn wrong_method(allowed: &str) -> Problem {
    let problem = Problem::new(ProblemKind::WrongMethod, format!("supported here: {allowed}"));
    match HeaderValue::from_str(allowed) {
        Ok(allowed) => problem.with_header(ALLOW, allowed),
        Err(_) => problem,
    }
}

#[cfg(test)]
mod tests;
