//! A process that works: alone, or as one of a cluster.

use crate::cli::{Cli, refuse};
use crate::config::{self, ConfigError, Input, Settings};
use crate::run::{self, EXIT_AGAIN, Ended, RunError};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::process::ExitCode;
use tidewatch_cluster::Place;

/// Runs everything in this process, and says how it ends.
pub fn run_alone(cli: &Cli, input: &Input) -> ExitCode {
    ended(run::run(|| Ok(config::load(input)?.settings), cli.exit_at_end, None))
}

/// Runs process `index` of a cluster of so many, and says how it ends.
pub fn run_one_of(cli: &Cli, input: &Input, index: usize, of: usize) -> ExitCode {
    let load = || Ok(config::load(input)?.settings);
    let place = load().and_then(|settings| place(&settings, index, of));
    let place = place.map_err(RunError::Config);
    ended(place.and_then(|place| run::run(load, cli.exit_at_end, Some(&place))))
}

/// Where a process of a cluster is, by the configuration.
fn place(settings: &Settings, index: usize, of: usize) -> Result<Place, ConfigError> {
    let cluster = settings.cluster.as_ref().ok_or_else(|| {
        let problem = "a process of a cluster needs the section [cluster]: where the others are, and their secret";
        ConfigError::new("cluster", problem)
    })?;
    if cluster.addresses.len() != of || index >= of {
        let named = cluster.addresses.len();
        let problem = format!("it names {named} processes, but this is to be process {index} of {of}");
        return Err(ConfigError::new("cluster.addresses", problem));
    }
    let mut agreement = DefaultHasher::new();
    (of, settings.engine.threads, settings.engine.fingerprint()).hash(&mut agreement);
    settings.registry.rollups.hash(&mut agreement);
    format!("{:?}", settings.engine.rules).hash(&mut agreement);
    Ok(Place {
        index,
        addresses: cluster.addresses.clone(),
        cluster: cluster.id.clone(),
        secret: cluster.secret.expose().as_bytes().to_vec(),
        agreement: agreement.finish(),
        tls: cluster.tls.clone(),
    })
}

fn ended(ended: Result<Ended, RunError>) -> ExitCode {
    match ended {
        Ok(Ended::Done) => ExitCode::SUCCESS,
        Ok(Ended::Again) => ExitCode::from(EXIT_AGAIN),
        Err(RunError::Config(error)) => refuse(&error),
        Err(RunError::Failed(problems)) => {
            problems.iter().for_each(|problem| eprintln!("tidewatch: {problem}"));
            ExitCode::FAILURE
        }
    }
}
