//! The binary `tidewatch`.

use clap::Parser;
use std::process::ExitCode;
use tidewatch::cli::Cli;
use tidewatch::worker;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let input = cli.input();
    match &cli.command {
        Some(command) => command.run(&cli, &input),
        None => worker::run_alone(&cli, &input),
    }
}
