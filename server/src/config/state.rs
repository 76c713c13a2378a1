//! Where checkpoints and the archive are kept, resolved.

use super::error::ConfigError;
use super::parsed::{ArchiveKind, ArchiveSection, S3Section, SourceKind, StateKind, StateSection};
use super::settings::{ArchivePlace, ArchiveSettings, StateSettings};
use std::path::{Path, PathBuf};
use tidewatch_checkpoints::S3Settings;
use tidewatch_settings::Secret;

/// Resolves the section; `wrong` makes an error of a key and what is wrong with it.
pub(super) fn resolve(
    state: &StateSection,
    wrong: impl Fn(&str, String) -> ConfigError,
) -> Result<StateSettings, ConfigError> {
    match state.store {
        StateKind::S3 => s3(&STATE_S3, &state.s3, wrong).map(StateSettings::S3),
        StateKind::Folder => folder("state.folder", &state.folder, wrong).map(StateSettings::Folder),
    }
}

/// The archive's folder in that of the state, unless another is said.
const ARCHIVE_FOLDER: &str = "archive";

/// Resolves the section of the archive; none when there is to be none.
pub(super) fn archive(
    (archive, state): (&ArchiveSection, &Path),
    source: SourceKind,
    wrong: impl Fn(&str, String) -> ConfigError,
) -> Result<Option<ArchiveSettings>, ConfigError> {
    let by_default = match source {
        SourceKind::File => ArchiveKind::Off,
        SourceKind::Fleet | SourceKind::Kafka | SourceKind::Log => ArchiveKind::Folder,
    };
    if archive.kind.is_some_and(|kind| kind != ArchiveKind::Off) && source == SourceKind::File {
        let problem = "is set, but files can't be read twice: leave it out, they are there anyway";
        return Err(wrong("archive.kind", problem.to_owned()));
    }
    let place = match archive.kind.unwrap_or(by_default) {
        ArchiveKind::Off => return Ok(None),
        ArchiveKind::Folder => {
            let place = archive.folder.clone().unwrap_or_else(|| state.join(ARCHIVE_FOLDER));
            ArchivePlace::Folder(folder("archive.folder", &place, wrong)?)
        }
        ArchiveKind::S3 => ArchivePlace::S3(s3(&ARCHIVE_S3, &archive.s3, wrong)?),
    };
    Ok(Some(ArchiveSettings {
        place,
        writing: tidewatch_archive::Settings {
            object_bytes: archive.object_bytes.0,
            object_time: archive.object_time.0,
            memory_bytes: archive.memory_bytes.0,
            level: archive.compression_level,
            compaction: archive.compaction,
            grace: archive.grace.0,
            retention: archive.retention.map(|retention| retention.0),
        },
    }))
}

fn folder(key: &str, folder: &Path, wrong: impl Fn(&str, String) -> ConfigError) -> Result<PathBuf, ConfigError> {
    if folder.as_os_str().is_empty() {
        return Err(wrong(key, "is empty".to_owned()));
    }
    if folder.exists() && !folder.is_dir() {
        return Err(wrong(key, format!("{} is not a folder", folder.display())));
    }
    Ok(folder.to_owned())
}

/// A section of a bucket.
struct BucketSection {
    name: &'static str,
    /// What asks for it.
    with: &'static str,
    prefix: &'static str,
}

const STATE_S3: BucketSection = BucketSection {
    name: "state.s3",
    with: "state.store",
    prefix: "tidewatch",
};
const ARCHIVE_S3: BucketSection = BucketSection {
    name: "archive.s3",
    with: "archive.kind",
    prefix: "tidewatch-archive",
};

fn s3(
    about: &BucketSection,
    section: &S3Section,
    wrong: impl Fn(&str, String) -> ConfigError,
) -> Result<S3Settings, ConfigError> {
    let (name, with) = (about.name, about.with);
    let wrong = |key: &str, problem: String| wrong(&format!("{name}.{key}"), problem);
    let Some(bucket) = section.bucket.clone().filter(|bucket| !bucket.is_empty()) else {
        let problem = format!("is not set, but {with} is \"s3\": name a bucket that is there");
        return Err(wrong("bucket", problem));
    };
    let web = |endpoint: &&String| !endpoint.starts_with("http://") && !endpoint.starts_with("https://");
    if section.endpoint.as_ref().filter(web).is_some() {
        let problem = "is not an address such as https://s3.example.org or http://127.0.0.1:7070";
        return Err(wrong("endpoint", problem.to_owned()));
    }
    if section.region.is_empty() {
        let problem = "is empty: leave it out when the store has no regions";
        return Err(wrong("region", problem.to_owned()));
    }
    let prefix = section.prefix.as_deref().unwrap_or(about.prefix).trim_matches('/');
    let access_key = match (&section.access_key_id, &section.secret_key_file) {
        (Some(id), Some(file)) => {
            let secret = Secret::read(file, &format!("{name}.secret_key_file"));
            let secret = secret.map_err(|invalid| wrong("secret_key_file", invalid.problem))?;
            Some((id.clone(), secret))
        }
        (None, None) => None,
        (Some(_), None) => {
            let problem = format!("is not set, but {name}.access_key_id is: name a file with the secret");
            return Err(wrong("secret_key_file", problem));
        }
        (None, Some(_)) => {
            let problem = format!("is not set, but {name}.secret_key_file is: set both or none");
            return Err(wrong("access_key_id", problem));
        }
    };
    Ok(S3Settings {
        section: name,
        bucket,
        prefix: if prefix.is_empty() {
            String::new()
        } else {
            format!("{prefix}/")
        },
        endpoint: section.endpoint.clone(),
        region: section.region.clone(),
        path_style: section.path_style,
        access_key,
    })
}
