//! Compiles `telemetry.proto` to prost types without `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=telemetry.proto");
    let files = protox::compile(["telemetry.proto"], ["."])?;
    prost_build::Config::new().compile_fds(files)?;
    Ok(())
}
