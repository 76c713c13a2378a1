//! `tidewatch check`: reads the configuration, reaches for what it names, and prints a line per finding.

use crate::config::{
    ArchivePlace, ArchiveSettings, ConfigError, DeadLetterSettings, EXIT_CONFIG, Input, Loaded, Settings,
    SourceSettings, StateSettings, load, tiers,
};
use crate::metrics::MetricsFile;
use crate::topics::creating;
use std::io::Write;
use std::net::TcpListener;
use std::process::ExitCode;
use tidewatch_checkpoints::{S3, Store};
use tidewatch_sinks::kafka::{KafkaDeadLetters, KafkaSink, KafkaSinkSettings};
use tidewatch_sinks::postgres::{PostgresSettings, PostgresSink, Tables};
use tidewatch_sources::SourceFactory;
use tidewatch_sources::kafka::{KafkaFactory, KafkaSettings, TimestampType};

/// What was found; its `Display` is the line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// It is as it should be.
    #[error("ok: {0}")]
    Good(String),
    /// It works, and could be better.
    #[error("advice: {0}")]
    Advice(String),
    /// It can't be used.
    #[error("error: {0}")]
    Wrong(ConfigError),
}

/// Checks and prints. The exit code is 78 when something can't be used.
pub fn run(input: &Input, out: &mut dyn Write) -> ExitCode {
    let mut is_good = true;
    let mut tell = |finding: Finding| {
        is_good &= !matches!(finding, Finding::Wrong(_));
        // Whoever closed the pipe has read enough; the exit code still counts.
        let _ = writeln!(out, "{finding}");
    };
    match load(input) {
        Ok(loaded) => check(input, loaded, &mut tell),
        Err(error) => tell(Finding::Wrong(error)),
    }
    if is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(EXIT_CONFIG)
    }
}

fn check(input: &Input, loaded: Loaded, tell: &mut dyn FnMut(Finding)) {
    let Loaded { config, settings, file } = loaded;
    tell(Finding::Good(match file {
        Some(file) => format!("configuration: {} can be used", file.display()),
        None => "configuration: there is no file, the defaults and the environment can be used".to_owned(),
    }));
    settings
        .advice
        .iter()
        .cloned()
        .map(Finding::Advice)
        .for_each(&mut *tell);
    let Settings {
        source,
        mut output,
        api,
        state,
        archive,
        metrics,
        ..
    } = settings;
    check_source(&source, tell);
    tell(check_state(&state));
    if let Some(embedded) = &output.embedded {
        let folder = embedded.folder().display();
        tell(Finding::Good(format!("embedded.folder: the store is kept in {folder}")));
    }
    tell(check_archive(archive.as_ref()));
    if let Some(file) = &metrics.file {
        let described = MetricsFile::new(file).read().ok().flatten().unwrap_or_default();
        let (file, metrics) = (file.display(), described.len());
        tell(Finding::Good(format!(
            "metrics.file: {file} describes {metrics} metrics"
        )));
    }
    if let Some(postgres) = &output.postgres {
        tell(check_postgres(postgres));
    }
    tiers(&config).into_iter().map(Finding::Good).for_each(&mut *tell);
    let creates = config.output.kafka.as_ref().is_some_and(|output| output.create_topics);
    // Checking changes nothing: topics are looked for, not made.
    if let (true, Ok(looking)) = (creates, load(&creating(input, false))) {
        output = looking.settings.output;
    }
    if let Some(kafka) = output.kafka {
        tell(check_topic(
            &kafka,
            "output.kafka.topic",
            &config.output.kafka.unwrap_or_default().topic,
            creates,
        ));
    }
    if let DeadLetterSettings::Kafka(kafka) = output.dead_letter {
        tell(check_topic(
            &kafka,
            "dead_letter.topic",
            &config.dead_letter.topic,
            creates,
        ));
    }
    tell(match TcpListener::bind(api.listen()) {
        Ok(_) => Finding::Good(format!("api.listen: {} is free", api.listen())),
        Err(error) => Finding::Advice(format!(
            "api.listen: {} can't be listened on now: {error}",
            api.listen()
        )),
    });
}

