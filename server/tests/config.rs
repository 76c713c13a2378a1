//! The configuration: what is written against what comes of it, the table of keys against the structs behind it, and
//! the reference page against the table.
//!
//! The cases are in `tests/config/*.txt`: a title, the file, the environment and flags after `$`, and after `=>` the
//! line that comes of it. `TIDEWATCH_UPDATE=1 cargo test -p tidewatch --test config` writes these lines anew, and
//! `docs/configuration.md`.

use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Write};
use std::path::Path;
use tidewatch::config::fields::fields_of;
use tidewatch::config::keys::{self, SECTIONS};
use tidewatch::config::written::variable_name;
use tidewatch::config::{Config, Input, Settings, StateSettings, load, parsed};
use tidewatch_dataflow::config::EngineConfig;
use tidewatch_proto::row::Job;
use tidewatch_proto::time::{EventTime, PaneNo};
use tidewatch_settings::kafka::KafkaConnection;
use tidewatch_sinks::{kafka::KafkaSinkConfig, memory::MemoryConfig, postgres::PostgresConfig, sqlite::SqliteConfig};
use tidewatch_sources::file::{CsvConfig, FileConfig};
use tidewatch_sources::fleet::{FaultConfig, FleetConfig};
use tidewatch_sources::kafka::KafkaSourceConfig;
use tidewatch_sources::log::LogConfig;

const UPDATE: &str = "TIDEWATCH_UPDATE";
/// Stands for the folder of the files that a case can name.
const FOLDER: &str = "@FOLDER@";

/// A case of a table.
struct Case {
    title: String,
    lines: Vec<String>,
    expected: String,
}

fn read_cases(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("=== ") {
            cases.push(Case {
                title: title.to_owned(),
                lines: Vec::new(),
                expected: String::new(),
            });
        } else if let Some(case) = cases.last_mut() {
            match line.strip_prefix("=>") {
                Some(expected) => case.expected = expected.trim().to_owned(),
                None if case.expected.is_empty() && !line.is_empty() => case.lines.push(line.to_owned()),
                None => {}
            }
        }
    }
    cases
}

/// The line that comes of a case: the error, or the advice, or `ok`.
fn outcome(case: &Case, folder: &Path) -> String {
    let folder_text = folder.to_str().expect("a temporary folder has a plain name");
    let mut input = Input {
        file: Some(folder.join("tidewatch.toml")),
        ..Input::default()
    };
    let mut text = String::new();
    for line in &case.lines {
        let line = line.replace(FOLDER, folder_text);
        match line.strip_prefix("$ ") {
            Some("--insecure") => input.insecure = true,
            Some(flag) if flag.starts_with("--threads ") => input.threads = Some(flag[10..].to_owned()),
            Some(flag) if flag.starts_with("--config ") => input.file = Some(folder.join(&flag[9..])),
            Some(variable) => {
                let (name, value) = variable.split_once('=').expect("a variable has a value");
                input.environment.push((name.to_owned(), value.to_owned()));
            }
            None => text += &(line + "\n"),
        }
    }
    std::fs::write(folder.join("tidewatch.toml"), text).expect("written");
    let line = match load(&input) {
        Ok(loaded) if loaded.settings.advice.is_empty() => "ok".to_owned(),
        Ok(loaded) => format!("ok; {}", loaded.settings.advice.join("; ")),
        Err(error) => error.to_string(),
    };
    assert!(!line.contains('\n'), "{}: more than a line: {line}", case.title);
    line.replace(&format!("{folder_text}/"), "")
        .replace(folder_text, FOLDER)
}

/// A certificate and its key, in PEM.
fn certificate() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("random numbers");
    (made.cert.pem(), made.signing_key.serialize_pem())
}

fn check_table(name: &str, cases_min: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let ((certificate, key), (_, other_key)) = (certificate(), certificate());
    for (file, text) in [
        ("password", "hush\n"),
        ("secret", "sixteen bytes or more\n"),
        ("cert.pem", &certificate),
        ("key.pem", &key),
        ("other-key.pem", &other_key),
        ("empty", ""),
        ("tokens", "viewer 0123456789abcdef\n"),
        ("bad-tokens", "king 0123456789abcdef\n"),
        ("readings.csv", "ts,device_id,metric,value\n"),
        ("readings.log", ""),
        ("metrics.csv", "metric,name,unit,min,max,description\nrpm,,1/min,9,3,\n"),
        ("devices.csv", "device_id,site,fleet,valid_from\n"),
    ] {
        std::fs::write(folder.path().join(file), text).expect("written");
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config").join(name);
    let cases = read_cases(&std::fs::read_to_string(&path).expect("the table is there"));
    assert!(cases.len() >= cases_min, "{name}: {} cases", cases.len());
    let (mut anew, mut wrong) = (String::new(), String::new());
    for case in &cases {
        let outcome = outcome(case, folder.path());
        let body: String = case.lines.iter().map(|line| format!("{line}\n")).collect();
        let _ = write!(anew, "=== {}\n{body}=> {outcome}\n\n", case.title);
        if outcome != case.expected {
            let _ = writeln!(
                wrong,
                "{}\n  expected {}\n  found    {outcome}",
                case.title, case.expected
            );
        }
    }
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(path, anew.trim_end().to_owned() + "\n").expect("written");
    } else {
        assert!(wrong.is_empty(), "{name}:\n{wrong}");
    }
}

