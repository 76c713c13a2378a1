//! What was written, wherever it was: values by key, each checked by its kind, and where it came from.

use super::error::{ConfigError, Origin};
use super::key::Key;
use super::keys;
use super::nearest::nearest;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;
use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

/// What the name of a variable of the configuration begins with.
pub const PREFIX: &str = "TIDEWATCH__";
const SEPARATOR: &str = "__";

/// Values by their full names: `engine.limits.raw_bytes_max`. Of two for one key the later stays.
#[derive(Debug, Default)]
pub struct Written {
    /// Variables that don't count, with those that were most likely meant.
    pub strays: Vec<(String, String)>,
    values: BTreeMap<String, (Value, Origin)>,
    sections: BTreeMap<String, Origin>,
}

impl Written {
    /// Takes a file's text.
    ///
    /// # Errors
    /// The first line that can't be used.
    pub fn file(&mut self, path: &Path, text: &str) -> Result<(), ConfigError> {
        let origin = |span: Range<usize>| Origin::File(path.to_owned(), line(text, span.start));
        let broken = |error: toml::de::Error| {
            let place = origin(error.span().unwrap_or(0..0));
            ConfigError::new("not TOML", error.message()).at(Some(place))
        };
        let spans = DeTable::parse(text).map_err(broken)?;
        let values: Table = text.parse().map_err(broken)?;
        let mut places = BTreeMap::new();
        collect_places("", spans.get_ref(), &mut places);
        let mut errors = Vec::new();
        let place = |name: &str| origin(places.get(name).cloned().unwrap_or(0..0));
        self.table("", &values, &place, &mut errors);
        let line = |error: &ConfigError| match &error.origin {
            Some(Origin::File(_, line)) => *line,
            _ => 0,
        };
        errors.into_iter().min_by_key(line).map_or(Ok(()), Err)
    }

    fn table(&mut self, prefix: &str, table: &Table, place: &dyn Fn(&str) -> Origin, errors: &mut Vec<ConfigError>) {
        for (name, value) in table {
            let name = if prefix.is_empty() {
                name.clone()
            } else {
                format!("{prefix}.{name}")
            };
            let origin = place(&name);
            match (keys::section(&name), value) {
                (Some(_), Value::Table(inner)) => {
                    self.sections.insert(name.clone(), origin);
                    self.table(&name, inner, place, errors);
                }
                (Some(_), _) => {
                    let problem = format!("is a section: write [{name}], and its keys below");
                    errors.push(ConfigError::new(name, problem).at(Some(origin)));
                }
                (None, _) => errors.extend(self.value(&name, value, origin).err()),
            }
        }
    }

    fn value(&mut self, name: &str, value: &Value, origin: Origin) -> Result<(), ConfigError> {
        let Some(key) = keys::key(name) else {
            return Err(unknown(name, value.is_table()).at(Some(origin)));
        };
        match key.kind.check(value) {
            Ok(value) => {
                self.values.insert(name.to_owned(), (value, origin));
                Ok(())
            }
            Err(problem) => Err(ConfigError::new(name, problem).at(Some(origin))),
        }
    }

    /// Takes the environment: of all variables those that begin with [`PREFIX`]. An empty one is not set.
    ///
    /// # Errors
    /// The first variable that can't be used.
    pub fn environment(&mut self, variables: &[(String, String)]) -> Result<(), ConfigError> {
        for (variable, text) in variables {
            let Some(rest) = variable.strip_prefix(PREFIX) else {
                self.strays
                    .extend(stray(variable).map(|meant| (variable.clone(), meant)));
                continue;
            };
            if text.is_empty() {
                continue;
            }
            let name = rest.replace(SEPARATOR, ".").to_ascii_lowercase();
            let found = keys::key(&name).filter(|_| variable_name(&name) == *variable);
            let Some(key) = found else {
                return Err(unknown_variable(variable, &name));
            };
            self.set(&name, key, text, Origin::Variable(variable.clone()))?;
        }
        Ok(())
    }

    /// Takes a flag of the command line that stands for a key.
    ///
    /// # Errors
    /// When the text can't be the key's value.
    pub fn flag(&mut self, flag: &'static str, name: &str, text: &str) -> Result<(), ConfigError> {
        match keys::key(name) {
            Some(key) => self.set(name, key, text, Origin::Flag(flag)),
            None => Err(unknown(name, false).at(Some(Origin::Flag(flag)))),
        }
    }

