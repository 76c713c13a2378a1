//! Temporary.
use clap::Parser;
fn main() -> std::process::ExitCode {
    let cli = tidewatch::cli::Cli::parse();
    let input = cli.input();
    match &cli.command {
        Some(command) => command.run(&input),
        None => match tidewatch::config::load(&input) {
            Ok(_) => std::process::ExitCode::SUCCESS,
            Err(error) => tidewatch::cli::refuse(&error),
        },
    }
}
