//! Compresses the page's files: the binary has them as they are sent.

use flate2::Compression;
use flate2::write::GzEncoder;
use std::env;
use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=page");
    let out = env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?;
    compress(Path::new("page"), &Path::new(&out).join("page"))
}

/// Compresses all files of a folder into another one.
fn compress(from: &Path, to: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let place = to.join(path.file_name().ok_or("an entry of a folder has a name")?);
        if path.is_dir() {
            compress(&path, &place)?;
            continue;
        }
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&fs::read(&path)?)?;
        fs::write(place, encoder.finish()?)?;
    }
    Ok(())
}
