//! Sections that are programs of their own, which write their tables to a file.

use super::Context;
use crate::measure;
use anyhow::{Context as _, Result};
use std::fs;

/// The memory curve.
pub(super) fn memory(context: &Context) -> Result<String> {
    let table = table(context, "memory", &[])?;
    Ok(format!(
        "1,000 devices of four metrics, a message each every 15 s, all windows and both rollups on, one thread. The \
         program fails when memory, closed panes or arrangement records still grow.\n\n{table}"
    ))
}

/// The sinks beside a bare producer and the server's own COPY.
pub(super) fn sinks(context: &Context) -> Result<String> {
    let rounds = context.rounds.to_string();
    table(context, "sinks", &["--rounds", &rounds, "--brokers", &context.brokers])
}

/// Runs a program to its end and gives what it wrote to its `--out`.
fn table(context: &Context, program: &str, arguments: &[&str]) -> Result<String> {
    let out = context.folder.join(format!("{program}.md"));
    let mut command = context.program(program);
    command.args(arguments).arg("--out").arg(&out);
    measure::run(&mut command)?;
    let text = fs::read_to_string(&out).with_context(|| format!("{program} wrote no {}", out.display()))?;
    Ok(as_part(&text))
}

/// A text whose headings are below those of sections.
fn as_part(text: &str) -> String {
    let lines = text.lines().map(|line| match line.trim_start_matches('#') {
        heading if heading.len() < line.len() && heading.starts_with(' ') => format!("###{heading}\n"),
        _ => format!("{line}\n"),
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_has_no_heading_of_a_section() {
        let text = "# Sinks\n\n## Kafka\n#1 is first\n#### deep\n";
        assert_eq!(as_part(text), "### Sinks\n\n### Kafka\n#1 is first\n### deep\n");
    }
}
