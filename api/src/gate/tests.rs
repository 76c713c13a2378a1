//! The table of roles: each token against each least role.

use super::*;
use crate::handles::{BuildInfo, Readiness};
use crate::memory::MemoryReader;
use std::sync::Arc;
use tidewatch_dataflow::stats::Stats;

struct Ready;

impl Readiness for Ready {
    fn not_ready(&self) -> Vec<String> {
        Vec::new()
    }
}

fn handles() -> Handles {
    Handles {
        stats: Arc::new(Stats::new(0)),
        partition_names: Vec::new(),
        sinks: Vec::new(),
        archive: None,
        series: Arc::new(MemoryReader::default()),
        readiness: Arc::new(Ready),
        build: BuildInfo {
            version: String::new(),
            revision: String::new(),
        },
        events: Arc::new(|_| {}),
    }
}

fn gate(tokens: Option<TokenFile>) -> Gate {
    Gate::new(Hosts::new(([127, 0, 0, 1], 80).into(), Vec::new(), Vec::new()), tokens)
}

fn status(gate: &Gate, least: Role, authorization: Option<&str>) -> u16 {
    let mut headers = HeaderMap::new();
    if let Some(value) = authorization {
        headers.insert(AUTHORIZATION, HeaderValue::from_str(value).expect("a value"));
    }
    match gate.check_role(least, &headers, &handles()) {
        Ok(()) => 200,
        Err(problem) => problem.kind.status().as_u16(),
    }
}

#[test]
fn each_role_against_each_least_role() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let text = "viewer viewer-0123456789\noperator operator-0123456789\nadmin admin-0123456789";
    std::fs::write(file.path(), text).expect("written");
    let gate = gate(Some(TokenFile::open(file.path().to_owned()).expect("it is good")));
    for (token, expected) in [
        (Some("Bearer viewer-0123456789"), [200, 403, 403]),
        (Some("Bearer operator-0123456789"), [200, 200, 403]),
        (Some("Bearer admin-0123456789"), [200, 200, 200]),
        (Some("Bearer nobody-0123456789"), [401, 401, 401]),
        (None, [401, 401, 401]),
    ] {
        let statuses = [Role::Viewer, Role::Operator, Role::Admin].map(|least| status(&gate, least, token));
        assert_eq!(statuses, expected, "{token:?}");
    }
}

#[test]
fn without_tokens_everyone_is_admin() {
    assert_eq!(status(&gate(None), Role::Admin, None), 200);
    assert_eq!(status(&gate(None), Role::Admin, Some("Bearer whatever")), 200);
}
