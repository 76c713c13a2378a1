//! What the files of checkpoints are called: by run, and by epoch or number, so that names ascend with time.

use tidewatch_proto::ids::{Epoch, Generation};

/// A file of a checkpoint, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileName {
    /// The manifest of a run's checkpoint of an epoch.
    Manifest(Generation, Epoch),
    /// A run's segment of a number.
    Segment(Generation, u64),
}

impl FileName {
    /// What a name says; `None` when it is no file of a checkpoint.
    pub fn parse(name: &str) -> Option<FileName> {
        let mut parts = name.split('-');
        let (kind, generation, number) = (parts.next()?, parts.next()?, parts.next()?);
        let (generation, number) = (generation.parse().ok()?, number.parse().ok()?);
        let parsed = match kind {
            "manifest" => FileName::Manifest(Generation(generation), Epoch(number)),
            "segment" => FileName::Segment(Generation(generation), number),
            _ => return None,
        };
        (parsed.to_string() == name).then_some(parsed)
    }
}

impl std::fmt::Display for FileName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FileName::Manifest(generation, epoch) => write!(f, "manifest-{:020}-{:020}", generation.0, epoch.0),
            FileName::Segment(generation, number) => write!(f, "segment-{:020}-{number:020}", generation.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_ascend() {
        let files = [
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
        }
        assert_eq!(FileName::parse("lock"), None);
    }
}
