//! What `tidewatch check` and `tidewatch topics` say of real components: one line that names what is wrong, exit 78.

use std::path::Path;
use std::process::Command;
use tidewatch_tests::sinks::{component, unique};
use tidewatch_tests::sources::Topic;

/// What the binary was started with and said.
struct Said {
    code: Option<i32>,
    lines: Vec<String>,
    errors: Vec<String>,
}

/// Runs the binary with arguments and variables, in an empty folder and without any other variable.
fn tidewatch(arguments: &[&str], variables: &[(&str, &str)]) -> Said {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(component("TIDEWATCH_BIN"));
    command.current_dir(&folder).env_clear().args(arguments);
    command.envs(
        variables
            .iter()
            .map(|(key, value)| (format!("TIDEWATCH__{key}"), value)),
    );
    command.env("TIDEWATCH__API__LISTEN", "127.0.0.1:0");
    let output = command.output().expect("the binary starts");
    let lines = |bytes: &[u8]| String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect();
    Said {
        code: output.status.code(),
        lines: lines(&output.stdout),
        errors: lines(&output.stderr),
    }
}

impl Said {
    /// The only line that begins so, when the process ended with this code.
    fn only(&self, code: i32, beginning: &str) -> &str {
        let (lines, errors) = (self.lines.join("\n"), self.errors.join("\n"));
        assert_eq!(self.code, Some(code), "{lines}\n{errors}");
        assert!(self.errors.is_empty(), "{errors}");
        let mut found = self.lines.iter().filter(|line| line.starts_with(beginning));
        match (found.next(), found.next()) {
            (Some(line), None) => line,
            _ => panic!("not one line begins with `{beginning}`:\n{lines}"),
        }
    }
}

/// Whether the line holds all of these.
fn holds(line: &str, parts: &[&str]) {
    for part in parts {
        assert!(line.contains(part), "`{part}` is not in: {line}");
    }
}

/// An address of this machine that nobody listens on.
fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").to_string()
}

fn file(folder: &Path, text: &str) -> String {
    let path = folder.join("password");
    std::fs::write(&path, text).expect("written");
    path.display().to_string()
}

#[test]
fn brokers_that_are_not_there() {
    let brokers = nobody();
    let variables = [("SOURCE__KIND", "kafka"), ("KAFKA__BROKERS", &brokers)];
    let said = tidewatch(&["check"], &variables);
    holds(
        said.only(78, "error: "),
        &[&brokers, "no broker answered", "check kafka.brokers"],
    );
    let variables = [("OUTPUT__KAFKA__TOPIC", "rows"), ("KAFKA__BROKERS", &brokers)];
    holds(
        tidewatch(&["check"], &variables).only(78, "error: "),
        &[&brokers, "can't be reached"],
    );
}

#[test]
fn a_topic_that_is_not_there() {
    let (brokers, name) = (component("TIDEWATCH_TEST_KAFKA"), unique("missing"));
    let variables = [
        ("SOURCE__KIND", "kafka"),
        ("KAFKA__BROKERS", &brokers),
        ("KAFKA__TOPIC", &name),
    ];
    let said = tidewatch(&["check"], &variables);
    holds(
        said.only(78, "error: "),
        &[&name, "there is no such topic", "tidewatch topics"],
    );
    let variables = [("OUTPUT__KAFKA__TOPIC", name.as_str()), ("KAFKA__BROKERS", &brokers)];
    let said = tidewatch(&["check"], &variables);
    holds(
        said.only(78, "error: "),
        &[&name, "output.kafka.create_topics = true", "kafka-topics.sh"],
    );
}

#[test]
fn a_topic_by_its_producers_clocks() {
    let topic = Topic::create(2, &[("message.timestamp.type", "CreateTime")]);
    let brokers = component("TIDEWATCH_TEST_KAFKA");
    let variables = [
        ("SOURCE__KIND", "kafka"),
        ("KAFKA__BROKERS", &brokers),
        ("KAFKA__TOPIC", &topic.name),
    ];
    let said = tidewatch(&["check"], &variables);
    holds(
        said.only(0, "advice: "),
        &[&topic.name, "message.timestamp.type=LogAppendTime"],
    );
    holds(said.only(0, "ok: kafka.topic"), &["2 partitions"]);
    let topic = Topic::create(1, &[("message.timestamp.type", "LogAppendTime")]);
    let variables = [
        ("SOURCE__KIND", "kafka"),
        ("KAFKA__BROKERS", &brokers),
        ("KAFKA__TOPIC", &topic.name),
    ];
    let said = tidewatch(&["check"], &variables);
    assert_eq!(said.code, Some(0));
    assert!(
        said.lines.iter().all(|line| line.starts_with("ok: ")),
        "{:?}",
        said.lines
    );
}

