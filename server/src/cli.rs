//! The command line.

use crate::config::{ConfigError, EXIT_CONFIG, Input};
use crate::{backup, check, reference, supervise, topics, worker};
use clap::{Parser, Subcommand};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// Real-time analytics for device fleets. Without a command it runs: everything in one process.
#[derive(Clone, Debug, Parser)]
#[command(name = "tidewatch", version)]
pub struct Cli {
    /// The configuration; by default ./tidewatch.toml, if it is there
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Worker threads; counts before engine.threads
    #[arg(long, global = true, value_name = "N")]
    pub threads: Option<String>,
    /// Let other machines reach the API without tokens
    #[arg(long, global = true)]
    pub insecure: bool,
    /// End when the input has an end and it is reached, instead of answering on
    #[arg(long, global = true)]
    pub exit_at_end: bool,
    /// What to do instead of running
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What can be done instead of running.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Run as several processes on this machine, which are started again from the last checkpoint when one dies
    Run {
        /// How many; each has --threads worker threads
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
        processes: u16,
    },
    /// Run one process of a cluster: `[cluster]` says where the others are
    Worker {
        /// Which one, from 0
        #[arg(long, value_name = "I")]
        process: usize,
        /// Of how many
        #[arg(long, value_name = "N")]
        of: usize,
    },
    /// Copy all that is in folders to one file, as of one moment, also while it runs
    Backup {
        /// The file to write, or a folder in which it gets a name by the time
        #[arg(value_name = "FILE|FOLDER")]
        to: PathBuf,
        /// Leave the archive of raw telemetry out
        #[arg(long)]
        without_archive: bool,
    },
    /// Bring a backup back, into folders that are empty
    Restore {
        /// The backup
        #[arg(value_name = "FILE")]
        from: PathBuf,
    },
    /// Check the configuration, and connect to what it names
    Check,
    /// Print all sections and keys of the configuration, as Markdown
    Reference,
    /// Print the topics of Kafka that the configuration needs, with how to create them
    Topics {
        /// Create those that Tidewatch writes
        #[arg(long)]
        create: bool,
    },
}

impl Cli {
    /// Where the configuration comes from: this command line and the process's environment.
    pub fn input(&self) -> Input {
        let lossy = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        Input {
            file: self.config.clone(),
            threads: self.threads.clone(),
            insecure: self.insecure,
            environment: std::env::vars_os()
                .map(|(name, value)| (lossy(name), lossy(value)))
                .collect(),
        }
    }
}

impl Command {
    /// Carries the command out and says how the process ends.
    pub fn run(&self, cli: &Cli, input: &Input) -> ExitCode {
        // Not locked: what runs says things from several threads.
        let mut out = std::io::stdout();
        let done = match self {
            Command::Run { processes } => return supervise::run(cli, input, usize::from(*processes)),
            Command::Worker { process, of } => return worker::run_one_of(cli, input, *process, *of),
            Command::Backup { to, without_archive } => return backup::back_up(input, to, *without_archive),
            Command::Restore { from } => return backup::restore(input, from),
            Command::Check => return check::run(input, &mut out),
            Command::Reference => {
                // Whoever closed the pipe has read enough.
                let _ = out.write_all(reference::markdown().as_bytes());
                Ok(())
            }
            Command::Topics { create } => topics::run(input, *create, &mut out),
        };
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => refuse(&error),
        }
    }
}

/// Prints the one line that says what is wrong with the configuration; the process ends with [`EXIT_CONFIG`].
pub fn refuse(error: &ConfigError) -> ExitCode {
    eprintln!("tidewatch: {error}");
    ExitCode::from(EXIT_CONFIG)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_flags_are_consistent() {
        Cli::command().debug_assert();
        let cli = Cli::parse_from(["tidewatch", "check", "--config", "a.toml"]);
        assert_eq!((cli.config, cli.command), (Some("a.toml".into()), Some(Command::Check)));
        let cli = Cli::parse_from(["tidewatch", "--threads", "2", "topics", "--create"]);
        assert_eq!(
            (cli.threads.as_deref(), cli.command),
            (Some("2"), Some(Command::Topics { create: true }))
        );
    }
}