fn check_source(source: &SourceSettings, tell: &mut dyn FnMut(Finding)) {
    match source {
        SourceSettings::Log(log, fleet) => {
            let feed = fleet
                .as_ref()
                .map_or("nothing writes to it", |_| "the simulated fleet writes to it");
            let folder = log.folder().display();
            tell(Finding::Good(format!("source: the log in {folder}; {feed}")));
        }
        SourceSettings::Fleet(_) => tell(Finding::Good("source: a simulated fleet".to_owned())),
        SourceSettings::File(_) => tell(Finding::Good("source: the files can be opened".to_owned())),
        SourceSettings::Kafka(kafka) => check_read_topic(kafka, tell),
    }
}

/// Looks whether checkpoints can be read; nothing is written.
fn check_state(state: &StateSettings) -> Finding {
    match state {
        StateSettings::Folder(folder) => Finding::Good(format!("state.folder: checkpoints go to {}", folder.display())),
        StateSettings::S3(s3) => match S3::open(s3) {
            Ok(s3) => Finding::Good(format!("state.s3: {} can be read", s3.place())),
            Err(error) => Finding::Wrong(ConfigError::new(error.key, error.problem)),
        },
    }
}

/// Looks whether the archive can be read; nothing is written.
fn check_archive(archive: Option<&ArchiveSettings>) -> Finding {
    match archive.map(|archive| &archive.place) {
        None => Finding::Good("archive.kind: nothing is archived".to_owned()),
        Some(ArchivePlace::Folder(folder)) => {
            Finding::Good(format!("archive.folder: raw telemetry goes to {}", folder.display()))
        }
        Some(ArchivePlace::S3(s3)) => match S3::open(s3) {
            Ok(s3) => Finding::Good(format!("archive.s3: {} can be read", s3.place())),
            Err(error) => Finding::Wrong(ConfigError::new(error.key, error.problem)),
        },
    }
}

fn check_read_topic(kafka: &KafkaSettings, tell: &mut dyn FnMut(Finding)) {
    let factory = match KafkaFactory::connect(kafka) {
        Ok(factory) => factory,
        Err(error) => return tell(Finding::Wrong(error.into())),
    };
    let names = factory.partitions();
    let topic = names
        .first()
        .and_then(|name| name.rsplit_once('/'))
        .map_or("", |(topic, _)| topic);
    tell(Finding::Good(format!(
        "kafka.topic: {topic} has {} partitions",
        names.len()
    )));
    tell(match factory.timestamp_type() {
        Ok(TimestampType::LogAppendTime) => Finding::Good(format!(
            "kafka.topic: {topic} has message.timestamp.type = LogAppendTime"
        )),
        Ok(TimestampType::CreateTime) => Finding::Advice(format!(
            "kafka.topic: {topic} has message.timestamp.type = CreateTime, so a producer with a wrong clock moves the \
             watermark; unless all producers keep time, set it to LogAppendTime: kafka-configs.sh --alter \
             --entity-type topics --entity-name {topic} --add-config message.timestamp.type=LogAppendTime"
        )),
        Err(error) => Finding::Advice(error.to_string()),
    });
}

fn check_postgres(settings: &PostgresSettings) -> Finding {
    let target = settings.target();
    match PostgresSink::look(settings) {
        Ok(Tables::Ready) => Finding::Good(format!("postgres: {target} can be used, its tables are there")),
        Ok(Tables::Older) => Finding::Good(format!(
            "postgres: {target} can be used, the start will update its tables"
        )),
        Ok(Tables::Missing) => Finding::Good(format!(
            "postgres: {target} can be used, the start will make its tables"
        )),
        Err(error) => Finding::Wrong(error.into()),
    }
}

fn check_topic(settings: &KafkaSinkSettings, key: &str, topic: &str, creates: bool) -> Finding {
    let checked = match key {
        "dead_letter.topic" => KafkaDeadLetters::check(settings),
        _ => KafkaSink::check(settings),
    };
    match checked {
        Ok(()) => Finding::Good(format!("{key}: {topic} is there")),
        Err(error) if creates && error.problem.starts_with("there is no such topic") => {
            Finding::Advice(format!("{key}: {topic} is not there; the start will create it"))
        }
        // Unlike the source's, this error is of an address alone: it doesn't say which keys to look at.
        Err(error) if error.problem.starts_with("can't be reached") => Finding::Wrong(ConfigError::new(
            format!("kafka.brokers {}", error.object),
            format!(
                "{}; check kafka.brokers, kafka.security_protocol and kafka.password_file",
                error.problem
            ),
        )),
        Err(error) => Finding::Wrong(error.into()),
    }
}
