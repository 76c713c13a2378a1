//! Prints what the archive costs: bytes a reading, and CPU beside the engine's.

use anyhow::Result;
use clap::Parser;
use std::path::PathBuf;
use tidewatch_archive::Settings;
use tidewatch_bench::archive;
use tidewatch_bench::w1::spec::Spec;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Archives the stream S, or a part of it, into a folder that is empty.
#[derive(Parser)]
struct Flags {
    /// The folder.
    #[arg(long)]
    folder: PathBuf,
    /// Messages: with fewer than S has, the span is as much shorter.
    #[arg(long, default_value_t = Spec::S.messages)]
    messages: u64,
    /// The level of zstd.
    #[arg(long, default_value_t = Settings::default().level)]
    level: i32,
    /// Bytes that are read into an object.
    #[arg(long, default_value_t = Settings::default().object_bytes)]
    object_bytes: u64,
}

fn main() -> Result<()> {
    let flags = Flags::parse();
    let part = flags.messages as f64 / Spec::S.messages as f64;
    let spec = Spec {
        messages: flags.messages,
        span_ms: (Spec::S.span_ms as f64 * part) as i64,
        ..Spec::S
    };
    let settings = Settings {
        level: flags.level,
        object_bytes: flags.object_bytes,
        ..Settings::default()
    };
    print!("{}", archive::run(spec, &settings, &flags.folder)?);
    Ok(())
}
