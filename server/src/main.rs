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
    match run(|| Ok(config::load(&input)?.settings), cli.exit_at_end) {
        Ok(()) => ExitCode::SUCCESS,
        Err(RunError::Config(error)) => refuse(&error),
        Err(RunError::Failed(problems)) => {
            problems.iter().for_each(|problem| eprintln!("tidewatch: {problem}"));
            ExitCode::FAILURE
        }
    }
}
