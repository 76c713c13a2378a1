//! The table of roles: each token against each least role.

use super::*;

fn gate(tokens: Option<TokenFile>) -> Gate {
    Gate::new(
        Hosts::new(([127, 0, 0, 1], 80).into(), false, Vec::new(), Vec::new()),
        tokens,
    )
}

fn status(gate: &Gate, least: Role, authorization: Option<&str>) -> u16 {
    let mut headers = HeaderMap::new();
    if let Some(value) = authorization {
        headers.insert(AUTHORIZATION, HeaderValue::from_str(value).expect("a value"));
    }
    match gate.check_role(least, &headers, &Handles::of_nothing()) {
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

#[test]
fn a_websocket_may_offer_its_token_as_a_protocol() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "viewer viewer-0123456789").expect("written");
    let gate = gate(Some(TokenFile::open(file.path().to_owned()).expect("it is good")));
    let token = HEXLOWER_PERMISSIVE.encode(b"viewer-0123456789");
    let offer = format!("tidewatch, bearer.{token}");
    for (upgrade, offer, authorization, expected) in [
        (true, offer.as_str(), None, 200),
        (true, "bearer.00", None, 401),
        (true, "bearer.xyz", None, 401),
        (true, "tidewatch", None, 401),
        (false, offer.as_str(), None, 401),
        (true, offer.as_str(), Some("Bearer nobody-0123456789"), 401),
        (true, "bearer.00", Some("Bearer viewer-0123456789"), 200),
    ] {
        let mut headers = HeaderMap::new();
        if upgrade {
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        }
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_str(offer).expect("a value"));
        if let Some(value) = authorization {
            headers.insert(AUTHORIZATION, HeaderValue::from_static(value));
        }
        let status = match gate.check_role(Role::Viewer, &headers, &Handles::of_nothing()) {
            Ok(()) => 200,
            Err(problem) => problem.kind.status().as_u16(),
        };
        assert_eq!(status, expected, "{upgrade} {offer} {authorization:?}");
    }
}
