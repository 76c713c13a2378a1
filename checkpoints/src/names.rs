//! What the files of checkpoints are called: by run, and by epoch or number, so that names ascend with time.

use tidewatch_proto::ids::{Epoch, Generation};

/// A file of a checkpoint, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileName {
    /// The manifest of a run's checkpoint of an epoch.
    Manifest(Generation, Epoch),
    /// A run's segment of a number.
    Segment(Generation, u64),
    /// A run has claimed its generation.
    Claim(Generation),
}

impl FileName {
    /// What a name says; `None` when it is no file of a checkpoint.
    pub fn parse(name: &str) -> Option<FileName> {
        let mut parts = name.split('-');
        let (kind, generation) = (parts.next()?, Generation(parts.next()?.parse().ok()?));
        let parsed = match (kind, parts.next()) {
            ("manifest", Some(epoch)) => FileName::Manifest(generation, Epoch(epoch.parse().ok()?)),
            ("segment", Some(number)) => FileName::Segment(generation, number.parse().ok()?),
            ("generation", None) => FileName::Claim(generation),
            _ => return None,
        };
        (parsed.to_string() == name).then_some(parsed)
    }

    /// The file that a write was to make that was cut short; `None` for all other names.
    pub fn of_unfinished(name: &str) -> Option<FileName> {
        let (name, _) = name.strip_suffix(".new")?.split_once('.').or(name.split_once('.'))?;
        FileName::parse(name)
    }

    /// Whose file it is.
    pub fn generation(self) -> Generation {
        match self {
            FileName::Manifest(generation, _) | FileName::Segment(generation, _) | FileName::Claim(generation) => {
                generation
            }
        }
    }
}

impl std::fmt::Display for FileName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FileName::Manifest(generation, epoch) => write!(f, "manifest-{:020}-{:020}", generation.0, epoch.0),
            FileName::Segment(generation, number) => write!(f, "segment-{:020}-{number:020}", generation.0),
            FileName::Claim(generation) => write!(f, "generation-{:020}", generation.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_ascend() {
        let files = [
            FileName::Claim(Generation(9)),
            FileName::Claim(Generation(10)),
            FileName::Manifest(Generation(9), Epoch(80)),
            FileName::Manifest(Generation(10), Epoch(7)),
            FileName::Segment(Generation(2), 5),
            FileName::Segment(Generation(2), 10),
        ];
        let names: Vec<String> = files.iter().map(ToString::to_string).collect();
        assert!(names.is_sorted());
        for (file, name) in files.into_iter().zip(&names) {
            assert_eq!(FileName::parse(name), Some(file));
            assert_eq!(FileName::parse(&format!("{name}.new")), None);
            for unfinished in [format!("{name}.new"), format!("{name}.12-3.new")] {
                assert_eq!(FileName::of_unfinished(&unfinished), Some(file));
            }
            assert_eq!(FileName::of_unfinished(name), None);
        }
        assert_eq!(FileName::parse("lock"), None);
    }
}
