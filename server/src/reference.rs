//! The reference of the configuration as Markdown, made of the table of keys.

use crate::config::key::{Key, Section};
use crate::config::keys::SECTIONS;
use crate::config::written::variable_name;
use std::fmt::Write;

const HEAD: &str = "# Configuration

This page is printed by `tidewatch reference`.

Without a configuration Tidewatch runs on its defaults. It reads `tidewatch.toml` in the current folder, if it is there, \
or the file named with `--config`. Every key can be given by an environment variable too: section and key in capitals, \
with double underscores, as in `TIDEWATCH__KAFKA__BROKERS` or `TIDEWATCH__ENGINE__LIMITS__RAW_BYTES_MAX`; lists with \
commas; one that is empty is not set. A variable counts before the file, a flag of the command line before both.

Lengths of time are texts such as `\"500ms\"`, `\"10s\"`, `\"15m\"`, `\"1h 30m\"` or `\"1day\"`, sizes texts such as \
`\"64MiB\"` or numbers of bytes. Paths are relative to the folder in which Tidewatch is started. Passwords are \
read from files, which the keys `*_file` name, and never logged. A key or section that isn't listed is refused.

`tidewatch check` says what is wrong with a configuration and tries to reach what it names. With a configuration that \
can't be used the process ends with exit code 78.
";

/// The whole page.
pub fn markdown() -> String {
    let mut page = HEAD.to_owned();
    for section in SECTIONS {
        write_section(&mut page, section);
    }
    page
}

fn write_section(page: &mut String, section: &Section) {
    *page += &format!("\n## `[{}]`\n\n{}\n\n", section.name, section.about);
    if let Some(first) = section.keys.first() {
        let variable = variable_name(&format!("{}.{}", section.name, first.name));
        *page += &format!("By environment: `{variable}` and so on.\n\n");
    }
    *page += "| key | type | default | |\n|---|---|---|---|\n";
    for key in section.keys {
        // Writing to a text can't fail.
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} |",
            key.name,
            kind(key),
            default(key),
            escaped(key.about)
        );
    }
}

fn kind(key: &Key) -> String {
    let range = key.kind.range();
    match range.as_str() {
        "" => key.kind.name().to_owned(),
        range => format!("{}: {range}", key.kind.name()),
    }
}

fn default(key: &Key) -> String {
    match key.default_text().as_str() {
        "" => String::new(),
        text => format!("`{}`", escaped(text)),
    }
}

fn escaped(text: &str) -> String {
    text.replace('|', "\\|")
}