#[test]
fn what_cannot_be_read_is_explained() {
    check_table("written.txt", 20);
}

#[test]
fn what_cannot_be_used_is_explained() {
    check_table("resolved.txt", 20);
}

#[test]
fn what_can_be_used_is_taken() {
    check_table("accepted.txt", 8);
}

fn fields() -> BTreeMap<&'static str, (Vec<&'static str>, String)> {
    /// The fields, and what comes of the defaults in the table.
    fn of<T: DeserializeOwned + Default + Debug>(section: &str) -> (Vec<&'static str>, String) {
        let table = keys::section(section).expect("a section of the table").keys.iter();
        let written = table.filter_map(|key| Some((key.name.to_owned(), key.default_value()?)));
        let read = T::deserialize(toml::Value::Table(written.collect()));
        let read = read.unwrap_or_else(|error| panic!("[{section}]: {error}"));
        let problem = format!("[{section}]: the table says {read:?},\nthe code {:?}", T::default());
        let same = format!("{read:?}") == format!("{:?}", T::default());
        (fields_of::<T>().to_vec(), if same { String::new() } else { problem })
    }
    // Its parts are flattened into it, so that it has no fields of its own.
    let mut kafka = of::<parsed::KafkaSection>("kafka");
    let (connection, reading) = (fields_of::<KafkaConnection>(), fields_of::<KafkaSourceConfig>());
    assert!(
        connection.iter().all(|field| !reading.contains(field)),
        "a value goes to one part"
    );
    kafka.0 = [connection, reading].concat();
    BTreeMap::from([
        ("source", of::<parsed::SourceSection>("source")),
        ("log", of::<LogConfig>("log")),
        ("kafka", kafka),
        ("file", of::<FileConfig>("file")),
        ("file.csv", of::<CsvConfig>("file.csv")),
        ("fleet", of::<FleetConfig>("fleet")),
        ("fleet.faults", of::<FaultConfig>("fleet.faults")),
        ("engine", of::<parsed::EngineSection>("engine")),
        ("engine.limits", of::<parsed::LimitsSection>("engine.limits")),
        ("rules", of::<parsed::RulesSection>("rules")),
        ("registry", of::<parsed::RegistrySection>("registry")),
        ("metrics", of::<parsed::MetricsSection>("metrics")),
        ("output", of::<parsed::OutputSection>("output")),
        ("output.kafka", of::<KafkaSinkConfig>("output.kafka")),
        ("embedded", of::<SqliteConfig>("embedded")),
        ("postgres", of::<PostgresConfig>("postgres")),
        ("memory", of::<MemoryConfig>("memory")),
        ("dead_letter", of::<parsed::DeadLetterSection>("dead_letter")),
        ("state", of::<parsed::StateSection>("state")),
        ("state.s3", of::<parsed::S3Section>("state.s3")),
        ("archive", of::<parsed::ArchiveSection>("archive")),
        ("archive.s3", of::<parsed::S3Section>("archive.s3")),
        ("cluster", of::<parsed::ClusterSection>("cluster")),
        ("api", of::<tidewatch_api::ApiConfig>("api")),
    ])
}

#[test]
fn the_table_has_every_field_with_its_default() {
    let fields = fields();
    for section in SECTIONS {
        let (fields, problem) = &fields[section.name];
        assert!(problem.is_empty(), "{problem}");
        // Sections within the section have their own place in the table; this topic is `dead_letter.topic`.
        let inner = |field: &str| keys::section(&format!("{}.{field}", section.name)).is_some();
        let elsewhere = |field: &str| section.name == "output.kafka" && field == "dead_letter_topic";
        let in_code: BTreeSet<_> = fields
            .iter()
            .copied()
            .filter(|field| !inner(field) && !elsewhere(field))
            .collect();
        let in_table: BTreeSet<_> = section.keys.iter().map(|key| key.name).collect();
        assert_eq!(in_table, in_code, "[{}]: left the table, right the code", section.name);
        assert_eq!(
            in_table.len(),
            section.keys.len(),
            "[{}] names a key twice",
            section.name
        );
    }
    let top: BTreeSet<_> = fields_of::<Config>().iter().copied().collect();
    let known = SECTIONS
        .into_iter()
        .map(|section| section.name)
        .filter(|name| !name.contains('.'));
    assert_eq!(known.collect::<BTreeSet<_>>(), top);
}