#[test]
fn a_login_that_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let brokers = component("TIDEWATCH_TEST_KAFKA_SASL");
    let password = file(folder.path(), "not-the-secret\n");
    let variables = [
        ("SOURCE__KIND", "kafka"),
        ("KAFKA__BROKERS", brokers.as_str()),
        ("KAFKA__SECURITY_PROTOCOL", "sasl_plaintext"),
        ("KAFKA__USERNAME", "tidewatch"),
        ("KAFKA__PASSWORD_FILE", &password),
    ];
    let said = tidewatch(&["check"], &variables);
    let line = said.only(78, "error: ");
    holds(line, &["the login was refused", "kafka.password_file"]);
    assert!(!line.contains("not-the-secret"), "{line}");
}

#[test]
fn a_database_that_refuses() {
    let folder = tempfile::tempdir().expect("a folder");
    let good = component("TIDEWATCH_TEST_POSTGRES");
    let (login, place) = good.split_once('@').expect("an address with a password");
    let (user, _) = login.rsplit_once(':').expect("a password");
    let (host, _) = place.split_once('/').expect("a database");
    let check = |url: &str, parts: &[&str]| {
        let password = file(folder.path(), "not-the-secret\n");
        let variables = [("POSTGRES__URL", url), ("POSTGRES__PASSWORD_FILE", &password)];
        let said = tidewatch(
            &["check"],
            if url.starts_with(login) {
                &variables[..1]
            } else {
                &variables
            },
        );
        let line = said.only(78, "error: ");
        holds(line, parts);
        assert!(!line.contains("secret"), "{line}");
    };
    check(
        &format!("{user}@{place}"),
        &[place, "the server refuses user", "postgres.password_file"],
    );
    check(
        &format!("{login}@{host}/nothing_here"),
        &["there is no such database", "CREATE DATABASE"],
    );
    let nobody = nobody();
    check(
        &format!("{user}@{nobody}/fleet"),
        &[&nobody, "can't be reached", "postgres.url"],
    );
}

#[test]
fn a_database_that_is_there() {
    let (url, schema) = (component("TIDEWATCH_TEST_POSTGRES"), unique("check"));
    let variables = [
        ("POSTGRES__URL", url.as_str()),
        ("POSTGRES__SCHEMA", &schema),
        ("DEAD_LETTER__KIND", "postgres"),
    ];
    let mut client = postgres::Client::connect(&url, postgres::NoTls).expect("the component runs");
    let said = tidewatch(&["check"], &variables);
    let line = said.only(0, "ok: postgres: ");
    assert!(line.ends_with("the start will make its tables"), "{line}");
    said.only(
        0,
        "ok: retention: postgres keeps minutes for 30days, five minutes for 30days, hours for 730days, days for ever, rollups",
    );
    let schemas = "SELECT count(*) FROM pg_namespace WHERE nspname = $1";
    let made: i64 = client.query_one(schemas, &[&schema]).expect("asked").get(0);
    assert_eq!(made, 0, "checking changes nothing");
}

#[test]
fn topics_are_printed_and_created() {
    let (brokers, rows, dead) = (component("TIDEWATCH_TEST_KAFKA"), unique("rows"), unique("dead"));
    let variables = [
        ("SOURCE__KIND", "kafka"),
        ("KAFKA__BROKERS", brokers.as_str()),
        ("OUTPUT__KAFKA__TOPIC", &rows),
        ("DEAD_LETTER__KIND", "kafka"),
        ("DEAD_LETTER__TOPIC", &dead),
    ];
    let printed = tidewatch(&["topics"], &variables);
    let create = |topic: &str| format!("kafka-topics.sh --bootstrap-server {brokers} --create --topic {topic}");
    holds(
        printed.only(0, &create("raw.events")),
        &["message.timestamp.type=LogAppendTime"],
    );
    holds(printed.only(0, &create(&rows)), &["cleanup.policy=compact"]);
    holds(printed.only(0, &create(&dead)), &["cleanup.policy=delete"]);
    let created = tidewatch(&["topics", "--create"], &variables);
    holds(created.only(0, &format!("# {rows}")), &["it is there"]);
    created.only(0, &create("raw.events"));
    let said = tidewatch(&["check"], &variables[1..]);
    said.only(0, "ok: output.kafka.topic: ");
    said.only(0, "ok: dead_letter.topic: ");
}

#[test]
fn a_run_that_cannot_start_says_one_line() {
    let said = tidewatch(&[], &[("ENGINE__THREADS", "0")]);
    assert_eq!(said.code, Some(78));
    assert!(said.lines.is_empty(), "{:?}", said.lines);
    let expected = "tidewatch: TIDEWATCH__ENGINE__THREADS: engine.threads: is 0, must be a whole number from 1 to 256";
    assert_eq!(said.errors, [expected]);
}
