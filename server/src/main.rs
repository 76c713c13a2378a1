//! The binary `tidewatch`.

use clap::Parser;
use std::process::ExitCode;
use tidewatch::cli::{Cli, refuse};
use tidewatch::config;
use tidewatch::run::{RunError, run};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let input = cli.input();
    if let Some(command) = &cli.command {
        return command.run(&input);
    }
    let ended = match config::load(&input) {
        Ok(loaded) => run(loaded.settings, cli.exit_at_end),
        Err(error) => Err(RunError::Config(error)),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(RunError::Config(error)) => refuse(&error),
        Err(RunError::Failed(problems)) => {
            problems.iter().for_each(|problem| eprintln!("tidewatch: {problem}"));
            ExitCode::FAILURE
        }
    }
}
