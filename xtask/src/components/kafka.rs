//! Apache Kafka: one KRaft node out of a folder of jars, with a plain, a SASL and a TLS listener.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Launch, certificates, environment, free_ports, local};
use crate::paths::Paths;
use crate::{install, kafka_wire, process};

const START_LIMIT: Duration = Duration::from_secs(90);
const USER: &str = "tidewatch";
const PASSWORD: &str = "tidewatch-secret";

/// Writes the configuration and the certificates, and formats the storage.
pub(super) fn prepare(paths: &Paths, state: &Path) -> Result<Launch> {
    let jars = format!("{}/*", install::kafka(paths)?.display());
    let [plain, sasl, ssl, controller] = free_ports()?;
    let certificates = certificates::make(state, PASSWORD)?;
    let data = state.join("data");
    let values = [
        ("PLAIN_PORT", plain.to_string()),
        ("SASL_PORT", sasl.to_string()),
        ("SSL_PORT", ssl.to_string()),
        ("CONTROLLER_PORT", controller.to_string()),
        ("DATA", data.display().to_string()),
        ("USER", USER.to_owned()),
        ("PASSWORD", PASSWORD.to_owned()),
        ("KEYSTORE", certificates.keystore.display().to_string()),
    ];
    let files = paths.component_files("kafka");
    let configuration = state.join("server.properties");
    fill_in(&files.join("server.properties"), &values, &configuration)?;
    let logging = format!(
        "-Dlog4j2.configurationFile={}",
        files.join("log4j2.properties").display()
    );
    format_storage(&jars, &logging, &configuration)?;

    let mut command = Command::new("java");
    command
        .args(["-Xms256m", "-Xmx1g", &logging, "-cp", &jars, "kafka.Kafka"])
        .arg(&configuration);
    let environment = environment([
        ("TIDEWATCH_TEST_KAFKA", local(plain).to_string()),
        ("TIDEWATCH_TEST_KAFKA_SASL", local(sasl).to_string()),
        ("TIDEWATCH_TEST_KAFKA_SASL_USER", USER.to_owned()),
        ("TIDEWATCH_TEST_KAFKA_SASL_PASSWORD", PASSWORD.to_owned()),
        ("TIDEWATCH_TEST_KAFKA_SSL", local(ssl).to_string()),
        (
            "TIDEWATCH_TEST_KAFKA_SSL_CA",
            certificates.authority.display().to_string(),
        ),
        ("TIDEWATCH_TEST_KAFKA_CLASSPATH", jars),
    ]);
    let is_ready = Box::new(move || kafka_wire::broker_is_ready(local(plain)));
    Ok(Launch {
        command,
        stop_signal: libc::SIGTERM,
        limit: START_LIMIT,
        environment,
        is_ready,
    })
}

fn fill_in(template: &Path, values: &[(&str, String)], to: &Path) -> Result<()> {
    let mut text = fs::read_to_string(template).with_context(|| format!("cannot read {}", template.display()))?;
    for (name, value) in values {
        text = text.replace(&format!("@{name}@"), value);
    }
    fs::write(to, text).with_context(|| format!("cannot write {}", to.display()))
}

fn format_storage(jars: &str, logging: &str, configuration: &Path) -> Result<()> {
    let tool = || {
        let mut command = Command::new("java");
        command.args([logging, "-cp", jars, "kafka.tools.StorageTool"]);
        command
    };
    let id = process::output(tool().arg("random-uuid"))?;
    let user = format!("SCRAM-SHA-256=[name={USER},password={PASSWORD}]");
    process::output(
        tool()
            .args(["format", "-t", id.trim(), "-c"])
            .arg(configuration)
            .args(["--add-scram", &user]),
    )?;
    Ok(())
}
