//! What can be used as it is written, but is most likely not what was meant.

use super::parsed::{ArchiveKind, Config, DeadLetterKind, SourceKind, StateKind, StoreKind};
use super::written::Written;
use std::net::SocketAddr;

/// A line for each thing that somebody should look at.
pub(super) fn advice(config: &Config, written: &Written) -> Vec<String> {
    let strays = written.strays.iter();
    let lines = [
        strays
            .map(|(variable, meant)| format!("{variable} is not used; did you mean {meant}?"))
            .collect(),
        unused_sections(config, written),
        buckets(config),
        dead_letters(config).into_iter().collect(),
        rollups(config, written).into_iter().collect(),
        correction(config).into_iter().collect(),
        plain_tokens(config).into_iter().collect(),
    ];
    lines.concat()
}

fn unused_sections(config: &Config, written: &Written) -> Vec<String> {
    let kind = config.source.kind;
    let (store, letters) = (config.store(), config.letters());
    let kafka = kind == SourceKind::Kafka || config.output.kafka.is_some() || letters == DeadLetterKind::Kafka;
    let embedded = store == StoreKind::Embedded || letters == DeadLetterKind::Embedded;
    let in_memory = store == StoreKind::Memory || letters == DeadLetterKind::Memory;
    let uses = [
        ("kafka", kafka, "source.kind = \"kafka\""),
        ("file", kind == SourceKind::File, "source.kind = \"file\""),
        ("log", kind == SourceKind::Log, "source.kind = \"log\""),
        (
            "fleet",
            config.has_fleet(),
            "source.kind = \"log\" and log.feed = \"fleet\"",
        ),
        ("embedded", embedded, "output.store = \"embedded\""),
        ("memory", in_memory, "output.store = \"memory\""),
    ];
    let sections = written.sections();
    let unused = uses
        .into_iter()
        .filter(|(section, used, _)| !used && sections.contains(section));
    unused
        .map(|(section, _, with)| format!("[{section}] is not used; it is with {with}"))
        .collect()
}

fn buckets(config: &Config) -> Vec<String> {
    let of_state = config.state.store != StateKind::S3 && config.state.s3.bucket.is_some();
    let of_archive = config.archive.kind != Some(ArchiveKind::S3) && config.archive.s3.bucket.is_some();
    let uses = [
        (of_state, "[state.s3] is not used; it is with state.store = \"s3\""),
        (of_archive, "[archive.s3] is not used; it is with archive.kind = \"s3\""),
    ];
    let unused = uses.into_iter().filter(|(unused, _)| *unused);
    unused.map(|(_, line)| line.to_owned()).collect()
}

fn dead_letters(config: &Config) -> Option<String> {
    let better = match (&config.postgres, &config.output.kafka) {
        (Some(_), _) => "postgres",
        (None, Some(_)) => "kafka",
        (None, None) => return None,
    };
    (config.letters() == DeadLetterKind::Memory)
        .then(|| format!("dead letters are lost when the process ends; dead_letter.kind = \"{better}\" keeps them"))
}

fn rollups(config: &Config, written: &Written) -> Option<String> {
    let pointless = written.has("registry.rollups")
        && config.registry.file.is_none()
        && !config.registry.rollups.is_empty()
        && !config.has_fleet();
    pointless.then(|| "registry.rollups has nothing to add up over without registry.file".to_owned())
}

/// Tokens that go over a network in plain HTTP.
fn plain_tokens(config: &Config) -> Option<String> {
    let listen: SocketAddr = config.api.listen.parse().ok()?;
    let is_open = !listen.ip().is_loopback() && config.api.token_file.is_some() && config.api.cert_file.is_none();
    is_open.then(|| {
        format!(
            "api.listen: {listen} can be reached from other machines and speaks plain HTTP, so tokens can be read on the way: \
             set `api.cert_file` and `api.key_file`, unless a proxy encrypts"
        )
    })
}

fn correction(config: &Config) -> Option<String> {
    config.engine.correction_horizon.0.is_zero().then(|| {
        "engine.correction_horizon is 0s: every reading behind its closed window becomes a dead letter".to_owned()
    })
}
