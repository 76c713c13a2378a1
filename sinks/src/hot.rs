//! Reading back what a sink stored: the rows of one series over time, which devices there are, dead letters and anomalies.

use crate::SinkError;
use tidewatch_proto::anomaly::Anomaly;
use tidewatch_proto::ids::Name;
use tidewatch_proto::query::{AnomalyQuery, DeviceQuery, DeviceSummary, Letter, LetterQuery, Replay, SeriesQuery};
use tidewatch_proto::row::Row;

/// A store that recent rows can be read from.
pub trait HotStore: Send + Sync {
    /// The last row of each window of one series that starts in `from..to`: in the query's order, at most `limit`. A series that the store doesn't
    /// know has no rows.
    ///
    /// # Errors
    /// When the store can't be read; [`crate::ErrorKind::Retry`] when it may answer later.
    fn series(&self, query: &SeriesQuery) -> Result<Vec<Row>, SinkError>;

    /// The devices of which the store has one-minute windows, by their ids, ascending byte by byte: at most `limit` of
    /// those that match.
    ///
    /// # Errors
    /// When the store can't be read; [`crate::ErrorKind::Retry`] when it may answer later.
    fn devices(&self, query: &DeviceQuery) -> Result<Vec<DeviceSummary>, SinkError>;
}

/// A store that dead letters can be read from.
pub trait LetterStore: Send + Sync {
    /// The letters that match, the one with the greatest number first: at most `limit`.
    ///
    /// # Errors
    /// When the store can't be read; [`crate::ErrorKind::Retry`] when it may answer later.
    fn letters(&self, query: &LetterQuery) -> Result<Vec<Letter>, SinkError>;

    /// Notes at a letter that it is replayed, in place of the replay with this id, if there is one. It is durable, where
    /// letters are, when this returns. Says whether it was done: not when the letter has gone or has another note.
    ///
    /// # Errors
    /// When the store can't be written; [`crate::ErrorKind::Retry`] when it may be later.
    fn note_replay(&self, number: u64, before: Option<u64>, replay: &Replay) -> Result<bool, SinkError>;
}

/// A store that anomalies can be read from.
pub trait AnomalyStore: Send + Sync {
    /// The anomalies that match, each as it was delivered last, in the order of
    /// [`AnomalyPlace`](tidewatch_proto::query::AnomalyPlace): at most `limit`.
    ///
    /// # Errors
    /// When the store can't be read; [`crate::ErrorKind::Retry`] when it may answer later.
    fn anomalies(&self, query: &AnomalyQuery) -> Result<Vec<Anomaly>, SinkError>;

    /// How many go on: those that stand as raised.
    ///
    /// # Errors
    /// When the store can't be read; [`crate::ErrorKind::Retry`] when it may answer later.
    fn raised(&self) -> Result<u64, SinkError>;
}

/// Whether a device's id holds what is searched for, ASCII letters in either case.
pub fn holds(device: &Name, search: &str) -> bool {
    let (id, search) = (device.as_bytes(), search.as_bytes());
    search.is_empty() || id.windows(search.len()).any(|part| part.eq_ignore_ascii_case(search))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_is_held_anywhere_in_either_case() {
        for (search, expected) in [
            ("", true),
            ("dev", true),
            ("EV-0", true),
            ("é", true),
            ("É", false),
            ("dev-00é1x", false),
        ] {
            assert_eq!(holds(&"Dev-00é1".into(), search), expected, "{search}");
        }
    }
}
