//! Who may come in: the host, the origin, the route and the role of a request, before any route sees it.

pub(crate) mod hosts;
pub(crate) mod tokens;

use crate::handles::{Event, Handles};
use crate::problem::{Problem, ProblemKind};
use crate::roles::{self, Match, Role, Route};
use hosts::Hosts;
use tokens::TokenFile;
use warp::http::header::{ALLOW, AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use warp::http::{Method, Uri};

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

    fn check_role(&self, least: Role, headers: &HeaderMap, handles: &Handles) -> Result<(), Problem> {
        let Some(tokens) = &self.tokens else { return Ok(()) };
        self.refresh(tokens, handles);
        if tokens.problem().is_some() {
            return Err(Problem::new(
                ProblemKind::NotReady,
                "the token file can't be used; the log says why",
            ));
        }
        let token = bearer(headers)?;
        match tokens.role_of(token) {
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