    fn set(&mut self, name: &str, key: &Key, text: &str, origin: Origin) -> Result<(), ConfigError> {
        match key.kind.read(text) {
            Ok(value) => {
                self.values.insert(name.to_owned(), (value, origin));
                Ok(())
            }
            Err(problem) => Err(ConfigError::new(name, problem).at(Some(origin))),
        }
    }

    /// Everything as nested tables.
    pub fn nested(&self) -> Table {
        let mut root = Table::new();
        for section in self.sections.keys() {
            enter(&mut root, section);
        }
        for (name, (value, _)) in &self.values {
            if let Some((section, key)) = name.rsplit_once('.') {
                enter(&mut root, section).insert(key.to_owned(), value.clone());
            }
        }
        root
    }

    /// Where a key was written, or else its section.
    pub fn origin(&self, name: &str) -> Option<Origin> {
        let section = || {
            name.rsplit_once('.')
                .and_then(|(section, _)| self.sections.get(section))
        };
        self.values
            .get(name)
            .map(|(_, origin)| origin)
            .or_else(section)
            .cloned()
    }

    /// Whether the key was written.
    pub fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// The sections in which something was written, outermost names only.
    pub fn sections(&self) -> BTreeSet<&str> {
        let names = self.sections.keys().chain(self.values.keys());
        names.map(|name| name.split('.').next().unwrap_or(name)).collect()
    }
}

/// The variable that stands for a key.
pub fn variable_name(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', SEPARATOR).to_ascii_uppercase())
}

fn enter<'a>(table: &'a mut Table, section: &str) -> &'a mut Table {
    section.split('.').fold(table, |table, part| {
        let entry = table.entry(part).or_insert_with(|| Value::Table(Table::new()));
        match entry {
            Value::Table(inner) => inner,
            // Sections and keys have different names, so only sections are on the way.
            _ => unreachable!("{section} is a section"),
        }
    })
}

fn unknown(name: &str, is_section: bool) -> ConfigError {
    if is_section {
        let sections = keys::SECTIONS.into_iter().map(|section| section.name);
        let hint = match nearest(name, sections) {
            Some(near) => format!("did you mean [{near}]?"),
            None => format!("there are {}", top_sections().join(", ")),
        };
        return ConfigError::new(format!("[{name}]"), format!("there is no such section; {hint}"));
    }
    ConfigError::new(name, format!("there is no such key; {}", key_hint(name)))
}

fn key_hint(name: &str) -> String {
    let names = keys::names();
    if let Some(near) = nearest(name, names.iter().map(String::as_str)) {
        return format!("did you mean {near}?");
    }
    match name.rsplit_once('.').and_then(|(section, _)| keys::section(section)) {
        Some(section) => {
            let keys: Vec<_> = section.keys.iter().map(|key| key.name).collect();
            format!("[{}] has {}", section.name, keys.join(", "))
        }
        None => format!("the sections are {}", top_sections().join(", ")),
    }
}

fn unknown_variable(variable: &str, name: &str) -> ConfigError {
    let names = keys::names();
    let hint = match nearest(name, names.iter().map(String::as_str)) {
        Some(near) => format!("did you mean {}?", variable_name(near)),
        None => "`tidewatch reference` lists all keys".to_owned(),
    };
    ConfigError::new(variable, format!("there is no such key; {hint}"))
}

/// The variable that was meant by one with too few underscores.
fn stray(variable: &str) -> Option<String> {
    let bare = |name: &str| name.replace(SEPARATOR, "_");
    let is_meant = |name: &String| bare(&variable_name(name)) == bare(variable);
    keys::names()
        .iter()
        .find(|name| is_meant(name))
        .map(|name| variable_name(name))
}

fn top_sections() -> Vec<String> {
    let names = keys::SECTIONS.into_iter().filter(|section| !section.name.contains('.'));
    names.map(|section| format!("[{}]", section.name)).collect()
}

/// Where each key and section stands. Of a section's dotted keys the first counts.
fn collect_places(prefix: &str, table: &DeTable<'_>, places: &mut BTreeMap<String, Range<usize>>) {
    for (key, value) in table {
        let name = match prefix {
            "" => key.get_ref().to_string(),
            prefix => format!("{prefix}.{}", key.get_ref()),
        };
        if let DeValue::Table(inner) = value.get_ref() {
            collect_places(&name, inner, places);
        }
        places.insert(name, key.span());
    }
}

/// The line of a byte, from 1 on.
fn line(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}