#[test]
fn every_default_can_be_written_by_file_and_environment() {
    for section in SECTIONS {
        for key in section.keys {
            let name = format!("{}.{}", section.name, key.name);
            if key.default.is_empty() {
                assert!(key.default_text().is_empty() || key.default_text() == "[]", "{name}");
                continue;
            }
            let value = key
                .kind
                .read(key.default)
                .unwrap_or_else(|problem| panic!("{name} {problem}"));
            assert!(key.kind.check(&value).is_ok(), "{name}: {value}");
            let mut written = tidewatch::config::written::Written::default();
            let variable = (variable_name(&name), key.default.to_owned());
            written
                .environment(&[variable])
                .unwrap_or_else(|error| panic!("{error}"));
            let text = format!("{name} = {}", key.default_text());
            written
                .file(Path::new("a"), &text)
                .unwrap_or_else(|error| panic!("{text}: {error}"));
        }
    }
}

fn settings(environment: &[(&str, &str)]) -> Settings {
    let environment = environment
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let file = tempfile::NamedTempFile::new().expect("a file");
    let input = Input {
        file: Some(file.path().to_owned()),
        environment,
        ..Input::default()
    };
    load(&input)
        .map(|loaded| loaded.settings)
        .unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn the_defaults_are_the_engines() {
    let engine = EngineConfig {
        rules: tidewatch::rules::defaults(true).into(),
        ..EngineConfig::default()
    };
    assert_eq!(settings(&[]).engine, engine);
}

#[test]
fn what_is_written_arrives() {
    let settings = settings(&[
        ("TIDEWATCH__ENGINE__THREADS", "3"),
        ("TIDEWATCH__ENGINE__LATENESS", "1m 30s"),
        ("TIDEWATCH__ENGINE__WINDOWS", "1m,1h"),
        ("TIDEWATCH__ENGINE__TIME_ZONE", "Europe/Berlin"),
        ("TIDEWATCH__ENGINE__DUPLICATES", "count"),
        ("TIDEWATCH__ENGINE__AGE_MAX", "2days"),
        ("TIDEWATCH__ENGINE__OUTBOX_BYTES", "2GiB"),
        ("TIDEWATCH__ENGINE__LIMITS__RAW_BYTES_MAX", "1KiB"),
        ("TIDEWATCH__EMBEDDED__HOUR_RETENTION", "1year"),
        ("TIDEWATCH__MEMORY__BYTES_MAX", "64MiB"),
        ("TIDEWATCH__REGISTRY__ROLLUPS", "fleet,fleet"),
        ("TIDEWATCH__STATE__FOLDER", "elsewhere"),
        ("TIDEWATCH__API__LISTEN", "127.0.0.1:0"),
    ]);
    let engine = &settings.engine;
    assert_eq!(
        (engine.threads, engine.lateness_ms, engine.age_max_ms),
        (3, 90_000, Some(172_800_000))
    );
    assert_eq!(
        (engine.five_minutes, engine.hour, engine.day, engine.drop_duplicates),
        (false, true, false, false)
    );
    let day = engine.calendar.day(PaneNo::of(EventTime(1_743_292_800_000)));
    assert_eq!(
        day.last.0 - day.first.0 + 1,
        23 * 60,
        "clocks were put forward in Berlin"
    );
    assert_eq!(
        (engine.outbox_bytes_max, engine.limits.raw_bytes_max),
        (2 << 30, 1 << 10)
    );
    assert_eq!(settings.output.memory.bytes_max, 64 << 20);
    let embedded = settings.output.embedded.as_ref().expect("it is the default");
    assert_eq!(embedded.folder(), Path::new("elsewhere/store"));
    let day_ms = 86_400_000;
    assert_eq!(
        settings.output.stored_ms(&[Job::Minute, Job::FiveMinutes]),
        Some(30 * day_ms)
    );
    assert!(
        settings
            .output
            .stored_ms(&engine.jobs())
            .is_some_and(|kept| kept >= 365 * day_ms)
    );
    assert_eq!(settings.registry.rollups, [tidewatch_dataflow::rollup::Level::Fleet]);
    assert!(matches!(&settings.state, StateSettings::Folder(folder) if folder == Path::new("elsewhere")));
    assert_eq!(settings.api.listen().to_string(), "127.0.0.1:0");
}

#[test]
fn the_reference_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let page = tidewatch::reference::markdown();
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(path, page).expect("written");
    } else {
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            written == page,
            "docs/configuration.md is not current: run this with {UPDATE}=1"
        );
    }
}
