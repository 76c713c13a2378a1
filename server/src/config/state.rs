//! Where checkpoints are kept, resolved.

use super::error::ConfigError;
use super::parsed::{S3Section, StateKind, StateSection};
use super::settings::StateSettings;
use tidewatch_checkpoints::S3Settings;
use tidewatch_settings::Secret;

/// Resolves the section; `wrong` makes an error of a key and what is wrong with it.
pub(super) fn resolve(
    state: &StateSection,
    wrong: impl Fn(&str, String) -> ConfigError,
) -> Result<StateSettings, ConfigError> {
    if state.store == StateKind::S3 {
        return s3(&state.s3, wrong).map(StateSettings::S3);
    }
    let folder = &state.folder;
    if folder.as_os_str().is_empty() {
        return Err(wrong("state.folder", "is empty".to_owned()));
    }
    if folder.exists() && !folder.is_dir() {
        return Err(wrong("state.folder", format!("{} is not a folder", folder.display())));
    }
    Ok(StateSettings::Folder(folder.clone()))
}

fn s3(section: &S3Section, wrong: impl Fn(&str, String) -> ConfigError) -> Result<S3Settings, ConfigError> {
    let Some(bucket) = section.bucket.clone().filter(|bucket| !bucket.is_empty()) else {
        let problem = "is not set, but state.store is \"s3\": name a bucket that is there";
        return Err(wrong("state.s3.bucket", problem.to_owned()));
    };
    let web = |endpoint: &&String| !endpoint.starts_with("http://") && !endpoint.starts_with("https://");
    if section.endpoint.as_ref().filter(web).is_some() {
        let problem = "is not an address such as https://s3.example.org or http://127.0.0.1:7070";
        return Err(wrong("state.s3.endpoint", problem.to_owned()));
    }
    if section.region.is_empty() {
        let problem = "is empty: leave it out when the store has no regions";
        return Err(wrong("state.s3.region", problem.to_owned()));
    }
    let prefix = section.prefix.trim_matches('/');
    let access_key = match (&section.access_key_id, &section.secret_key_file) {
        (Some(id), Some(file)) => {
            let secret = Secret::read(file, "state.s3.secret_key_file");
            let secret = secret.map_err(|invalid| wrong("state.s3.secret_key_file", invalid.problem))?;
            Some((id.clone(), secret))
        }
        (None, None) => None,
        (Some(_), None) => {
            let problem = "is not set, but state.s3.access_key_id is: name a file with the secret";
            return Err(wrong("state.s3.secret_key_file", problem.to_owned()));
        }
        (None, Some(_)) => {
            let problem = "is not set, but state.s3.secret_key_file is: set both or none";
            return Err(wrong("state.s3.access_key_id", problem.to_owned()));
        }
    };
    Ok(S3Settings {
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
