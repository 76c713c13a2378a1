//! The configuration: what was written is read ([`written`]), parsed ([`parsed`]) and resolved once ([`settings`]).
//!
//! One file, `tidewatch.toml`; every key by environment too (`TIDEWATCH__KAFKA__BROKERS`), which counts before the
//! file; flags count before both. [`keys`] is the table of all keys: what is unknown, of the wrong type or out of range
//! is refused by it, and the reference is made of it.

mod advice;
mod cluster;
pub mod error;
pub mod fields;
pub mod key;
pub mod keys;
mod nearest;
pub mod parsed;
pub mod settings;
mod state;
mod tiers;
pub mod written;
mod zone;

pub use error::{ConfigError, EXIT_CONFIG, Origin};
pub use parsed::{Config, StoreKind};
pub use settings::{
    ArchivePlace, ArchiveSettings, DeadLetterSettings, MetricsSettings, OutputSettings, RegistrySettings, Settings,
    SourceSettings, StateSettings,
};

pub use tiers::tiers;

use serde::Deserialize;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use written::Written;

/// The file that is read when none is named, if it is there.
pub const FILE: &str = "tidewatch.toml";

/// Where a configuration comes from.
#[derive(Clone, Debug, Default)]
pub struct Input {
    /// The file; without one [`FILE`] in the current folder, if it is there.
    pub file: Option<PathBuf>,
    /// Worker threads, from the command line.
    pub threads: Option<String>,
    /// Whether the API may be open to other machines without tokens.
    pub insecure: bool,
    /// The environment's variables.
    pub environment: Vec<(String, String)>,
}

/// A configuration that can be used.
pub struct Loaded {
    /// As it was written.
    pub config: Config,
    /// As the program uses it.
    pub settings: Settings,
    /// The file that was read, if one was.
    pub file: Option<PathBuf>,
}

/// Reads, parses and resolves the configuration. Nothing is connected.
///
/// # Errors
/// The first thing that is wrong, as a line that names the key and where it was written.
pub fn load(input: &Input) -> Result<Loaded, ConfigError> {
    let mut written = Written::default();
    let file = read_file(input.file.as_deref(), &mut written)?;
    written.environment(&input.environment)?;
    if let Some(threads) = &input.threads {
        written.flag("--threads", "engine.threads", threads)?;
    }
    let config = Config::deserialize(toml::Value::Table(written.nested()))
        .map_err(|error| ConfigError::new("configuration", error.message()))?;
    let settings = settings::resolve(&config, &written, input.insecure)?;
    Ok(Loaded { config, settings, file })
}

fn read_file(named: Option<&Path>, written: &mut Written) -> Result<Option<PathBuf>, ConfigError> {
    let path = named.unwrap_or(Path::new(FILE));
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if named.is_none() && error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            let problem = format!("can't be read: {error}; name the configuration with --config");
            return Err(ConfigError::new(path.display().to_string(), problem));
        }
    };
    written.file(path, &text)?;
    Ok(Some(path.to_owned()))
}
