//! Tables of requests: each file in `rest/` names a kind of server and lists what is asked and what is answered.
//!
//! `server: open | tokens | named | not_ready`, then cases of `> METHOD target`, `> Header: value` (a `Host` unless
//! one is given; `> Host` alone sends none), `< status`, `< header: value` (`< header` alone: there is none), and the
//! body; `~ text` is contained in the body instead. `{host}` stands for the server's address. A new case is written as
//! its `>` lines and `< `: `TIDEWATCH_UPDATE=1 cargo test -p tidewatch-api --test rest` writes the rest.

mod common;
mod contract;

use common::{Answer, ask, start};
use contract::Contract;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use tidewatch_api::ApiConfig;

/// One case, as lines of the table.
#[derive(Default)]
struct Case {
    comments: Vec<String>,
    request: Vec<String>,
    status: Option<String>,
    headers: Vec<String>,
    contained: Vec<String>,
    body: String,
}

fn cases(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut comments = Vec::new();
    let mut in_answer = true;
    for line in text.lines().filter(|line| !line.is_empty()) {
        if line.starts_with('#') {
            comments.push(line.to_owned());
            continue;
        }
        if let Some(request) = line.strip_prefix("> ") {
            if std::mem::take(&mut in_answer) {
                cases.push(Case {
                    comments: std::mem::take(&mut comments),
                    ..Case::default()
                });
            }
            cases.last_mut().expect("just pushed").request.push(request.to_owned());
            continue;
        }
        in_answer = true;
        let case = cases.last_mut().expect("a request first");
        match (line.strip_prefix('<').map(str::trim), line.strip_prefix("~ ")) {
            (Some(status), _) if case.status.is_none() => case.status = Some(status.to_owned()),
            (Some(header), _) => case.headers.push(header.to_owned()),
            (None, Some(text)) => case.contained.push(text.to_owned()),
            (None, None) => case.body = line.to_owned(),
        }
    }
    cases
}

async fn answer(case: &Case, address: std::net::SocketAddr) -> Answer {
    let host = address.to_string();
    let request: Vec<String> = case.request.iter().map(|line| line.replace("{host}", &host)).collect();
    let (method, target) = request[0].split_once(' ').expect("a method and a target");
    let mut headers = request[1..].to_vec();
    if !headers.iter().any(|header| header.starts_with("Host")) {
        headers.push(format!("Host: {host}"));
    }
    headers.retain(|header| header != "Host");
    let mut answer = ask(address, method, target, &headers).await;
    answer.body = answer.body.replace(&host, "{host}");
    answer
}

/// The case as it should stand in the table, given what was answered.
fn written(case: &Case, answer: &Answer) -> String {
    let mut text = String::new();
    let mut line = |line: &str| writeln!(text, "{line}").expect("a string takes it");
    case.comments.iter().for_each(|comment| line(comment));
    case.request.iter().for_each(|request| line(&format!("> {request}")));
    line(&format!("< {}", answer.status));
    for header in &case.headers {
        let name = header.split(':').next().expect("a name");
        match answer.header(name) {
            Some(value) => line(&format!("< {name}: {value}")),
            None => line(&format!("< {name}")),
        }
    }
    for contained in &case.contained {
        assert!(
            answer.body.contains(contained),
            "{:?}: {contained} is not in {}",
            case.request,
            answer.body
        );
        line(&format!("~ {contained}"));
    }
    if case.contained.is_empty() && !answer.body.is_empty() {
        line(&answer.body);
    }
    text
}

async fn check(path: &Path, contract: &Contract) {
    let text = std::fs::read_to_string(path).expect("a table");
    let (head, table) = text.split_once("\n\n").expect("a blank line after the head");
    let kind = head
        .lines()
        .find_map(|line| line.strip_prefix("server: "))
        .expect("a line `server: `");
    let config = ApiConfig {
        request_timeout: "2s".to_owned(),
        ..ApiConfig::default()
    };
    let server = start(kind, config).await;
    let mut actual = head.to_owned() + "\n";
    for case in cases(table) {
        actual.push('\n');
        let answer = answer(&case, server.address).await;
        contract.check(&case.request[0], &answer);
        actual.push_str(&written(&case, &answer));
    }
    if std::env::var_os("TIDEWATCH_UPDATE").is_some() {
        std::fs::write(path, actual).expect("written");
    } else {
        assert_eq!(actual, text, "{}", path.display());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rest");
    let files = std::fs::read_dir(folder)
        .expect("the folder")
        .map(|entry| entry.expect("a file").path());
    let mut files: Vec<PathBuf> = files
        .filter(|path| path.extension().is_some_and(|end| end == "txt"))
        .collect();
    files.sort();
    assert!(files.len() >= 5, "{files:?}");
    let contract = Contract::default();
    for file in files {
        check(&file, &contract).await;
    }
    contract.assert_all_were_asked();
}
