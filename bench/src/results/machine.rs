//! What the figures were measured on: processor, memory, kernel, compiler, broker, commit.

use anyhow::{Context, Result, ensure};
use std::env;
use std::fs;
use std::process::Command;

/// The facts of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The processor's name.
    pub cpu: String,
    /// Processors that this process may use.
    pub cores: usize,
    facts: Vec<(&'static str, String)>,
}

impl Machine {
    /// Asks the system. `broker` is Kafka's version, when somebody knows it.
    ///
    /// # Errors
    /// When the number of processors is not known.
    pub fn look(broker: Option<&str>) -> Result<Self> {
        let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cpu = value_of(&cpu, "model name").unwrap_or_else(|| env::consts::ARCH.to_owned());
        let cores = std::thread::available_parallelism()?.get();
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let memory = value_of(&memory, "MemTotal").and_then(|text| {
            let kib: u64 = text.split_ascii_whitespace().next()?.parse().ok()?;
            Some(format!("{:.1} GiB", kib as f64 / f64::from(1 << 20)))
        });
        let (_, librdkafka) = rdkafka::util::get_rdkafka_version();
        let broker = broker.map(str::to_owned).or_else(broker_of_tests);
        let facts = vec![
            ("processor", cpu.clone()),
            ("cores", cores.to_string()),
            ("L3 cache", line("/sys/devices/system/cpu/cpu0/cache/index3/size")),
            ("memory", memory.unwrap_or_else(unknown)),
            ("kernel", line("/proc/sys/kernel/osrelease")),
            (
                "compiler",
                output("rustc", &["--version"]).unwrap_or_else(|_| unknown()),
            ),
            ("Kafka", broker.unwrap_or_else(unknown)),
            ("librdkafka", librdkafka),
        ];
        Ok(Self { cpu, cores, facts })
    }

    /// The facts as a markdown table.
    pub fn table(&self) -> String {
        let rows = self.facts.iter().map(|(name, fact)| format!("| {name} | {fact} |\n"));
        format!("| machine | |\n|---|---|\n{}", rows.collect::<String>())
    }

    /// The machine in a few words.
    pub fn short(&self) -> String {
        format!("{}, {} cores", self.cpu, self.cores)
    }
}

/// The commit of the working folder, and whether something in it is not committed.
pub fn commit() -> String {
    let Ok(commit) = output("git", &["rev-parse", "--short=12", "HEAD"]) else {
        return unknown();
    };
    // The results themselves are not what is measured.
    let changed = output(
        "git",
        &[
            "status",
            "--porcelain",
            "--",
            ".",
            ":!bench/RESULTS.md",
            ":!bench/*.png",
        ],
    );
    match changed {
        Ok(changes) if changes.is_empty() => commit,
        _ => commit + " + uncommitted",
    }
}

/// The version in the classpath that the harness gives to tests: `…/kafka-4.1.1/libs/*`.
fn broker_of_tests() -> Option<String> {
    let classpath = env::var("TIDEWATCH_TEST_KAFKA_CLASSPATH").ok()?;
    version_in(&classpath)
}

fn version_in(classpath: &str) -> Option<String> {
    classpath.split('/').find_map(|part| {
        let version = part.strip_prefix("kafka-")?;
        version
            .starts_with(|c: char| c.is_ascii_digit())
            .then(|| version.to_owned())
    })
}

fn unknown() -> String {
    "not known".to_owned()
}

/// The first line of a file.
fn line(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().next().map_or_else(unknown, str::to_owned)
}

/// What stands behind a key and a colon.
fn value_of(text: &str, key: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(key))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn output(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .with_context(|| format!("cannot start {program}"))?;
    ensure!(output.status.success(), "{program} ended with {}", output.status);
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_found_in_what_the_system_says() {
        let text = "processor\t: 0\nmodel name\t: Some CPU @ 2:1\n";
        assert_eq!(value_of(text, "model name").as_deref(), Some("Some CPU @ 2:1"));
        assert_eq!(value_of(text, "flags"), None);
        assert_eq!(version_in("/cache/kafka-4.1.1/libs/*").as_deref(), Some("4.1.1"));
        assert_eq!(version_in("/opt/kafka-logs/libs/*"), None);
    }
}
